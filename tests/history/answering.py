"""A server that answers as it is told, in the place of a trace backend."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from otel_tts.history import History, open_history
from otel_tts.settings import HistorySettings


@contextmanager
def answering(
    variable: str, answers: Mapping[str, Any], status: int = 200, **variables: str
) -> Iterator[tuple[History, list[dict[str, str]]]]:
    """The history of a server that answers so by path, and the parameters of each request to it.

    Args:
        variable: the setting that leads there.
        answers: JSON, or text, by path; 404 for all others.
        status: of the answers.
        variables: further settings.
    """
    requests: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            requests.append({name: values[0] for name, values in parse_qs(url.query).items()})
            body = answers.get(url.path)
            self.send_response(404 if body is None else status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings = HistorySettings.load({variable: f"http://me:secret@127.0.0.1:{server.server_port}", **variables})
        yield open_history(settings), requests
        server.shutdown()
