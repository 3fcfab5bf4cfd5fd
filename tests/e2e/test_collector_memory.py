"""The Collector's memory under many large bodies at once, against what Compose allows it."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.stack import ROOT, answers, program, until
from tests.e2e.test_masking import LOGS, METRICS, REQUESTS, TRACES, Backend, send
from tests.ports import free_port

AT_ONCE = 64
LIMIT = 2**20
"""Bytes of the largest body that the Collector takes."""
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


def of_compose(service: str) -> tuple[int, str]:
    """The bytes that Compose allows a service by default, and the limit that it tells Go's runtime."""
    described = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][service]
    limit, memory = (
        re.sub(r"\$\{\w+:-(\w+)\}", r"\1", text) for text in (described["mem_limit"], described["environment"]["GOMEMLIMIT"])
    )
    return int(limit.removesuffix("m")) * 2**20, memory


@contextmanager
def running(tmp_path: Path, service: str, *overlays: str, **environ: str) -> Iterator[tuple[str, int, subprocess.Popen[bytes]]]:
    """What Compose runs as a service: its URL for HTTP, its port for gRPC, and its process."""
    _, memory = of_compose(service)
    name, *files = (*PROGRAMS[service], *overlays)
    http, rpc, health, absent = (free_port() for _ in range(4))
    with Backend() as backend, (tmp_path / "log").open("w") as log:
        threading.Thread(target=backend.serve_forever, args=(0.01,), daemon=True).start()
        environ = {
            "OTLP_HTTP_PORT": str(http), "OTLP_GRPC_PORT": str(rpc), "HEALTH_PORT": str(health), "QUEUE_DIR": str(tmp_path / "queue"),
            "METRICS_OTLP_URL": backend.url, "TRACES_OTLP_URL": backend.url, "LOGS_OTLP_URL": backend.url,
            "COLLECTORS_HOST": "localhost", "COLLECTORS_PORT": str(absent), "SELF_METRICS_URL": f"{backend.url}/v1/metrics",
            "GOMEMLIMIT": memory, **environ,
        }  # fmt: skip
        configs = [argument for file in files for argument in ("--config", str(ROOT / "collector" / file))]
        process = subprocess.Popen([program(name), *configs], env=os.environ | environ, stderr=log)
        try:
            until(lambda: answers(f"http://127.0.0.1:{health}"), "the Collector")
            yield f"http://127.0.0.1:{http}", rpc, process
        finally:
            process.terminate()
            process.wait(30)
            backend.shutdown()


def many(tmp_path: Path, service: str, body: bytes, at_once: int, senders: Sequence[str]) -> Counter[str]:
    """The answers to bodies that are sent at once to what Compose runs as a service, whose memory stays below what Compose allows it."""
    allowed, _ = of_compose(service)
    statuses = Counter[str]()
    with running(tmp_path, service) as (url, rpc, process):

        def post() -> None:
            try:
                statuses[str(send(url, "traces", body))] += 1
            except urllib.error.URLError:  # closed while the body was still being sent
                statuses["413"] += 1

        def call() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
                rpc_call = channel.unary_unary(EXPORT).future(body, timeout=60)
                statuses[rpc_call.code().name] += 1

        for one in senders:
            threads = [threading.Thread(target={"HTTP": post, "gRPC": call}[one]) for _ in range(at_once)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert process.poll() is None
        assert peak_bytes(process.pid) < allowed
    assert statuses.total() == len(senders) * at_once
    return statuses


SENDERS = ("HTTP", "gRPC")
REFUSED = {"400", "413", "RESOURCE_EXHAUSTED"}


@pytest.mark.parametrize(("size", "at_once"), [(18_000_000, 16), (4 * 2**20 - 4096, 64)], ids=["16 of 18 MB", "64 of 4 MB"])
def test_bodies_that_are_too_large_are_refused_unread(tmp_path: Path, size: int, at_once: int) -> None:
    """As Compose and `make stack` run it, over HTTP and gRPC, however many come at once."""
    assert set(many(tmp_path, "collector", spans(size), at_once, SENDERS)) <= REFUSED


def test_as_many_of_the_largest_fit_into_its_memory(tmp_path: Path) -> None:
    """Of those that it takes there is room for 64 at once, or what there is no room for is refused, and sent again."""
    statuses = many(tmp_path, "collector", spans(LIMIT - 4096), AT_ONCE, SENDERS)
    assert set(statuses) <= {"200", "503", "OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}


def refused(tmp_path: Path, service: str, *overlays: str) -> None:
    """Where memory is short, each signal is refused by the limiter, in a way that tells senders to keep it."""
    with running(tmp_path, service, *overlays, MEMORY_LIMIT_MIB="4", MEMORY_SPIKE_MIB="1") as (url, _, _):
        until(lambda: "Refusing data" in (tmp_path / "log").read_text(), "the limiter has looked")
        for signal, data in (("traces", TRACES), ("metrics", METRICS), ("logs", LOGS)):
            body = ParseDict(data, REQUESTS[signal]()).SerializeToString()
            request = urllib.request.Request(f"{url}/v1/{signal}", body, {"Content-Type": "application/x-protobuf"})
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(request)
            with refusal.value as answer:
                assert (signal, answer.status) == (signal, 503)
                assert b"high memory usage" in answer.read()


@pytest.mark.parametrize("overlays", [["logs.yaml"], ["logs.yaml", "tail-sampling.yaml"]], ids=["collector", "tail sampling"])
def test_where_memory_is_short_every_signal_is_refused(tmp_path: Path, overlays: list[str]) -> None:
    """Before anything else has to do with it, and for now only."""
    refused(tmp_path, "collector", *overlays)


@pytest.mark.parametrize("service", PROGRAMS)
def test_the_limiter_leaves_room_in_what_compose_allows(service: str) -> None:
    """Its limit, that of Go's runtime too, is half of it: what it sees is the heap, and a body is in memory before it is asked."""
    allowed, memory = of_compose(service)
    limiter = yaml.safe_load((ROOT / "collector" / PROGRAMS[service][1]).read_text())["processors"]["memory_limiter"]
    limit, spike = (int(limiter[name].rpartition(":-")[2].rstrip("}")) for name in ("limit_mib", "spike_limit_mib"))
    assert 2 * limit * 2**20 <= allowed
    assert memory == f"{limit}MiB"
    assert 0 < spike < limit
