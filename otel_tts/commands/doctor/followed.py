"""The request that is followed: one that doctor makes, one that was made already, or the next one of any service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from otel_tts import formatting, semconv
from otel_tts.commands.doctor.finding import HopAbsentError, HopBrokenError, HopUnknownError
from otel_tts.commands.doctor.service import Spoken, speak
from otel_tts.commands.doctor.telemetry import Counter, Spans, until
from otel_tts.commands.security import PLAIN, Security
from otel_tts.history import History, HistoryUnavailableError, Request, RequestFilter, Trace

_PAUSE_S = 0.5  # between two searches for a request


class FollowedRequest(Protocol):
    """A request whose telemetry is followed. Deadlines are monotonic times."""

    def begin(self) -> None:
        """Note how things are before the request."""

    def service(self, *, can_arrive: bool) -> str:
        """Make or find the request; raises `HopBrokenError` or `HopUnknownError`.

        Args:
            can_arrive: whether telemetry can arrive: without it nothing is waited for.
        """

    def metrics(self, deadline: float) -> str:
        """Wait until Prometheus counts it; raises `HopBrokenError` or `HopUnknownError`.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """

    def traces(self, deadline: float) -> str:
        """Wait until its spans are there; raises `HopBrokenError` or `HopUnknownError`.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """


class SentRequest:
    """A synthesis that doctor sends to the reference service at ``target``; empty: where `otel-tts serve` would be.

    Args:
        target: host and port of the service; empty: where `otel-tts serve` would be.
        counter: counts requests in Prometheus.
        spans: finds traces.
        security: of the channel to the service.
    """

    def __init__(self, target: str, counter: Counter, spans: Spans, security: Security = PLAIN) -> None:
        self._target, self._counter, self._spans, self._security = target, counter, spans, security
        self._spoken: Spoken | None = None

    def begin(self) -> None:
        """Note how things are before the request."""
        self._counter.remember()

    def service(self, *, can_arrive: bool) -> str:
        """Send it.

        Args:
            can_arrive: not asked: what is sent needs no telemetry.
        """
        self._spoken = speak(self._target, self._security)
        return self._spoken.message

    def metrics(self, deadline: float) -> str:
        """Wait until a counter grows.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """
        return self._counter.moved(deadline)

    def traces(self, deadline: float) -> str:
        """Wait until its spans are there.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.

        Raises:
            HopUnknownError: nobody can tell whether it works.
        """
        if self._spoken is None:
            raise HopUnknownError("not checked, since nothing was sent")
        return self._spans.arrived(self._spoken, deadline)


class MadeRequest:
    """A request that was made already, of any service: its spans say what Prometheus must have counted.

    Args:
        trace_id: of the request: 32 hexadecimal digits.
        counter: counts requests in Prometheus.
        spans: finds traces.
        history: the telemetry that is read.
        patience_s: how long to wait for a service that makes requests by itself, in seconds.
    """

    def __init__(self, trace_id: str, counter: Counter, spans: Spans, history: History, patience_s: float) -> None:
        self._trace_id, self._counter, self._spans, self._history = trace_id, counter, spans, history
        self._patience_s = patience_s
        self._request: Request | None = None

    def begin(self) -> None:
        """Nothing: the request is over."""

    def service(self, *, can_arrive: bool) -> str:
        """Find it by its spans.

        Args:
            can_arrive: whether telemetry can arrive: without it nothing is waited for.

        Raises:
            HopBrokenError: telemetry does not get over this hop.
            HopUnknownError: nobody can tell whether it works.
        """
        trace: Trace | None = None

        def request() -> Request | None:  # its own span may come after those within it
            nonlocal trace
            trace = self._history.trace(self._trace_id)
            return None if trace is None else _request(trace)

        try:
            self._request = until(request, time.monotonic() + (self._patience_s if can_arrive else 0.0), _PAUSE_S)
        except (HistoryUnavailableError, ValueError) as error:
            raise HopUnknownError(f"not known: {error}") from None
        if trace is None:
            raise HopUnknownError(f"not known, since there is no span of trace {self._trace_id}")
        self._trace_id = trace.trace_id
        if self._request is None:
            raise HopBrokenError(
                f"trace {trace.trace_id} has no span {semconv.SYNTHESIS_SPAN.name}: it is not a request to speak",
                "Give the trace id of a synthesis. Is the service instrumented? docs/zero-code.md and docs/start.md say how.",
            )
        return _sentence(self._request)

    def metrics(self, deadline: float) -> str:
        """Wait until the counter of its service and outcome has grown since it ended.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.

        Raises:
            HopUnknownError: nobody can tell whether it works.
        """
        if self._request is None:
            raise HopUnknownError("what must have been counted is not known without the request's span")
        return self._counter.has_counted(self._request, deadline)

    def traces(self, deadline: float) -> str:
        """Wait until all of its spans are there.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """
        return self._spans.whole(self._trace_id, deadline if self._request else time.monotonic())


class NextRequest:
    """The next request of a service, or of any: doctor waits until a counter grows or a span arrives.

    Args:
        service: its ``service.name``; None for any.
        counter: of that service.
        spans: where they arrive.
        history: the same, and Prometheus.
        patience_s: seconds to wait for the request.
        announce: is told what is waited for.
    """

    def __init__(
        self,
        service: str | None,
        counter: Counter,
        spans: Spans,
        history: History,
        patience_s: float,
        announce: Callable[[str], object],
    ) -> None:
        self._service, self._counter, self._spans, self._history = service, counter, spans, history
        self._patience_s, self._announce = patience_s, announce
        self._since = 0.0
        self._request: Request | None = None

    @property
    def _whose(self) -> str:
        return self._service or "any service"

    def begin(self) -> None:
        """Note how things are before the request."""
        self._since = time.time()
        self._counter.remember()

    def service(self, *, can_arrive: bool) -> str:
        """Wait for it, unless neither store answers: nothing could be seen.

        Args:
            can_arrive: whether telemetry can arrive: without it nothing is waited for.

        Raises:
            HopBrokenError: telemetry does not get over this hop.
            HopUnknownError: nothing can arrive.
        """
        if not self._visible():
            raise HopBrokenError(
                f"no request of {self._whose} can be seen: the stores of metrics and of traces do not answer",
                "Start the stores first: their lines below say how.",
            )
        if not can_arrive:
            raise HopUnknownError(f"no request of {self._whose} is waited for, since none can arrive: see the Collector below")
        self._announce(f"Waiting up to {self._patience_s:g} s for the next request of {self._whose}. Make one now.")
        deadline = time.monotonic() + self._patience_s
        seen = until(lambda: self._in_spans() or self._in_metrics(), deadline, _PAUSE_S)
        if not seen:
            raise HopBrokenError(
                f"no request of {self._whose} arrived within {self._patience_s:.0f} s, neither as a point nor as a span",
                "Was one made? --patience waits longer. If so, does the service export to this pipeline (OTEL_EXPORTER_OTLP_ENDPOINT)? "
                "`otel-tts config` in its environment shows the settings.",
            )
        return seen

    def _visible(self) -> bool:
        """Whether a store of metrics or of traces answers."""
        for look in (self._counter.counts, self._spans.reachable):
            try:
                look()
            except HopAbsentError:
                continue
            except HopBrokenError:  # it answers; what is wrong is said at its hop
                pass
            return True
        return False

    def _in_spans(self) -> str:
        try:
            newest = self._history.requests(RequestFilter(service=self._service, ended_since=self._since), limit=1)
        except HistoryUnavailableError:  # said at its hop
            return ""
        self._request = newest[0] if newest else None
        return _sentence(newest[0]) if newest else ""

    def _in_metrics(self) -> str:
        try:
            return f"{self._whose} spoke: a counter has increased" if self._counter.has_moved() else ""
        except HopBrokenError:  # said at its hop
            return ""

    def metrics(self, deadline: float) -> str:
        """Wait until a counter of the service grows.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """
        return self._counter.moved(deadline)

    def traces(self, deadline: float) -> str:
        """Wait until all of its spans are there.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.

        Raises:
            HopBrokenError: telemetry does not get over this hop.
        """
        if not (self._request or until(self._in_spans, deadline, _PAUSE_S)) or self._request is None:
            raise HopBrokenError(
                f"a request was counted, and no span of it arrived within {self._patience_s:.0f} s",
                "Does the service export traces (OTEL_TRACES_EXPORTER), and does its sampler keep them all (OTEL_TRACES_SAMPLER)? "
                "Where it keeps a share, wait for several requests.",
            )
        return self._spans.whole(self._request.trace_id, deadline)


class SentOrNextRequest:
    """A synthesis at the reference service; where there is none, the next request of any service.

    Args:
        sent: what is tried first.
        following: what is waited for else.
    """

    def __init__(self, sent: SentRequest, following: NextRequest) -> None:
        self._sent, self._next = sent, following
        self._followed: FollowedRequest = sent

    def begin(self) -> None:
        """Note how things are before the request."""
        self._sent.begin()

    def service(self, *, can_arrive: bool) -> str:
        """Send it, or wait for one.

        Args:
            can_arrive: whether telemetry can arrive: without it nothing is waited for.

        Raises:
            HopBrokenError: telemetry does not get over this hop.
            HopUnknownError: there is no reference service, and nothing can arrive.
        """
        try:
            return self._sent.service(can_arrive=can_arrive)
        except HopAbsentError as absent:
            self._followed = self._next
            self._next.begin()
            try:
                return self._next.service(can_arrive=can_arrive)
            except HopBrokenError as broken:
                raise HopBrokenError(f"{absent.message}, and {broken.message}", f"{absent.remedy} {broken.remedy}") from None
            except HopUnknownError as unknown:
                raise HopUnknownError(f"{absent.message}, and {unknown}") from None

    def metrics(self, deadline: float) -> str:
        """Wait until it is counted.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """
        return self._followed.metrics(deadline)

    def traces(self, deadline: float) -> str:
        """Wait until all of its spans are there.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.
        """
        return self._followed.traces(deadline)


def _request(trace: Trace) -> Request | None:
    spans = (span for _, span in trace.walk() if span.name == semconv.SYNTHESIS_SPAN.name)
    return next(map(Request.from_span, spans), None)


def _sentence(request: Request) -> str:
    audio = "" if request.audio_duration is None else f", {formatting.duration(request.audio_duration)} of audio"
    by = f" by {request.provider}" if request.provider else ""
    return (
        f"{request.service or 'a service without a name'} spoke at {formatting.date(request.start)}: "
        f"{request.outcome or 'outcome not known'}{by}{audio}, trace {request.trace_id}"
    )
