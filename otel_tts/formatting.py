"""Formatting of figures for people: durations, shares, counts, money and times, the same in the terminal and on pages.

An unknown value is a dash, never 0. A share below 1 is never rounded up to 100%, and one above 0 never down to 0%.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from otel_tts.distribution import AtLeast, AtMost
from otel_tts.semconv import OF_SPANS, Attribute, Metric

NOTHING = "-"
"""The text for an unknown value."""
_DAY_S = 86400.0
_UNITS = {
    "{request}": "requests", "{lookup}": "look-ups", "{entry}": "entries", "{character}": "characters", "{fallback}": "fallbacks",
    "{USD}": "US dollars", "{character}/s": "characters per second", "{provider}": "1 = available", "{score}": "score",
    "{detection}": "1 = drifted", "By": "bytes", "s": "seconds", "dB": "dB below full scale", "1": "",
}  # fmt: skip


def duration(seconds: float | None) -> str:
    """Format a latency: seconds, or milliseconds below one second, with three significant digits; bounds as ``at least 40 s``.

    Args:
        seconds: the time; None: unknown.
    """
    if seconds is None or math.isnan(seconds):
        return NOTHING
    if isinstance(seconds, AtLeast):
        return f"{seconds} s"
    if isinstance(seconds, AtMost):
        return f"at most {seconds.bound:.3g} s" if seconds.bound >= 1 else f"at most {seconds.bound * 1000:.3g} ms"
    if not seconds:
        return "0 ms"
    if 0 < seconds < 0.00005:
        return "<0.1 ms"
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def estimated(seconds: float | None) -> str:
    """Format a quantile of a histogram, of which only the bucket is known: ``about 4.9 s``, ``at least 40 s``.

    Of few values, too: it is what a threshold was compared with, here and in Prometheus.

    Args:
        seconds: the quantile; None: unknown.
    """
    if seconds is None or isinstance(seconds, AtLeast) or not seconds > 0 or not math.isfinite(seconds):
        return duration(seconds)
    rounded = float(f"{seconds:.2g}")
    return (
        f"about {rounded:.3g} s"
        if 1 <= rounded < 100
        else f"about {rounded:,.0f} s"
        if rounded >= 1
        else f"about {rounded * 1000:.3g} ms"
    )


def elapsed(seconds: float) -> str:
    """Format a length of time in one rounded unit: ``90 s``, ``5 min``, ``3 d``.

    Args:
        seconds: the length of time.
    """
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def percent(share: float | None) -> str:
    """Format a share from 0 to 1: ``93.4%``, ``95%``, ``>99.9%``.

    Args:
        share: the share; None: unknown.
    """
    if share is None or math.isnan(share):
        return NOTHING
    if 0 < share < 0.001:
        return "<0.1%"
    return ">99.9%" if 0.999 < share < 1 else f"{share:.1%}".replace(".0%", "%")


def change(now: float, before: float, *, of_share: bool = False) -> str:
    """Format a difference with its sign: of shares in percentage points, of everything else relative to the value before.

    Args:
        now: the value.
        before: the value that it is compared with.
        of_share: whether both are shares from 0 to 1.
    """
    relative = f"{now / before - 1:+.0%}" if before else f"{now - before:+.3g}"
    text = f"{(now - before) * 100:+.1f} points" if of_share else relative
    return text if any(digit in text for digit in "123456789") else text[1:]  # no sign of what is shown as 0


def count(number: float | None) -> str:
    """Format a whole number.

    Args:
        number: the number; None: unknown.
    """
    return NOTHING if number is None or not math.isfinite(number) else f"{number:,.0f}"


def frequency(per_second: float | None) -> str:
    """Format how often something happens: ``3.5/s``, ``0.0011/s``. What is seldom is not 0.

    Args:
        per_second: how often in a second; None: unknown.
    """
    if per_second is None:
        return NOTHING
    return f"{per_second:,.1f}/s" if per_second >= 1 or not per_second else f"{per_second:.2g}/s"


def counted(number: float | None, noun: str, plural: str = "") -> str:
    """Format a count with its noun: ``1 request``, ``1,200 requests``.

    Args:
        number: how many; None if unknown.
        noun: the singular.
        plural: the noun with an s, unless it is given.
    """
    text = count(number)
    return f"{text} {noun if text == '1' else plural or f'{noun}s'}"


def dollars(amount: float | None) -> str:
    """Format US dollars: with cents, or below one dollar with two significant digits, so that a small amount is not shown as 0.

    Args:
        amount: US dollars; None: unknown.
    """
    if amount is None or math.isnan(amount):
        return NOTHING
    return f"${amount:,.2f}" if not amount or amount >= 1 else f"${amount:.2g}"


def value(number: float | None, unit: str) -> str:
    """Format a number with a UCUM unit of the registry.

    Args:
        number: the number; None: unknown.
        unit: UCUM.
    """
    if number is None or math.isnan(number):
        return NOTHING
    match unit:
        case "s":
            return duration(number)
        case "{USD}":
            return dollars(number)
        case "By":
            return _size(number)
        case "1" | "dB" | "{score}" | "{character}/s":
            return str(number) if isinstance(number, AtLeast | AtMost) else f"{number:.3g}"
    return count(number)


def _size(number: float) -> str:
    """Format bytes: ``312 B``, ``27.8 MB``."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= 0.99995 * size:
            return f"{number / size:,.1f} {unit}"
    return f"{number:.0f} B"


def attribute(key: str, raw: object) -> str:
    """Format an attribute of a span, with its unit: ``820 ms``, ``yes``, ``24000 Hz``.

    Args:
        key: of the attribute.
        raw: its value, as the span has it.
    """
    unit = OF_SPANS[key].unit if key in OF_SPANS else ""
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if not isinstance(raw, int | float) or not unit:
        return f"{raw:.6g}" if isinstance(raw, float) else str(raw)
    if unit == "{share}":
        return percent(raw)
    if unit in ("s", "{USD}") or (unit.startswith("{") and "/" not in unit):
        return value(raw, unit)
    number = str(raw) if isinstance(raw, int) else f"{raw:.3g}"
    return f"{number} {_UNITS.get(unit, unit)}".strip()


def shortened(name: str, columns: int) -> str:
    """A name that fits, with its beginning and its end: ``provider-wi…-prod-eu-03``.

    Args:
        name: the name.
        columns: how many letters it may have.
    """
    if len(name) <= columns:
        return name
    end = (columns - 1) // 2
    return f"{name[: columns - 1 - end]}…{name[-end:]}"


def measure(name: str) -> str:
    """Format the name of a measure as words, spelt as everywhere: "real-time factor".

    Args:
        name: its parts are joined by underscores.
    """
    return name.replace("real_time", "real-time").replace("_", " ")


def unit_name(metric: Metric) -> str:
    """Return the name of a metric's unit, for people; empty if it has none.

    Args:
        metric: the metric.
    """
    return _UNITS.get(metric.unit, metric.unit)


def definition(item: Metric | Attribute) -> str:
    """Return the definition of a metric or an attribute: name and description, and for a metric the unit and the last bucket bound.

    Args:
        item: the metric or attribute.
    """
    if isinstance(item, Attribute):
        return f"{item.key}: {item.description}"
    limit = f"distinguished up to {item.buckets[-1]:,g}" if item.buckets else ""
    details = ", ".join(filter(None, (unit_name(item), limit)))
    return f"{item.name}: {item.description}" + (f" ({details})" if details else "")


def zone(moment: float) -> str:
    """Return the name of the local time zone at a time in seconds since the Unix epoch: ``UTC``, ``CET``, ``+0530``.

    Args:
        moment: in seconds since the Unix epoch.
    """
    local = time.localtime(moment)
    return time.strftime("%Z", local) or time.strftime("%z", local)


def clock(moment: float, now: float | None = None) -> str:
    """Format a time in seconds since the Unix epoch as local time; with its date if it is not within the last day.

    It has no time zone: a page or table that shows several times names the zone once, see `zone`.

    Args:
        moment: in seconds since the Unix epoch.
        now: in seconds since the Unix epoch; None: the current time.
    """
    now = time.time() if now is None else now
    shape = "%H:%M:%S" if 0 <= now - moment < _DAY_S else "%m-%d %H:%M"
    return time.strftime(shape, time.localtime(moment))


def date(moment: float) -> str:
    """Format a time in seconds since the Unix epoch as local date, time and zone: ``2026-03-01 12:00:00 CET``.

    Args:
        moment: in seconds since the Unix epoch.
    """
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(moment))} {zone(moment)}"


def period(start: float, end: float) -> str:
    """Format the period between two times, with both zones if the clocks change: ``2026-03-01 12:00:00 to 13:00:00 CET``.

    Args:
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
    """
    first, last = date(start), date(end)
    if zone(start) == zone(end):
        first = first[:19]
    return f"{first} to {last[0 if first[:10] != last[:10] else 11 :]}"


def utc(moment: float) -> str:
    """Format a time in seconds since the Unix epoch as ISO 8601, in UTC, to the second: ``2026-03-01T12:00:00Z``.

    Args:
        moment: in seconds since the Unix epoch.
    """
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
