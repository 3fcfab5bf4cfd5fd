"""The Collector's memory under many large bodies at once, against what Compose allows it."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import urllib.error
from collections import Counter
from collections.abc import Mapping, Sequence
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
STRICT_LIMIT = 2**20
STRICT = dict(re.findall(r"([A-Z_]+)=(\w+)", (ROOT / "docs/pipeline.md").read_text().split("<!-- strict -->")[1]))
"""What docs/pipeline.md gives for telemetry from many senders."""
PROGRAMS = {"collector": ("otelcol-tts", "config.yaml"), "gateway-1": ("otelcol-tts-gateway", "gateway.yaml")}
"""Of each service of Compose: its program and its configuration."""
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


def many(
    tmp_path: Path, service: str, body: bytes, at_once: int, senders: Sequence[str], settings: Mapping[str, str]
) -> Counter[str]:
    """The answers to bodies that are sent at once to what Compose runs as a service, whose memory stays below what Compose allows it."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][service]
    allowed = int(compose["mem_limit"].removesuffix("m")) * 2**20
    name, file = PROGRAMS[service]
    http, rpc, health, absent = (free_port() for _ in range(4))
    statuses = Counter[str]()
    with Backend() as backend, (tmp_path / "log").open("w") as log:
        threading.Thread(target=backend.serve_forever, args=(0.01,), daemon=True).start()
        environ = {
            "OTLP_HTTP_PORT": str(http), "OTLP_GRPC_PORT": str(rpc), "HEALTH_PORT": str(health), "QUEUE_DIR": str(tmp_path / "queue"),
            "METRICS_OTLP_URL": backend.url, "TRACES_OTLP_URL": backend.url, "LOGS_OTLP_URL": backend.url,
            "COLLECTORS_HOST": "localhost", "COLLECTORS_PORT": str(absent), "SELF_METRICS_URL": f"{backend.url}/v1/metrics",
            "GOMEMLIMIT": compose["environment"]["GOMEMLIMIT"],
        }  # fmt: skip
        command = [program(name), "--config", str(ROOT / "collector" / file)]
        process = subprocess.Popen(command, env=os.environ | environ | settings, stderr=log)

        def post() -> None:
            try:
                statuses[str(send(f"http://127.0.0.1:{http}", "traces", body))] += 1
            except urllib.error.URLError:  # closed while the body was still being sent
                statuses["413"] += 1

        def call() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
                rpc_call = channel.unary_unary(EXPORT).future(body, timeout=60)
                statuses[rpc_call.code().name] += 1

        try:
            until(lambda: answers(f"http://127.0.0.1:{health}"), "the Collector")
            for one in senders:
                threads = [threading.Thread(target={"HTTP": post, "gRPC": call}[one]) for _ in range(at_once)]
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
    assert statuses.total() == len(senders) * at_once
    return statuses


@pytest.mark.parametrize("size", [18_000_000, LIMIT - 4096], ids=["18 MB", "4 MB"])
def test_sixteen_bodies_at_once_fit_into_its_memory(tmp_path: Path, size: int) -> None:
    """Those that are too large are refused before they are in memory, over HTTP and gRPC, and of the others what there is no room for."""
    senders = ("HTTP", "gRPC") if size > LIMIT else ("HTTP",)
    statuses = many(tmp_path, "collector", spans(size), AT_ONCE, senders, {})
    assert set(statuses) <= ({"400", "413", "RESOURCE_EXHAUSTED"} if size > LIMIT else {"200", "503"})


@pytest.mark.parametrize(("size", "at_once"), [(STRICT_LIMIT - 4096, 64), (LIMIT - 4096, 128)], ids=["64 of 1 MB", "128 of 4 MB"])
def test_with_strict_limits_more_fit(tmp_path: Path, size: int, at_once: int) -> None:
    """With the limits that docs/pipeline.md gives for many senders, 64 of the largest bodies fit, and larger ones are refused."""
    senders = ("HTTP", "gRPC")
    statuses = many(tmp_path, "collector", spans(size), at_once, senders, STRICT)
    refused = {"400", "413", "RESOURCE_EXHAUSTED"}
    assert set(statuses) <= (refused if size > STRICT_LIMIT else {"200", "503", "OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"})
