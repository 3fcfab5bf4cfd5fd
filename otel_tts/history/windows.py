"""Windows of time, cut alike for every source."""

from __future__ import annotations

import math


def boundaries(start: float, end: float, step: float | None, interval_s: float) -> list[float]:
    """The moments that bound the windows of ``step`` seconds between two moments, in order; without a step there is one window.

    They are counted back from ``end``; what is left at the start and shorter than a step is left out. ``interval_s`` is the number of
    seconds between exports of metrics.

    Args:
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
        step: the width of a window in seconds; None: one window for the whole time.
        interval_s: between two exports, in seconds.

    Raises:
        ValueError: a window has no length, or may not hold two exports.
    """
    step = end - start if step is None else step
    if step <= 0 or step < 2 * interval_s:
        raise ValueError(
            f"A window of {step:g} s may not hold two exports of metrics, which come every {interval_s:g} s: "
            f"ask for {2 * interval_s:g} s or more."
        )
    count = math.floor((end - start) / step + 1e-6)  # moments of today are exact to 0.0000002 s
    return [end - number * step for number in range(count, -1, -1)]
