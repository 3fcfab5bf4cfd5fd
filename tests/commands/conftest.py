"""A service of its own process, as users run it: `otel-tts serve` with a real engine on free ports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.ports import free_port

OTEL_TTS = (sys.executable, "-c", "from otel_tts.cli import main; main()")


@dataclass(frozen=True)
class Served:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    data_dir: Path

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Its pull endpoint."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"


@contextmanager
def serving(data_dir: Path, port: int = 0, metrics_port: int = 0, **environ: str) -> Iterator[Served]:
    """`otel-tts serve` for the length of the block."""
    port, metrics_port = port or free_port(), metrics_port or free_port()
    variables = {
        "TTS_PORT": str(port),
        "PROMETHEUS_PORT": str(metrics_port),
        "TTS_PROVIDERS": "hibari",
        "TTS_PROBE_INTERVAL": "0",
        "OTEL_TTS_DATA_DIR": str(data_dir),
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        **environ,
    }
    with (data_dir.parent / f"{port}.log").open("wb") as log:
        process = subprocess.Popen([*OTEL_TTS, "serve"], env={**os.environ, **variables}, stdout=log, stderr=log)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60)
        yield Served(process, port, metrics_port, data_dir)
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service for all tests that only talk to it."""
    with serving(tmp_path_factory.mktemp("served") / "data") as service:
        yield service


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not come to hold."
        time.sleep(0.02)
