"""Data frames of what history holds, for notebooks: a row a record, with the unit of each column in ``frame.attrs["units"]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from otel_tts.distribution import Distribution
from otel_tts.history.requests import Request
from otel_tts.history.rows import Row
from otel_tts.history.timelines import Timeline
from otel_tts.semconv import Metric

if TYPE_CHECKING:
    import pandas

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_MOMENTS = ("start", "end")
_SECONDS = (
    "duration", "ttfb", "ttfa", "queue_wait", "trailing_silence", "delivered", "heard", "interrupted", "silent", "underrun", "first_text",
    "audio_duration", "request_audio_generated", "request_audio_delivered",
)  # fmt: skip
UNITS: Mapping[str, str] = {
    **dict.fromkeys(_SECONDS, "s"),
    **{f"{part}_{name}": "s" for part in ("request_duration", "request_first_audio", "attempt_duration") for name in _QUANTILES},
    **{f"attempt_rtf_{name}": "1" for name in _QUANTILES},
    **dict.fromkeys(("rtf", "silence_ratio", "clipping_ratio", "request_hit_rate"), "1"),
    **dict.fromkeys(("request_success_rate", "attempt_success_rate", "request_underrun_provider", "request_underrun_consumer"), "1"),
    **dict.fromkeys(("cost", "request_cost", "request_cost_avoided"), "USD"),
    **dict.fromkeys(("attempts", "attempt_count"), "{attempt}"),
    "resends": "{resend}",
    **dict.fromkeys(("characters", *(f"request_characters_{s}" for s in ("synthesized", "cached", "wasted"))), "{character}"),
    **{f"request_{name}": "{request}" for name in (
        "count", "ok", "rejected", "cancelled", "deadline", "partial", "empty", "error", "unpriced",
        "cache_hit", "cache_miss", "cache_bypass", "cache_coalesced",
    )},
    "loudness": "dB",
    "speaking_rate": "{character}/s",
}  # fmt: skip
"""The units of columns that are numbers, in UCUM, as on metrics: ``1`` is a ratio."""


def to_frame(records: Iterable[Request] | Iterable[Row] | Iterable[Timeline], metric: Metric | None = None) -> pandas.DataFrame:
    """A data frame of what a `History` gave. What is not known is missing in it (NaN, NaT or None), and never 0.

    Args:
        records: requests, rows of `History.aggregates`, or timelines of `History.series`. Of timelines each point is a row: with
            the attributes, and ``value``; of a histogram with ``count`` and the quantiles ``p50``, ``p95`` and ``p99``.
        metric: of which the timelines are; needed for them, since it says the unit.

    Returns:
        A frame whose moments are in UTC. ``frame.attrs["units"]`` has the unit of each column that is a number. Without records it has
        no row, but its columns: those of requests and of rows together, since nothing says which of them there might have been; with
        a metric those of its timelines.

    Raises:
        ModuleNotFoundError: pandas is not installed.
        ValueError: there are timelines, and no metric.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "to_frame needs pandas, which is not installed. Install it with: pip install pandas", name="pandas"
        ) from None
    listed = list(records)
    if any(isinstance(record, Timeline) for record in listed):
        if metric is None:
            raise ValueError(
                "Timelines do not say of which metric they are: pass it, to_frame(history.series(METRIC, ...), METRIC)."
            )
        rows, units = _of_timelines([record for record in listed if isinstance(record, Timeline)], metric)
        names = [*_MOMENTS, *units]
    elif not listed and metric is not None:
        rows, units = _of_timelines([], metric)
        names = [*_MOMENTS, *units]
    else:
        kinds = [type(record) for record in listed[:1] if isinstance(record, (Request, Row))] if listed else [Request, Row]
        names = list(dict.fromkeys(field.name for kind in kinds for field in fields(kind)))
        rows = [{name: getattr(record, name) for name in names} for record in listed]
        units = {name: UNITS[name] for name in names if name in UNITS}
    frame = (
        pandas.DataFrame(rows) if rows else pandas.DataFrame({name: pandas.Series(dtype=_dtype(name, units)) for name in names})
    )
    for name in _MOMENTS:
        if name in frame:
            frame[name] = pandas.to_datetime(frame[name], unit="s", utc=True)
    for name in units:
        frame[name] = pandas.to_numeric(frame[name])  # a column of which nothing is known is NaN, and not None
    frame.attrs["units"] = units
    return frame


def _dtype(name: str, units: Mapping[str, str]) -> type:
    """The type of a column without a value."""
    return float if name in units or name in _MOMENTS else object


def _of_timelines(timelines: Sequence[Timeline], metric: Metric) -> tuple[list[dict[str, Any]], dict[str, str]]:
    rows, histogram = [], metric.instrument.value == "histogram"
    for timeline in timelines:
        for point in timeline.points:
            row: dict[str, Any] = {"start": point.start, "end": point.end, **timeline.attributes}
            if not histogram:
                row["value"] = point.value
            else:
                values = point.value if isinstance(point.value, Distribution) else Distribution()
                row["count"] = values.count if isinstance(point.value, Distribution) else None
                row |= {name: values.quantile(q) for name, q in _QUANTILES.items()}
            rows.append(row)
    return rows, {"count": "1"} | dict.fromkeys(_QUANTILES, metric.unit) if histogram else {"value": metric.unit}
