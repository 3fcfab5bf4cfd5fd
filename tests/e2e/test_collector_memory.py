"""The Collector's memory under many large bodies at once, against what Compose allows it."""

from __future__ import annotations

import os
import subprocess
import threading
import urllib.error
from collections import Counter
from pathlib import Path

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.stack import ROOT, answers, program, until
from tests.e2e.test_masking import Backend, send
from tests.ports import free_port

AT_ONCE = 16
LIMIT = 4 * 2**20
"""Bytes of the largest body that the Collector takes."""
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def spans(size: int) -> bytes:
    """A request of about so many bytes, of spans as a service makes them."""
    request = ExportTraceServiceRequest()
    (scope,) = (request.resource_spans.add().scope_spans.add(),)
    span = scope.spans.add(trace_id=b"1" * 16, span_id=b"2" * 8, name="synthesize")
    for number in range(10):
        span.attributes.add(key=f"attribute.{number}").value.string_value = f"value {number}"
    scope.spans.extend([span] * (size // (span.ByteSize() + 4) - 1))
    return request.SerializeToString()


def peak_bytes(process: int) -> int:
    """The most memory that a process has had."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


@pytest.mark.parametrize("size", [18_000_000, LIMIT - 4096], ids=["18 MB", "4 MB"])
def test_sixteen_bodies_at_once_fit_into_its_memory(tmp_path: Path, size: int) -> None:
    """Those that are too large are refused before they are in memory, over HTTP and gRPC, and of the others what there is no room for."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["collector"]
    allowed = int(compose["mem_limit"].removesuffix("m")) * 2**20
    http, rpc, health = (free_port() for _ in range(3))
    body, answers_got = spans(size), Counter[str]()
    with Backend() as backend, (tmp_path / "log").open("w") as log:
        threading.Thread(target=backend.serve_forever, args=(0.01,), daemon=True).start()
        environ = {
            "OTLP_HTTP_PORT": str(http), "OTLP_GRPC_PORT": str(rpc), "HEALTH_PORT": str(health), "QUEUE_DIR": str(tmp_path / "queue"),
            "METRICS_OTLP_URL": backend.url, "TRACES_OTLP_URL": backend.url, "LOGS_OTLP_URL": backend.url,
            "GOMEMLIMIT": compose["environment"]["GOMEMLIMIT"],
        }  # fmt: skip
        command = [program("otelcol-tts"), "--config", str(ROOT / "collector/config.yaml")]
        process = subprocess.Popen(command, env=os.environ | environ, stderr=log)

        def post() -> None:
            try:
                answers_got[str(send(f"http://127.0.0.1:{http}", "traces", body))] += 1
            except urllib.error.URLError:  # closed while the body was still being sent
                answers_got["413"] += 1

        def call() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
                rpc_call = channel.unary_unary(EXPORT).future(body, timeout=60)
                answers_got[rpc_call.code().name] += 1

        senders = (post, call) if size > LIMIT else (post,)
        try:
            until(lambda: answers(f"http://127.0.0.1:{health}"), "the Collector")
            for one in senders:
                threads = [threading.Thread(target=one) for _ in range(AT_ONCE)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert process.poll() is None
            assert peak_bytes(process.pid) < allowed
        finally:
            process.terminate()
            process.wait(30)
            backend.shutdown()
    assert answers_got.total() == len(senders) * AT_ONCE
    assert set(answers_got) <= ({"400", "413", "RESOURCE_EXHAUSTED"} if size > LIMIT else {"200", "503"})
