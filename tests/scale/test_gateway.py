"""The gateway's configuration, as its own program judges it, and what it does with connections and bodies."""

from __future__ import annotations

import gzip
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.e2e.stack import COLLECTOR, Process, answers, get, program, until
from tests.ports import free_port
from tests.scale.cluster import COLLECTORS, GATEWAYS, Cluster
from tests.scale.test_survival import RATE, assert_all_arrived, load

LIMIT_BYTES = 100_000
GATEWAY: dict[str, Any] = yaml.safe_load((COLLECTOR / "gateway.yaml").read_text("utf-8"))


def test_traces_are_spread_by_names_and_metrics_in_turn() -> None:
    """Members are asked of DNS, never listed; metrics never go by `load_balancing`; nothing is acknowledged out of a queue in memory."""
    exporters, pipelines = GATEWAY["exporters"], GATEWAY["service"]["pipelines"]
    assert {signal: pipeline["exporters"] for signal, pipeline in pipelines.items()} == {
        "traces": ["load_balancing/traces"],
        "metrics": ["otlp_grpc"],
        "logs": ["otlp_grpc"],
    }
    traces = exporters["load_balancing/traces"]
    assert list(traces["resolver"]) == ["dns"]
    assert traces["routing_key"] == "traceID"
    assert exporters["otlp_grpc"]["endpoint"].startswith("dns:///${env:COLLECTORS_HOST}")
    assert exporters["otlp_grpc"]["balancer_name"] == "round_robin"
    for exporter in (traces, traces["protocol"]["otlp"], exporters["otlp_grpc"]):
        assert exporter["sending_queue"] == {"enabled": False}


def test_both_tiers_end_connections() -> None:
    """Gateways and Collectors, after a time that can be set."""
    for name in ("gateway", "config"):
        grpc_receiver = yaml.safe_load((COLLECTOR / f"{name}.yaml").read_text("utf-8"))["receivers"]["otlp"]["protocols"]["grpc"]
        assert grpc_receiver["keepalive"]["server_parameters"]["max_connection_age"] == "${env:MAX_CONNECTION_AGE:-60s}"


def test_its_program_has_what_is_used_and_no_more() -> None:
    """The manifest names the components of gateway.yaml, exactly, in the versions of the other Collector; one module has a stand-in."""
    components = yaml.safe_load(
        subprocess.run([program("otelcol-tts-gateway"), "components"], capture_output=True, check=True).stdout
    )
    sections = ("receivers", "processors", "exporters", "extensions")
    used = {(section, key.partition("/")[0]) for section in sections for key in GATEWAY[section]}
    assert {(section, component["name"]) for section in sections for component in components[section]} == used
    manifests = [yaml.safe_load((COLLECTOR / name).read_text("utf-8")) for name in ("gateway-builder.yaml", "builder.yaml")]
    assert len({manifest["dist"]["version"] for manifest in manifests}) == 1
    assert re.fullmatch(
        r"github.com/aws/\S*servicediscovery => github.com/aws/\S*servicediscovery v1.40.2", manifests[0]["replaces"][0]
    )


@pytest.mark.parametrize("overlays", [(), ("tail-sampling",), ("keep-text",)], ids="+".join)
def test_the_exact_endpoint_combines(overlays: Sequence[str], tmp_path: Path) -> None:
    """For stores that take OTLP at one path only; without its variable the Collector does not start."""
    configs = [f"--config={COLLECTOR / name}.yaml" for name in ("config", "exact-endpoint", *overlays)]
    for endpoint, ends_well in (("http://127.0.0.1:19291/api/v1/otlp", True), ("", False)):
        environ = {"QUEUE_DIR": str(tmp_path), "METRICS_OTLP_ENDPOINT": endpoint}
        result = subprocess.run([program("otelcol-tts"), "validate", *configs], env=environ, capture_output=True, text=True)
        assert (result.returncode == 0) == ends_well, result.stderr


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of a gateway that takes little at once."""
    ports = {name: free_port() for name in ("grpc", "http", "health")}
    environ = {
        "COLLECTORS_HOST": "localhost",
        "MAX_BODY_BYTES": str(LIMIT_BYTES),
        "MAX_MESSAGE_MIB": "1",
        "OTLP_GRPC_PORT": str(ports["grpc"]),
        "OTLP_HTTP_PORT": str(ports["http"]),
        "HEALTH_PORT": str(ports["health"]),
    }
    command = [program("otelcol-tts-gateway"), f"--config={COLLECTOR / 'gateway.yaml'}"]
    health = f"http://127.0.0.1:{ports['health']}"
    gateway = Process(command, environ, lambda: answers(health), tmp_path_factory.mktemp("gateway") / "log")
    gateway.start()
    yield ports
    gateway.kill()


def status(port: int, body: bytes, **headers: str) -> int:
    """What the gateway says to a body."""
    request = Request(f"http://127.0.0.1:{port}/v1/traces", body, {"Content-Type": "application/x-protobuf", **headers})
    try:
        with urlopen(request, timeout=30) as reply:
            return int(reply.status)
    except HTTPError as error:
        return error.code


def test_bodies_and_messages_have_limits(limited: dict[str, int]) -> None:
    """As they are, and unpacked: what is too large is refused for good, and the gateway goes on."""
    large = bytes(2 * LIMIT_BYTES)
    assert status(limited["http"], b"") == 200
    assert 400 <= status(limited["http"], large) < 500
    assert len(packed := gzip.compress(large)) < LIMIT_BYTES / 10
    assert 400 <= status(limited["http"], packed, **{"Content-Encoding": "gzip"}) < 500
    with grpc.insecure_channel(f"127.0.0.1:{limited['grpc']}") as channel:
        export = ExportTraceServiceRequest()
        export.resource_spans.add().scope_spans.add().spans.add(name="n" * (2 << 20))
        with pytest.raises(grpc.RpcError) as raised:
            TraceServiceStub(channel).Export(export, timeout=30)  # type: ignore[no-untyped-call]
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status(limited["http"], b"") == 200


class Service:
    """What a Service of Kubernetes is to connections: each new one goes to the next member.

    Attributes:
        members: the addresses, which may become more.
        received: the bytes that each member was sent.
    """

    def __init__(self, members: Sequence[str], port: int) -> None:
        self.members = list(members)
        self.received: Counter[str] = Counter()
        self._port, self._next = port, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Take no more connections; those that are open have been left by their clients."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                member = self.members[self._next % len(self.members)]
                self._next += 1
                self._threads.append(threading.Thread(target=self._serve, args=(client, member)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket, member: str) -> None:
        with client, socket.create_connection((member, self._port)) as server:
            back = threading.Thread(target=self._pump, args=(server, client, None))
            back.start()
            self._pump(client, server, member)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, member: str | None) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                if member:
                    self.received[member] += len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def balanced(members: Sequence[str], port: int) -> Iterator[Service]:
    """Such a Service for the length of the block."""
    service = Service(members, port)
    try:
        yield service
    finally:
        service.close()


def test_a_new_gateway_gets_traffic(cluster: Cluster, tmp_path: Path) -> None:
    """A service that is connected does not stay with the member that it first got; nothing is lost or twice when it changes."""
    first, second = GATEWAYS
    with (
        cluster.overlaid(tier="gateway", MAX_CONNECTION_AGE="1s"),
        balanced([first], cluster.ports["grpc"]) as service,
        load(cluster, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{service.port}") as account,
    ):
        time.sleep(2)
        assert service.received[second] == 0
        service.members.append(second)
        until(lambda: service.received[second] > 500 * RATE, "the new gateway is sent telemetry", 120)
    assert_all_arrived(cluster, account)


def receiving(cluster: Cluster, what: str) -> int:
    """How many of the Collectors that run have taken spans, or metric points."""
    query = f'last_over_time(otelcol_receiver_accepted_{what}_total{{service_name="otelcol-tts"}}[10s]) > 0'
    reply = get(f"{cluster.prometheus}/api/v1/query", query=query)
    return len({series["metric"]["service_instance_id"] for series in reply["data"]["result"]}) if reply else 0


def test_a_new_collector_gets_traffic(cluster: Cluster, tmp_path: Path) -> None:
    """Gateways that know one learn of another, for traces and for metrics; nothing is lost or twice when it comes."""
    first, second = COLLECTORS
    try:
        cluster.names.resolve(collectors=[first])
        with cluster.overlaid(MAX_CONNECTION_AGE="1s"), cluster.overlaid(tier="gateway"), load(cluster, tmp_path) as account:
            until(lambda: receiving(cluster, "spans") == receiving(cluster, "metric_points") == 1, "one has traffic", 120)
            cluster.names.resolve(collectors=[first, second])
            until(lambda: receiving(cluster, "spans") == 2, "the new one has spans", 120)
            until(lambda: receiving(cluster, "metric_points") == 2, "the new one has metrics", 180)
        assert_all_arrived(cluster, account)
    finally:
        cluster.names.resolve(collectors=COLLECTORS)
