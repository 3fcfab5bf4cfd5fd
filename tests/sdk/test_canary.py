"""A text in every place of a program where text goes: with capture off it leaves the process nowhere."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CANARY = "xyzzy" + "canary"  # put together here and there: the lines of these programs stand in stack traces
PROGRAM = """
import json, logging
from concurrent.futures import ThreadPoolExecutor
import grpc
from opentelemetry import baggage, context
import otel_tts
from otel_tts import PCM16
from otel_tts.grpc import server_interceptor

TEXT = f"Say {'xyzzy'}{'canary'} now."
logging.basicConfig(level=logging.DEBUG, filename="host.txt")
pipeline = otel_tts.configure()
tts = otel_tts.Telemetry(voices=["joe"])
log = logging.getLogger("host")
context.attach(baggage.set_baggage("text", TEXT))

class Own(Exception):
    def __str__(self):
        return TEXT
    __repr__ = __str__

def failures():
    noted = RuntimeError(TEXT)
    noted.add_note(TEXT)
    caused = RuntimeError("no")
    caused.__cause__ = ValueError({"input": [TEXT]})
    yield from (noted, caused, ExceptionGroup(TEXT, [ValueError(TEXT)]), KeyError(TEXT), OSError(5, TEXT, TEXT), Own())
    yield UnicodeEncodeError("ascii", TEXT, 0, 1, TEXT)
    yield json.JSONDecodeError(TEXT, TEXT, 0)

for failure in failures():
    for text in (TEXT, f"<speak>{TEXT}</speak>", TEXT.split()):
        try:
            with tts.synthesis(None if isinstance(text, list) else text, voice="joe", stream=isinstance(text, list)) as s:
                for piece in text if isinstance(text, list) else ():
                    s.add_text(piece)
                with s.attempt("engine") as attempt:
                    attempt.audio(bytes(4800), PCM16(24_000))
                    raise failure
        except BaseException as error:
            log.exception("failed")
            log.error("failed: %s %r", error, [error])
            log.error({"error": error})
            log.error("failed", extra={"error": error, "deep": {"errors": [error]}})
for name in ("openai._base_client", "httpx", "botocore.endpoint", "piper.voice", "websockets.client", "grpc"):
    logging.getLogger(name).debug("sending %s", {"input": TEXT})

class Speech(grpc.GenericRpcHandler):
    def service(self, details):
        def say(request, context):
            context.set_trailing_metadata((("x-text", TEXT),))
            with tts.synthesis(TEXT, voice="joe") as s, s.attempt("engine") as attempt:
                attempt.audio(bytes(4800), PCM16(24_000))
                if request == b"raise":
                    raise RuntimeError(TEXT)
                if request == b"abort":
                    context.abort(grpc.StatusCode.INTERNAL, TEXT)
            return b""
        return grpc.unary_unary_rpc_method_handler(say)

with ThreadPoolExecutor(2) as pool:
    server = grpc.server(pool, interceptors=(server_interceptor(tts),))
    server.add_generic_rpc_handlers([Speech()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for request in (b"speak", b"raise", b"abort"):
            try:
                channel.unary_unary("/acme.Speech/Say")(request, metadata=(("x-text", TEXT),), timeout=20)
            except grpc.RpcError:
                pass
    server.stop(1).wait()
assert pipeline.flush(20)
pipeline.shutdown()
"""


@pytest.mark.parametrize("capture", [False, True])
def test_the_text_leaves_nowhere(tmp_path: Path, capture: bool) -> None:
    """Neither by OTLP, local files or standard error; switched on, it stands in traces and logs, and in no metric."""
    bodies: dict[str, bytes] = {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies[self.path] = bodies.get(self.path, b"") + (
                gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = os.environ | {
            "OTEL_TTS_CAPTURE_TEXT": str(capture).lower(), "OTEL_TTS_DATA_DIR": str(tmp_path / "data"),
        }  # fmt: skip
        run = [sys.executable, "-c", PROGRAM]
        otlp = environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "OTEL_LOGS_EXPORTER": "otlp"}
        errors = [
            subprocess.run(run, cwd=tmp_path, env=e, check=True, stderr=subprocess.PIPE, timeout=100).stderr
            for e in (otlp, environ)
        ]
        server.shutdown()
    kept: dict[str, bytes] = {}
    for path in (tmp_path / "data").rglob("*.jsonl"):
        kept[path.parent.name] = kept.get(path.parent.name, b"") + path.read_bytes()
    assert set(bodies) == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    assert {"traces", "metrics"} <= set(kept)
    everything = {**bodies, **kept, "stderr": b"".join(errors)}
    with_text = {place for place, content in everything.items() if CANARY.encode() in content}
    assert with_text == ({"/v1/traces", "/v1/logs", *(set(kept) & {"traces", "logs"})} if capture else set())
