"""What a page shows: time range, refresh, source, filters. It stands in the URL, so that it can be shared."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Self

from otel_tts import semconv
from otel_tts.semconv import Outcome

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
SOURCES: Mapping[str, str] = {"backends": "backends", "local": "local files"}
"""The sources, with their labels; the first is the default where the settings have addresses of backends."""


@dataclass(frozen=True, slots=True)
class Period:
    """The windows of a range, up to now. Moments and lengths are in seconds (since the Unix epoch).

    Windows begin at multiples of their length, so that one that is over stays as it is. The last one, from ``closed`` to ``now``, is under
    way; it is never shorter than two export intervals, which is the least that can be counted.
    """

    start: float
    closed: float
    now: float
    step: float

    @classmethod
    def from_range(cls, range: str, now: float, interval: float) -> Self:
        """The windows of one of the `RANGES`; ``interval`` is that of the export of metrics."""
        length, step = RANGES[range]
        step = math.ceil(max(step, 2 * interval))
        closed = (now - 2 * interval) // step * step
        return cls(closed - math.ceil(length / step) * step + step, closed, now, step)

    @property
    def length(self) -> float:
        """From its start to now."""
        return self.now - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything in the URL but the page. An empty text: nothing was chosen."""

    range: str = "15m"
    refresh: str = "5s"
    source: str = "backends"
    service: str = ""
    measure: str = ""
    split: str = ""
    outcome: str = ""
    provider: str = ""
    voice: str = ""
    slower: str = ""
    conversation: str = ""
    request: str = ""
    report: str = ""

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> Self:
        """Parse a URL's query. A value that is not allowed is ignored."""
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
    def slower_than(self) -> float | None:
        """The least duration of a request that is shown, in seconds."""
        return float(self.slower) if self.slower else None


_EVERYWHERE = ("range", "refresh", "source", "service")


def _can_be(name: str, value: str) -> bool:
    match name:
        case "range":
            return value in RANGES
        case "refresh":
            return value in REFRESHES
        case "source":
            return value in SOURCES
        case "outcome":
            return value in tuple(Outcome)
        case "measure":
            return value in {metric.name for metric in semconv.METRICS}
        case "request":
            return bool(re.fullmatch("[0-9a-fA-F]{8,32}", value))
        case "slower":
            try:
                return 0 < float(value) < math.inf
            except ValueError:
                return False
    return True
