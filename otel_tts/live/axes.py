"""Axes: round numbers along them, in the words that numbers have everywhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from otel_tts import formatting

EDGE = 22
"""Pixels beside a horizontal axis of durations: the words of its first tick have room there, else Plotly leaves them out."""
_TICKS = 5


def axis(low: float, high: float, unit: str, text: Callable[[float, str], str] = formatting.value) -> dict[str, Any]:
    """Plotly's properties of an axis: its range, and its ticks with their words.

    Args:
        low: where it begins.
        high: where it ends; more than ``low``.
        unit: UCUM, of the values.
        text: formats a value with its unit.
    """
    values = ticks(low, high)
    return {"range": [low, high], "tickvals": values, "ticktext": [words(text(value, unit)) for value in values]}


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers on an axis, five or so.

    Args:
        low: where it begins.
        high: where it ends; more than ``low``.
        whole: whether there are no fractions.
    """
    exact = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= exact * 0.999)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def words(text: str) -> str:
    """A formatted number without the zeros behind its point, which a round number needs not: ``5 s`` of ``5.00 s``.

    Args:
        text: the number with its unit.
    """
    return text if text.startswith("$") else re.sub(r"(\.\d*?)0+(?=\D|$)", lambda zeros: zeros[1].rstrip("."), text)
