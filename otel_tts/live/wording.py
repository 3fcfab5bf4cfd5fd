"""How things are said: numbers with their units, moments, and what a measure means, from the registry."""

from __future__ import annotations

import time

from otel_tts.semconv import Attribute, Metric

NOTHING = "-"
"""Stands where nothing is known."""
_DAY = 86400
_UNITS = {
    "{request}": "requests", "{lookup}": "look-ups", "{entry}": "entries", "{character}": "characters", "{fallback}": "fallbacks",
    "{USD}": "US dollars", "{character}/s": "characters per second", "{provider}": "1 = available", "{score}": "score",
    "{detection}": "1 = drifted", "By": "bytes", "s": "seconds", "dB": "dB below full scale", "1": "",
}  # fmt: skip


def duration(seconds: float | None) -> str:
    """Seconds, or milliseconds below one second, with three digits that count."""
    if seconds is None:
        return NOTHING
    if not seconds:
        return "0 ms"
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def quantile(of: float | None, metric: Metric) -> str:
    """A quantile of a histogram in seconds. Beyond its last bound nothing is told apart, so that is all that is known."""
    last = metric.buckets[-1]
    return f"over {last:g} s" if of is not None and of >= last else duration(of)


def span(seconds: float) -> str:
    """A length of time, roughly: what clocks count, not what latencies are."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def share(part: float | None) -> str:
    """A share from 0 to 1, in percent. What is not all is never rounded up to it, and what is not nothing never down to it."""
    if part is None:
        return NOTHING
    if 0 < part < 0.001:
        return "<0.1 %"
    return ">99.9 %" if 0.999 < part < 1 else f"{part:.1%}".replace("%", " %")


def count(number: float | None) -> str:
    """A whole number."""
    return NOTHING if number is None else f"{number:,.0f}"


def dollars(amount: float | None) -> str:
    """US dollars; cents only where that is enough to tell it from nothing."""
    if amount is None:
        return NOTHING
    return f"${amount:,.2f}" if not amount or amount >= 1 else f"${amount:.2g}"


def value(number: float | None, unit: str) -> str:
    """A number with a unit of the registry."""
    match unit:
        case "s":
            return duration(number)
        case "{USD}":
            return dollars(number)
        case "By" if number is not None:
            return f"{number / 1e6:,.1f} MB"
        case "1" | "dB" | "{score}" | "{character}/s" if number is not None:
            return f"{number:.3g}"
    return count(number)


def unit(metric: Metric) -> str:
    """A metric's unit, for people; empty where it has none."""
    return _UNITS.get(metric.unit, metric.unit)


def definition(of: Metric | Attribute) -> str:
    """What something is: its name and the registry's description, with the unit of a metric and how far its values are told apart."""
    if isinstance(of, Attribute):
        return f"{of.key}: {of.description}"
    limit = f"told apart up to {of.buckets[-1]:,g}" if of.buckets else ""
    said = ", ".join(filter(None, (unit(of), limit)))
    return f"{of.name}: {of.description}" + (f" ({said})" if said else "")


def clock(moment: float, now: float | None = None) -> str:
    """Local time of a moment in seconds since the Unix epoch; with its date when it is not of the last day."""
    now = time.time() if now is None else now
    shape = "%H:%M:%S" if 0 <= now - moment < _DAY else "%m-%d %H:%M"
    return time.strftime(shape, time.localtime(moment))


def date(moment: float) -> str:
    """Local date and time of a moment in seconds since the Unix epoch."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
