"""Shares: a test, for Evidently, of whether two shares differ by more than chance. Evidently's own exact test needs samples of equal size.

Tests that approximate are no help: where few of many are set against some of few, they are certain of what is chance.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas
    from evidently.legacy.core import ColumnType

METHOD = "fisher_exact_of_shares"
"""The name by which Evidently knows the test."""


@cache
def register() -> None:
    """Register the test with Evidently; more than once changes nothing."""
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    test = StatTest(METHOD, "Fisher's exact test", [ColumnType.Categorical])
    register_stattest(test, _differ)


def _differ(reference: pandas.Series, current: pandas.Series, feature_type: ColumnType, threshold: float) -> tuple[float, bool]:
    """The probability of so much difference by chance, of columns of two categories, and whether it is below the threshold."""
    from scipy.stats import fisher_exact  # type: ignore[import-untyped]  # it ships no types

    counted = [side.eq(reference.iloc[0]).sum() for side in (reference, current)]
    table = [[number, len(side) - number] for number, side in zip(counted, (reference, current), strict=True)]
    p_value = float(fisher_exact(table).pvalue)
    return p_value, p_value <= threshold
