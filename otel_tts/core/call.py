"""Call: the RPC in which a Synthesis runs. The end of the RPC decides the outcome of the Synthesis.

The interceptors create a Call for each RPC and put it into the OpenTelemetry context; a Synthesis that starts there belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from opentelemetry.context import create_key

from otel_tts.core import outcome
from otel_tts.core.clock import RequestClock
from otel_tts.core.enclosure import Enclosure
from otel_tts.core.guard import guarded
from otel_tts.core.layers import Layers
from otel_tts.core.outcome import Cause
from otel_tts.core.place import Place, here
from otel_tts.core.turn import Turn
from otel_tts.semconv import Outcome, RequestKind

CALL = create_key("call")
"""The key of the enclosing Call in the OpenTelemetry context."""


class MessageReader(Protocol):
    """The part of a request that is told of the RPC's messages, which may contain its text."""

    def message_came(self, since_ns: int) -> None:
        """Note that a message was received here, after a wait since ``since_ns``."""

    def messages_ended(self, since_ns: int) -> None:
        """Note that the caller has sent all messages; the end of them was waited for here since ``since_ns``."""


class Part(Protocol):
    """A request to speak that belongs to a Call."""

    layers: Layers | None
    outcome: Outcome | None

    @property
    def text_input(self) -> MessageReader:
        """Its text, for requests whose messages come one by one."""

    @property
    def open(self) -> bool:
        """Whether the application has not finished it yet."""

    @property
    def delivery(self) -> tuple[bool, RequestKind]:
        """Whether its audio is delivered in pieces, and who waits for it."""

    @property
    def implicit(self) -> bool:
        """Whether it was started by a call of an engine or SDK alone: then other calls are not part of it."""

    def settle(self) -> None:
        """End it with the outcome that is known so far; nothing more will come for it."""

    def leave_to_parent(self) -> None:
        """Do nothing at its end, in a forked child."""

    def close(
        self, status: str, now_ns: int, error: BaseException | None, cause: Cause | None, interruption: Cause | None, final: bool
    ) -> None:
        """End it, since its Call ended.

        Args:
            status: the name of the gRPC status code that its caller got, or of the one that means the same.
            now_ns: when, on the clock of the RPC, in nanoseconds.
            error: the exception that left its handler; None without one.
            cause: what that means, where the status does not say it.
            interruption: why it was cut off; None if it was not.
            final: whether the process ends, so that nothing inside will end by itself any more.
        """


class Call(Enclosure):
    """An RPC in which requests to speak run, and whose end decides their outcome.

    Args:
        timeline: the clock, started when the RPC arrived.
        remaining: returns the seconds to the caller's deadline, None without one; None: unknown.
    """

    __slots__ = ("_beside", "_interruption", "_last", "_remaining", "allowance_s", "message_at", "timeline", "turn")

    def __init__(self, timeline: RequestClock, remaining: Callable[[], float | None] | None = None) -> None:
        super().__init__()
        self.timeline = timeline
        self.turn = Turn()
        """The turn that the RPC and all requests inside share."""
        self.allowance_s = None if remaining is None else remaining()
        """Seconds to the deadline when it arrived; None without a deadline."""
        self.message_at: Place | None = None
        """The place in which the last message of a stream of requests was received."""
        self._remaining = remaining
        self._interruption: Cause | None = None
        self._last: Part | None = None
        self._beside: Sequence[Part] = ()  # calls of SDKs that were under way when a later one began

    @property
    def current(self) -> Part | None:
        """The open request that calls belong to; None without one."""
        last = self._last
        return last if last is not None and last.open and not last.implicit else None

    def has_less_than(self, seconds: float) -> bool:
        """Return whether its caller's deadline was nearer than this when it arrived.

        Args:
            seconds: the least time that makes sense.
        """
        return self.allowance_s is not None and self.allowance_s < seconds

    def status(self) -> str | None:
        """Return the name of the status that its handler has set, or with which it aborts it; None without one."""
        return None

    def start(self) -> int:
        """Return the start time of a request that begins now: for the first one that of the Call, for later ones the current time."""
        return self.timeline.start if self._last is None else self.timeline.monotonic()

    def adopt(self, part: Part) -> None:
        """Take in a request that starts or continues, and end the one before it: only the last one gets the outcome of the Call.

        A call of an SDK that is still running stays open beside it, and one that failed may continue later.

        Args:
            part: the request to speak.
        """
        last = self._last
        if self._beside:
            self._beside = [other for other in self._beside if other.open and other is not part]
        if last is not None and last is not part:
            if last.open and last.implicit:
                self._beside = [*self._beside, last]
            elif not self.waits_for(last):
                last.settle()
        self._last = part

    def decides(self, part: Part) -> bool:
        """Return whether the end of the Call decides the outcome of a request.

        Args:
            part: the request to speak.
        """
        return part is self._last

    def dropped_with(self, part: Part, now_ns: int) -> None:
        """End it, since a request to speak was dropped that it keeps: so nobody has the Call either. Its own finaliser may come later.

        Args:
            part: the request to speak.
            now_ns: when it was dropped, on the clock of the timeline, in nanoseconds.
        """
        if part is self._last or part in self._beside or self.waits_for(part):
            self.drop(now_ns)

    def drop(self, now_ns: int) -> None:
        """End it as it seems to have ended, if that is known. The caller has the turn.

        Args:
            now_ns: when it was dropped, on the clock of the timeline, in nanoseconds.
        """

    @guarded
    def message_came(self, since_ns: int) -> None:
        """Note that a message of a stream of requests was received here, after a wait since ``since_ns``."""
        self.message_at = here()
        if (current := self.current) is not None:
            current.text_input.message_came(since_ns)

    @guarded
    def messages_ended(self, since_ns: int) -> None:
        """Note that the caller has sent all messages; the end of them was waited for here since ``since_ns``."""
        if (current := self.current) is not None:
            current.text_input.messages_ended(since_ns)

    def interruption(self) -> Cause:
        """Return why work for it is, or was, cut off."""
        return self._interruption if self._interruption is not None else self._cut_off()[1]

    def leave_to_parent(self) -> None:
        """Do nothing at its end, in a forked child: its parent ends and counts it, and the requests inside."""
        self.over = True
        parts = (*self._beside, *((self._last,) if self._last is not None else ()), *self._failed)
        self._last, self._beside, self._failed = None, (), {}
        for part in parts:
            part.leave_to_parent()

    def _cut_off(self) -> tuple[str, Cause]:
        """Return the status that its caller gets if none is sent, and what that means for a request inside."""
        if outcome.met_deadline(None if self._remaining is None else self._remaining(), self.allowance_s):
            return "DEADLINE_EXCEEDED", outcome.DEADLINE
        return "CANCELLED", outcome.CANCELLED

    def end(
        self,
        status: str,
        now_ns: int | None = None,
        error: BaseException | None = None,
        cause: Cause | None = None,
        interruption: Cause | None = None,
        final: bool = False,
    ) -> None:
        """End it; the caller has the turn.

        Args:
            status: the name of the gRPC status code that its caller got, or of the one that means the same.
            now_ns: when, on the clock of its timeline, in nanoseconds; None: now.
            error: the exception that left its handler; None without one.
            cause: what that means, where the status does not say it.
            interruption: why it was cut off; None if it was not.
            final: whether the process ends, so that nothing inside will end by itself any more.
        """
        self.over = True
        self._interruption = interruption or outcome.CANCELLED
        now_ns = self.timeline.monotonic() if now_ns is None else now_ns
        if cause is None and error is not None and status == "UNKNOWN":  # gRPC's status for an exception that nobody caught
            cause = outcome.from_exception(error)
        last, beside, self._last, self._beside = self._last, self._beside, None, ()
        for part in beside:
            if part.open:
                part.close(status, now_ns, error, cause, interruption, final)
        if last is not None:
            last.close(status, now_ns, error, cause, interruption, final)
        if self._failed:
            self.settle()
