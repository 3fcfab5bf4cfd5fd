"""Capture: the telemetry of one test, in memory, in the words of text to speech. Used through :mod:`otel_tts.testing`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tts import semconv
from otel_tts.guard import guard
from otel_tts.instruments import instruments_of
from otel_tts.semconv import Attribute, Metric
from otel_tts.telemetry import Telemetry

Point = NumberDataPoint | HistogramDataPoint
Key = str | Attribute
_Baseline = dict[tuple[str, frozenset[tuple[str, Any]]], float]


class FakeClock:
    """Time that moves only when a test says so. Both readings start at 1,000,000 s."""

    def __init__(self) -> None:
        self._now = 10**15

    def monotonic(self) -> int:
        """Nanoseconds."""
        return self._now

    wall = monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += round(seconds * 1e9)


class Providers:
    """The providers of a test session: the host's where it has set some, else our own, set globally."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        tracer_provider, meter_provider = trace.get_tracer_provider(), metrics.get_meter_provider()
        self._own: list[TracerProvider | MeterProvider] = []
        if not isinstance(tracer_provider, TracerProvider):
            tracer_provider = TracerProvider(shutdown_on_exit=False)
            trace.set_tracer_provider(tracer_provider)
            self._own.append(tracer_provider)
        if not isinstance(meter_provider, MeterProvider):
            meter_provider = MeterProvider(shutdown_on_exit=False)
            metrics.set_meter_provider(meter_provider)
            self._own.append(meter_provider)
        self.tracer_provider, self.meter_provider = tracer_provider, meter_provider
        tracer_provider.add_span_processor(SimpleSpanProcessor(self.spans))

    def shutdown(self) -> None:
        """Shut down what is not the host's."""
        for provider in self._own:
            provider.shutdown()


class AttemptView:
    """One attempt at a provider, as its span tells."""

    def __init__(self, span: ReadableSpan) -> None:
        self.span = span

    def __getitem__(self, attribute: Key) -> Any:
        return _attributes(self.span).get(_key(attribute))

    @property
    def provider(self) -> str:
        """Who was asked."""
        return str(self[semconv.PROVIDER])

    @property
    def model(self) -> str | None:
        """With which model."""
        model = self[semconv.MODEL]
        return None if model is None else str(model)

    @property
    def reason(self) -> str:
        """Why: ``initial``, ``retry``, ``fallback`` or ``probe``."""
        return str(self[semconv.ATTEMPT_REASON])

    @property
    def outcome(self) -> str:
        """How it ended."""
        return str(self[semconv.OUTCOME])

    @property
    def error_type(self) -> str | None:
        """What went wrong."""
        error_type = self[semconv.ERROR_TYPE]
        return None if error_type is None else str(error_type)


class SynthesisView:
    """One request to speak, as its spans tell. ``view[attribute]`` gives any attribute of the span, None where it has none."""

    def __init__(self, span: ReadableSpan, attempts: list[AttemptView]) -> None:
        self.span = span
        self.attempts = attempts

    def __getitem__(self, attribute: Key) -> Any:
        return _attributes(self.span).get(_key(attribute))

    @property
    def outcome(self) -> str:
        """How it ended."""
        return str(self[semconv.OUTCOME])

    @property
    def cache_result(self) -> str:
        """``hit``, ``miss``, ``bypass`` or ``coalesced``."""
        return str(self[semconv.CACHE_RESULT])

    @property
    def first_byte(self) -> float | None:
        """Seconds to the first audio byte, of a stream."""
        seconds = self[semconv.TIME_TO_FIRST_BYTE]
        return None if seconds is None else float(seconds)

    @property
    def first_audio(self) -> float | None:
        """Seconds to the first audible sample, of a stream."""
        seconds = self[semconv.TIME_TO_FIRST_AUDIO]
        return None if seconds is None else float(seconds)


class Capture:
    """What was emitted since the test began."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._reader = InMemoryMetricReader()
        self._before: _Baseline = {}
        self._strict = guard.strict
        self.clock = FakeClock()
        """The clock of telemetry made by :meth:`telemetry`."""

    def __enter__(self) -> Self:
        guard.strict = True
        self._providers.meter_provider.add_metric_reader(self._reader)
        # Sums are kept from the start of the process, so those of earlier tests are taken off.
        self._before = {
            (name, frozenset(_attributes(p).items())): p.value
            for name, data in self._collect().items()
            for p in data.data_points
            if isinstance(data, Sum) and data.is_monotonic and isinstance(p, NumberDataPoint)
        }
        self._providers.spans.clear()
        return self

    def __exit__(self, *error: object) -> None:
        self._providers.meter_provider.remove_metric_reader(self._reader)
        self._reader.shutdown()
        self._providers.spans.clear()
        guard.strict = self._strict

    def telemetry(self, **arguments: Any) -> Telemetry:
        """A Telemetry that is captured and runs on :attr:`clock`. Arguments as for :class:`otel_tts.Telemetry`."""
        captured: dict[str, Any] = {
            "tracer_provider": self._providers.tracer_provider,
            "meter_provider": self._providers.meter_provider,
            "clock": self.clock,
        }
        return Telemetry(**captured | arguments)

    # -- spans --------------------------------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[ReadableSpan]:
        """All finished spans, also those of requests that were dropped, in the order in which they ended."""
        instruments_of(self._providers.meter_provider).collect_abandoned()
        return list(self._providers.spans.get_finished_spans())

    def syntheses(self, **expected: Any) -> list[SynthesisView]:
        """All requests, or those whose properties have the ``expected`` values: ``syntheses(outcome="ok", cache_result="hit")``."""
        spans = self.spans
        views = [
            SynthesisView(span, [AttemptView(s) for s in spans if _is_child(s, span) and s.name.startswith(_ATTEMPT)])
            for span in spans
            if span.name == semconv.SYNTHESIS_SPAN.name
        ]
        return [v for v in views if all(getattr(v, name) == value for name, value in expected.items())]

    def synthesis(self, **expected: Any) -> SynthesisView:
        """The one request that there was (with these properties).

        Raises:
            AssertionError: there was none, or more than one; says which there were.
        """
        found = self.syntheses(**expected)
        if len(found) != 1:
            seen = [f"{v.outcome} by {[a.provider for a in v.attempts]}, cache {v.cache_result}" for v in self.syntheses()]
            raise AssertionError(
                f"Expected one synthesis with {expected or 'any properties'}, found {len(found)}. All of them: {seen}"
            )
        return found[0]

    def tree(self) -> list[Any]:
        """All spans as nested ``[name, attributes, children]``, roots and siblings in the order of their start: the whole picture."""
        spans = sorted(self.spans, key=lambda s: s.start_time or 0)
        ids = {s.context.span_id for s in spans if s.context is not None}

        def node(span: ReadableSpan) -> list[Any]:
            return [span.name, _attributes(span), [node(s) for s in spans if _is_child(s, span)]]

        return [node(s) for s in spans if s.parent is None or s.parent.span_id not in ids]

    # -- metrics ------------------------------------------------------------------------------------------------------------------

    def points(self, metric: str | Metric, attributes: Mapping[str, Any] | None = None) -> list[Point]:
        """The points of a metric that have these attributes (and perhaps others). Sums that are 0, or did not change, have none."""
        data = self._collect().get(metric if isinstance(metric, str) else metric.name)
        points = [] if data is None else [self._since(metric, data, p) for p in data.data_points]
        wanted = dict(attributes or {}).items()
        return [p for p in points if p is not None and wanted <= _attributes(p).items()]

    def total(self, metric: str | Metric, attributes: Mapping[str, Any] | None = None) -> float:
        """The sum of a counter, gauge or up-down counter over the points with these attributes; of a histogram, its count."""
        return sum(p.count if isinstance(p, HistogramDataPoint) else p.value for p in self.points(metric, attributes))

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """The whole picture: by metric name, the attributes and the value (of histograms the count) of every point."""
        return {
            name: [(_attributes(p), p.count if isinstance(p, HistogramDataPoint) else p.value) for p in points]
            for name in sorted(self._collect())
            if (points := self.points(name))
        }

    def _since(self, metric: str | Metric, data: Any, point: Point) -> Point | None:
        if not (isinstance(point, NumberDataPoint) and isinstance(data, Sum)):
            return point
        name = metric if isinstance(metric, str) else metric.name
        value = round(point.value - self._before.get((name, frozenset(_attributes(point).items())), 0), 12)
        if not value:
            return None
        return NumberDataPoint(point.attributes, point.start_time_unix_nano, point.time_unix_nano, value)

    def _collect(self) -> dict[str, Any]:
        collected = self._reader.get_metrics_data()
        if collected is None:
            return {}
        return {m.name: m.data for r in collected.resource_metrics for s in r.scope_metrics for m in s.metrics}


_ATTEMPT = semconv.ATTEMPT_SPAN.name.partition(" ")[0]


def _attributes(of: ReadableSpan | Point) -> dict[str, Any]:
    return dict(of.attributes or {})


def _key(attribute: Key) -> str:
    return attribute if isinstance(attribute, str) else attribute.key


def _is_child(span: ReadableSpan, of: ReadableSpan) -> bool:
    return span.parent is not None and of.context is not None and span.parent.span_id == of.context.span_id
