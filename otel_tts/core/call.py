"""Call: the RPC (or whatever encloses a request) that a Synthesis happens in, which knows how it went at its end.

The interceptors make one for each RPC and put it into the OpenTelemetry context; a Synthesis that starts there belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.context import create_key

from otel_tts.core import outcome
from otel_tts.core.clock import RequestClock
from otel_tts.core.enclosure import Enclosure
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import Cause
from otel_tts.core.place import Place, here
from otel_tts.core.turn import Turn

CALL = create_key("call")
"""Where the enclosing Call stands in the OpenTelemetry context."""


class Part(Protocol):
    """What a Call ends: a request to speak."""

    @property
    def open(self) -> bool:
        """Whether the application is still at it."""

    @property
    def implicit(self) -> bool:
        """Whether a call of an engine or SDK is all that asked for it: then other calls beside that one are no part of it."""

    def settle(self) -> None:
        """The application is done with it, and with nothing else to come it went as it looks."""

    def close(self, ending: RpcEnding) -> None:
        """The Call ended."""

    def message_came(self, since_ns: int) -> None:
        """A message of many was received here, and waited for since then. It may hold text."""

    def messages_ended(self, since_ns: int) -> None:
        """The caller has sent everything, which was waited for here since then."""


@dataclass(frozen=True, slots=True)
class RpcEnding:
    """How a Call ended.

    status: the gRPC status code by name that its caller saw, or one that means the same. now_ns: when, on the clock of its timeline.
    error: what left its handler. cause: what that means, where the status does not tell. interruption: why it was cut off, if it was.
    final: the process ends, so that nothing inside will end by itself any more.
    """

    status: str
    now_ns: int
    error: BaseException | None = None
    cause: Cause | None = None
    interruption: Cause | None = None
    final: bool = False


class Call(Enclosure):
    """What encloses requests to speak, and knows how it went: an RPC.

    Args:
        timeline: since its arrival.
        remaining: gives the seconds to the caller's deadline, None without one.
        cut_off: gives why work for it is being cut off, when it is; by default because its deadline passed or its caller went away.
        turn: of whoever tells about it, and of the requests inside.
    """

    __slots__ = ("_beside", "_cut_off", "_interruption", "_last", "_remaining", "allowance", "message_at", "timeline", "turn")

    def __init__(
        self,
        timeline: RequestClock,
        remaining: Callable[[], float | None] = lambda: None,
        cut_off: Callable[[], Cause] | None = None,
        turn: Turn | None = None,
    ) -> None:
        super().__init__()
        self.timeline = timeline
        self.turn = turn if turn is not None else Turn()
        self.allowance = remaining()
        """Seconds to the deadline when it arrived; None without a deadline."""
        self.message_at: Place | None = None
        """Where the caller's last message was received, of many."""
        self._remaining = remaining
        self._cut_off = cut_off
        self._interruption: Cause | None = None
        self._last: Part | None = None
        self._beside: list[Part] = []  # calls of SDKs that were under way when a later one began

    @property
    def current(self) -> Part | None:
        """The request that the application is at, if any."""
        last = self._last
        return last if last is not None and last.open and not last.implicit else None

    def start(self) -> int:
        """When a request that begins now started: the first one with the Call, the next utterance of a long Call by itself."""
        return self.timeline.start if self._last is None else self.timeline.monotonic()

    def adopt(self, part: Part) -> None:
        """A request starts, or goes on. The one before it is over: only the last one shares the fate of the Call.

        A call of an SDK that is still under way goes on beside it, and one that failed may go on later.
        """
        last = self._last
        self._beside = [other for other in self._beside if other.open and other is not part]
        if last is not None and last is not part:
            if last.open and last.implicit:
                self._beside.append(last)
            elif not self.waits_for(last):
                last.settle()
        self._last = part

    def decides(self, part: Part) -> bool:
        """Whether the end of the Call decides how a request went."""
        return part is self._last

    @guarded
    def message_came(self, since_ns: int) -> None:
        """A message of many was received here, and waited for since then."""
        self.message_at = here()
        if (current := self.current) is not None:
            current.message_came(since_ns)

    @guarded
    def messages_ended(self, since_ns: int) -> None:
        """The caller has sent everything, which was waited for here since then."""
        if (current := self.current) is not None:
            current.messages_ended(since_ns)

    def interruption(self) -> Cause:
        """Why it is, or was, cut off."""
        if self._interruption is not None:
            return self._interruption
        if self._cut_off is not None:
            return self._cut_off()
        return outcome.DEADLINE if outcome.met_deadline(self._remaining()) else outcome.CANCELLED

    def end(
        self,
        status: str,
        *,
        now_ns: int | None = None,
        error: BaseException | None = None,
        cause: Cause | None = None,
        interruption: Cause | None = None,
        final: bool = False,
    ) -> None:
        """It ended. For the arguments see :class:`RpcEnding`; ``now_ns`` by default now."""
        now_ns = self.timeline.monotonic() if now_ns is None else now_ns
        if cause is None and error is not None and status == "UNKNOWN":  # gRPC's word for an exception that nobody caught
            cause = outcome.from_exception(error)
        with self.turn:
            self.over = True
            self._interruption = interruption or outcome.CANCELLED
            self._remaining, self._cut_off = (lambda: None), None  # no circle of references: they are the RPC's own
            parts, self._last, self._beside = (*self._beside, self._last), None, []
            for part in parts:
                if part is not None and (part.open or part is parts[-1]):
                    part.close(RpcEnding(status, now_ns, error, cause, interruption, final))
            self.settle()
