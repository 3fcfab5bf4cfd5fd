"""Late: a handler that starts when its RPC is over. The RPC has been counted, and the request to speak in it, too.

grpc starts the handler of a stream of requests even if its caller has left while it waited for a thread, and any handler whose caller
leaves just then. Waiting for it would hide the requests of a server that hangs; so they are counted when their RPC ends, and what a
handler then does counts as attempts only: it is spoken, and costs money, but is no other request.
"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import Span, get_current_span

from otel_tts import semconv
from otel_tts.core.call import CALL, Call, Part
from otel_tts.core.clock import RequestClock
from otel_tts.core.layers import Layers, Outer
from otel_tts.core.outcome import Cause
from otel_tts.core.span_key import SPAN_KEY


class CountedAlready(Layers):
    """The layers of a request that was counted before it began."""

    __slots__ = ()

    def replace(self, outer: Outer, ended: Cause) -> bool:
        """Return True: the request is in no metric of requests, and its span has the name of one that another one counts for.

        Args:
            outer: the request, at its end.
            ended: how it ended.
        """
        outer.outcome = ended.outcome
        get_current_span(outer.context).update_name(semconv.ENCLOSING_SPAN.name)
        return True


class Late(Call):
    """What an RPC that is over is for its handler.

    Args:
        timeline: the clock of the RPC.
        why: why the work of the handler is in vain.
    """

    __slots__ = ("_why",)

    def __init__(self, timeline: RequestClock, why: Cause) -> None:
        super().__init__(timeline)
        self._why = why

    def start(self) -> int:
        """Return the current time: the RPC has ended before."""
        return self.timeline.monotonic()

    def adopt(self, part: Part) -> None:
        """Take in a request that starts, which is not counted.

        Args:
            part: the request to speak.
        """
        part.layers = CountedAlready()
        part.outcome = self._why.outcome  # what its attempts raise says nothing about their providers
        super().adopt(part)

    def decides(self, part: Part) -> bool:
        """Return False: nothing comes after the request's own end."""
        return False

    def keep(self, request: object) -> bool:
        """Return False: nothing is waited for after a failure."""
        return False

    def _cut_off(self) -> tuple[str, Cause]:
        return "CANCELLED", self._why


def late_context(span: Span, call: Call, *, counted: bool) -> Context:
    """Return the context of a handler that starts when its RPC is over.

    Args:
        span: of the RPC.
        call: the RPC.
        counted: whether it was counted with a request to speak; else what the handler speaks is a request of its own.
    """
    return Context({SPAN_KEY: span, CALL: Late(call.timeline, call.interruption())} if counted else {SPAN_KEY: span})
