"""Resends: retries that an SDK makes by itself within one call, after a pause.

A call that succeeds after a resend is one successful attempt: its caller sees no failure. The time is part of the attempt's duration;
how often, why and how long the SDK paused is on the span of the attempt.
"""

from __future__ import annotations

from collections.abc import Hashable

from opentelemetry.trace import Span

from otel_tts import semconv
from otel_tts.core import outcome
from otel_tts.core.clock import NANOSECOND, RequestClock
from otel_tts.core.turn import Turn, in_turn


class Resends:
    """The resends of one call of a provider.

    Args:
        span: of the call.
        timeline: of its request.
        turn: of its request.
    """

    __slots__ = ("_failed", "_span", "_timeline", "count", "turn")

    def __init__(self, span: Span, timeline: RequestClock, turn: Turn) -> None:
        self.count = 0
        """How often the SDK sent a request again."""
        self.turn = turn
        self._span = span
        self._timeline = timeline
        self._failed: tuple[Hashable, dict[str, str | int], int] | None = None  # what, how, when

    def now_ns(self) -> int:
        """Return the clock's reading, in nanoseconds."""
        return self._timeline.monotonic()

    @in_turn
    def sending(self, request: Hashable) -> None:
        """Note that a request is sent. It is a resend if the last request is equal and failed. ``request``: its identity."""
        failed, self._failed = self._failed, None
        if failed is not None and failed[0] == request:
            self._add(failed[1], failed[2])

    @in_turn
    def failed(self, request: Hashable, error: BaseException | None, status: int | None = None) -> None:
        """Note that a request failed: by an exception, or by a response with this HTTP status.

        Args:
            request: identifies what is sent again.
            error: why the connection failed; None: there was a response.
            status: the HTTP status of the response; None: there was none.
        """
        self._failed = request, _failure(error, status), self.now_ns()

    @in_turn
    def resent(self, error: BaseException | None, status: int | None, since_ns: int) -> None:
        """Count a resend that happens now. ``error`` or ``status``: how the request failed; ``since_ns``: when."""
        self._add(_failure(error, status), since_ns)

    def _add(self, failure: dict[str, str | int], since_ns: int) -> None:
        self.count += 1
        if self._span.is_recording():
            now_ns = self.now_ns()
            attributes = {**failure, semconv.RESEND_DELAY.key: (now_ns - since_ns) * NANOSECOND}
            self._span.add_event(semconv.RESEND_EVENT.name, attributes, self._timeline.timestamp(now_ns))


def _failure(error: BaseException | None, status: int | None) -> dict[str, str | int]:
    """Return the attributes of a failure. The exception itself is not kept: it refers to its frames and all their variables."""
    code = None
    if error is not None:
        code, status = outcome.statuses(error)
    cause = outcome.from_exception(error) if error is not None else outcome.from_http_status(status or 0)
    optional = {
        semconv.ERROR_TYPE.key: cause.error_type.value if cause.error_type is not None else None,
        semconv.HTTP_STATUS_CODE.key: status,
        semconv.RPC_RESPONSE_STATUS_CODE.key: code,
    }
    return {key: value for key, value in optional.items() if value is not None}
