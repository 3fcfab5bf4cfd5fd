"""Evidently without its drawings, which are most of its work: for where nobody looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def without_drawings() -> None:
    """From now on, in this process."""
    _replace(pytest.MonkeyPatch())


@contextmanager
def undrawn() -> Iterator[None]:
    """For the length of the block."""
    with pytest.MonkeyPatch.context() as patch:
        _replace(patch)
        yield


def _replace(patch: pytest.MonkeyPatch) -> None:
    from evidently.legacy.calculations import data_drift
    from evidently.legacy.metric_results import Distribution
    from evidently.metrics import column_statistics

    patch.setattr(column_statistics.ValueDriftCalculation, "_render", lambda *_: [])
    patch.setattr(column_statistics, "distribution", lambda *_, **__: [])
    patch.setattr(data_drift, "prepare_df_for_time_index_plot", lambda *_: ([], None))
    patch.setattr(data_drift, "get_distribution_for_column", lambda **_: (Distribution(x=[], y=[]),) * 2)
