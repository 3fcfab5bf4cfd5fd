"""`otel-tts demo`, as users run it: a real service, real engines, real signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from otel_tts.commands.demo.cloud import MODEL, cloud
from otel_tts.commands.demo.command import SERVICE_NAME
from otel_tts.commands.demo.process import ProcessFailedError, free_port, running
from otel_tts.commands.demo.summary import Sent, summary
from otel_tts.history import open_history
from otel_tts.settings import HistorySettings
from tests.commands.conftest import OTEL_TTS, until

FIRST_AUDIO = re.compile(r"First audio ([\d.]+) s after the start\.")


def demo(tmp_path: Path, *options: str, **environ: str) -> subprocess.Popen[str]:
    """The command without its dashboard, on its way; what it says is in ``said``."""
    variables = {
        "OTEL_TTS_DATA_DIR": str(tmp_path / "data"),
        "TTS_PORT": "0",
        "PROMETHEUS_PORT": "0",
        "COLUMNS": "100",
        **environ,
    }
    with (tmp_path / "said").open("w") as printed:
        command = [*OTEL_TTS, "demo", "--no-dashboard", *options]
        return subprocess.Popen(command, env={**os.environ, **variables}, stdout=printed, stderr=printed, text=True)


def printed(tmp_path: Path) -> str:
    """What it has said so far."""
    return (tmp_path / "said").read_text()


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that it started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, parent in map(str.split, listed.splitlines()) if int(parent) == process.pid]


def summed_up(tmp_path: Path, sent: int, unanswered: int = 0) -> str:
    """What the summary says of the count when that many requests had been sent, so many of them without any sign of the service."""
    console = Console(file=StringIO(), width=200)
    history = open_history(HistorySettings.load(data_dir=tmp_path / "data"))
    console.print(summary(history, SERVICE_NAME, time.time() - 60, time.time(), Sent(sent, unanswered), console=console))
    file = console.file
    assert isinstance(file, StringIO)
    (line,) = [line.strip() for line in file.getvalue().splitlines() if line.startswith("The demo sent")]
    return line


def uncounted(output: str) -> int:
    """How many of the requests that the demo sent telemetry has not counted, as the summary tells it."""
    counts = re.search(
        r"^The demo sent (\d+) requests?, (?:and telemetry counted as many\.|telemetry counted (\d+): )",
        output,
        re.MULTILINE,
    )
    assert counts, output
    return int(counts[1]) - int(counts[2] or counts[1])


def given_up(output: str) -> int:
    """How many calls ended by their callers' own deadline: of such a call, a busy service may never hear."""
    *_, last = re.findall(r"^\d+ s, \d+ requests?, .+$", output, re.MULTILINE)
    return sum(map(int, re.findall(r"\b(\d+) deadline\b", last)))


ANOTHER = """
import otel_tts
pipeline = otel_tts.configure(service_name="another", local=True)
tts = otel_tts.Telemetry()
with tts.synthesis("Of another program.") as synthesis, synthesis.attempt("another-engine") as attempt:
    attempt.audio(bytes(48_000), otel_tts.PCM16(24_000))
pipeline.shutdown()
"""


def test_it_ends_by_itself_with_a_summary(tmp_path: Path) -> None:
    """A few seconds of traffic: all of it counted, every part of the summary there, nothing left running."""
    environ = {**os.environ, "OTEL_TTS_DATA_DIR": str(tmp_path / "data")}
    process = demo(tmp_path, "--duration", "5")
    subprocess.run([sys.executable, "-c", ANOTHER], env=environ, check=True)  # beside it, in the same directory
    assert process.wait(90) == 0, printed(tmp_path)
    output = printed(tmp_path)
    assert FIRST_AUDIO.search(output)
    assert 0 <= uncounted(output) <= given_up(output), output
    sent = re.search(r"^The demo sent (\d+) requests", output, re.MULTILINE)
    assert sent, output
    counted = int(sent[1]) - uncounted(output)
    assert counted >= 20  # a busy machine sends fewer than a quiet one
    headings = ["Requests", "Latency", "Success rate: ", "Cache: ", "Audio: ", "Providers", "The slowest", "Next steps"]
    assert [heading for heading in headings if re.search(f"^{heading}", output, re.MULTILINE)] == headings
    assert re.search(r"^hibari +\d+ ", output, re.MULTILINE)
    history = open_history(HistorySettings.load(data_dir=tmp_path / "data"))
    assert {one.name for one in history.services(0, time.time())} == {"another", SERVICE_NAME}
    assert summed_up(tmp_path, sent=counted) == f"The demo sent {counted} requests, and telemetry counted as many."
    sent_more = f"The demo sent {counted + 2} requests, telemetry counted {counted}"
    calls = "whose deadline passed before anything came back"
    assert summed_up(tmp_path, counted + 2, 3) == f"{sent_more}: 2 of 3 calls {calls} may never have reached the service."
    for unanswered, words in ((0, "0 calls"), (1, "1 call")):
        assert summed_up(tmp_path, counted + 2, unanswered) == (
            f"{sent_more}: a difference of -2. Only {words} {calls} may never have reached the service."
        )
    assert summed_up(tmp_path, sent=counted - 1) == (
        f"The demo sent {counted - 1} requests, telemetry counted {counted}: a difference of +1. "
        "Another demo may write to the same directory."
    )
    assert "another-engine" not in output
    (command,) = re.findall(r"otel-tts (trace \w+)", output)
    drawn = subprocess.run([*OTEL_TTS, *command.split()], env=environ, capture_output=True, text=True)
    assert (drawn.returncode, "tts.synthesize" in drawn.stdout) == (0, True)


def test_ctrl_c_ends_it_and_a_taken_port_does_not_matter(tmp_path: Path) -> None:
    """Without a duration it goes on until SIGINT, then sums up; ports in use are replaced, and it says by which."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = demo(tmp_path, TTS_PORT=str(port))
        until(lambda: bool(FIRST_AUDIO.search(printed(tmp_path))), 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    output = printed(tmp_path)
    assert re.search(rf"Port {port} is in use: gRPC is on \d+\.", output)
    assert 0 <= uncounted(output) <= given_up(output), output


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """No summary, exit code 130, and the service is gone too."""
    process = demo(tmp_path)
    until(lambda: bool(FIRST_AUDIO.search(printed(tmp_path))), 60)
    (service,) = children(process)
    process.send_signal(signal.SIGINT)
    until(lambda: "Stopping" in printed(tmp_path) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) in (0, 130)  # 0: it had just ended
    with pytest.raises(ProcessLookupError):
        os.kill(service, 0)


def test_a_service_that_dies_is_a_failure(tmp_path: Path) -> None:
    """Exit code 1 and what became of the service; no summary of half the truth."""
    process = demo(tmp_path)
    until(lambda: bool(FIRST_AUDIO.search(printed(tmp_path))), 60)
    (service,) = children(process)
    os.kill(service, signal.SIGKILL)
    assert process.wait(30) == 1
    assert "Error: The service ended with exit code -9." in printed(tmp_path)
    assert "Next steps" not in printed(tmp_path)


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Its last words are part of the error. An endpoint that the demo does not use is named before."""
    variables = {"OTEL_TTS_PRICES": str(tmp_path / "nowhere.toml"), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}
    process = demo(tmp_path, "--duration", "5", **variables)
    assert process.wait(60) == 1
    output = printed(tmp_path)
    assert "local files: OTEL_EXPORTER_OTLP_ENDPOINT is not used." in output
    assert "Error: The service ended with exit code 1. The last lines of " in output
    assert "nowhere.toml" in output


async def test_a_port_lost_on_the_way_is_told(tmp_path: Path) -> None:
    """Somebody takes the port between its choice and the service's start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
        environ = {"TTS_PROVIDERS": "hibari", "PROMETHEUS_PORT": "0"}
        async with running(port, environ, tmp_path / "log") as service:
            with pytest.raises(ProcessFailedError, match=f"Port {port} of 127.0.0.1 cannot be used"):
                await service.ready()


def test_the_speech_server_is_away_now_and_then() -> None:
    """It speaks, then answers 503 to calls and health checks alike, then speaks again."""
    seen: list[int] = []
    with cloud(period_s=0.4, absence_s=0.2) as server, httpx.Client(base_url=server.base_url, timeout=60) as client:
        deadline = time.monotonic() + 120
        while seen[-3:] != [200, 503, 200]:
            assert time.monotonic() < deadline
            asked = {"model": MODEL, "input": "Hi.", "voice": "nova", "speed": 1.0}
            statuses = {client.get("models").status_code, client.post("audio/speech", json=asked).status_code}
            if len(statuses) == 1 and seen[-1:] != list(statuses):
                seen += statuses
