"""What became of one synthesis: taken by the Collector, counted in Prometheus, and its spans in the trace backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http.client import OK
from typing import TypeVar

from otel_tts import promql, semconv
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.finding import HopBrokenError, HopUnknownError
from otel_tts.commands.doctor.service import Spoken
from otel_tts.history import History, HistoryUnavailableError, Span, Trace
from otel_tts.history.whole import PART, WHOLE, missing_because
from otel_tts.promql.readings import equals
from otel_tts.semconv import CacheResult

T = TypeVar("T")

_PAUSE = 0.2  # seconds between two looks
_COUNTED = semconv.SYNTHESIS_DURATION
_ACCEPTED = "otelcol_receiver_accepted_metric_points_total"
"""The Collector's own: https://opentelemetry.io/docs/collector/internal-telemetry/."""
Counts = Mapping[frozenset[tuple[str, str]], float]


def collector(server: Server) -> str:
    """The Collector says that it is well.

    Raises:
        HopBrokenError: it does not.
    """
    answer = server.ask("/")
    if answer.status != OK:
        raise HopBrokenError(f"{server.shown} answers {answer.excerpt}", "The Collector's log says why it is not ready.")
    return f"{server.shown} is healthy"


class Counter:
    """How many syntheses Prometheus knows that no cache was asked for: those of a doctor, and few others."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before: Counts | HopBrokenError = {}
        self._accepted: Counts = {}

    def remember(self) -> None:
        """Note how things are before the synthesis."""
        try:
            self._before, self._accepted = self.counts(), self._values(_ACCEPTED)
        except HopBrokenError as broken:
            self._before = broken

    def counts(self) -> Counts:
        """The count of each series.

        Raises:
            HopBrokenError: Prometheus does not answer.
        """
        return self._values(promql.count_series(_COUNTED), equals(promql.label(semconv.CACHE_RESULT), CacheResult.BYPASS))

    def moved(self, deadline: float) -> str:
        """Wait until any of the series has grown since then.

        Raises:
            HopBrokenError: none does before the deadline, a monotonic time; or what was before is not known.
        """
        if isinstance(before := self._before, HopBrokenError):
            raise before
        began = time.monotonic()
        if _until(lambda: _grown(before, self.counts()), deadline):
            return f"{promql.count_series(_COUNTED)} has increased"
        raise HopBrokenError(
            f"{promql.count_series(_COUNTED)} did not increase within {time.monotonic() - began:.0f} s at {self._server.shown}",
            self._diagnosis(),
        )

    def _diagnosis(self) -> str:
        """What to do, by whether the Collector was sent any metrics meanwhile: it says so in metrics of its own."""
        accepted = self._values(_ACCEPTED)
        if accepted and not _grown(self._accepted, accepted):
            return (
                "The Collector received no metrics in that time: does the service export to it (OTEL_EXPORTER_OTLP_ENDPOINT), and metrics "
                "at all (METRICS_ENABLED)? `otel-tts config` there shows the settings."
            )
        return (
            "Does the service export to this Collector (OTEL_EXPORTER_OTLP_ENDPOINT, METRICS_ENABLED), and the Collector to this "
            "Prometheus (METRICS_OTLP_URL)? Has Prometheus --web.enable-otlp-receiver? The Collector's log has what it could not send."
        )

    def _values(self, name: str, *matchers: str) -> Counts:
        series = promql.Scope().select(name, *matchers)
        answer = self._server.ask("/api/v1/query", {"query": series, **WHOLE})
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


class Spans:
    """The spans of a trace, in Jaeger or Tempo."""

    def __init__(self, server: Server, history: History) -> None:
        self._server = server
        self._history = history

    def reachable(self) -> None:
        """Raises `HopBrokenError` when the backend does not answer at all."""
        self._server.ask("/")

    def arrived(self, spoken: Spoken, deadline: float) -> str:
        """Wait until all spans of the synthesis are there.

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
        missing = "every span"

        def whole() -> int:
            nonlocal missing
            trace = self._history.trace(spoken.trace_id)
            missing = lacking(trace)
            return len(list(trace.walk())) if trace and not missing else 0

        began = time.monotonic()
        try:
            number = _until(whole, deadline)
        except HistoryUnavailableError as unavailable:
            raise HopBrokenError(str(unavailable), "Elsewhere? Give --jaeger-url or --tempo-url.") from None
        if number:
            return f"all {number} spans are there"
        raise HopBrokenError(
            f"after {time.monotonic() - began:.0f} s, trace {spoken.trace_id} lacks {missing} at {self._server.shown}",
            "Does the Collector export there (TRACES_OTLP_URL), and does it sample? Its log has what it could not send.",
        )


def lacking(trace: Trace | None) -> str:
    """What a synthesis's trace has not, for people; empty when it is whole: the RPC, the synthesis, as many attempts as that says."""
    if trace is None:
        return "every span"
    rpc = next((span for _, span in trace.walk() if span.kind == semconv.RPC_SPAN.kind), None)
    if rpc is None:
        return "the span of the RPC"
    synthesis = _named(rpc, semconv.SYNTHESIS_SPAN.name)
    if synthesis is None:
        return f"the span {semconv.SYNTHESIS_SPAN.name}"
    expected = int(synthesis.attributes.get(semconv.ATTEMPT_COUNT.key, 0))
    there = sum(semconv.ATTEMPT_REASON.key in span.attributes for span in synthesis.children)
    return "" if there == expected else f"{expected - there} of the {expected} attempts"


def _named(parent: Span, name: str) -> Span | None:
    return next((span for span in parent.children if span.name == name), None)


def _until(look: Callable[[], T], deadline: float) -> T:
    """What is seen as soon as it is something, or in the end."""
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return seen
