"""What the Collector lets pass of text, in every place that OTLP has for it: the real Collector, and a backend that keeps what it gets."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.stack import ROOT, answers, program, until
from tests.ports import free_port

CANARY = "fledermaus"
REQUESTS = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest, "logs": ExportLogsServiceRequest}
FRAMES = 'Traceback (most recent call last):\n  File "say.py", line 5, in say\n    raise Unspeakable(text)\n'
TRACEBACKS = {
    "plain": f"{FRAMES}ValueError: {CANARY}\n",
    "qualified": f"{FRAMES}tts.engine.Unspeakable: {CANARY}",
    "unicode": f"{FRAMES}größe.Fehler: {CANARY}\n",
    "note": f"{FRAMES}ValueError\n{CANARY} is the note\n",
    "own line": f"{FRAMES}ValueError:\n{CANARY}\n",
    "chain": f"{FRAMES}KeyError: '{CANARY}'\n\nDuring handling of the above exception, another exception occurred:\n\n"
    f"{FRAMES}ValueError: {CANARY}\n",
    "group": f"  + Exception Group Traceback (most recent call last):\n  |   File \"say.py\", line 5\n"
    f"  | ExceptionGroup: {CANARY} (1 sub-exception)\n"
    f"  +-+---------------- 1 ----------------\n    | ValueError: {CANARY}\n    +------------------------------------\n",
    "crlf": f"{FRAMES}ValueError: {CANARY}\n".replace("\n", "\r\n"),
    "java": f"java.lang.IllegalStateException: {CANARY}\n\tat com.acme.Tts.say(Tts.java:5)\n"
    f"Caused by: java.io.IOException: {CANARY}\n\t... 1 more\n",
    "javascript": f"TypeError: {CANARY}\n    at say (/app/say.js:1:2)\n",
    "go": f"panic: {CANARY}\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:5 +0x1d\n",
    "representation": f"Unspeakable({CANARY!r})",
    "warning": f"<string>:1: {CANARY}",
}  # fmt: skip


def attribute(key: str, value: Any) -> dict[str, Any]:
    """An attribute with any value."""
    return {"key": key, "value": value if isinstance(value, dict) else {"stringValue": value}}


def mapping(*attributes: dict[str, Any]) -> dict[str, Any]:
    """A value that is a map."""
    return {"kvlistValue": {"values": list(attributes)}}


def several(*values: Any) -> dict[str, Any]:
    """A value that is a list."""
    return {"arrayValue": {"values": list(values)}}


SECRETS = [
    attribute("tts.text", CANARY),
    attribute("exception.message", several({"stringValue": CANARY})),
    attribute("map", mapping(attribute("tts.text", CANARY), attribute("kept", "?"))),
    attribute("deep", mapping(attribute("in", mapping(attribute("exception.message", CANARY))))),
    attribute("list", several(mapping(attribute("tts.text", CANARY)), {"stringValue": TRACEBACKS["plain"]})),
    attribute("nested traceback", mapping(attribute("frames", TRACEBACKS["unicode"]))),
    *(attribute(name, f"{name}: {CANARY}\n") for name in ("ValueError", "tts.engine.Unspeakable", "größe.Fehler")),
]
STATUSES = ("timeout", "StatusCode.UNAVAILABLE", "", f"ValueError: {CANARY}", CANARY)
SHAPES = ("note", "own line", "javascript", "go", "warning")
STACKS: list[Any] = [*TRACEBACKS.values(), several({"stringValue": CANARY}), mapping(attribute("frames", CANARY))]
KEPT = [
    attribute("kept", "as it is"),
    attribute("names", several({"stringValue": "a"}, {"stringValue": "b"})),
    attribute("n", {"intValue": "5"}),
]
ATTRIBUTES = [*KEPT, *SECRETS]
SOURCE = {"resource": {"attributes": [attribute("service.name", "masking"), *ATTRIBUTES]}}
POINT = {
    "timeUnixNano": str(time.time_ns()),
    "attributes": ATTRIBUTES,
    "exemplars": [
        {"asDouble": 1.5, "traceId": "QUFBQUFBQUFBQUFBQUFBQQ==", "spanId": "QUFBQUFBQUE=", "filteredAttributes": ATTRIBUTES}
    ],
}
TRACES = {
    "resourceSpans": [SOURCE | {"scopeSpans": [{"scope": {"name": "s", "attributes": ATTRIBUTES}, "spans": [{
        "traceId": "QUFBQUFBQUFBQUFBQUFBQQ==", "spanId": "QUFBQUFBQUE=", "name": "synthesize",
        "attributes": [*ATTRIBUTES, attribute("exception.stacktrace", traceback)], "status": {"code": 2, "message": message},
        "links": [{"traceId": "QUFBQUFBQUFBQUFBQUFBQQ==", "spanId": "QUFBQUFBQUE="}],
        "events": [
            {"name": "exception", "attributes": [*ATTRIBUTES, attribute("exception.stacktrace", traceback)]}
            for traceback in (*STACKS, f"{FRAMES}ValueError\n") if with_events
        ],
    } for with_events in (True, False) for message, traceback in zip(STATUSES, (TRACEBACKS[shape] for shape in SHAPES), strict=True)]}]}]
}  # fmt: skip
METRICS = {
    "resourceMetrics": [SOURCE | {"scopeMetrics": [{"scope": {"attributes": ATTRIBUTES}, "metrics": [
        {"name": "sum", "sum": {"aggregationTemporality": 2, "dataPoints": [POINT | {"asDouble": 1}]}},
        {"name": "gauge", "gauge": {"dataPoints": [POINT | {"asDouble": 1}]}},
        {"name": "histogram", "histogram": {"aggregationTemporality": 2, "dataPoints": [POINT | {"count": "0", "bucketCounts": ["0"]}]}},
        {"name": "exponential", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [POINT | {"count": "0"}]}},
    ]}]}]
}  # fmt: skip
LOGS = {
    "resourceLogs": [SOURCE | {"scopeLogs": [{"scope": {"attributes": ATTRIBUTES}, "logRecords": [
        {"timeUnixNano": POINT["timeUnixNano"], "body": body, "attributes": [*ATTRIBUTES, attribute("exception.stacktrace", traceback)]}
        for traceback in STACKS
        for body in (
            {"stringValue": f"It failed.\n{traceback}" if str(traceback).startswith("Traceback") else "It failed."},
            mapping(*ATTRIBUTES), several(mapping(*ATTRIBUTES)),
        )
    ]}]}]
}  # fmt: skip


class Backend(ThreadingHTTPServer):
    """Keeps what it gets, by signal."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.got: dict[str, str] = {}


class _Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        signal = self.path.rpartition("/")[2]
        message = REQUESTS[signal].FromString(gzip.decompress(data) if self.headers["Content-Encoding"] == "gzip" else data)
        text = json.dumps(MessageToDict(message), ensure_ascii=False)
        if '"masking"' in text:  # and not the Collector's own
            self.server.got[signal] = text
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def collector(directory: Path, *overlays: str) -> Iterator[tuple[str, Backend]]:
    """The Collector, before a backend of ours."""
    configs = [
        argument for name in ("config", "logs", *overlays) for argument in ("--config", str(ROOT / "collector" / f"{name}.yaml"))
    ]
    with Backend() as backend, (directory / "log").open("w") as log:
        threading.Thread(target=backend.serve_forever, args=(0.01,), daemon=True).start()
        http, grpc, health = (free_port() for _ in range(3))
        environ = {
            "OTLP_HTTP_PORT": str(http), "OTLP_GRPC_PORT": str(grpc), "HEALTH_PORT": str(health), "QUEUE_DIR": str(directory / "queue"),
            "METRICS_OTLP_URL": backend.url, "TRACES_OTLP_URL": backend.url, "LOGS_OTLP_URL": backend.url, "BATCH_TIMEOUT": "50ms",
        }  # fmt: skip
        process = subprocess.Popen([program("otelcol-tts"), *configs], env=os.environ | environ, stderr=log)
        try:
            until(lambda: answers(f"http://127.0.0.1:{health}"), "the Collector")
            yield f"http://127.0.0.1:{http}", backend
        finally:
            process.terminate()
            process.wait(20)
            backend.shutdown()


def send(url: str, signal: str, body: bytes) -> int:
    """The status of the answer."""
    request = urllib.request.Request(f"{url}/v1/{signal}", body, {"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def passed(directory: Path, *overlays: str) -> dict[str, str]:
    """What the backend gets of everything, as JSON by signal."""
    with collector(directory, *overlays) as (url, backend):
        for signal, data in (("traces", TRACES), ("metrics", METRICS), ("logs", LOGS)):
            assert send(url, signal, ParseDict(data, REQUESTS[signal]()).SerializeToString()) == 200
        until(lambda: len(backend.got) == 3, "all signals")
        return backend.got


def test_no_place_lets_text_pass(tmp_path: Path) -> None:
    """Maps, lists, statuses, exemplars, bodies, tracebacks of any shape: text stops, and all else arrives."""
    got = passed(tmp_path)
    assert [signal for signal, text in got.items() if CANARY in text] == []
    for text in got.values():
        assert text.count("as it is") >= 4
        assert '{"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}' in text
    (spans,) = [scope["spans"] for scope in json.loads(got["traces"])["resourceSpans"][0]["scopeSpans"]]
    assert [span["status"].get("message", "") for span in spans] == ["timeout", "StatusCode.UNAVAILABLE", "", "****", "****"] * 2
    assert [len(span.get("events", ())) for span in spans] == [len(STACKS) + 1] * 5 + [0] * 5
    assert [len(span["links"]) for span in spans] == [1] * 10
    frames = [
        a["value"]["stringValue"]
        for event in spans[0]["events"]
        for a in event["attributes"]
        if a["key"] == "exception.stacktrace"
    ]
    assert frames[-1] == f"{FRAMES}ValueError\n"  # says nothing, so nothing of it goes
    assert frames[0].startswith(FRAMES.rstrip())
    assert got["metrics"].count('"asDouble": 1.5') == 4  # exemplars


def test_the_overlay_lets_all_of_it_pass(tmp_path: Path) -> None:
    """So the test before could have failed at each place."""
    got = passed(tmp_path, "keep-text")
    for signal, data in (("traces", TRACES), ("metrics", METRICS), ("logs", LOGS)):
        assert got[signal].count(CANARY) == json.dumps(data, ensure_ascii=False).count(CANARY)


@pytest.mark.parametrize(("size", "statuses"), [(2**20 - 100, {200, 503}), (2**20 + 100, {400, 413})])
def test_large_bodies_are_refused(tmp_path: Path, size: int, statuses: set[int]) -> None:
    """Before they are in memory, where the limiter could only see them afterwards."""
    filler = ParseDict(TRACES, ExportTraceServiceRequest())
    filler.resource_spans[0].resource.attributes[0].value.string_value = "x" * (size - len(filler.SerializeToString()))
    with collector(tmp_path) as (url, _):
        try:
            assert send(url, "traces", filler.SerializeToString()) in statuses
        except urllib.error.URLError:  # closed while the body was still being sent
            assert 413 in statuses
