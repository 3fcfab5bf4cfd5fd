"""The direct path's spans: the same as the SDK's, whatever is done to them, down to the bytes that are sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_tts import semconv
from otel_tts.core.repeated import RepeatedAttributes
from otel_tts.sdk.direct import sinks
from otel_tts.sdk.direct.encoding import varint
from otel_tts.sdk.direct.span import Span
from otel_tts.sdk.direct.tracer import TracerProvider as DirectTracerProvider

RESOURCE = Resource({"service.name": "test", "numbers": (1, 2), "ratio": 0.5}, "https://example.com/schema")
characters = st.characters(codec="utf-8")
texts = st.text(characters, max_size=80)
keys = st.one_of(st.sampled_from(["a", "b", "gen_ai.voice", "é"]), st.text(characters, max_size=5))
plain = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.sampled_from([0, 1, -1, True, 1.0, ""]))
strange = st.one_of(
    st.none(),
    st.binary(max_size=5),
    st.integers(2**63, 2**70),
    st.lists(plain, max_size=3),
    st.dictionaries(texts, plain, max_size=2),
    st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2),
    st.builds(object),
)
attribute_sets = st.dictionaries(keys, st.one_of(plain, plain, plain, strange), max_size=6)
repeated = st.sampled_from([
    RepeatedAttributes(attributes)
    for attributes in (
        {"a": "1", "b": True}, {"b": 1, "c": 0.5, "d": None}, {"gen_ai.voice": "joe", "é": "é"}, {"a": 1}, {}, {"e": 2**63}, {"": "f"},
    )
])  # fmt: skip
instants = st.integers(0, 2**63)
trace_states = st.sampled_from([None, TraceState(), TraceState([("vendor", "1"), ("other", "a=b")])])
contexts = st.builds(
    SpanContext,
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(n) for n in range(4)]),
    trace_states,
)
links = st.lists(st.builds(Link, contexts, st.one_of(st.none(), attribute_sets)), max_size=3)
limits = st.builds(
    dict,
    max_events=st.sampled_from([None, 0, 1, 2]),
    max_links=st.sampled_from([None, 0, 1]),
    max_span_attributes=st.sampled_from([None, 0, 1, 3, 8]),
    max_event_attributes=st.sampled_from([None, 1]),
    max_link_attributes=st.sampled_from([None, 1]),
    max_attribute_length=st.sampled_from([None, 3]),
    max_span_attribute_length=st.sampled_from([None, 0, 4]),
)
statuses = st.one_of(
    st.tuples(st.sampled_from(list(StatusCode)), st.one_of(st.none(), texts)),
    st.tuples(st.builds(Status, st.sampled_from(list(StatusCode)), st.one_of(st.none(), texts)), st.none()),
)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("set_attribute"), st.tuples(st.one_of(keys, st.just(7)), st.one_of(plain, strange))),
        st.tuples(st.just("set_attributes"), st.tuples(st.one_of(attribute_sets, repeated))),
        st.tuples(st.just("add_event"), st.tuples(texts, st.one_of(st.none(), attribute_sets), instants)),
        st.tuples(st.just("add_link"), st.tuples(contexts, st.one_of(st.none(), attribute_sets))),
        st.tuples(st.just("set_status"), statuses),
        st.tuples(st.just("update_name"), st.tuples(texts)),
    ),
    max_size=8,
)


class Numbers(IdGenerator):
    """The same ids for both paths."""

    def generate_span_id(self) -> int:
        return 0x1234567890ABCDEF

    def generate_trace_id(self) -> int:
        return 0x11112222333344445555666677778888

    def is_trace_id_random(self) -> bool:
        return True


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[Span | ReadableSpan] = []
        self.take = self.spans.append

    def flush(self, timeout_s: float) -> bool:
        return True

    def close(self, timeout_s: float) -> None: ...


def direct(**limited: Any) -> tuple[DirectTracerProvider, Kept]:
    """A provider of the direct path."""
    kept = Kept()
    provider = DirectTracerProvider(kept, RESOURCE)
    provider.id_generator = Numbers()
    provider.limits = SpanLimits(**limited)
    return provider, kept


def sdk(**limited: Any) -> tuple[TracerProvider, InMemorySpanExporter]:
    """A provider of the SDK's path."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        resource=RESOURCE, shutdown_on_exit=False, id_generator=Numbers(), span_limits=SpanLimits(**limited)
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def sent(spans: list[Span | ReadableSpan]) -> ExportTraceServiceRequest:
    """What a receiver of the direct path's bytes reads."""
    encoded = [sinks.encode(span) for span in spans]
    return ExportTraceServiceRequest.FromString(sinks.request(encoded))


@settings(max_examples=150)
@given(
    limits,
    st.one_of(st.none(), contexts),
    texts,
    st.sampled_from(list(SpanKind)),
    st.one_of(attribute_sets, repeated),
    links,
    calls,
    instants,
)
def test_random_spans_are_the_same_on_both_paths(
    limited: dict[str, Any],
    parent: SpanContext | None,
    name: str,
    kind: SpanKind,
    attributes: dict[str, Any],
    linked: list[Link],
    done: list[tuple[str, Any]],
    end: int,
) -> None:
    """Whatever is done to a span, what the direct path sends decodes to what the official encoder makes of the SDK's span."""
    logging.disable(logging.ERROR)
    try:
        (provider, kept), (reference, exporter) = direct(**limited), sdk(**limited)
        spans = []
        for tracer in (p.get_tracer(semconv.SCOPE, "1") for p in (provider, reference)):
            context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent is not None else trace.Context()
            fresh = [Link(link.context, link.attributes) for link in linked]  # the SDK changes those that it is given
            span = tracer.start_span(name, context, kind, attributes, fresh, 5)
            for method, arguments in done:
                getattr(span, method)(*arguments)
            spans.append(span)
            assert span.is_recording() is (parent is None or not parent.is_valid or parent.trace_flags.sampled)
            span.end(end)
        ours, theirs = spans
        assert ours.get_span_context() == theirs.get_span_context()
        finished = list(exporter.get_finished_spans())
        assert sent(kept.spans) == encode_spans(finished)
        if finished:
            assert isinstance(ours, Span)
            assert encode_spans([ours.readable()]) == encode_spans(finished)  # the readers of finished spans see the same, too
            assert sent([finished[0]]) == encode_spans(finished)  # spans of other tracers take the same encoder
    finally:
        logging.disable(logging.NOTSET)


@settings(max_examples=200)
@given(
    st.sampled_from([None, 2, 8]),
    repeated,
    st.lists(
        st.one_of(
            st.tuples(st.just("set_attributes"), st.tuples(st.one_of(repeated, st.just({"a": 0, "c": "x"})))),
            st.tuples(st.just("set_attribute"), st.tuples(st.sampled_from("abcd"), st.sampled_from([True, 1, "1", [1]]))),
        ),
        max_size=4,
    ),
)
def test_attributes_that_come_again_are_sent_as_they_are_at_the_end(
    most: int | None, attributes: dict[str, Any], done: list[tuple[str, Any]]
) -> None:
    """Attributes that are encoded once for many spans, and are set again, removed by a limit or joined by others: as the SDK has it."""
    logging.disable(logging.ERROR)
    try:
        (provider, kept), (reference, exporter) = direct(max_span_attributes=most), sdk(max_span_attributes=most)
        for tracer in (p.get_tracer(semconv.SCOPE) for p in (provider, reference)):
            span = tracer.start_span("speak", trace.Context(), attributes=attributes, start_time=5)
            for method, arguments in done:
                getattr(span, method)(*arguments)
            span.end(6)
        assert sent(kept.spans) == encode_spans(list(exporter.get_finished_spans()))
    finally:
        logging.disable(logging.NOTSET)


@settings(max_examples=60)
@given(st.integers(0, 2**64 - 1))
def test_numbers_of_any_size_are_read_back(number: int) -> None:
    """A varint decodes to the number that it encodes."""
    value = 0
    for position, byte in enumerate(varint(number)):
        value |= (byte & 0x7F) << 7 * position
    assert value == number


def test_half_a_character_costs_the_character_only() -> None:
    """Text that is no UTF-8 leaves with a question mark in its place, and the rest of the span with it."""
    provider, kept = direct()
    span = provider.get_tracer(semconv.SCOPE).start_span("name \ud800")
    span.set_attribute("half", "\udfff!")
    span.end()
    (resource,) = sent(kept.spans).resource_spans
    decoded = resource.scope_spans[0].spans[0]
    assert (decoded.name, decoded.attributes[0].value.string_value) == ("name ?", "?!")


@pytest.mark.parametrize(
    "sampler",
    ["always_on", "always_off", "parentbased_always_on", "parentbased_always_off", "traceidratio", "parentbased_traceidratio"],
)
@pytest.mark.parametrize("flags", [None, 0, 1, 2, 3])
def test_samplers_decide_alike(monkeypatch: pytest.MonkeyPatch, sampler: str, flags: int | None) -> None:
    """Each of the standard samplers keeps and drops the same spans on both paths, with the same flags and trace state."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.3")
    context = trace.Context()
    if flags is not None:
        parent = SpanContext(2**127, 7, True, TraceFlags(flags), TraceState([("a", "b")]))
        context = trace.set_span_in_context(NonRecordingSpan(parent), context)
    ours, theirs = (p.get_tracer(semconv.SCOPE).start_span("s", context) for p in (direct()[0], sdk()[0]))
    assert ours.get_span_context() == theirs.get_span_context()
    assert ours.is_recording() == theirs.is_recording()


ENDED: list[Callable[[trace.Span], object]] = [
    lambda span: span.set_attribute("late", 1),
    lambda span: span.set_attributes({"late": 1}),
    lambda span: span.add_event("late"),
    lambda span: span.add_link(SpanContext(1, 1, False)),
    lambda span: span.update_name("late"),
    lambda span: span.set_status(StatusCode.ERROR),
    lambda span: span.record_exception(ValueError("late")),
    lambda span: span.end(),
]


@pytest.mark.parametrize("call", ENDED)
def test_what_comes_after_the_end_changes_nothing(call: Callable[[trace.Span], object], caplog: pytest.LogCaptureFixture) -> None:
    """A span that has ended is exported once, as it was; a warning says that something came late."""
    provider, kept = direct()
    span = provider.get_tracer(semconv.SCOPE).start_span("name", attributes={"a": 1})
    span.end(9)
    before = sent(kept.spans)
    call(span)
    assert sent(kept.spans) == before
    assert "ended" in caplog.text


def test_an_exception_that_leaves_its_block_is_recorded_as_the_sdk_does() -> None:
    """As a context manager, with and without its exception and status being recorded, a span ends as the SDK's."""
    for recorded, status in ((True, True), (False, True), (True, False), (False, False)):
        seen = []
        for provider, _ in (direct(), sdk()):
            span = provider.get_tracer(semconv.SCOPE).start_span("s", record_exception=recorded, set_status_on_exception=status)
            with pytest.raises(KeyError), span:
                raise KeyError("x")
            seen.append(
                (
                    span.status.status_code,
                    span.status.description,
                    [(e.name, e.attributes["exception.type"]) for e in span.events],
                )
            )
        assert seen[0] == seen[1]


def test_a_processor_of_the_host_takes_spans_to_the_sdks_path() -> None:
    """Who adds a processor later gets the SDK's spans from then on, begun and ended, and also those that end after it came."""
    provider, kept = direct()
    tracer = provider.get_tracer(semconv.SCOPE)
    open_span = tracer.start_span("open")
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    assert not provider.is_direct
    tracer.start_span("later").end()
    open_span.end()
    assert [span.name for span in exporter.get_finished_spans()] == ["later", "open"]
    assert [span.name for span in kept.spans] == ["later", "open"]


def test_other_libraries_have_the_sdks_spans() -> None:
    """A tracer of another name makes the SDK's own spans, children of ours among them, and they go to the same sink."""
    provider, kept = direct()
    with provider.get_tracer(semconv.SCOPE).start_as_current_span("ours"):
        provider.get_tracer("requests").start_span("GET").end()
    theirs, ours = kept.spans
    assert isinstance(theirs, ReadableSpan)
    assert isinstance(ours, Span)
    assert theirs.parent is not None
    assert theirs.parent.span_id == ours.context.span_id
    assert {scope.scope.name for r in sent(kept.spans).resource_spans for scope in r.scope_spans} == {"requests", semconv.SCOPE}
