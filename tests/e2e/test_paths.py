"""The direct path and the SDK's: the Collector, Prometheus and the trace backend see no difference between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.stack import Stack, get, until

SERVICE = '''
import json
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from otel_tts import PCM16, Telemetry, configure

pipeline = configure(logs=False)
telemetry, tracer, traces = Telemetry(attributes={"acme.tenant": 5}), trace.get_tracer("acme", "1.2"), {}
AUDIO = bytes(4800)


class asked:
    """Everything of one request is in a trace of its own, below a span of the host's."""

    def __init__(self, name, **options):
        self.name, self.options = name, options

    def __enter__(self):
        self.block = tracer.start_as_current_span(self.name, kind=SpanKind.SERVER, **self.options)
        self.span = self.block.__enter__()
        traces[self.name] = f"{self.span.get_span_context().trace_id:032x}"
        return self.span

    def __exit__(self, kind, error, tb):
        self.block.__exit__(None, None, None)
        return kind is ConnectionError


def synthesis(**more):
    return telemetry.synthesis("Grüezi, this is your captain.", voice="joe", language="de-CH", **more)


with asked("unary"), synthesis() as request:
    with request.attempt("piper", model="joe") as attempt:
        attempt.audio(AUDIO, PCM16(24000))
with asked("stream"), synthesis(stream=True) as request:
    with request.attempt("cloud", model="one", remote=True) as attempt:
        list(attempt.stream((AUDIO for _ in range(3)), PCM16(24000)))
with asked("hit"), synthesis() as request, request.lookup("memory") as lookup:
    lookup.found(AUDIO, "piper", "joe", audio=PCM16(24000))
with asked("fallback"), synthesis() as request:
    try:
        with request.attempt("cloud", model="one", remote=True):
            raise TimeoutError("ü" * 300)
    except TimeoutError:
        pass
    with request.attempt("piper", model="joe") as attempt:
        attempt.audio(AUDIO, PCM16(24000))
with asked("error"), synthesis() as request, request.attempt("piper"):
    raise ConnectionError("no\\nroute")
with asked("interrupted"), synthesis(stream=True) as request:
    with request.attempt("piper", model="joe") as attempt:
        for number, _ in enumerate(attempt.stream((AUDIO for _ in range(3)), PCM16(24000))):
            if number == 1:
                request.interrupt("interrupted", heard=0.05)
with asked("host", links=[Link(trace.get_current_span().get_span_context(), {"why": "none"})],
           attributes={"texts": ["a", "ü"], "numbers": [1, 2], "truth": True, "number": 1.5, "large": 2**62, "long": "x" * 5000}) as span:
    span.add_event("happened", {"at": 3, "list": [True]})
    span.record_exception(ValueError("of the host"))
    span.set_status(Status(StatusCode.ERROR, "no luck"))
    with synthesis() as request, request.attempt("piper", model="joe") as attempt:
        trace.get_current_span().set_attribute("acme.note", "ü")
        attempt.audio(AUDIO, PCM16(24000))
pipeline.shutdown()
print(json.dumps([type(trace.get_tracer_provider()).__module__, traces]))
'''
PROCESS = ("job", "instance", "service_name", "service_instance_id")
"""Labels that say which process it was."""
MEASURED = ("doubleValue",)  # how long something took: that there is a number is compared, not which


def served(stack: Stack, name: str, **environ: str) -> dict[str, str]:
    """The trace of each request of a service, by the request's name."""
    environment = {
        **os.environ, **stack.service_environ, "OTEL_SERVICE_NAME": name, "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "false",
        "OTEL_METRIC_EXPORT_INTERVAL": "60000", **environ,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SERVICE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    module, traces = json.loads(done.stdout.splitlines()[-1])
    assert ("direct" in module) is ("OTEL_TTS_DIRECT" not in environ)
    return dict(traces)


def comparable(value: Any) -> Any:
    """A part of OTLP/JSON without what differs from run to run: measured numbers, times and ids."""
    if isinstance(value, Mapping):
        return {
            key: type(item).__name__ if key in MEASURED or key.endswith(("UnixNano", "Id", "Ids")) else comparable(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        parts = [comparable(item) for item in value]
        return sorted(parts, key=json.dumps) if all(isinstance(part, Mapping) and "key" in part for part in parts) else parts
    return value


def trace(stack: Stack, trace_id: str) -> list[Any]:
    """A trace as the backend has it, each span with the names of its parents and the library that made it."""
    answer = until(lambda: get(f"{stack.traces}/api/v3/traces/{trace_id}"), f"trace {trace_id}")
    described = [
        (scope["scope"], span)
        for resource in answer["result"]["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    by_id = {span["spanId"]: span for _, span in described}

    def path(span: Mapping[str, Any]) -> list[str]:
        parent = by_id.get(span.get("parentSpanId", ""))
        return [*(path(parent) if parent else []), span["name"]]

    listed = [{"path": path(span), "scope": scope, "span": comparable(span)} for scope, span in described]
    return sorted(listed, key=json.dumps)


def series(stack: Stack, job: str) -> dict[str, float | None]:
    """All series of a service in Prometheus, with the values of those that count."""
    values: dict[str, float | None] = {}
    for labels, value in stack.query(f'{{job="{job}"}}'):
        kept = {k: v for k, v in labels.items() if k not in PROCESS}
        counts = kept["__name__"].endswith("_count") or (
            kept["__name__"].endswith("_total") and "seconds" not in kept["__name__"]
        )
        values[json.dumps(kept, sort_keys=True)] = value if counts else None
    return values


def exemplars(stack: Stack, job: str) -> dict[str, set[str]]:
    """The traces that the histograms of a service point to, by the histogram's name and its labels."""
    answer = get(f"{stack.prometheus}/api/v1/query_exemplars", query=f'{{job="{job}"}}', start="0", end="9999999999")
    pointed: dict[str, set[str]] = {}
    for row in answer["data"]:
        labels = {key: value for key, value in row["seriesLabels"].items() if key not in (*PROCESS, "le")}
        pointed.setdefault(json.dumps(labels, sort_keys=True), set()).update(e["labels"]["trace_id"] for e in row["exemplars"])
    return pointed


@pytest.fixture(scope="module")
def both(stack: Stack) -> dict[str, dict[str, str]]:
    """The same requests over both paths: the traces of each."""
    return {"direct": served(stack, "paths-direct"), "sdk": served(stack, "paths-sdk", OTEL_TTS_DIRECT="false")}


def test_the_trace_backend_sees_no_difference(stack: Stack, both: Mapping[str, Mapping[str, str]]) -> None:
    """The same spans with the same parents, kinds, states, flags, attributes of all types, events and links."""
    count = {"fallback": 4, "hit": 2, "host": 3}
    for name, trace_id in both["sdk"].items():
        spans = count.get(name, 3)
        until(lambda t=trace_id, n=spans: len(stack.spans(t)) == n, f"{spans} spans of {name}, SDK's path")  # type: ignore[misc]
        until(lambda t=both["direct"][name], n=spans: len(stack.spans(t)) == n, f"{spans} spans of {name}, direct path")  # type: ignore[misc]
        assert trace(stack, both["direct"][name]) == trace(stack, trace_id), name


def test_prometheus_sees_no_difference(stack: Stack, both: Mapping[str, Mapping[str, str]]) -> None:
    """The same series with the same labels and buckets, the same counts, and exemplars that lead to the same requests."""
    until(lambda: series(stack, "paths-direct") and series(stack, "paths-sdk"), "series of both")
    direct, sdk = series(stack, "paths-direct"), series(stack, "paths-sdk")
    assert direct == sdk
    assert any("tts_synthesis_duration" in name for name in direct)
    names = {path: {trace_id: name for name, trace_id in traces.items()} for path, traces in both.items()}
    pointed = {
        path: {key: {names[path][trace_id] for trace_id in ids} for key, ids in exemplars(stack, f"paths-{path}").items()}
        for path in names
    }
    assert pointed["direct"].keys() == pointed["sdk"].keys() != set()
    for key, requests in pointed["direct"].items():
        assert requests & pointed["sdk"][key], key
