"""Call: the RPC (or whatever encloses a request) that a Synthesis happens in, which knows how it went at its end.

The interceptors make one for each RPC and put it into the OpenTelemetry context; a Synthesis that starts there belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from opentelemetry.context import create_key

from otel_tts.core import outcome
from otel_tts.core.clock import Timeline
from otel_tts.core.outcome import Cause

CALL = create_key("call")
"""Where the enclosing Call stands in the OpenTelemetry context."""

DEADLINE_MARGIN = 0.02
"""An RPC interrupted with less than this many seconds left met its deadline: the clocks of caller and server differ a little."""


class Part(Protocol):
    """What a Call ends: a request to speak."""

    @property
    def open(self) -> bool:
        """Whether the application is still at it."""

    def settle(self) -> None:
        """The application is done with it, and with nothing else to come it went as it looks."""

    def close(self, code: str, interruption: Cause | None, error: BaseException | None) -> None:
        """The Call ended."""


class Call:
    """One RPC. ``remaining`` gives the seconds to the caller's deadline, None without one."""

    __slots__ = ("_interruption", "_last", "_remaining", "allowance", "over", "timeline")

    def __init__(self, timeline: Timeline, remaining: Callable[[], float | None]) -> None:
        self.timeline = timeline
        self.allowance = remaining()
        """Seconds to the deadline when the RPC arrived; None without a deadline."""
        self.over = False
        """Whether it has ended: what begins later, in a task of the background say, is on its own."""
        self._remaining: Callable[[], float | None] | None = remaining
        self._interruption = outcome.CANCELLED
        self._last: Part | None = None

    @property
    def current(self) -> Part | None:
        """The Synthesis that the application is at, if any."""
        return self._last if self._last is not None and self._last.open else None

    def start(self) -> int:
        """When a Synthesis that begins now started: the first one with the Call, the next utterance of a long Call by itself."""
        return self.timeline.start if self._last is None else self.timeline.monotonic()

    def adopt(self, part: Part) -> None:
        """A Synthesis starts. The one before it is over: only the last one shares the fate of the RPC."""
        if self._last is not None:
            self._last.settle()
        self._last = part

    def interruption(self) -> Cause:
        """Why the RPC was cut off: its deadline passed, or else its caller went away."""
        ask = self._remaining
        if ask is None:
            return self._interruption
        remaining = ask()
        return outcome.DEADLINE if remaining is not None and remaining <= DEADLINE_MARGIN else outcome.CANCELLED

    def end(self, code: str, *, interruption: Cause | None = None, error: BaseException | None = None) -> None:
        """The RPC ended with the status ``code``, was cut off (``interruption``), or ``error`` left its handler."""
        self.over = True
        self._interruption = interruption or outcome.CANCELLED
        self._remaining = None  # no circle of references: it is the RPC's own
        part, self._last = self._last, None
        if part is not None:
            part.close(code, interruption, error)
