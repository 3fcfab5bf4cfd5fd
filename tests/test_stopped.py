"""The service of the HTTP guide is stopped while it speaks: what each listener got is what is counted, and nobody of them has left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from otel_tts.history import Request, RequestFilter, open_history
from otel_tts.settings import HistorySettings
from tests.ports import free_port
from tests.reader import blocks

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "http.md"
SLOW = """
import asyncio, service
from service import app
quick = service.engine
async def engine(text):
    async for piece in quick(text):
        yield piece
        await asyncio.sleep(0.05)
service.engine = engine
"""
"""The guide's program with an engine that takes its time."""
ENDLESS = " ".join(["word"] * 10_000)
BYTES_PER_S = 48_000
LISTENERS = 3


def over_http(port: int, began: Semaphore) -> float:
    """Listen until the service stops; the seconds of audio that came."""
    got = 0
    try:
        with httpx.stream("POST", f"http://127.0.0.1:{port}/speech", content=ENDLESS, timeout=60) as answer:
            for piece in answer.iter_bytes():
                got += len(piece)
                began.release()
    except httpx.RemoteProtocolError:
        return got / BYTES_PER_S
    raise AssertionError("The stream ended by itself.")


def over_a_websocket(port: int, began: Semaphore) -> float:
    """The same, as a player that reports after each piece."""
    got = 0
    try:
        with connect(f"ws://127.0.0.1:{port}/speech") as websocket:
            websocket.send(ENDLESS)
            while True:
                got += len(websocket.recv())
                began.release()
                websocket.send(json.dumps({"stop": False}))
    except ConnectionClosed:
        return got / BYTES_PER_S


@contextmanager
def serving(directory: Path, grace_s: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The guide's service in two workers, with its port, until it has ended."""
    program = next(block for block in blocks(GUIDE) if block.file == "service.py")
    (directory / "service.py").write_text(program.code, "utf-8")
    (directory / "slow.py").write_text(SLOW, "utf-8")
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-m", "uvicorn", "slow:app", "--port", str(port), "--log-level", "critical"]
    with (directory / "log").open("wb") as log:
        service = subprocess.Popen(
            [*command, "--workers", "2", "--timeout-graceful-shutdown", str(grace_s)],
            cwd=directory, env=environ | {"OTEL_TTS_DATA_DIR": str(directory / "data")}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            _wait_until_it_answers(port)
            yield service, port
        finally:
            service.terminate()
            service.wait(60)


def spoken(directory: Path) -> list[Request]:
    """The requests that were listened to."""
    requests = open_history(HistorySettings.load(data_dir=directory / "data")).requests(RequestFilter(), 100)
    return [request for request in requests if request.outcome != "rejected"]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("listen", [over_http, over_a_websocket])
def test_listeners_who_are_cut_off(tmp_path: Path, listen: Callable[[int, Semaphore], float], sign: signal.Signals) -> None:
    """By SIGTERM and by Ctrl-C: each request is `partial`, stopped by the service, with all audio that came."""
    with serving(tmp_path, 1) as (service, port), ThreadPoolExecutor(LISTENERS) as listeners:
        began = [Semaphore(0) for _ in range(LISTENERS)]
        got = [listeners.submit(listen, port, each) for each in began]
        assert all(each.acquire(timeout=60) for each in began)
        service.send_signal(sign)
        seconds = sorted(future.result(60) for future in got)
    requests = spoken(tmp_path)
    assert [(r.outcome, r.cancel_reason, r.error_type) for r in requests] == [("partial", "stopped", "shutdown")] * LISTENERS
    delivered = sorted(request.delivered or 0.0 for request in requests)
    on_its_way_s = 0.25 if listen is over_a_websocket else 0.0  # what is sent when the WebSocket is closed already reaches nobody
    assert all(0 <= made - came <= on_its_way_s for made, came in zip(delivered, seconds, strict=True)), (delivered, seconds)
    assert min(seconds) > 0


def test_a_listener_who_leaves_in_the_time_of_grace(tmp_path: Path) -> None:
    """Nobody cut that one off, though the service is stopping: the caller left."""
    with serving(tmp_path, 60) as (service, port):
        with httpx.stream("POST", f"http://127.0.0.1:{port}/speech", content=ENDLESS, timeout=60) as answer:
            pieces = answer.iter_bytes()
            next(pieces)
            service.send_signal(signal.SIGTERM)
            for _ in range(20):  # a second
                next(pieces)
        service.wait(60)
    assert [(r.outcome, r.cancel_reason, r.error_type) for r in spoken(tmp_path)] == [("cancelled", "caller", None)]


def _wait_until_it_answers(port: int) -> None:
    for _ in range(600):
        try:
            assert httpx.post(f"http://127.0.0.1:{port}/speech", content=" ").status_code == 400
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("The service does not answer.")
