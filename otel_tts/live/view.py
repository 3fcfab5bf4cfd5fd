"""What a page shows: time range, refresh, source, filters. It stands in the URL, so that it can be shared."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Self

from otel_tts import semconv
from otel_tts.formatting import utc
from otel_tts.history.requests import Problem
from otel_tts.semconv import Outcome
from otel_tts.settings import PLACES, Selection

MINUTE, HOUR, DAY = 60, 3600, 86400
RANGES: Mapping[str, tuple[int, int]] = {
    "15m": (15 * MINUTE, 30),
    "1h": (HOUR, MINUTE),
    "6h": (6 * HOUR, 5 * MINUTE),
    "24h": (DAY, 15 * MINUTE),
    "7d": (7 * DAY, 2 * HOUR),
}
"""The time ranges, each with the length of its windows; both in seconds."""
REFRESHES: Mapping[str, int | None] = {"2s": 2, "5s": 5, "10s": 10, "30s": 30, "1m": MINUTE, "off": None}
"""Seconds between two refreshes."""
NAMELESS = "(none)"
"""Chosen: processes that do not say in which environment, cluster or namespace they run."""
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR, 12 * HOUR, DAY)
_WINDOWS = 60
"""How many windows a time is divided into, at most and about."""
_LONGEST = 400 * DAY
SOURCES: Mapping[str, str] = {"backends": "backends", "local": "local files"}
"""The sources, with their labels; the first is the default where the settings have addresses of backends."""


@dataclass(frozen=True, slots=True)
class Period:
    """The windows of a range, up to now. Moments and lengths are in seconds (since the Unix epoch).

    Windows begin at multiples of their length, so that one that is over stays as it is. The last one, from ``closed`` to ``now``, is under
    way; it is never shorter than two export intervals, which is the least that can be counted.
    ``past``: the period was chosen, and does not go on.
    """

    start: float
    closed: float
    now: float
    step_s: float
    past: bool = False

    @classmethod
    def from_range(cls, range: str, now: float, interval_s: float) -> Self:
        """The windows of one of the `RANGES`; ``interval_s`` is that of the export of metrics.

        Args:
            range: the name of a range: see `RANGES`.
            now: in seconds since the Unix epoch.
            interval_s: between two exports, in seconds.
        """
        return cls._back(*RANGES[range], now, interval_s)

    @classmethod
    def between(cls, start: float, end: float, interval_s: float) -> Self:
        """The windows of a time that was chosen.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            interval_s: between two exports, in seconds.
        """
        length_s = max(end - start, 4 * interval_s)
        step_s = next((step_s for step_s in _STEPS if length_s / step_s <= _WINDOWS), math.ceil(length_s / _WINDOWS))
        return cls._back(length_s, step_s, end, interval_s, past=True)

    @classmethod
    def _back(cls, length_s: float, step_s: float, now: float, interval_s: float, *, past: bool = False) -> Self:
        step_s = math.ceil(max(step_s, 2 * interval_s))
        closed = (now - 2 * interval_s) // step_s * step_s
        windows = max(math.ceil(length_s / step_s) - 1, 1)
        return cls(closed - windows * step_s, closed, now, step_s, past)

    @property
    def length_s(self) -> float:
        """From its start to now."""
        return self.now - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything in the URL but the page. An empty text: nothing was chosen."""

    range: str = "15m"
    since: str = ""
    until: str = ""
    refresh: str = "5s"
    source: str = "backends"
    environment: str = ""
    cluster: str = ""
    namespace: str = ""
    service: str = ""
    measure: str = ""
    split: str = ""
    outcome: str = ""
    problem: str = ""
    error: str = ""
    provider: str = ""
    voice: str = ""
    slower: str = ""
    where: str = ""
    conversation: str = ""
    request: str = ""
    report: str = ""

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> Self:
        """Parse a URL's query. A value that is not allowed is ignored.

        Args:
            params: of the page's address.
        """
        texts = {field.name: params[field.name].strip() for field in fields(cls) if params.get(field.name, "").strip()}
        return cls(**{name: value for name, value in texts.items() if _can_be(name, value)})

    def params(self, of_page: Collection[str] = ()) -> dict[str, str]:
        """Give the values for a URL's query that differ from the defaults: those of all pages, and those of ``of_page``."""
        return {
            field.name: value
            for field in fields(self)
            if (field.name in _EVERYWHERE or field.name in of_page) and (value := getattr(self, field.name)) != field.default
        }

    @property
    def chosen(self) -> tuple[float, float] | None:
        """The time that was chosen in place of a range, in seconds since the Unix epoch; None without one."""
        if not self.since or not self.until:
            return None
        start, end = _moment(self.since), _moment(self.until)
        return (start, end) if end - _LONGEST < start < end else None

    @property
    def place(self) -> Selection:
        """The processes that are read: those of the chosen environment, cluster and namespace."""
        chosen = {key: value for name, key in PLACES.items() if (value := getattr(self, name))}
        return Selection(tuple((key, "" if value == NAMELESS else value) for key, value in sorted(chosen.items())))

    @property
    def slower_than(self) -> float | None:
        """The least duration of a request that is shown, in seconds."""
        return float(self.slower) if self.slower else None


_EVERYWHERE = ("range", "since", "until", "refresh", "source", *PLACES, "service")


def between(start: float, end: float) -> tuple[str, str]:
    """A time as it stands in the URL, in UTC; from moments in seconds since the Unix epoch.

    Args:
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
    """
    return utc(math.floor(start)), utc(max(math.ceil(end), math.floor(start) + 1))


def condition_of(where: str) -> tuple[str, str] | None:
    """An attribute's name and the value that it must have, from ``NAME=VALUE``; None when it is nothing of the kind.

    Args:
        where: the value of the parameter.
    """
    name, equals, value = where.partition("=")
    return (name.strip(), value.strip()) if equals and name.strip() else None


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"{text!r} is not in UTC")
    return moment.timestamp()


def _number(value: str) -> bool:
    return 0 < float(value) < math.inf


_ALLOWED: Mapping[str, Callable[[str], object]] = {
    "range": RANGES.__contains__,
    "since": _moment,
    "until": _moment,
    "refresh": REFRESHES.__contains__,
    "source": SOURCES.__contains__,
    "outcome": tuple(Outcome).__contains__,
    "problem": tuple(Problem).__contains__,
    "where": condition_of,
    "measure": {metric.name for metric in semconv.METRICS}.__contains__,
    "request": re.compile("[0-9a-fA-F]{8,32}").fullmatch,
    "slower": _number,
}
"""Whether a value of the URL can be, by the field; others can be anything."""


def _can_be(name: str, value: str) -> bool:
    try:
        return bool(_ALLOWED[name](value)) if name in _ALLOWED else True
    except (ValueError, OverflowError):
        return False
