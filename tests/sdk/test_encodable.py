"""Text of the host's that cannot be encoded, in every place of its spans, records and metrics: it costs a character, no batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_tts import files, semconv
from tests.sdk.test_configure import Receiver, receiver, run

__all__ = ["receiver"]

# Every place where a program can put text, each in a span, a record or an instrument of its own, and ours beside them.
BAD = r"""
import logging
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import Link, Status, StatusCode, SpanContext
from opentelemetry._logs import LogRecord, get_logger, get_logger_provider
from otel_tts import PCM16, Telemetry
BAD = "a\ud83d" + "b"
pipeline = otel_tts.configure(local=LOCAL, prometheus_port=0)
tracer, meter = trace.get_tracer("host"), metrics.get_meter("host")
context = tracer.start_span("other").get_span_context()
tracer.start_span("name " + BAD).end()
for key, value in {"k": BAD, BAD: "v", "list": ["x", BAD], "tuple": (BAD,)}.items():
    tracer.start_span("attribute", attributes={key: value}).end()
    span = tracer.start_span("event")
    span.add_event("happened", {key: value})
    span.end()
    tracer.start_span("link", links=[Link(context, {key: value})]).end()
    get_logger_provider().get_logger("host").emit(LogRecord(body="attribute", attributes={key: value}))
span = tracer.start_span("event name")
span.add_event(BAD)
span.set_status(Status(StatusCode.ERROR, BAD))
span.end()
trace.get_tracer("scope " + BAD).start_span("scope").end()
metrics.get_meter("meter " + BAD).create_counter("host.scoped").add(1)
for body in (BAD, {"deep": [{BAD: BAD}]}, ["x", BAD]):
    get_logger_provider().get_logger("host").emit(LogRecord(body=body, attributes={}))
meter.create_counter("host.count", description=BAD).add(1, {"k": BAD})
meter.create_histogram("host.duration").record(1, {"k": BAD, BAD: "v"})
meter.create_observable_gauge("host.gauge", [lambda _: [metrics.Observation(1, {"k": BAD})]])
with Telemetry().synthesis("Hello") as s, s.attempt("piper") as attempt:
    attempt.audio(bytes(3200), PCM16(16000))
logging.getLogger("ours").warning("fine")
print(pipeline.flush(20))
import urllib.request
print("tts_synthesis_requests" in scrape(pipeline), "host_count" in scrape(pipeline))
"""
SPANS = ["attribute"] * 4 + ["event"] * 4 + ["event name"] + ["link"] * 4 + ["name a\N{REPLACEMENT CHARACTER}b", "scope"]


@pytest.mark.parametrize("direct", ["true", "false"])
def test_files_lose_nothing(tmp_path: Path, direct: str) -> None:
    """Each of the host's spans, records and metrics is there, with a replacement character, and so is ours."""
    process = run(BAD.replace("LOCAL", "True"), OTEL_TTS_DATA_DIR=str(tmp_path), OTEL_TTS_DIRECT=direct)
    assert process.stdout.split() == ["True", "True", "True"], process.stderr
    read = {signal: [r for p in files.partitions(tmp_path, signal) for _, r in files.read(p.path)] for signal in files.SIGNALS}
    names = [s["name"] for r in read["traces"] for g in r["resourceSpans"] for scope in g["scopeSpans"] for s in scope["spans"]]
    assert sorted(names) == sorted([*SPANS, semconv.SYNTHESIS_SPAN.name, "text_to_speech"])
    records = [x for r in read["logs"] for g in r["resourceLogs"] for scope in g["scopeLogs"] for x in scope["logRecords"]]
    assert len(records) == 4 + 3 + 1
    kept = {
        m["name"] for r in read["metrics"] for g in r["resourceMetrics"] for scope in g["scopeMetrics"] for m in scope["metrics"]
    }
    assert {"host.count", "host.duration", "host.gauge", "host.scoped", semconv.SYNTHESIS_REQUESTS.name} <= kept
    assert "\\ud83d" not in json.dumps(read)
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("direct", ["true", "false"])
def test_otlp_loses_nothing(receiver: Receiver, direct: str) -> None:
    """The same over OTLP, on both paths."""
    process = run(BAD.replace("LOCAL", "False"), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_TTS_DIRECT=direct)
    assert process.stdout.split() == ["True", "True", "True"], process.stderr
    names = [name.replace("?", "\N{REPLACEMENT CHARACTER}") for _, name in receiver.spans()]
    assert sorted(names) == sorted([*SPANS, semconv.SYNTHESIS_SPAN.name, "text_to_speech"]), process.stderr
    assert len(receiver.logs()) == 4 + 3 + 1
    assert {"host.count", "host.duration", "host.gauge", "host.scoped", semconv.SYNTHESIS_REQUESTS.name} <= receiver.metrics()
    assert "Traceback" not in process.stderr
