"""A server that answers as Grafana's HTTP API is documented to: Grafana itself is in no package index."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
        "/api/datasources/proxy/uid/jaeger/api/services": (200, {"data": []}),
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

    with _serving(Handler) as url:
        yield url


@dataclass
class Store:
    """What a Grafana keeps of what is uploaded, and what it answers instead: by method and path, its status and body."""

    token: str
    folders: dict[str, str] = field(default_factory=dict)
    """Titles by uid."""
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each as Grafana gives it, by uid."""
    saved: list[tuple[str, str]] = field(default_factory=list)
    """The uid and the message of each dashboard that was saved."""
    instead: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address, for the length of the block."""
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer("GET", None)

            def do_POST(self) -> None:
                self._answer("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, method: str, body: Any) -> None:
                path = urlsplit(self.path).path
                if (method, path) in store.instead:
                    status, answer = store.instead[method, path]
                elif self.headers["Authorization"] != f"Bearer {store.token}":
                    status, answer = 401, {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401}
                else:
                    status, answer = store.answer(method, path, body)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", answer)
                self.end_headers()
                self.wfile.write((answer if isinstance(answer, str) else json.dumps(answer)).encode())

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing."""

        with _serving(Handler) as url:
            yield url

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Grafana's answer to who may ask."""
        uid = path.rpartition("/")[2]
        match method, path.removesuffix(uid):
            case "GET", "/api/" if uid == "folders":
                return 200, [
                    {"id": number, "uid": uid, "title": title} for number, (uid, title) in enumerate(self.folders.items())
                ]
            case "POST", "/api/" if uid == "folders":
                made = f"folder{len(self.folders)}"
                self.folders[made] = body["title"]
                return 200, {"uid": made, "title": body["title"], "version": 1}
            case "GET", "/api/dashboards/uid/":
                return (200, self.dashboards[uid]) if uid in self.dashboards else (404, {"message": "Dashboard not found"})
            case "POST", "/api/dashboards/":
                return self._save(body)
        return 404, {"message": "Not found"}

    def _save(self, body: Any) -> tuple[int, Any]:
        dashboard = body["dashboard"]
        there = self.dashboards.get(dashboard["uid"])
        if there and not body["overwrite"]:
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        version = there["dashboard"]["version"] + 1 if there else 1
        number = there["dashboard"]["id"] if there else len(self.dashboards) + 1
        kept = {**dashboard, "id": number, "version": version}
        self.dashboards[dashboard["uid"]] = {"dashboard": kept, "meta": {"folderUid": body["folderUid"], "version": version}}
        self.saved.append((dashboard["uid"], body["message"]))
        return 200, {"id": number, "uid": dashboard["uid"], "status": "success", "version": version}


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
