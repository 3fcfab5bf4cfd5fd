"""What became of one synthesis: counted in Prometheus, and its spans in the trace backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from otel_tts import formatting, promql, semconv
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.engine import lacking as lacking_flags
from otel_tts.commands.doctor.engine import unnamed_scrape
from otel_tts.commands.doctor.finding import HopBrokenError, HopUnknownError
from otel_tts.commands.doctor.service import Spoken
from otel_tts.history import History, HistoryUnavailableError, Request, Trace
from otel_tts.history.whole import PART, WHOLE, missing_because
from otel_tts.promql import readings
from otel_tts.promql.readings import equals

T = TypeVar("T")

_PAUSE_S = 0.2  # seconds between two looks
_EXPORTED_S = 120.0  # after a request, within which its points must be there: twice the longest interval that is usual
_COUNTED = semconv.SYNTHESIS_DURATION
_ACCEPTED = "otelcol_receiver_accepted_metric_points_total"
"""The Collector's own: https://opentelemetry.io/docs/collector/internal-telemetry/."""
Counts = Mapping[frozenset[tuple[str, str]], float]


_CLOCKS_S = 60.0
"""The most seconds that the clocks of two machines may differ before that is the finding."""


class Counter:
    """How many syntheses Prometheus has counted.

    Args:
        server: Prometheus.
        service: only those of this service.
        matchers: label matchers of the series that count.
    """

    def __init__(self, server: Server, *matchers: str, service: str | None = None) -> None:
        self._server = server
        self._matchers = matchers
        self._service = service
        self._before: Counts | HopBrokenError = {}
        self._accepted: Counts = {}

    def remember(self) -> None:
        """Note how things are before the synthesis."""
        try:
            self._before, self._accepted = self.counts(), self._values(_ACCEPTED)
        except HopBrokenError as broken:
            self._before = broken

    def counts(self, at: float | None = None) -> Counts:
        """The count of each series, now or at a moment in seconds since the Unix epoch.

        Args:
            at: in seconds since the Unix epoch; None: now.

        Raises:
            HopBrokenError: Prometheus does not answer.
        """
        counts = self._values(promql.count_series(_COUNTED), *self._matchers, at=at)
        return {series: count for series, count in counts.items() if self._service in (None, _service(series))}

    def has_moved(self) -> bool:
        """Whether any of the series has grown since then.

        Raises:
            HopBrokenError: Prometheus does not answer, or did not then.
        """
        if isinstance(self._before, HopBrokenError):
            raise self._before
        return _grown(self._before, self.counts())

    def moved(self, deadline: float) -> str:
        """Wait until any of the series has grown since then.

        Args:
            deadline: up to when to look, a reading of `time.monotonic()`.

        Raises:
            HopBrokenError: none does before the deadline, a monotonic time; or what was before is not known.
        """
        began = time.monotonic()
        if until(self.has_moved, deadline):
            return f"{promql.count_series(_COUNTED)} has increased"
        raise HopBrokenError(
            f"{promql.count_series(_COUNTED)} did not increase within {time.monotonic() - began:.0f} s at {self._server.shown}",
            self._diagnosis(),
        )

    def has_counted(self, request: Request, deadline: float) -> str:
        """Wait until the series of a request's service and outcome has grown since it began.

        Args:
            request: the request.
            deadline: up to when to look, a reading of `time.monotonic()`.

        Raises:
            HopBrokenError: it has not before the deadline, a monotonic time, or within two minutes after the request.
        """
        if (ahead_s := request.start - time.time()) > _CLOCKS_S:
            raise HopBrokenError(
                f"the request began at {formatting.date(request.start)}, which is {formatting.elapsed(ahead_s)} ahead of this clock",
                "Compare the clock of the service's machine with this one, and set the wrong one (NTP). Prometheus refuses metrics from "
                "ahead of its own clock, so none of that service arrive, while its traces do.",
            )
        outcome = str(request.outcome)
        counter = Counter(self._server, equals(promql.label(semconv.OUTCOME), outcome), service=request.service or None)
        before, last = counter.counts(at=request.start), request.end + _EXPORTED_S
        until(lambda: time.time() >= last or _grown(before, counter.counts()), deadline)
        after = counter.counts(at=min(time.time(), last))
        words = f"{promql.count_series(_COUNTED)} of {request.service or 'the service'} with the outcome {outcome}"
        if _grown(before, after):
            total = f"{words} has increased to {sum(after.values()):,.0f} since then"
            named = all(dict(series).get(readings.RESOURCE[0]) for series in after)
            return total if named or (scraped := unnamed_scrape(self._server)) is None else f"{total}. {scraped}"
        services = sorted({_service(series) for series in Counter(self._server).counts(at=min(time.time(), last))})
        raise HopBrokenError(
            f"{words} did not increase from {formatting.date(request.start)} to {formatting.date(min(time.time(), last))} at "
            f"{self._server.shown}",
            f"At that time it counted for: {', '.join(services) or 'no service'}. {self._diagnosis()}",
        )

    def _diagnosis(self) -> str:
        """What to do, by whether the Collector was sent any metrics meanwhile: it says so in metrics of its own."""
        accepted = self._values(_ACCEPTED)
        if accepted and not _grown(self._accepted, accepted):
            return (
                "The Collector received no metrics in that time: does the service export to it (OTEL_EXPORTER_OTLP_ENDPOINT), and metrics "
                "at all (METRICS_ENABLED)? `otel-tts config` there shows the settings."
            )
        if flags := lacking_flags(self._server):
            return " ".join(flags)
        return (
            "Does the service export to this Collector (OTEL_EXPORTER_OTLP_ENDPOINT, METRICS_ENABLED), and the Collector to this "
            "Prometheus (METRICS_OTLP_URL)? Has Prometheus --web.enable-otlp-receiver? The Collector's log has what it could not send."
        )

    def _values(self, name: str, *matchers: str, at: float | None = None) -> Counts:
        series = promql.Scope().select(name, *matchers)
        moment = {} if at is None else {"time": f"{at:.3f}"}
        answer = self._server.ask("/api/v1/query", {"query": series, **WHOLE, **moment})
        if (reason := missing_because(answer.body)) is not None:
            raise HopBrokenError(f"{self._server.shown} gave only {PART}: {reason}", "Its log says what is away.")
        match answer.body:
            case {"status": "success", "data": {"result": list(result)}}:
                return {frozenset(item["metric"].items()): float(item["value"][1]) for item in result}
        raise HopBrokenError(
            f"{self._server.shown} answers {answer.excerpt}", "Is that Prometheus? Give --prometheus-url, or look into its log."
        )


def _grown(before: Counts, now: Counts) -> bool:
    """Whether any series counted more than before; one that was not there counted from 0."""
    return any(count > before.get(series, 0.0) for series, count in now.items())


def _service(series: frozenset[tuple[str, str]]) -> str:
    """Whose a series is: Prometheus promotes the service's name, or has it in the job, where the endpoint was not scraped."""
    labels = dict(series)
    promoted, job = readings.RESOURCE[0], readings.PROCESS[0]
    return labels.get(promoted) or labels.get(job, "").rpartition("/")[2]


class Spans:
    """The spans of a trace, in Jaeger or Tempo.

    Args:
        server: has the traces.
        history: the telemetry that is read.
    """

    def __init__(self, server: Server, history: History) -> None:
        self._server = server
        self._history = history

    def reachable(self) -> None:
        """Raises `HopBrokenError` when the backend does not answer at all."""
        self._server.ask("/")

    def arrived(self, spoken: Spoken, deadline: float) -> str:
        """Wait until all spans of the synthesis are there.

        Args:
            spoken: the request that was sent.
            deadline: up to when to look, a reading of `time.monotonic()`.

        Raises:
            HopBrokenError: they are not before the deadline, a monotonic time.
            HopUnknownError: the service kept none.
        """
        if not spoken.trace_id:
            raise HopUnknownError("the service has no tracing: is OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER=none set there?")
        if not spoken.sampled:
            raise HopUnknownError(
                "the service's sampler dropped this trace (OTEL_TRACES_SAMPLER): run it again, or sample all traces for a while"
            )
        return self.whole(spoken.trace_id, deadline, rpc=True)

    def whole(self, trace_id: str, deadline: float, *, rpc: bool = False) -> str:
        """Wait until all spans of a trace are there.

        Args:
            trace_id: 32 hexadecimal digits.
            deadline: up to when to look, a reading of `time.monotonic()`.
            rpc: that of its RPC belongs to them.

        Raises:
            HopBrokenError: they are not before the deadline, a monotonic time.
        """
        missing = "every span"

        def number() -> int:
            nonlocal missing
            trace = self._history.trace(trace_id)
            missing = lacking(trace, rpc=rpc)
            return len(list(trace.walk())) if trace and not missing else 0

        began = time.monotonic()
        try:
            there = until(number, deadline)
        except HistoryUnavailableError as unavailable:
            raise HopBrokenError(str(unavailable), "Elsewhere? Give --jaeger-url or --tempo-url.") from None
        if there:
            return f"the trace is complete: {formatting.counted(there, 'span')}"
        raise HopBrokenError(
            f"after {time.monotonic() - began:.0f} s, trace {trace_id} lacks {missing} at {self._server.shown}",
            "Does the Collector export there (TRACES_OTLP_URL), and does it sample? Its log has what it could not send.",
        )


def lacking(trace: Trace | None, *, rpc: bool = False) -> str:
    """What a trace has not, for people; empty when it is whole: each synthesis with as many attempts as it says.

    Args:
        trace: the trace; None if there is none yet.
        rpc: the span of an RPC belongs to it.
    """
    if trace is None:
        return "every span"
    spans = [span for _, span in trace.walk()]
    if rpc and not any(span.kind == semconv.RPC_SPAN.kind for span in spans):
        return "the span of the RPC"
    syntheses = [span for span in spans if span.name == semconv.SYNTHESIS_SPAN.name]
    if not syntheses:
        return f"the span {semconv.SYNTHESIS_SPAN.name}"
    expected = sum(int(span.attributes.get(semconv.ATTEMPT_COUNT.key, 0)) for span in syntheses)
    there = sum(semconv.ATTEMPT_REASON.key in child.attributes for span in syntheses for child in span.children)
    return "" if there == expected else f"{expected - there} of {formatting.counted(expected, 'attempt')}"


def until(look: Callable[[], T], deadline: float, pause_s: float = _PAUSE_S) -> T:
    """What is seen as soon as it is something, or at the deadline, a monotonic time. pause: seconds between two looks.

    Args:
        look: looks once; a result that is false is not what is waited for.
        deadline: up to when to look, a reading of `time.monotonic()`.
        pause_s: between two looks, in seconds.
    """
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(pause_s)
    return seen
