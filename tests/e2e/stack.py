"""The pipeline's real programs on free ports of this machine, with the repository's own configuration files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
COLLECTOR = ROOT / "collector"
DEPLOY = ROOT / "deploy"

QUICKLY = {
    "BATCH_TIMEOUT": "100ms",
    "RETRY_MAX_INTERVAL": "1s",
    "SELF_METRICS_INTERVAL_MS": "500",
}
"""What makes the Collector quick enough for a test."""


def program(name: str) -> str:
    """The path of a program of `make tools`: from .tools/bin, else from PATH.

    Without it the test is skipped, or fails where REQUIRE_TOOLS says that it must be there.
    """
    if matching := shutil.which(name, path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"):
        return matching
    reason = f"{name} is neither in .tools/bin nor on PATH: `make tools` builds it."
    if os.environ.get("REQUIRE_TOOLS"):
        pytest.fail(reason)
    pytest.skip(reason)


def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """The condition's first true value; fails when it has none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s.")
        time.sleep(0.05)
    return value


def get(url: str, **parameters: str) -> Any:
    """The JSON that a URL answers with; None when nothing answers, or nothing is found."""
    with suppress(URLError, OSError), urlopen(f"{url}?{urlencode(parameters)}", timeout=10) as answer:
        return json.load(answer)
    return None


def answers(url: str) -> bool:
    """Whether a URL answers with success."""
    with suppress(URLError, OSError), urlopen(url, timeout=2):
        return True
    return False


@dataclass
class Process:
    """One program, started, stopped, killed and held up as a test needs it."""

    command: Sequence[str]
    environ: Mapping[str, str]
    ready: Callable[[], bool]
    log: Path
    patience_s: float = 30.0
    running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self.running
        return self.running.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(self.command, env={**os.environ, **self.environ}, stdout=log, stderr=log)
        deadline = time.monotonic() + self.patience_s
        while not self.ready():
            if self.running.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.command[0]} did not start: ...{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Have it end in its own time. One that does not run is left alone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as it stands: SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Hang it: its ports stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.running is not None:
            self.running.send_signal(number)
            self.running.send_signal(signal.SIGCONT)  # a held one hears nothing else
            self.running.wait(30)
            self.running = None


@dataclass
class Stack:
    """Collector, Prometheus and trace backend.

    Attributes:
        overlays: the Collector's, by name.
        environ: variables for the Collector.
        otlp_grpc: the URL where OTLP goes in, or `otlp_http`.
        prometheus: the URL of Prometheus.
        traces: the URL of Jaeger's API.
    """

    directory: Path
    overlays: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        names = ("otlp_grpc", "otlp_http", "health", "prometheus", "traces", "traces_otlp", "traces_grpc", "alertmanager")
        self.ports = {name: free_port() for name in names}
        self.otlp_grpc, self.otlp_http, self.prometheus, self.traces = (
            f"http://127.0.0.1:{self.ports[name]}" for name in ("otlp_grpc", "otlp_http", "prometheus", "traces")
        )
        self.collector = self.process(
            "otelcol-tts",
            [f"--config={COLLECTOR / name}.yaml" for name in ("config", *self.overlays)],
            lambda: answers(f"http://127.0.0.1:{self.ports['health']}"),
            OTLP_GRPC_PORT=str(self.ports["otlp_grpc"]),
            OTLP_HTTP_PORT=str(self.ports["otlp_http"]),
            HEALTH_PORT=str(self.ports["health"]),
            METRICS_OTLP_URL=f"{self.prometheus}/api/v1/otlp",
            QUEUE_DIR=str(self.directory / "queue"),
            OTEL_GO_X_PER_SERIES_START_TIMESTAMPS="true",
            **{"TRACES_OTLP_URL": f"http://127.0.0.1:{self.ports['traces_otlp']}", **QUICKLY, **self.environ},
        )
        self.prometheus_process = self.process(
            "prometheus",
            [
                f"--config.file={self._prometheus_config()}",
                f"--storage.tsdb.path={self.directory / 'prometheus-data'}",
                f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
                "--web.enable-otlp-receiver",
                "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
            ],
            lambda: answers(f"{self.prometheus}/-/ready"),
        )
        self.traces_process = self.process(
            "jaeger",
            [f"--config={DEPLOY / 'jaeger' / 'jaeger.yaml'}"],
            lambda: answers(f"{self.traces}/api/v3/services"),
            JAEGER_DATA_DIR=str(self.directory / "jaeger"),
            JAEGER_PORT=str(self.ports["traces"]),
            JAEGER_GRPC_PORT=str(self.ports["traces_grpc"]),
            JAEGER_OTLP_PORT=str(self.ports["traces_otlp"]),
        )

    @cached_property
    def alertmanager(self) -> str:
        """The URL of the Alertmanager that Prometheus sends alerts to; it starts when it is first asked for."""
        url = f"http://127.0.0.1:{self.ports['alertmanager']}"
        self.alertmanager_process = self.process(
            "alertmanager",
            [
                f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}",
                f"--storage.path={self.directory / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}",
                "--cluster.listen-address=",
            ],
            lambda: answers(f"{url}/-/ready"),
        )
        self.alertmanager_process.start()
        return url

    def process(self, name: str, arguments: Sequence[str], ready: Callable[[], bool], **environ: str) -> Process:
        """One of the programs, not yet started; it ends with the stack."""
        process = Process([program(name), *arguments], environ, ready, self.directory / f"{name}.log")
        self.closing.callback(process.kill)
        return process

    def start(self) -> None:
        """Start all that a stack always has."""
        for process in (self.prometheus_process, self.traces_process, self.collector):
            process.start()

    @property
    def service_environ(self) -> Mapping[str, str]:
        """What a service needs to send its telemetry here, and quickly."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_grpc,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
        }

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an instant query gives: the labels and the value of each series. Empty while Prometheus is away."""
        answer = get(f"{self.prometheus}/api/v1/query", query=expression)
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]] if answer else []

    def value(self, expression: str) -> float:
        """The sum of what a query gives; 0 without any."""
        return sum(value for _, value in self.query(expression))

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace as OTLP/JSON has them; none while it is unknown."""
        answer = get(f"{self.traces}/api/v3/traces/{trace_id}")
        matching = answer["result"].get("resourceSpans", ()) if answer else ()
        return [span for resource in matching for scope in resource["scopeSpans"] for span in scope["spans"]]

    def _prometheus_config(self) -> Path:
        """Its directory, copied: two ports are written into it, and Prometheus takes them from nowhere else."""
        directory = Path(shutil.copytree(DEPLOY / "prometheus", self.directory / "prometheus"))
        config = directory / "prometheus.yml"
        config.write_text(config.read_text().replace("127.0.0.1:9090", f"127.0.0.1:{self.ports['prometheus']}"))
        (directory / "alertmanagers.yml").write_text(f'- targets: ["127.0.0.1:{self.ports["alertmanager"]}"]\n')
        return config


@contextmanager
def running(directory: Path, *overlays: str, **environ: str) -> Iterator[Stack]:
    """A stack for the length of the block, with overlays of the Collector's configuration and variables for it."""
    with ExitStack() as closing:
        stack = Stack(directory, overlays, environ, closing)
        stack.start()
        yield stack
