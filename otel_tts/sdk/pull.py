"""The HTTP server of the pull endpoint: a limited number of short connections, and only for allowed host names."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from otel_tts.hosts import is_answered
from otel_tts.sdk import workers
from otel_tts.sdk.workers import WorkerProcesses

CONNECTIONS = 8
"""The most connections at the same time; further ones are closed."""
SECONDS = 10.0
"""The longest duration of a connection, whatever it does."""

_REFUSED = b"This endpoint does not answer to that host name. PROMETHEUS_ALLOWED_HOSTS names further ones.\n"


class PullServer(ThreadingMixIn, WSGIServer):
    """Server of a registry, in its own threads.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        registry: what is served.
        allowed_hosts: further names that a `Host` header may have.

    Raises:
        OSError: the address cannot be bound.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, registry: CollectorRegistry, allowed_hosts: Sequence[str]) -> None:
        self.address_family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self._free = threading.Semaphore(CONNECTIONS)
        super().__init__((str(address[0]), int(address[1])), _ScrapeHandler)
        self._workers = WorkerProcesses(self.server_port)
        self.set_app(_with_known_hosts(self._of_one_process(make_wsgi_app(registry)), allowed_hosts))
        threading.Thread(target=self.serve_forever, name="otel-tts-pull", daemon=True).start()

    def server_bind(self) -> None:
        """Bind without the DNS look-up of this machine's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def _of_one_process(self, answer: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if self._workers.count():
                return _refuse(start, "503 Service Unavailable", f"{workers.REFUSED}\n".encode())
            return answer(environ, start)

        return application

    def process_request(self, request: Any, client_address: Any) -> None:
        """Accept a connection, unless there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request, and close the connection when its time is over."""
        timer = threading.Timer(SECONDS, _cut, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: the host need not know that a scraper went away."""


class _ScrapeHandler(WSGIRequestHandler):
    timeout = SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing: the base class would print each scrape to the host's stderr."""


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may have ended in the meantime
        connection.shutdown(socket.SHUT_RDWR)


def _with_known_hosts(answer: Callable[..., Iterable[bytes]], allowed_hosts: Sequence[str]) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if is_answered(environ.get("HTTP_HOST"), allowed_hosts):
            return answer(environ, start)
        return _refuse(start, "403 Forbidden", _REFUSED)

    return application


def _refuse(start: Callable[..., Any], status: str, reason: bytes) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(reason)))])
    return [reason]
