"""The pull endpoint of a service with several processes: refused with what to do, never an answer that lacks what others counted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from otel_tts.core.underway import Register
from otel_tts.sdk import workers
from otel_tts.sdk.pull import PullServer

APP = """
import os, otel_tts
from otel_tts import PCM16, Telemetry
CONFIGURE

def speak():
    with Telemetry().synthesis("Hello") as s, s.attempt("piper") as attempt:
        attempt.audio(bytes(3200), PCM16(16000))

def app(environ, start):
    speak()
    start("200 OK", [])
    return [b""]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        speak()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""
RUN = [str(Path(sys.executable).with_name("otel-tts")), "run", "--"]
PYTHON = [sys.executable, "-W", "ignore::DeprecationWarning", "-m"]
GUNICORN = [*PYTHON, "gunicorn", "-b", "127.0.0.1:{port}", "program:app", "-w"]
UVICORN = [*PYTHON, "uvicorn", "--port", "{port}", "program:asgi", "--log-level", "warning", "--workers"]
KINDS = {
    "gunicorn": [*GUNICORN, "2"], "gunicorn, preloaded": [*GUNICORN, "2", "--preload"],
    "gunicorn under otel-tts run": [*RUN, *GUNICORN, "2"],
    "uvicorn": [*UVICORN, "2"], "uvicorn under otel-tts run": [*RUN, *UVICORN, "2"],
    "one process": [*UVICORN, "1"], "one process under otel-tts run": [*RUN, *UVICORN, "1"],
}  # fmt: skip


def free_ports() -> list[int]:
    """Two of them."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [one.getsockname()[1], other.getsockname()[1]]


def get(port: int, path: str = "") -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.vendors
@pytest.mark.parametrize("kind", KINDS)
def test_several_workers_are_refused(tmp_path: Path, kind: str) -> None:
    """From the first request of another worker's on, the scrape is 503 and names OTLP; one process is scraped as ever."""
    port, metrics = free_ports()
    configure = "" if "otel-tts run" in kind else "otel_tts.configure()"
    (tmp_path / "program.py").write_text(APP.replace("CONFIGURE", configure))
    variables = {"PROMETHEUS_PORT": str(metrics), "OTEL_TTS_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(tmp_path)}
    command = [part.format(port=port) for part in KINDS[kind]]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        single = "one process" in kind
        while True:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            if get(port)[0] != 200:
                continue
            status, body = get(metrics, "metrics")
            if status == 503 or (single and status == 200):
                break
            # whoever answered 200 so far was the one that owns the port, or its worker has not got to it
            assert status in (0, 200)
            assert status == 0 or "tts_synthesis_requests" in body
        assert single or ("OTEL_EXPORTER_OTLP_ENDPOINT" in body and "tts_" not in body)
        assert not single or "tts_synthesis_requests" in body
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert single or "OTEL_EXPORTER_OTLP_ENDPOINT" in errors


class Worker:
    """Another process of the service, which does one step for each character that it is sent.

    Args:
        server: whose port it could not have.
        forked: whether it is a child of the process that has it.
    """

    def __init__(self, server: PullServer, *, forked: bool) -> None:
        self._commands, self._done = os.pipe(), os.pipe()
        self._process = os.fork()
        if self._process:
            self.step()
            return
        try:
            register = Register()
            workers.UNDER_WAY = register  # type: ignore[attr-defined]  # the one of a process without other tests
            workers.announce(server.server_port, forked=forked)
            os.write(self._done[1], b".")
            while os.read(self._commands[0], 1):
                register.add(Request())
                os.write(self._done[1], b".")
        finally:
            os._exit(0)

    def step(self) -> None:
        """Wait until it has done the step."""
        assert os.read(self._done[0], 1) == b"."

    def count(self) -> None:
        """A request of it begins."""
        os.write(self._commands[1], b".")
        self.step()

    def end(self) -> None:
        """It ends, whatever it has counted."""
        if not self._process:
            return
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        self._process = 0
        for end in (*self._commands, *self._done):
            os.close(end)


@pytest.mark.parametrize("forked", [False, True], ids=["a worker beside it", "a child"])
def test_a_scrape_is_refused_while_others_count(forked: bool) -> None:
    """From the first request of another process on, until it ends; what a child counted is missing for ever, so until a new start."""
    server = PullServer("127.0.0.1", 0, CollectorRegistry(), ())
    port = server.server_port
    one, other = Worker(server, forked=forked), Worker(server, forked=forked)
    try:
        assert get(port)[0] == 200
        for worker in (one, other, one):
            worker.count()
            status, body = get(port)
            assert (status, body) == (503, f"{workers.REFUSED}\n")
        one.end()
        assert get(port)[0] == 503
        other.end()
        assert get(port)[0] == (503 if forked else 200)
    finally:
        one.end()
        other.end()
        server.shutdown()
        server.server_close()
    assert workers.WorkerProcesses(port).count() is False, "a new owner"


def test_a_lock_of_somebody_else_holds_up_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner may be stopped while it looks, and others may lock the file: the first request goes on, and counts once it is free."""
    fcntl = pytest.importorskip("fcntl")
    register, port = Register(), free_ports()[0]
    monkeypatch.setattr(workers, "UNDER_WAY", register)
    owner, held = workers.WorkerProcesses(port), workers._file(port)
    assert held is not None
    fcntl.flock(held, fcntl.LOCK_EX)
    workers.announce(port, forked=False)
    begun = threading.Event()

    def begin() -> None:
        register.add(Request())
        begun.set()

    threading.Thread(target=begin, daemon=True).start()
    assert begun.wait(30)
    os.close(held)
    deadline = time.monotonic() + 30
    while not owner.count() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert owner.count()


class Request:
    """A request that has begun."""

    ending = False

    def stop(self) -> None:
        """It has nothing to end."""
