"""The result of checking each hop that telemetry takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from otel_tts.errors import OtelTtsError


class Hop(Enum):
    """A hop, and what the command exits with when it is the first broken one.

    Args:
        title: the hop, for people.
        exit_code: of the command, if this hop is the first that is broken.
    """

    SERVICE = ("service", 3)
    COLLECTOR = ("Collector", 4)
    METRICS = ("metrics", 5)
    TRACES = ("traces", 6)
    GRAFANA = ("Grafana", 7)

    def __init__(self, title: str, exit_code: int) -> None:
        self.title = title
        self.exit_code = exit_code


class HopState(StrEnum):
    """The state of a hop."""

    OK = "ok"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class HopBrokenError(OtelTtsError):
    """A hop does not do its part. ``message``: what is wrong. ``remedy``: what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class HopAbsentError(HopBrokenError):
    """Nobody answers there at all."""


class HopUnknownError(OtelTtsError):
    """A hop cannot be judged; the message says why."""


@dataclass(frozen=True, slots=True)
class HopResult:
    """The result at one hop. ``seconds``: how long the check took."""

    hop: Hop
    state: HopState
    message: str
    remedy: str = ""
    seconds: float | None = None


def find(hop: Hop, check: Callable[[], str]) -> HopResult:
    """Check one hop.

    Args:
        hop: which one.
        check: gives a message, or raises `HopBrokenError` or `HopUnknownError`.
    """
    began = time.monotonic()
    try:
        message = check()
    except HopBrokenError as broken:
        return HopResult(hop, HopState.BROKEN, broken.message, broken.remedy, time.monotonic() - began)
    except HopUnknownError as unknown:
        return HopResult(hop, HopState.UNKNOWN, str(unknown))
    return HopResult(hop, HopState.OK, message, seconds=time.monotonic() - began)
