"""Findings: what was seen at each hop that telemetry takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from otel_tts.errors import OtelTtsError


class Hop(Enum):
    """A hop, and what the command exits with when it is the first broken one."""

    SERVICE = ("service", 3)
    COLLECTOR = ("Collector", 4)
    METRICS = ("metrics", 5)
    TRACES = ("traces", 6)
    GRAFANA = ("Grafana", 7)

    def __init__(self, title: str, exit_code: int) -> None:
        self.title = title
        self.exit_code = exit_code


class State(StrEnum):
    """What is known of a hop."""

    WHOLE = "whole"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class HopBrokenError(OtelTtsError):
    """A hop does not do its part. ``said`` is what was seen, ``remedy`` what to do."""

    def __init__(self, said: str, remedy: str) -> None:
        super().__init__(said)
        self.said = said
        self.remedy = remedy


class HopAbsentError(HopBrokenError):
    """Nobody answers there at all."""


class HopUnknownError(OtelTtsError):
    """A hop cannot be judged; the message says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen at one hop. ``seconds``: how long it took until that was known."""

    hop: Hop
    state: State
    said: str
    remedy: str = ""
    seconds: float | None = None


def find(hop: Hop, look: Callable[[], str]) -> Finding:
    """Look at one hop. ``look`` says what it sees, or raises `HopBrokenError` or `HopUnknownError`."""
    began = time.monotonic()
    try:
        said = look()
    except HopBrokenError as broken:
        return Finding(hop, State.BROKEN, broken.said, broken.remedy, time.monotonic() - began)
    except HopUnknownError as unknown:
        return Finding(hop, State.UNKNOWN, str(unknown))
    return Finding(hop, State.WHOLE, said, seconds=time.monotonic() - began)
