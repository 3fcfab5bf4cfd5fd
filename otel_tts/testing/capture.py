"""Capture: the telemetry of one test, in memory, as syntheses and attempts. Used through :mod:`otel_tts.testing`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tts import semconv
from otel_tts.core.bounded import Bounded
from otel_tts.core.deferred import run_deferred
from otel_tts.core.fork import registered
from otel_tts.core.guard import guard
from otel_tts.core.instruments import Instruments
from otel_tts.core.labels import Labels
from otel_tts.core.telemetry import Telemetry
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import Metric
from otel_tts.testing.existing import check_exists
from otel_tts.testing.views import AttemptView, Point, SynthesisView, attributes_of, key_of

_SETTLING_S = 0.2  # for what was answered, and is over when grpc says so: within a millisecond, unless its thread is this one
_Baseline = dict[tuple[str, frozenset[tuple[str, Any]]], float]
_READINGS = (semconv.CACHE_ENTRIES.name, semconv.CACHE_SIZE.name)  # sums by kind, but what is read is how much there is


class FakeClock:
    """Time that moves only when a test says so. Both readings start at 1,000,000 s."""

    def __init__(self) -> None:
        self._now = 10**15

    def monotonic(self) -> int:
        """Nanoseconds."""
        return self._now

    wall = monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: how much later it is.
        """
        self._now += round(seconds * 1e9)


class SpanRelay(SpanExporter):
    """Hands the spans of the global provider to whichever test is running."""

    def __init__(self) -> None:
        self.to: SpanExporter | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass the spans to the running test; between tests, drop them."""
        return SpanExportResult.SUCCESS if self.to is None else self.to.export(spans)


class SessionProviders:
    """The global providers of a test session: the host's where it has set some, else our own."""

    def __init__(self) -> None:
        self.spans = SpanRelay()
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


class Capture:
    """What was emitted since the test began, on the global providers and on some of its own, which :meth:`telemetry` uses.

    Args:
        providers: of the session.
    """

    def __init__(self, providers: SessionProviders) -> None:
        self._providers = providers
        self._spans = InMemorySpanExporter()
        self._reader, self._own_reader = InMemoryMetricReader(), InMemoryMetricReader()
        self._tracer_provider = TracerProvider(shutdown_on_exit=False)
        self._meter_provider = MeterProvider([self._own_reader], shutdown_on_exit=False)
        self._tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._before: _Baseline = {}
        self._strict = guard.strict
        self.clock = FakeClock()
        """The clock of telemetry made by :meth:`telemetry`."""

    def __enter__(self) -> Self:
        guard.strict = True
        run_deferred()  # of earlier tests
        # A process has places for so many models and voices; those that earlier tests took would make this one's `_OTHER`.
        for owner in registered():
            if isinstance(owner, Bounded | Instruments | Labels):
                owner.release()
        self._providers.meter_provider.add_metric_reader(self._reader)
        # Sums are kept from the start of the process, so those of earlier tests are taken off.
        self._before = {
            (name, frozenset(attributes_of(p).items())): p.value
            for name, data in _read(self._reader)
            for p in data.data_points
            if isinstance(data, Sum) and name not in _READINGS and isinstance(p, NumberDataPoint)
        }
        self._providers.spans.to = self._spans
        return self

    def __exit__(self, *error: object) -> None:
        self._providers.spans.to = None
        self._providers.meter_provider.remove_metric_reader(self._reader)
        self._reader.shutdown()
        self._meter_provider.shutdown()
        self._tracer_provider.shutdown()
        guard.strict = self._strict

    def telemetry(self, **arguments: Any) -> Telemetry:
        """A Telemetry that is captured and runs on :attr:`clock`. Arguments as for :class:`otel_tts.Telemetry`.

        Args:
            arguments: as for :class:`otel_tts.Telemetry`.
        """
        captured: dict[str, Any] = {
            "tracer_provider": self._tracer_provider,
            "meter_provider": self._meter_provider,
            "clock": self.clock,
        }
        return Telemetry(**captured | arguments)

    # -- spans --------------------------------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[ReadableSpan]:
        """All finished spans, also those of requests that were dropped, in the order in which they ended."""
        self._settle()
        return list(self._spans.get_finished_spans())

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

        Args:
            expected: values that properties must have.

        Raises:
            AssertionError: there was none, or more than one; says which there were.
        """
        matching = self.syntheses(**expected)
        if len(matching) != 1:
            descriptions = [
                f"{v.outcome} by {[a.provider for a in v.attempts]}, cache {v.cache_result}" for v in self.syntheses()
            ]
            raise AssertionError(
                f"Expected one synthesis with {expected or 'any properties'}, found {len(matching)}. All of them: {descriptions}"
            )
        return matching[0]

    def tree(self) -> list[Any]:
        """All spans as nested ``[name, attributes, children]``, roots and siblings in the order of their start: the whole picture."""
        spans = sorted(self.spans, key=lambda s: s.start_time or 0)
        ids = {s.context.span_id for s in spans if s.context is not None}

        def node(span: ReadableSpan) -> list[Any]:
            return [span.name, attributes_of(span), [node(s) for s in spans if _is_child(s, span)]]

        return [node(s) for s in spans if s.parent is None or s.parent.span_id not in ids]

    # -- metrics ------------------------------------------------------------------------------------------------------------------

    def points(self, metric: str | Metric, attributes: Mapping[str, Any] | None = None) -> list[Point]:
        """The points of a metric that have these attributes (and perhaps others). Sums that are 0, or did not change, have none.

        Args:
            metric: its name, or the object in ``semconv``.
            attributes: keys with the values that a point must have.

        Raises:
            ValueError: a metric of ours has no such name, attribute or value, so there could never be such a point.
        """
        name, wanted = key_of(metric), dict(attributes or {})
        check_exists(name, wanted)
        return [p for p in self._collect().get(name, []) if wanted.items() <= attributes_of(p).items()]

    def total(self, metric: str | Metric, attributes: Mapping[str, Any] | None = None) -> float:
        """The sum of a counter, gauge or up-down counter over the points with these attributes; of a histogram, its count.

        Args:
            metric: its name, or the object in ``semconv``.
            attributes: keys with the values that a point must have; None: any.
        """
        return sum(p.count if isinstance(p, HistogramDataPoint) else p.value for p in self.points(metric, attributes))

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """The whole picture: by metric name, the attributes and the value (of histograms the count) of every point."""
        return {
            name: [(attributes_of(p), p.count if isinstance(p, HistogramDataPoint) else p.value) for p in points]
            for name, points in sorted(self._collect().items())
        }

    def _settle(self) -> None:
        """Have everything counted that was answered or dropped."""
        UNDER_WAY.settle(_SETTLING_S)
        for item in UNDER_WAY.items():
            if item.ending:  # in this very thread, say
                item.stop()
        run_deferred()

    def _collect(self) -> dict[str, list[Point]]:
        self._settle()
        points: dict[str, list[Point]] = {}
        for reader, before in ((self._reader, self._before), (self._own_reader, {})):
            for name, data in _read(reader):
                new = [p for p in (_since(before, name, data, p) for p in data.data_points) if p is not None]
                if new:
                    points.setdefault(name, []).extend(new)
        return points


_ATTEMPT = semconv.ATTEMPT_SPAN.name.partition(" ")[0]


def _read(reader: InMemoryMetricReader) -> Iterator[tuple[str, Any]]:
    """Every metric by name, with its data."""
    collected = reader.get_metrics_data()
    for resource in collected.resource_metrics if collected is not None else ():
        for scope in resource.scope_metrics:
            yield from ((metric.name, metric.data) for metric in scope.metrics)


def _since(before: _Baseline, name: str, data: Any, point: Point) -> Point | None:
    """The point, less the sum ``before``; None for a sum of 0."""
    if not (isinstance(point, NumberDataPoint) and isinstance(data, Sum)):
        return point
    value = round(point.value - before.get((name, frozenset(attributes_of(point).items())), 0), 12)
    if not value:
        return None
    return NumberDataPoint(point.attributes, point.start_time_unix_nano, point.time_unix_nano, value)


def _is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and parent.context is not None and span.parent.span_id == parent.context.span_id
