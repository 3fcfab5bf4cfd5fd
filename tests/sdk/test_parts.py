"""No request is larger than what the Collector takes: large exports leave in parts, and nothing is lost or counted twice by that."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal.point import Buckets
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.view import (
    DefaultAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState

from otel_tts.files import Signal
from otel_tts.sdk import parts, sizes
from otel_tts.sdk.direct.sinks import OTLPSink
from otel_tts.sdk.exporters import ForkedLogExporter, ForkedMetricExporter, ForkedSpanExporter, destinations
from otel_tts.sdk.losses import LOSSES
from otel_tts.sdk.metrics import Push
from otel_tts.settings import Settings

# -- sizes -----------------------------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS | st.binary(max_size=300),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=4,
)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=4)
IDS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
)
TIMES = st.integers(0, 2**63 - 1)
RESOURCES = st.builds(Resource, ATTRIBUTES, TEXTS)
SCOPES = st.none() | st.builds(InstrumentationScope, TEXTS, TEXTS, TEXTS, ATTRIBUTES)


@st.composite
def spans(draw: st.DrawFn) -> list[ReadableSpan]:
    """Spans of a few resources and scopes, of any content that the SDK's exporter encodes."""
    resources, scopes = draw(st.lists(RESOURCES, min_size=1, max_size=2)), draw(st.lists(SCOPES, min_size=1, max_size=3))
    span = st.builds(
        ReadableSpan,
        name=TEXTS,
        context=IDS,
        parent=st.none() | IDS,
        resource=st.sampled_from(resources),
        attributes=ATTRIBUTES,
        events=st.lists(st.builds(Event, TEXTS, ATTRIBUTES, TIMES), max_size=3),
        links=st.lists(st.builds(Link, IDS, ATTRIBUTES), max_size=3),
        status=st.just(Status()) | st.builds(Status, st.just(StatusCode.ERROR), TEXTS),
        start_time=TIMES,
        end_time=TIMES,
        instrumentation_scope=st.sampled_from(scopes),
    )
    return draw(st.lists(span, min_size=1, max_size=6))


@st.composite
def records(draw: st.DrawFn) -> list[ReadableLogRecord]:
    """Log records of any content."""
    resources, scopes = draw(st.lists(RESOURCES, min_size=1, max_size=2)), draw(st.lists(SCOPES, min_size=1, max_size=3))
    record = st.builds(
        LogRecord,
        timestamp=TIMES,
        observed_timestamp=TIMES,
        severity_text=TEXTS,
        severity_number=st.sampled_from(SeverityNumber),
        body=VALUES,
        attributes=ATTRIBUTES,
        event_name=TEXTS,
    )
    readable = st.builds(ReadableLogRecord, record, st.sampled_from(resources), st.sampled_from(scopes))
    return draw(st.lists(readable, min_size=1, max_size=8))


@settings(max_examples=12, deadline=None)
@given(spans(), st.integers(500, 20_000))
def test_spans_of_any_content_fit(batch: list[ReadableSpan], most_bytes: int) -> None:
    """Each part has at most so many bytes, and together they have each span once, in its order; only what is too large alone is left."""
    _whole(batch, parts.of_spans(batch, most_bytes), encode_spans, most_bytes)


@settings(max_examples=25, deadline=None)
@given(records(), st.integers(500, 20_000))
def test_log_records_of_any_content_fit(batch: list[ReadableLogRecord], most_bytes: int) -> None:
    """As spans do."""
    _whole(batch, parts.of_logs(batch, most_bytes), encode_logs, most_bytes)


def _whole(batch: Sequence[Any], split: Any, encode: Callable[[Any], Any], most_bytes: int) -> None:
    taken = list(split)
    for part in taken:
        assert encode(part).ByteSize() <= most_bytes
    kept = [id(item) for part in taken for item in part]
    assert kept == [id(item) for item in batch if id(item) in set(kept)]
    for item in batch:
        if id(item) not in set(kept):
            assert encode([item]).ByteSize() > most_bytes - most_bytes // 5 - 200  # what is dropped as too large is, or nearly


def measured(
    series: int, label: str = "a label", *, scopes: int = 2, resource: Mapping[str, Any] | None = None
) -> tuple[MeterProvider, Callable[[], MetricsData]]:
    """A provider with points of all kinds, in several scopes; and what returns them, encoded by nobody."""
    reader = InMemoryMetricReader()
    views = [View(instrument_type=Histogram, instrument_name="exponential*", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([reader], Resource(dict(resource or {"service.name": "s"})), shutdown_on_exit=False, views=views)
    for scope in range(scopes):
        meter = provider.get_meter(f"scope.{scope}", attributes={"of": label})
        counter, gauge = meter.create_counter("counter", "1", label), meter.create_gauge("gauge")
        histograms = [meter.create_histogram("explicit", "s"), meter.create_histogram(f"exponential.{scope}", "s")]
        for number in range(series):
            attributes = {"series": number, "label": label}
            counter.add(number, attributes)
            gauge.set(number / 3, attributes)
            for value in range(3):
                for histogram in histograms:
                    histogram.record(value * number, attributes)

    def collect() -> MetricsData:
        data = reader.get_metrics_data()
        assert data is not None
        return data

    return provider, collect


def points(data: MetricsData) -> list[tuple[Any, ...]]:
    """The points of metrics, each with all that it belongs to."""
    return [
        (of_resource.resource, of_scope.scope, metric.name, metric.unit, type(metric.data), _kind(metric.data), point)
        for of_resource in data.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
        for point in metric.data.data_points
    ]


def _kind(data: Any) -> tuple[Any, Any]:
    return getattr(data, "aggregation_temporality", None), getattr(data, "is_monotonic", None)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), TEXTS, st.integers(1, 3), st.integers(4_000, 30_000))
def test_metrics_of_any_content_fit(series: int, label: str, scopes: int, most_bytes: int) -> None:
    """Each part has at most so many bytes and is whole: resource, scope, metric, temporality; together they have each point once."""
    provider, collect = measured(series, label, scopes=scopes)
    data = collect()
    split = list(parts.of_metrics(data, most_bytes))
    assert [point for part in split for point in points(part)] == points(data)
    for part in split:
        assert encode_metrics(part).ByteSize() <= most_bytes
    provider.shutdown()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), TEXTS)
def test_a_part_is_well_filled(series: int, label: str) -> None:
    """What is left free in a part for what could not be known exactly is less than half of it: not twice as many requests."""
    provider, collect = measured(series, label)
    encoded = encode_metrics(data := collect()).ByteSize()
    assert len(list(parts.of_metrics(data, 20_000))) <= 2 * math.ceil(encoded / 20_000) + 1
    provider.shutdown()


def span_with(**content: Any) -> tuple[int, int]:
    """The size that a span with this content is given, with what stands above it, and the one that it has."""
    context = SpanContext(1, 1, is_remote=False)
    content = {"name": "", "context": context, "resource": Resource({}), **content}
    span = ReadableSpan(**content)
    size = sizes.resource(span.resource) + sizes.scope(span.instrumentation_scope) + sizes.span(span)
    return size, encode_spans([span]).ByteSize()


def record_with(**content: Any) -> tuple[int, int]:
    """As `span_with`, for a log record."""
    record = ReadableLogRecord(LogRecord(**{"body": "", **content}), Resource({}), InstrumentationScope(""))
    size = sizes.resource(record.resource) + sizes.scope(record.instrumentation_scope) + sizes.log_record(record)
    return size, encode_logs([record]).ByteSize()


def exponential(counts: Sequence[int]) -> tuple[int, int]:
    """As `span_with`, for a point of an exponential histogram with this number of values in each bucket."""
    buckets = Buckets(0, counts)
    point = ExponentialHistogramDataPoint({}, 1, 2, sum(counts), 1.5, 0, 0, buckets, buckets, 0, 0.5, 1.0)
    metric = Metric("n", "", "", ExponentialHistogram([point], AggregationTemporality.DELTA))
    scope, resource = InstrumentationScope("m"), Resource({})
    data = MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, [metric], "")], "")])
    size = sizes.resource(resource) + sizes.scope(scope) + sizes.metric(metric) + sizes.point(point)
    return size, encode_metrics(data).ByteSize()


def point_of(
    kind: str, name: str = "n", unit: str = "", description: str = "", label: str = "", numbers: int = 1, seen: str = ""
) -> tuple[int, int]:
    """As `span_with`, for a point, with an exemplar if ``seen`` is an attribute of that alone."""
    reader = InMemoryMetricReader()
    keep = {"attribute_keys": {"label"}} if seen else {}
    aggregation = {
        "exponential": ExponentialBucketHistogramAggregation(),
        "explicit": ExplicitBucketHistogramAggregation([2.0**power for power in range(numbers)]),
    }.get(kind, DefaultAggregation())
    provider = MeterProvider(
        [reader],
        Resource({}),
        AlwaysOnExemplarFilter(),
        shutdown_on_exit=False,
        views=[View(instrument_name="*", aggregation=aggregation, **keep)],  # type: ignore[arg-type]
    )
    meter = provider.get_meter("m")
    attributes = {"label": label, **({"seen": seen} if seen else {})}
    if kind == "counter":
        meter.create_counter(name, unit, description).add(1, attributes)
    else:
        histogram = meter.create_histogram(name, unit, description)
        for number in range(numbers):
            histogram.record(2.0 ** (number % 60), attributes)
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    [of_resource] = data.resource_metrics
    [of_scope] = of_resource.scope_metrics
    [metric] = of_scope.metrics
    [point] = metric.data.data_points
    above = sizes.resource(of_resource.resource) + sizes.scope(of_scope.scope) + sizes.metric(metric)
    return above + sizes.point(point), encode_metrics(data).ByteSize()


CONTENTS: dict[str, Callable[[str], tuple[int, int]]] = {
    "name of a span": lambda text: span_with(name=text),
    "attribute of a span": lambda text: span_with(attributes={"k": text}),
    "key of an attribute": lambda text: span_with(attributes={text or "k": 1}),
    "bytes": lambda text: record_with(body=text.encode()),
    "list": lambda text: record_with(body=[text, 1, None]),
    "long list": lambda text: record_with(body=[number / 3 for number in range(len(text) % 5000)]),
    "list of texts": lambda text: record_with(body=[text[:300]] * 300),
    "map": lambda text: record_with(body={"k": text, "l": {text or "k": True}}),
    "event": lambda text: span_with(events=[Event(text), Event(text)]),
    "attribute of an event": lambda text: span_with(events=[Event("", {"k": text})]),
    "attribute of a link": lambda text: span_with(links=[Link(SpanContext(1, 1, is_remote=False), {"k": text})]),
    "status": lambda text: span_with(status=Status(StatusCode.ERROR, text)),
    "trace state": lambda text: span_with(
        context=SpanContext(1, 1, is_remote=False, trace_state=TraceState([(f"k{n}", "v" * 200) for n in range(len(text) % 32)]))
    ),
    "attribute of a resource": lambda text: span_with(resource=Resource({"k": text})),
    "schema of a resource": lambda text: span_with(resource=Resource({}, text)),
    "scope": lambda text: span_with(instrumentation_scope=InstrumentationScope(text)),
    "version of a scope": lambda text: span_with(instrumentation_scope=InstrumentationScope("", text)),
    "schema of a scope": lambda text: span_with(instrumentation_scope=InstrumentationScope("", None, text)),
    "attribute of a scope": lambda text: span_with(instrumentation_scope=InstrumentationScope("", None, None, {"k": text})),
    "body": lambda text: record_with(body=text),
    "severity": lambda text: record_with(severity_text=text),
    "event name": lambda text: record_with(event_name=text),
    "attribute of a log record": lambda text: record_with(attributes={"k": text}),
    "name of a metric": lambda text: point_of("counter", name="n" * min(255, 1 + len(text))),
    "description": lambda text: point_of("counter", description=text),
    "unit": lambda text: point_of("counter", unit="u" * min(63, len(text))),
    "label": lambda text: point_of("counter", label=text),
    "buckets": lambda text: point_of("explicit", numbers=1 + len(text) % 500),
    "exponential buckets": lambda text: point_of("exponential", numbers=1 + len(text) % 500),
    "values in exponential buckets": lambda text: exponential([len(text.encode()) ** 2] * 160),
    "exemplars": lambda text: point_of("explicit", numbers=5, seen=text),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_everything_is_in_the_size(content: str) -> None:
    """An item that is large by one part alone, of any length and script: its size is not less than what it takes, nor twice as much."""
    for character, bytes_each in (("x", 1), ("é", 2), ("🔊", 4)):
        for length in (0, 1, 40, 126, 128, 400, (1 << 14) - 1, 1 << 14, 1 << 21):
            size, exact = CONTENTS[content](character * (length // bytes_each))
            assert exact <= size <= 2 * exact + 700, length


def test_what_nobody_can_encode_is_left_to_the_exporter() -> None:
    """A value without a size is no reason to lose the batch."""

    class Strange:
        def __str__(self) -> str:
            raise ValueError

    span = ReadableSpan("s", attributes={Strange(): Strange()}, resource=Resource({}))  # type: ignore[dict-item]
    assert list(parts.of_spans([span, span])) == [[span, span]]


# -- what leaves -----------------------------------------------------------------------------------------------------------------------

REQUESTS = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest, "logs": ExportLogsServiceRequest}
SERVICES = {"traces": "trace.v1.TraceService", "metrics": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService"}


class Receiver:
    """A receiver of OTLP by both protocols, which refuses as it is told, and what is larger than 1 MiB, as the Collector does.

    Attributes:
        answers: of the next requests: 200, or a status to refuse with.
        taken: the requests that it has taken.
        sizes: the bytes of all that came.
    """

    def __init__(self, signal: Signal) -> None:
        self.answers: list[int] = []
        self.taken: list[Any] = []
        self.sizes: list[int] = []
        self.signal: Signal = signal
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                status = receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self._rpc = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", 1 << 20)])
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        service = f"opentelemetry.proto.collector.{SERVICES[signal]}"
        self._rpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"Export": handler})])
        ports = {"http/protobuf": self._http.server_port, "grpc": self._rpc.add_insecure_port("127.0.0.1:0")}
        self._rpc.start()
        self.endpoints = {protocol: f"http://127.0.0.1:{port}" for protocol, port in ports.items()}

    def take(self, body: bytes) -> int:
        """Take a request or refuse it."""
        self.sizes.append(len(body))
        status = 413 if len(body) > 1 << 20 else self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.taken.append(REQUESTS[self.signal].FromString(body))
        return status

    def _export(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        status = self.take(body)
        if status != 200:
            code = {413: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}.get(status, "INVALID_ARGUMENT")
            context.abort(grpc.StatusCode[code], "no")
        return b""

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()
        self._rpc.stop(None)


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """A receiver of one signal."""
    running = Receiver(request.param)
    yield running
    running.close()


def environ(receiver: Receiver, protocol: str, **more: str) -> dict[str, str]:
    """What sends to a receiver."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoints[protocol], "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, **more}


def way(receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch, **more: str) -> Any:
    """The destination that `configure` would make; its exporter reads the environment."""
    variables = environ(receiver, protocol, **more)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (destination,) = destinations(receiver.signal, Settings.load({}), local=False, environ=variables)
    return destination


both = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])


def totals(receiver: Receiver) -> Counter[tuple[str, str, int]]:
    """The sums of all counters that arrived, by scope, name and series."""
    sums: Counter[tuple[str, str, int]] = Counter()
    for request in receiver.taken:
        for of_scope in (scope for resource in request.resource_metrics for scope in resource.scope_metrics):
            for metric in of_scope.metrics:
                for point in metric.sum.data_points:
                    (series,) = [a.value.int_value for a in point.attributes if a.key == "series"]
                    sums[of_scope.scope.name, metric.name, series] += point.as_int
    return sums


@both
@pytest.mark.parametrize("receiver", ["metrics"], indirect=True)
def test_a_process_with_ten_thousand_series_arrives_whole(
    receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By both protocols in several requests of less than 1 MiB, and each point once."""
    destination = way(receiver, protocol, monkeypatch)
    provider, collect = measured(1250, "a label of some length, as a voice or a model has it")
    exporter = ForkedMetricExporter(destination.build, most_bytes=destination.most_bytes)
    data = collect()
    assert exporter.export(data).name == "SUCCESS"
    assert len(receiver.sizes) > 1
    assert max(receiver.sizes) <= parts.MOST_BYTES
    arrived = [
        (of_scope.scope.name, metric.name, *(a.value.int_value for a in point.attributes if a.key == "series"))
        for request in receiver.taken
        for of_scope in request.resource_metrics[0].scope_metrics
        for metric in of_scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]
    assert arrived == [(scope.name, name, point.attributes["series"]) for _, scope, name, *_, point in points(data)]
    assert len(arrived) == 10_000
    exporter.shutdown()
    provider.shutdown()


TEMPORALITIES = {"cumulative": "cumulative", "delta": "delta"}


@both
@pytest.mark.parametrize("temporality", TEMPORALITIES)
@pytest.mark.parametrize("refusal", [503, 400], ids=["for now", "for good"])
@pytest.mark.parametrize("receiver", ["metrics"], indirect=True)
def test_a_part_that_is_refused(
    receiver: Receiver, protocol: str, temporality: str, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other parts arrive once. Refused for now, it is sent again, once; refused for good, totals make it up, and deltas lack it."""
    destination = way(receiver, protocol, monkeypatch, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=temporality)
    exporter = ForkedMetricExporter(destination.build, most_bytes=5_000)
    push = Push(exporter, 3600)
    provider = MeterProvider([push], Resource({}), shutdown_on_exit=False)
    counter = provider.get_meter("scope").create_counter("counter")
    added: Counter[tuple[str, str, int]] = Counter()
    lost: Counter[tuple[str, str, int]] = Counter()
    for round_ in range(3):
        for series in range(200):
            counter.add(1, {"series": series})
            added["scope", "counter", series] += 1
        before = totals(receiver)
        if round_ == 1:
            receiver.answers = [200, refusal, 200]
        if temporality == "cumulative":
            receiver.taken.clear()
        push.force_flush()
        if round_ == 1 and refusal == 400:
            expected = added - (before if temporality == "delta" else Counter())
            lost = expected - (totals(receiver) - (before if temporality == "delta" else Counter()))
            assert 0 < len(lost) < 100  # one part, whole
    assert totals(receiver) == (added if temporality == "cumulative" else added - lost)
    assert max(receiver.sizes) <= 5_000
    provider.shutdown()


@both
@pytest.mark.parametrize("receiver", ["metrics"], indirect=True)
def test_an_outage_is_waited_for_once(receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a part finds nobody, the others of metrics are not tried: each would take as long, and the next export has the totals."""
    destination = way(receiver, protocol, monkeypatch, OTEL_EXPORTER_OTLP_TIMEOUT="0.2")
    provider, collect = measured(200)
    exporter = ForkedMetricExporter(destination.build, most_bytes=5_000)
    receiver.answers = [503] * 1000
    assert exporter.export(collect()).name == "FAILURE"
    assert len(receiver.sizes) == 1
    receiver.answers = []
    assert exporter.export(collect()).name == "SUCCESS"
    assert set(totals(receiver)) == {(f"scope.{scope}", "counter", series) for scope in (0, 1) for series in range(200)}
    exporter.shutdown()
    provider.shutdown()


def a_span(size: int, name: str = "s", resource: Resource | None = None) -> ReadableSpan:
    """A span of about so many bytes."""
    return ReadableSpan(
        name,
        SpanContext(1, 2, is_remote=False),
        attributes={"a": "x" * size},
        resource=resource or Resource({}),
        instrumentation_scope=InstrumentationScope("a.library"),
        start_time=1,
        end_time=2,
    )


def names(receiver: Receiver) -> list[str]:
    """Of the spans, or the bodies of log records, that arrived."""
    return [
        item.name if receiver.signal == "traces" else item.body.string_value.split()[0]
        for request in receiver.taken
        for resource in (request.resource_spans if receiver.signal == "traces" else request.resource_logs)
        for scope in (resource.scope_spans if receiver.signal == "traces" else resource.scope_logs)
        for item in (scope.spans if receiver.signal == "traces" else scope.log_records)
    ]


@both
@pytest.mark.parametrize("path", ["direct", "sdk"])
@pytest.mark.parametrize("receiver", ["traces"], indirect=True)
def test_large_spans_leave_in_parts(
    receiver: Receiver, protocol: str, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In their order, by both paths; one that fits into no request is dropped, counted and said, and the others arrive."""
    caplog.set_level(logging.ERROR, "otel_tts.sdk.parts")
    monkeypatch.setattr(parts, "_dropped", Counter())
    LOSSES.take()
    batch = [a_span(300_000 if number % 3 else 900, f"s{number}") for number in range(12)]
    batch.insert(5, a_span(1_100_000, "large"))
    expected = [f"s{number}" for number in range(12)]
    _exported(receiver, protocol, path, batch, monkeypatch)
    assert names(receiver) == expected
    assert len(receiver.sizes) > 2
    assert max(receiver.sizes) <= parts.MOST_BYTES
    (message,) = [record.getMessage() for record in caplog.records if record.name == "otel_tts.sdk.parts"]
    assert message.startswith("Dropped a span of a.library: ")
    assert message.endswith("Dropped in all: 1.")
    assert LOSSES.take()


@both
@pytest.mark.parametrize("path", ["direct", "sdk"])
@pytest.mark.parametrize("receiver", ["traces"], indirect=True)
def test_a_large_resource_leaves_with_each_part(
    receiver: Receiver, protocol: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in each request, which is then no larger either; the spans of a part that waited are not sent twice."""
    resource = Resource({"large": "x" * 400_000})
    batch = [a_span(100_000, f"s{number}", resource) for number in range(8)]
    receiver.answers = [200, 503]
    _exported(receiver, protocol, path, batch, monkeypatch)
    assert names(receiver) == [f"s{number}" for number in range(8)]
    assert max(receiver.sizes) <= parts.MOST_BYTES


def _exported(receiver: Receiver, protocol: str, path: str, batch: list[ReadableSpan], monkeypatch: pytest.MonkeyPatch) -> None:
    from otel_tts.sdk.direct.senders import sender

    destination = way(receiver, protocol, monkeypatch)
    if path == "direct":
        variables = environ(receiver, protocol)
        sink = OTLPSink(sender(protocol, variables), variables, capture_text=True)
        for span in batch:
            sink.take(span)
        sink.close(30)
        assert sink.queue.dropped == 0
    else:
        exporter = ForkedSpanExporter(destination.build, capture_text=True, most_bytes=destination.most_bytes)
        exporter.export(batch)
        exporter.shutdown()


@both
@pytest.mark.parametrize("receiver", ["logs"], indirect=True)
def test_large_log_records_leave_in_parts(receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As spans do."""
    destination = way(receiver, protocol, monkeypatch)
    exporter = ForkedLogExporter(destination.build, most_bytes=destination.most_bytes)
    batch = [ReadableLogRecord(LogRecord(timestamp=1, body=f"r{number} " + "x" * 300_000), Resource({})) for number in range(8)]
    batch.insert(3, ReadableLogRecord(LogRecord(timestamp=1, body="large " + "x" * 1_000_000), Resource({})))
    exporter.export(batch)
    assert names(receiver) == [f"r{number}" for number in range(8)]
    assert max(receiver.sizes) <= parts.MOST_BYTES
    exporter.shutdown()


@pytest.mark.parametrize("receiver", ["metrics"], indirect=True)
def test_a_point_that_fits_nowhere_is_said_seldom(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes again with each export: dropped each time, said for each metric the first time, the tenth and the hundredth."""
    monkeypatch.setattr(parts, "_dropped", Counter())
    destination = way(receiver, "http/protobuf", monkeypatch)
    provider, collect = measured(1)
    meter = provider.get_meter("scope.0")
    meter.create_counter("large").add(1, {"series": 7, "label": "x" * 1_100_000})
    exporter = ForkedMetricExporter(destination.build, most_bytes=destination.most_bytes)
    for number in range(12):
        if number == 3:
            meter.create_counter("later").add(1, {"label": "x" * 1_100_000})
        exporter.export(collect())
    messages = [record.getMessage() for record in caplog.records if record.name == "otel_tts.sdk.parts"]
    numbers = [(message.partition(": ")[0], message.rpartition(" ")[2]) for message in messages]
    assert numbers == [
        (f"Dropped a point of {name}", number) for name, number in (("large", "1."), ("later", "1."), ("large", "10."))
    ]
    assert {name for _, name, _ in totals(receiver)} == {"counter"}
    exporter.shutdown()
    provider.shutdown()


@pytest.mark.parametrize("place", range(3))
def test_what_fits_nowhere_is_in_no_part(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is in a batch, and whatever it is: the parts have the others, each once."""
    monkeypatch.setattr(parts, "_dropped", Counter())
    spans = [a_span(9_000 if number == place else 10) for number in range(3)]
    records = [
        ReadableLogRecord(LogRecord(timestamp=1, body="x" * (9_000 if number == place else 10)), Resource({}))
        for number in range(3)
    ]
    for batch, split in ((spans, parts.of_spans), (records, parts.of_logs)):
        taken = [item for part in split(batch, 4_000) for item in part]  # type: ignore[operator]  # the two go together
        assert list(map(id, taken)) == [id(item) for number, item in enumerate(batch) if number != place]
    provider, collect = measured(3)
    provider.get_meter(f"scope.{place}").create_counter("large").add(1, {"label": "x" * 9_000})
    data = collect()
    names_of_points = [point[2] for part in parts.of_metrics(data, 4_000) for point in points(part)]
    assert names_of_points == [point[2] for point in points(data) if point[2] != "large"]
    provider.shutdown()
    assert list(parts._dropped.values()) == [1, 1, 1]


def test_files_are_not_split() -> None:
    """What is not sent by OTLP has no limit: the exporter gets the very batch."""
    batch = [a_span(2_000_000), a_span(10)]
    assert list(parts.of_spans(batch, math.inf)) == [batch]
