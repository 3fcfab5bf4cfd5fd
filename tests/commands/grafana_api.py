"""A server that answers as Grafana's HTTP API is documented to: Grafana itself is in no package index."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PASSWORD = "pass/word:1"


@contextmanager
def grafana(
    dashboards: Collection[str], unhealthy: Mapping[str, tuple[int, Any]] | None = None, *, database: str = "ok"
) -> Iterator[str]:
    """Its address, for the length of the block. ``unhealthy``: answers that differ from those of a whole one, by path."""
    answers: dict[str, tuple[int, Any]] = {
        "/api/datasources/uid/prometheus/health": (200, {"status": "OK", "message": "Successfully queried the Prometheus API."}),
        "/api/datasources/proxy/uid/tempo/api/echo": (200, "echo"),
        **(unhealthy or {}),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/api/health":
                self._answer(200 if database == "ok" else 503, {"database": database, "version": "13.2.3"})
            elif self.headers.get("Authorization") != f"Basic {base64.b64encode(f'admin:{PASSWORD}'.encode()).decode()}":
                self._answer(401, {"message": "Unauthorized"})
            elif url.path == "/api/search":
                assert parse_qs(url.query)["tag"] == ["otel-tts"]
                self._answer(200, [{"uid": uid, "type": "dash-db"} for uid in dashboards])
            else:
                self._answer(*answers.get(url.path, (404, {"message": "Not found"})))

        def _answer(self, status: int, body: Any) -> None:
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
