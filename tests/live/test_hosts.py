"""The dashboard's server itself, asked under names of all kinds."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_tts.live.server import command
from tests.ports import free_port

pytest.importorskip("streamlit", reason="it needs the extra `live`")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where it runs, told of one more name."""
    directory: Path = tmp_path_factory.mktemp("live")
    number = free_port()
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(directory)}
    process = subprocess.Popen(command("127.0.0.1", number, ["speech.example"]), env=environ, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if process.poll() is not None or handshake(number, "localhost"):
            break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
    yield number
    process.terminate()
    process.wait(10)


def handshake(port: int, host: str) -> int:
    """The status for opening the WebSocket, over which all that is shown comes, from a page of that host; 0 while nobody listens."""
    lines = (
        "GET /_stcore/stream HTTP/1.1", f"Host: {host}:{port}", f"Origin: http://{host}:{port}",
        "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    )  # fmt: skip
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall("\r\n".join(lines).encode())
            return int(connection.recv(1000).split()[1])
    except (OSError, IndexError):
        return 0


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 101), ("127.0.0.1", 101), ("speech.example", 101), ("evil.example", 403), ("127.0.0.1.evil.example", 403)],
)
def test_only_known_hosts_get_anything(port: int, host: str, status: int) -> None:
    """A page of a stranger's that points its name at this machine is told nothing."""
    assert handshake(port, host) == status
