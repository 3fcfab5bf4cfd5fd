"""Resends: what an SDK does by itself within one call - it sends a request that failed once more, after a while.

A call that is made good so is one attempt, and ended well: whoever made the call knows no failure. What it cost is time, and that
is in the attempt's duration; how often, why and how long the SDK paused stands on its span.
"""

from __future__ import annotations

from collections.abc import Hashable

from opentelemetry.trace import Span

from otel_tts import semconv
from otel_tts.core import outcome
from otel_tts.core.clock import NANOSECOND, RequestClock
from otel_tts.core.turn import Turn, in_turn


class Resends:
    """Of one call of a provider.

    Args:
        span: of the call.
        timeline: of its request.
        turn: of whoever touches it.
    """

    __slots__ = ("_failed", "_span", "_timeline", "count", "turn")

    def __init__(self, span: Span, timeline: RequestClock, turn: Turn) -> None:
        self.count = 0
        """How often the SDK sent a request once more."""
        self.turn = turn
        self._span = span
        self._timeline = timeline
        self._failed: tuple[Hashable, dict[str, str | int], int] | None = None  # what, how, when

    def now_ns(self) -> int:
        """The clock's reading."""
        return self._timeline.monotonic()

    @in_turn
    def sending(self, request: Hashable) -> None:
        """A request is sent: once more, if what was sent last is the same and failed. ``request``: what tells it from others."""
        failed, self._failed = self._failed, None
        if failed is not None and failed[0] == request:
            self._add(failed[1], failed[2])

    @in_turn
    def failed(self, request: Hashable, error: BaseException | None, status: int | None = None) -> None:
        """It failed: by an exception, or by an answer with this HTTP status."""
        self._failed = request, _failure(error, status), self.now_ns()

    @in_turn
    def resent(self, error: BaseException | None, status: int | None, since_ns: int) -> None:
        """What failed so, then, is sent once more now."""
        self._add(_failure(error, status), since_ns)

    def _add(self, failure: dict[str, str | int], since_ns: int) -> None:
        self.count += 1
        if self._span.is_recording():
            now_ns = self.now_ns()
            attributes = {**failure, semconv.RESEND_DELAY.key: (now_ns - since_ns) * NANOSECOND}
            self._span.add_event(semconv.RESEND_EVENT.name, attributes, self._timeline.timestamp(now_ns))


def _failure(error: BaseException | None, status: int | None) -> dict[str, str | int]:
    """What is said of a failure, which itself would keep its frames, and all that is in them."""
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
