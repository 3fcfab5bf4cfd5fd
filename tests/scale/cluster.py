"""All tiers of docs/scaling.md on addresses of this machine, with several members each and the repository's own configuration."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from tests.e2e.stack import COLLECTOR, DEPLOY, QUICKLY, Process, answers, get, program, until
from tests.ports import free_port
from tests.scale import nodes
from tests.scale.names import Names

GATEWAYS = ("127.0.0.11", "127.0.0.12")
COLLECTORS = ("127.0.0.21", "127.0.0.22")
RECEIVES = ("127.0.0.31", "127.0.0.32", "127.0.0.33")
QUERY = "127.0.0.34"
RULER = "127.0.0.35"
JAEGERS = ("127.0.0.41", "127.0.0.42")
NODES = ("127.0.0.51", "127.0.0.52", "127.0.0.53")
PROMOTED = (
    "service.namespace", "service.name", "service.instance.id", "service.version", "deployment.environment.name", "k8s.cluster.name",
)  # fmt: skip


class Cluster:
    """Gateways, stateful Collectors, Thanos with three copies of each sample, two Jaegers over three nodes of Cassandra.

    Attributes:
        members: every process by tier and number: "gateway 1", "collector 2", "receive 3", "node 1", "jaeger 2", "query"; "ruler" and
            "alertmanager" run when they are asked for.
        prometheus: the URL of Thanos's query.
        traces: the URL of a Jaeger.
        ruler, alertmanager: the URLs of these two.
        names: what stands for the members of a tier.
        otlp_grpc, otlp_http: the URLs of the first gateway.
    """

    def __init__(self, directory: Path, closing: ExitStack) -> None:
        self.directory = directory
        self.members: dict[str, Process] = {}
        self._closing = closing
        names = ("grpc", "http", "health", "collector", "receive", "store", "capnproto", "hop", "web", "jaeger", "jaeger_otlp")
        self.ports = {name: free_port() for name in (*names, "jaeger_grpc", "cql", "gossip", "alertmanager")}
        tiers = {"collectors": COLLECTORS, "gateways": GATEWAYS, "receives": RECEIVES, "jaegers": JAEGERS}
        self.names = Names(tiers, directory, closing)
        self.otlp_grpc = f"http://{GATEWAYS[0]}:{self.ports['grpc']}"
        self.otlp_http = f"http://{GATEWAYS[0]}:{self.ports['http']}"
        self.prometheus = f"http://{QUERY}:{self.ports['web']}"
        self.traces = f"http://{JAEGERS[0]}:{self.ports['jaeger']}"
        self.metrics_endpoint = f"http://receives.test:{self.ports['receive']}/api/v1/otlp"
        self.ruler = f"http://{RULER}:{self.ports['web']}"
        self.alertmanager = f"http://{RULER}:{self.ports['alertmanager']}"
        self._thanos()
        self._ruler()
        self._cassandra()
        self._jaegers()
        self._collectors()

    def start(self) -> None:
        """Start everything: the stores first, each tier at once."""
        tiers = (("node", "receive", "query"), ("jaeger 1",), ("jaeger 2", "collector"), ("gateway",))
        for tier in tiers:
            chosen = [process for name, process in self.members.items() if name.startswith(tier)]
            with ThreadPoolExecutor(len(chosen)) as starting:
                list(starting.map(Process.start, chosen))
            if tier == tiers[0]:
                self._begin()

    def _begin(self) -> None:
        """Write the first sample, of two hours ago: a receive gives nothing of before its first one."""
        at = str(round((time.time() - 7000) * 1e9))
        points = [{"timeUnixNano": at, "startTimeUnixNano": at, "asDouble": 1.0}]
        metrics = [{"name": "beginning", "gauge": {"dataPoints": points}}]
        body = json.dumps({"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"metrics": metrics}]}]}).encode()
        url = f"http://{RECEIVES[0]}:{self.ports['receive']}/api/v1/otlp"

        def written() -> bool:
            try:
                urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=10).close()
            except OSError:
                return False
            return True

        until(written, "the first sample is taken by two of three receives")

    @contextmanager
    def overlaid(self, *overlays: str, tier: str = "collector", **environ: str) -> Iterator[None]:
        """Have the stateful Collectors, or gateways, run with overlays of their configuration, and variables for them, in the block."""
        collectors = [process for name, process in self.members.items() if name.startswith(tier)]
        before = [(process.command, process.environ) for process in collectors]
        for process in collectors:
            process.stop()
            process.command = [*process.command, *(f"--config={COLLECTOR / name}.yaml" for name in overlays)]
            process.environ = {**process.environ, **environ}
            process.start()
        try:
            yield
        finally:
            for process, (command, usual) in zip(collectors, before, strict=True):
                process.stop()
                process.command, process.environ = command, usual
                process.start()

    def within(self, command: Sequence[str]) -> list[str]:
        """A command that sees the cluster's names."""
        return self.names.within(command)

    @property
    def service_environ(self) -> Mapping[str, str]:
        """What a service within needs to send its telemetry to the gateways, and quickly."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://gateways.test:{self.ports['grpc']}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def _member(
        self, name: str, command: Sequence[str], ready: Callable[[], bool], patience_s: float = 60.0, **environ: str
    ) -> None:
        log = self.directory / f"{name.replace(' ', '-')}.log"
        process = Process(self.within([program(command[0]), *command[1:]]), environ, ready, log, patience_s)
        self._closing.callback(process.kill)
        self.members[name] = process

    def _thanos(self) -> None:
        ports = self.ports
        hashring = [{"endpoints": [f"{address}:{ports['hop']}" for address in RECEIVES]}]
        for number, address in enumerate(RECEIVES, 1):
            self._member(
                f"receive {number}",
                [
                    "thanos",
                    "receive",
                    f"--http-address={address}:{ports['web']}",
                    f"--grpc-address={address}:{ports['hop']}",
                    f"--remote-write.address={address}:{ports['receive']}",
                    f"--receive.capnproto-address={address}:{ports['capnproto']}",
                    f"--receive.local-endpoint={address}:{ports['hop']}",
                    f"--receive.hashrings={json.dumps(hashring)}",
                    "--receive.hashrings-algorithm=ketama",
                    "--receive.replication-factor=3",
                    f'--label=receive_replica="{number}"',
                    f"--tsdb.path={self.directory / f'receive-{number}'}",
                    "--tsdb.max-exemplars=10000",
                    "--tsdb.out-of-order.time-window=1000d",
                    *(f"--receive.otlp-promote-resource-attributes={attribute}" for attribute in PROMOTED),
                ],
                lambda address=address: answers(f"http://{address}:{ports['web']}/-/ready"),  # type: ignore[misc]
            )
        self._member(
            "query",
            [
                "thanos",
                "query",
                f"--http-address={QUERY}:{ports['web']}",
                f"--grpc-address={QUERY}:{ports['hop']}",
                *(f"--endpoint={address}:{ports['hop']}" for address in RECEIVES),
                "--query.replica-label=receive_replica",
                "--query.replica-label=ruler",
                "--store.unhealthy-timeout=24h",
            ],
            self._queryable,
        )

    def _ruler(self) -> None:
        """Evaluates the repository's rules by the query, all of them often; what they record goes to the receives."""
        rules = self.directory / "rules"
        rules.mkdir()
        for path in (DEPLOY / "prometheus" / "rules").glob("*.yml"):
            often = re.sub(r"(?m)^  interval: \S+$", "  interval: 15s", path.read_text("utf-8"))
            (rules / path.name).write_text(often, "utf-8")
        recorded = {"remote_write": [{"url": f"http://receives.test:{self.ports['receive']}/api/v1/receive", "name": "receives"}]}
        self._member(
            "ruler",
            [
                "thanos",
                "rule",
                f"--http-address={RULER}:{self.ports['web']}",
                f"--grpc-address={RULER}:{self.ports['hop']}",
                f"--data-dir={self.directory / 'ruler'}",
                f"--rule-file={rules}/*.yml",
                f"--query={self.prometheus}",
                f"--alertmanagers.url={self.alertmanager}",
                '--label=ruler="1"',
                "--alert.label-drop=ruler",
                "--alert.label-drop=tenant_id",
                f"--remote-write.config={json.dumps(recorded)}",
            ],
            lambda: answers(f"{self.ruler}/-/ready"),
        )
        self._member(
            "alertmanager",
            [
                "alertmanager",
                f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}",
                f"--storage.path={self.directory / 'alertmanager'}",
                f"--web.listen-address={RULER}:{self.ports['alertmanager']}",
                "--cluster.listen-address=",
            ],
            lambda: answers(f"{self.alertmanager}/-/ready"),
        )

    def _queryable(self) -> bool:
        reply = get(f"{self.prometheus}/api/v1/stores")
        return bool(reply) and len(reply["data"].get("receive", ())) == len(RECEIVES)

    def _cassandra(self) -> None:
        for number, address in enumerate(NODES, 1):
            options = nodes.configure(self.directory / f"node-{number}", NODES, number, self.ports["cql"], self.ports["gossip"])
            self._member(
                f"node {number}",
                ["cassandra", *options],
                lambda address=address: nodes.listens(address, self.ports["cql"]),  # type: ignore[misc]
                180.0,
            )

    def _jaegers(self) -> None:
        for number, address in enumerate(JAEGERS, 1):
            self._member(
                f"jaeger {number}",
                ["jaeger", f"--config={DEPLOY / 'jaeger' / 'cassandra.yaml'}"],
                lambda address=address: answers(f"http://{address}:{self.ports['jaeger']}/api/v3/services"),  # type: ignore[misc]
                120.0,
                CASSANDRA_SERVERS=f"[{', '.join(NODES)}]",
                CASSANDRA_PORT=str(self.ports["cql"]),
                JAEGER_BIND=address,
                JAEGER_PORT=str(self.ports["jaeger"]),
                JAEGER_GRPC_PORT=str(self.ports["jaeger_grpc"]),
                JAEGER_OTLP_PORT=str(self.ports["jaeger_otlp"]),
            )

    def _collectors(self) -> None:
        for number, address in enumerate(COLLECTORS, 1):
            self._member(
                f"collector {number}",
                [
                    "otelcol-tts",
                    *(f"--config={COLLECTOR / name}.yaml" for name in ("config", "exact-endpoint")),
                ],
                lambda address=address: answers(f"http://{address}:{self.ports['health']}"),  # type: ignore[misc]
                OTLP_BIND=address,
                OTLP_GRPC_PORT=str(self.ports["collector"]),
                OTLP_HTTP_PORT=str(self.ports["http"]),
                HEALTH_BIND=address,
                HEALTH_PORT=str(self.ports["health"]),
                METRICS_OTLP_ENDPOINT=self.metrics_endpoint,
                TRACES_OTLP_URL=f"http://jaegers.test:{self.ports['jaeger_otlp']}",
                TRACES_BATCH_MIN="100",
                TRACES_BATCH_MAX="200",
                TRACES_TIMEOUT="300s",
                QUEUE_DIR=str(self.directory / f"queue-{number}"),
                OTEL_GO_X_PER_SERIES_START_TIMESTAMPS="true",
                **QUICKLY,  # type: ignore[arg-type]
            )
        for number, address in enumerate(GATEWAYS, 1):
            self._member(
                f"gateway {number}",
                ["otelcol-tts-gateway", f"--config={COLLECTOR / 'gateway.yaml'}"],
                lambda address=address: answers(f"http://{address}:{self.ports['health']}"),  # type: ignore[misc]
                COLLECTORS_HOST="collectors.test",
                COLLECTORS_PORT=str(self.ports["collector"]),
                COLLECTORS_INTERVAL="1s",
                OTLP_BIND=address,
                OTLP_GRPC_PORT=str(self.ports["grpc"]),
                OTLP_HTTP_PORT=str(self.ports["http"]),
                HEALTH_BIND=address,
                HEALTH_PORT=str(self.ports["health"]),
                SELF_METRICS_URL=self.metrics_endpoint,
                SELF_METRICS_INTERVAL_MS="1000",
            )


@contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    """A cluster for the length of the block."""
    with ExitStack() as closing:
        cluster = Cluster(directory, closing)
        cluster.start()
        yield cluster
