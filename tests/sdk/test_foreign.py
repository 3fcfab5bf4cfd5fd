"""What exceptions say stays in the process also where another instrumentation or the host records it on a span, on every path."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, Status, StatusCode

from otel_tts import semconv
from otel_tts.sdk import foreign
from otel_tts.sdk.direct.sinks import ExporterSink, OTLPSink
from otel_tts.sdk.direct.tracer import TracerProvider as DirectTracerProvider
from otel_tts.sdk.exporters import ForkedSpanExporter
from tests.sdk.test_queries import Sender

CANARY = "quokkasecret"

PROGRAM = f"""
import otel_tts
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace

pipeline = otel_tts.configure(service_name="foreign", local=True)
app = FastAPI()

@app.get("/speech")
def speak() -> str:
    raise ValueError("cannot speak: {CANARY}")

with TestClient(app, raise_server_exceptions=False) as client:
    assert client.get("/speech").status_code == 500
try:
    with trace.get_tracer("other").start_as_current_span("call"):
        raise RuntimeError({CANARY!r})
except RuntimeError:
    pass
tts = otel_tts.Telemetry()
with tts.synthesis(text="Hi.", voice="tone") as synthesis, synthesis.attempt("engine"):
    trace.get_current_span().record_exception(ValueError({CANARY!r}))
    trace.get_current_span().set_status(trace.StatusCode.ERROR, {CANARY!r})
pipeline.shutdown()
"""


def record(tracer: object, error: Exception, scope: str = "other") -> None:
    """Spans as instrumentations make them when an exception passes: by the context manager, by hand, as attributes, in a link."""
    try:
        with tracer.start_as_current_span("block"):  # type: ignore[attr-defined]
            raise error
    except type(error):
        pass
    if scope == semconv.SCOPE:  # the host adds to the span at hand
        span = tracer.start_span("ours")  # type: ignore[attr-defined]
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error))
        span.end()
        described = tracer.start_span("status only")  # type: ignore[attr-defined]
        described.set_status(Status(StatusCode.ERROR, str(error)))
        described.end()
        return
    link = Link(tracer.start_span("linked").get_span_context(), {"exception.message": str(error)})  # type: ignore[attr-defined]
    span = tracer.start_span("by hand", links=[link])  # type: ignore[attr-defined]
    span.set_attributes({"exception.message": str(error), "error.type": "ValueError", "note": f"it said {error}"})
    span.add_event("log", {"exception.stacktrace": f"ValueError: {error}", "list": [f"{error}!"]})
    span.set_status(Status(StatusCode.ERROR, str(error)))
    span.end()


def exported(direct: bool, capture: bool, scope: str, error: Exception) -> str:
    """What leaves of the spans of an exception."""
    return sent(direct, capture, scope, lambda tracer: record(tracer, error, scope))


def sent(direct: bool, capture: bool, scope: str, spans: Callable[[object], None]) -> str:
    """What leaves for a receiver and for the local files, of the spans that a provider's tracer makes."""
    exporter, sender = InMemorySpanExporter(), Sender()
    files = ForkedSpanExporter(lambda: exporter, capture_text=capture)
    sinks = OTLPSink(sender, {}, capture_text=capture), ExporterSink(files, {})
    for sink in sinks:
        provider: TracerProvider
        if direct:
            provider = DirectTracerProvider(sink, Resource.create({}))
        else:
            provider = TracerProvider(shutdown_on_exit=False)
            provider.add_span_processor(SimpleSpanProcessor(_Taking(sink)))
        spans(provider.get_tracer(scope))
        sink.close(30)
    requests = [ExportTraceServiceRequest.FromString(request) for request in sender.requests]
    return "\n".join([*(str(request) for request in requests), *(span.to_json() for span in exporter.get_finished_spans())])


class _Taking(InMemorySpanExporter):
    """Hands spans to a sink."""

    def __init__(self, sink: OTLPSink | ExporterSink) -> None:
        super().__init__()
        self.sink = sink

    def export(self, spans: object) -> None:  # type: ignore[override]
        """Hand them over."""
        for span in spans:  # type: ignore[attr-defined]
            self.sink.take(span)


@pytest.mark.parametrize("scope", ["other", semconv.SCOPE])
@pytest.mark.parametrize("direct", [False, True], ids=["sdk", "direct"])
def test_on_both_paths(direct: bool, scope: str) -> None:
    """No event, status, attribute or link of a span says what an exception said, also on a span of ours; the class and frames stay."""
    out = exported(direct, False, scope, ValueError(f"cannot speak: {CANARY}"))
    assert CANARY not in out
    assert out.count("raise error") >= 2
    assert "ValueError" in out


@pytest.mark.parametrize("direct", [False, True], ids=["sdk", "direct"])
def test_with_text_capture_all_of_it(direct: bool) -> None:
    """With the switch on, spans leave as they were recorded."""
    assert exported(direct, True, "other", ValueError(CANARY)).count(CANARY) >= 14


CONTENT = {
    "livekit-agents": ("lk.pii.input_text", "lk.pii.response.text", "gen_ai.input.messages", "gen_ai.prompt.variable.name"),
    "pipecat": ("text", "transcript", "output", "tool.arguments"),
    "opentelemetry.instrumentation.openai": ("gen_ai.prompt.0.content", "gen_ai.completion.12.content", "traceloop.entity.input"),
}
PLAIN = {
    "lk.speech_id": "text",
    "gen_ai.prompt.name": "welcome",
    "gen_ai.request.model": "tts-1",
    "voice_id": "anna",
    "pii": False,
}


@pytest.mark.parametrize("scope", CONTENT)
@pytest.mark.parametrize("direct", [False, True], ids=["sdk", "direct"])
def test_what_others_record_of_a_conversation_stays(direct: bool, scope: str) -> None:
    """Attributes that their packages mark as content stay in the process, on spans and events, unless the switch is on."""

    def spans(tracer: object) -> None:
        span = tracer.start_span("tts", attributes=PLAIN | dict.fromkeys(CONTENT[scope], CANARY))  # type: ignore[attr-defined]
        span.add_event("said", dict.fromkeys(CONTENT[scope], CANARY))
        span.add_event("gen_ai.user.message", {"content": CANARY})
        span.end()

    out = sent(direct, False, scope, spans)
    assert CANARY not in out
    assert all(word in out for word in ("lk.speech_id", "welcome", "tts-1", "anna", "said", "gen_ai.user.message"))
    assert sent(direct, True, scope, spans).count(CANARY) == 2 * (2 * len(CONTENT[scope]) + 1)  # by both ways


def spans_of(error: Exception, scope: str = "other") -> list[ReadableSpan]:
    """The finished spans of the SDK."""
    provider, exporter = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_events=1)), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    record(provider.get_tracer(scope), error)
    return list(exporter.get_finished_spans())


def forged(text: str) -> str:
    """A message that looks like a traceback with frames."""
    return f'{text}\nTraceback (most recent call last):\n  File "say.py", line 1, in {text}\n    {text}'


@given(text=st.text(min_size=1).map(lambda text: f"{CANARY}{text}{CANARY}"))
def test_whatever_the_text(text: str) -> None:
    """Any text, over several lines or looking like a traceback, is in nothing that is left."""
    for error in (
        ValueError(text),
        ValueError(f'{text}\nTraceback (most recent call last):\n  File "{text}"'),
        KeyError(text),
        ValueError(forged(text)),
    ):
        for span in spans_of(error):
            masked = foreign.span(span)
            assert CANARY not in masked.to_json()
            assert masked.name == span.name
            assert masked.status.status_code is span.status.status_code
            assert len(masked.events) == len(span.events)


@pytest.mark.parametrize(
    ("description", "left"),
    [
        ("timeout", "timeout"), ("StatusCode.NOT_FOUND", "StatusCode.NOT_FOUND"), ("UNAVAILABLE", "UNAVAILABLE"),
        ("ValueError", "ValueError"),
        (f"ValueError: {CANARY}", "ValueError"), (CANARY, None), (f"Hello: {CANARY}", None), (f"StatusCode.NOT_FOUND: {CANARY}", None),
    ],
)  # fmt: skip
def test_of_a_status_a_kind_stays(description: str, left: str | None) -> None:
    """Of a status's description only a type of error, a code of gRPC or the class of the recorded exception is left."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("other").start_span("call")
    span.record_exception(ValueError())
    span.set_status(StatusCode.ERROR, description)
    span.end()
    [finished] = exporter.get_finished_spans()
    assert foreign.span(finished).status.description == left


def test_counts_of_what_was_dropped_stay() -> None:
    """A masked span says as before how many attributes, events and links were beyond the limits; one without text is the same object."""
    provider, exporter = (
        TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_events=1, max_links=1)),
        InMemorySpanExporter(),
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("other")
    context = tracer.start_span("linked").get_span_context()
    span = tracer.start_span("call", links=[Link(context), Link(context)])
    span.add_event("first")
    span.record_exception(ValueError(CANARY))
    span.end()
    tracer.start_span("plain").end()
    dropped, plain = exporter.get_finished_spans()
    masked = foreign.span(dropped)
    assert masked is not dropped
    assert (masked.dropped_events, masked.dropped_links) == (1, 1)
    assert foreign.span(plain) is plain


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "sdk"])
def test_in_the_local_files(tmp_path: Path, direct: bool) -> None:
    """FastAPI's own span, one of another library and what the host adds to one of ours are in the files without what the exception said."""
    environ = {"OTEL_TTS_DATA_DIR": str(tmp_path), "PATH": ""}
    program = PROGRAM if direct else PROGRAM.replace("app = F", "from opentelemetry.sdk.trace import SpanProcessor\n"
                                  "pipeline.tracer_provider.add_span_processor(SpanProcessor())\napp = F")  # fmt: skip
    subprocess.run([sys.executable, "-c", program], env=environ, check=True, capture_output=True, timeout=120)
    written = "".join(path.read_text() for path in (tmp_path / "traces").glob("*.jsonl"))
    assert '"call"' in written
    assert "RuntimeError" in written
    assert CANARY not in written
