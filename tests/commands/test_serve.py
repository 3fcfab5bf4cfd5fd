"""`otel-tts serve`: the service, its pull endpoint, and what it says when it cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import grpc
import pytest

from otel_tts.commands.verify.scrape import NoMetricsError, read
from otel_tts.semconv import SYNTHESIS_REQUESTS
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.commands.conftest import OTEL_TTS, Served, serving


def test_it_answers_and_is_scraped(served: Served) -> None:
    """What it serves can be called, and Prometheus finds its metrics on PROMETHEUS_PORT."""
    before = read(served.metrics_url).amounts(SYNTHESIS_REQUESTS, [])
    with grpc.insecure_channel(served.target) as channel:
        assert tts_pb2_grpc.TextToSpeechStub(channel).Synthesize(tts_pb2.SynthesizeRequest(text="Hello.")).audio
    assert read(served.metrics_url).amounts(SYNTHESIS_REQUESTS, [])[()] == before.get((), 0) + 1


def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    """METRICS_ENABLED=false closes the pull endpoint and says so; the service serves all the same."""
    with serving(tmp_path / "data", METRICS_ENABLED="false") as service, pytest.raises(NoMetricsError, match="does not answer"):
        read(service.metrics_url)
    log = (tmp_path / f"{service.port}.log").read_text()
    assert "metrics: switched off by METRICS_ENABLED\n" in log


@pytest.mark.parametrize("variable", ["TTS_PORT", "PROMETHEUS_PORT"])
def test_a_taken_port_is_one_line(variable: str) -> None:
    """Exit code 1, the port, and the variable to change; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {**os.environ, "TTS_PORT": "0", "PROMETHEUS_PORT": "0", variable: str(port)}
        result = subprocess.run([*OTEL_TTS, "serve"], env=environ, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("20")]  # its log has dates
    assert str(port) in line
    assert variable in line
