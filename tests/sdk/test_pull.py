"""The pull endpoint as strangers meet it: names it was not told of, many connections, slow ones."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from otel_tts.hosts import is_answered, own_names
from otel_tts.sdk import pull
from otel_tts.sdk.pull import CONNECTIONS, PullServer

LONG = 20  # seconds that a test waits at most


@pytest.fixture
def server() -> Iterator[PullServer]:
    """A running one, told of one name and of all below another."""
    registry = CollectorRegistry()
    Gauge("speech", "Speech.", registry=registry).set(7)
    server = PullServer("127.0.0.1", 0, registry, ("metrics.example.org", "*.corp.example"))
    yield server
    server.shutdown()
    server.server_close()


def scrape(server: PullServer, host: str | None) -> tuple[int, str]:
    """Status and body for a request that names this host."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.putrequest("GET", "/metrics", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    status, body = answer.status, answer.read().decode()
    connection.close()
    return status, body


def is_answered_now(server: PullServer) -> bool:
    """Whether there is a place for a scrape."""
    try:
        return scrape(server, "localhost")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


HOSTS = {
    "127.0.0.1:8002": True, "[::1]:8002": True, "10.1.2.3": True, "localhost": True, "LOCALHOST:8002": True, "tts:8002": True,
    "app.localhost": True, "metrics.example.org": True, "Metrics.Example.org.:443": True, "a.b.corp.example:8002": True,
    "evil.example": False, "rebind.attacker.test:8002": False, "metrics.example.org.evil.example": False, "corp.example": False,
    "127.0.0.1.evil.example": False, "evil.example#localhost": False, "user@localhost": False, "evil.example:80:80": False,
    "localhost/evil.example": False, ":8002": False, "xcorp.example": False,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_only_known_hosts_are_answered(server: PullServer, host: str) -> None:
    """A name that somebody pointed at this machine gets nothing but the variable that would allow it."""
    status, body = scrape(server, host)
    assert (status, "speech 7.0" in body) == ((200, True) if HOSTS[host] else (403, False))
    assert HOSTS[host] or "PROMETHEUS_ALLOWED_HOSTS" in body


def test_any_host_where_that_is_wished() -> None:
    """A star stands for all names, and the dashboard's list is empty then, which means the same."""
    assert is_answered("evil.example", ("*",))
    assert own_names("0.0.0.0", ("*",)) == []
    assert {"localhost", "speech.example", socket.gethostname()} <= set(own_names("0.0.0.0", ("speech.example",)))
    assert own_names("10.0.0.5", ())[-1] == "10.0.0.5"


def test_connections_are_bounded_in_number(server: PullServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One beyond the bound is closed at once, and when one of the others ends, the next one is answered."""
    monkeypatch.setattr(pull, "SECONDS", 60.0)  # so that only their number can end one
    held = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", server.server_port)) as beyond:
        beyond.settimeout(LONG)
        assert beyond.recv(100) == b""
    held.pop().close()
    wait_until(lambda: is_answered_now(server))
    for connection in held:
        connection.close()


def test_connections_are_bounded_in_time(server: PullServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that go on slowly are cut off all the same, and leave their places to scrapers."""
    monkeypatch.setattr(pull, "SECONDS", 0.5)
    slow = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(CONNECTIONS)]
    for connection in slow:
        connection.sendall(b"GET /metrics HT")
        connection.settimeout(0.02)

    def is_cut(connection: socket.socket) -> bool:
        try:
            connection.send(b"T")  # drop by drop
            return connection.recv(100) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    for connection in slow:
        wait_until(lambda: is_cut(connection))  # noqa: B023 - called at once
        connection.close()
    wait_until(lambda: is_answered_now(server))
