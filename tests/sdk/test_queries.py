"""Spans of other instrumentations: values of queries and messages of exceptions stay in the process, on every path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from otel_tts import semconv
from otel_tts.sdk import foreign, queries
from otel_tts.sdk.direct.sinks import OTLPSink
from otel_tts.sdk.exporters import ForkedSpanExporter

CANARY = "quokkasecret"
URLS = {
    "url.query": f"text={CANARY}&voice=tone",
    "url.full": f"http://127.0.0.1/speech?text={CANARY}#{CANARY}",
    "url.original": f"/speech?{CANARY}",
    "http.url": f"http://127.0.0.1/speech?voice=tone&text={CANARY}",
    "http.target": f"/speech?text={CANARY}",
}

PROGRAM = f"""
import otel_tts
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import trace

pipeline = otel_tts.configure(service_name="queries", local=True)
app = FastAPI()

@app.get("/speech")
def speak(text: str) -> str:
    return "spoken"

with TestClient(app) as client:
    assert client.get("/speech", params={{"text": {CANARY!r}, "voice": "tone"}}).status_code == 200
with trace.get_tracer("other").start_as_current_span("call", attributes={URLS!r}):
    pass
pipeline.shutdown()
"""


class Sender:
    """Keeps the requests that would be sent."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def send(self, request: bytes, count: int) -> float | None:
        """Keep one."""
        self.requests.append(request)
        return None

    def close(self) -> None:
        """Nothing is open."""


def recorded(scope: str) -> TracerProvider:
    """A provider of the SDK's, and its spans."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer(scope).start_span("call", attributes={**URLS, "http.route": "/speech", "code": 7}).end()
    provider.finished = exporter.get_finished_spans()  # type: ignore[attr-defined]
    return provider


@pytest.mark.parametrize("capture", [False, True])
def test_on_both_paths(capture: bool) -> None:
    """The exporter of the SDK's path and the sink of the direct one send keys without values; with text capture, all of it."""
    spans = recorded("other").finished  # type: ignore[attr-defined]
    exporter, sender = InMemorySpanExporter(), Sender()
    ForkedSpanExporter(lambda: exporter, capture_text=capture).export(spans)
    sink = OTLPSink(sender, {}, capture_text=capture)
    sink.take(spans[0])
    sink.close(30)
    [exported] = exporter.get_finished_spans()
    [request] = sender.requests
    assert (CANARY in str(dict(exported.attributes or {}))) == (CANARY.encode() in request) == capture
    [span] = ExportTraceServiceRequest.FromString(request).resource_spans[0].scope_spans[0].spans
    assert {attribute.key for attribute in span.attributes} == {*URLS, "http.route", "code"} == set(exported.attributes or {})
    if not capture:
        assert (exported.attributes or {})["url.query"] == "text=REDACTED&voice=REDACTED"
        assert (exported.attributes or {})["url.full"] == "http://127.0.0.1/speech?text=REDACTED#REDACTED"
        assert (exported.attributes or {})["url.original"] == "/speech?REDACTED"


def raise_text(text: str) -> None:
    """Raise as an engine does that says what it was given, from an exception that says so, too."""
    try:
        {}[text]
    except KeyError as error:
        raise ValueError(f"cannot speak {text}\nTraceback (most recent call last):\n{text}") from error


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("way", ["leaves the block", "recorded", "attributes"])
def test_exceptions_on_both_paths(capture: bool, way: str) -> None:
    """Of an exception on another library's span, its class and frames leave the process; with text capture, all of it."""
    provider, memory = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("other")
    if way == "leaves the block":
        with pytest.raises(ValueError, match=CANARY), tracer.start_as_current_span("call"):
            raise_text(CANARY)
    else:
        span = tracer.start_span("call")
        with pytest.raises(ValueError, match=CANARY) as raised:
            raise_text(CANARY)
        if way == "recorded":
            span.record_exception(raised.value)
        else:
            span.set_attributes({"exception.message": CANARY, "exception.stacktrace": f"ValueError: {CANARY}"})
        span.set_status(StatusCode.ERROR, str(raised.value) if way == "recorded" else f"ValueError: {CANARY}")
        span.end()
    exporter, sender = InMemorySpanExporter(), Sender()
    ForkedSpanExporter(lambda: exporter, capture_text=capture).export(memory.get_finished_spans())
    sink = OTLPSink(sender, {}, capture_text=capture)
    sink.take(memory.get_finished_spans()[0])
    sink.close(30)
    [exported] = exporter.get_finished_spans()
    [request] = sender.requests
    assert (CANARY in exported.to_json()) == (CANARY.encode() in request) == capture
    assert exported.status.status_code is StatusCode.ERROR
    if not capture and way != "attributes":
        assert b"in raise_text" in request
        assert exported.events[0].attributes["exception.type"] == "ValueError"


def test_other_spans_are_the_same_objects() -> None:
    """A span of otel-tts's own, one without a URL and one that is masked already are not copied."""
    [ours] = recorded(semconv.SCOPE).finished  # type: ignore[attr-defined]
    [other] = recorded("other").finished  # type: ignore[attr-defined]
    masked = foreign.span(other)
    assert foreign.span(ours) is ours
    assert foreign.span(masked) is masked
    assert masked is not other


@given(text=st.text(min_size=1).map(lambda text: f"{CANARY}{text}{CANARY}"), encode=st.sampled_from([quote_plus, quote, str]))
def test_whatever_the_text(text: str, encode: object) -> None:
    """A text, quoted or not, leaves neither its beginning nor, where it has no sign of equality, anything else in any URL."""
    written = encode(text.replace("=", " ").encode("utf-8", "replace").decode())  # type: ignore[operator]
    masked = queries.attributes(
        {"url.query": f"text={written}", "http.target": f"/speech?{written}", "url.full": f"http://a/?a=1&text={written}"}
    )
    assert CANARY not in str(masked).replace("'REDACTED'", "")


def test_what_is_no_text_leaves_nothing() -> None:
    """An attribute of another type than the conventions state is replaced as a whole."""
    assert queries.attributes({"url.query": (CANARY,), "url.full": 7}) == {"url.query": "REDACTED", "url.full": "REDACTED"}


@pytest.mark.parametrize("direct", ["", "ended"])
def test_in_the_local_files(tmp_path: Path, direct: str) -> None:
    """FastAPI's own span and one of another library are in the files with the keys of their queries only, on either path."""
    program = PROGRAM
    if direct:
        program = program.replace("app = F", "from opentelemetry.sdk.trace import SpanProcessor\n"
                                  "pipeline.tracer_provider.add_span_processor(SpanProcessor())\napp = F")  # fmt: skip
    environ = {"OTEL_TTS_DATA_DIR": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", program], env=environ, check=True, capture_output=True, timeout=120)
    written = "".join(path.read_text() for path in (tmp_path / "traces").glob("*.jsonl"))
    assert written.count("text=REDACTED&voice=REDACTED") >= 2
    assert CANARY not in written
