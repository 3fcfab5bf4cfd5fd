"""What instrumentations record of one and the same stream of speech, which its listener interrupts.

    python -m benchmarks.peers_recorded [PEER ...]

Each peer is installed into an environment of its own, in build/peers/, and plays the stream twice (`benchmarks.peers_played`): to its
end, and interrupted. It calls OpenAI's API over HTTP; a server in this process speaks it, with a tone for a voice. Headers come after
0.3 s, the first byte after 1 s (it is silent), the first audio after 3.5 s. There is a gap from 5.3 s to 7.9 s. After 8.2 s the listener
interrupts.

Without a PEER all are run, and the result is written to `peers_recorded.json`, from which `make generate` makes the table of the README.

All telemetry comes to the same process by OTLP. A fact counts as recorded when any attribute, metric or duration of a span has its
value, whatever it is called there. Figures that the peer gives to its program by other ways are counted, too, and are marked.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.peers_played import CHUNK, RATE, TEXT

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).with_suffix(".json")
OTLP = "opentelemetry-exporter-otlp-proto-http"
REQUIREMENTS = {
    "otel_tts": (str(ROOT), "openai"),
    "httpx": ("opentelemetry-instrumentation-httpx", "openai", OTLP),
    "openllmetry": ("opentelemetry-instrumentation-openai", "openai", OTLP),
    "openinference": ("openinference-instrumentation-openai", "openai", OTLP),
    "langfuse": ("langfuse", "openai"),
    "logfire": ("logfire", "openai"),
    "livekit": ("livekit-agents", "livekit-plugins-openai", OTLP),
    "pipecat": ("pipecat-ai[openai]", "opentelemetry-sdk", OTLP),
}
"""Of each peer; the first is the peer itself."""
NAMES = {
    "otel_tts": "otel-tts",
    "httpx": "OpenTelemetry httpx",
    "openllmetry": "OpenLLMetry openai",
    "openinference": "OpenInference openai",
    "langfuse": "Langfuse",
    "logfire": "Logfire",
    "livekit": "LiveKit",
    "pipecat": "Pipecat",
}
"""As the README calls them."""
SCHEDULE_S = (1.0, 3.5, 3.6, 3.7, 7.9, 8.0, 8.1, 8.2, 10.5, 10.6, 10.7, 10.8)
"""When chunks of audio leave, after the request; the first is silent."""
HEADERS_S = 0.3
GAPS_S = SCHEDULE_S[4] - (SCHEDULE_S[1] + 3 * CHUNK / 2 / RATE), SCHEDULE_S[4] - (SCHEDULE_S[0] + 4 * CHUNK / 2 / RATE)
"""How long nothing was to be heard; and how late the audio was by then, counted from the first byte."""
EARLIER_S, LATER_S = 0.1, 0.8
"""How much a peer's moment may differ from the server's: it counts from when it was asked, which may be before the request was sent."""
TOLERANCE_S = 0.15
ENDINGS = ("cancel", "interrupt", "abort", "incomplete", "disconnect", "closed")
_MEASURED = {"sum", "min", "max", "asDouble", "asInt"}
MESSAGES: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}


class Server:
    """Speaks, and takes what is recorded of it."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.asked_at = 0.0
        tone = (np.sin(np.arange(CHUNK // 2) * 0.12) * 20_000).astype("<i2").tobytes()
        received, server = self.received, self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                began = time.monotonic()
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if "/audio/speech" in self.path:
                    self.speak(began, tone)
                    return
                signal = self.path.rpartition("/")[2]
                if signal in MESSAGES:
                    data = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                    received.append(MessageToDict(MESSAGES[signal].FromString(data)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def speak(self, began: float, tone: bytes) -> None:
                server.asked_at = began
                time.sleep(HEADERS_S)
                self.send_response(200)
                self.send_header("content-type", "audio/pcm")
                self.send_header("content-length", str(CHUNK * len(SCHEDULE_S)))
                self.end_headers()
                try:
                    for number, moment in enumerate(SCHEDULE_S):
                        time.sleep(max(0.0, began + moment - time.monotonic()))
                        self.wfile.write(tone if number else bytes(CHUNK))
                except OSError:  # the listener has interrupted
                    self.close_connection = True

            def do_GET(self) -> None:
                self.send_response(404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


class Recording(NamedTuple):
    """What one run left: figures, words, the durations of spans in seconds, and what the listener got."""

    figures: list[float]
    words: list[str]
    durations: list[float]
    reported: list[float]
    got: dict[str, Any]
    asked_at: float


def _leaves(value: Any) -> Iterator[Any]:
    """Keys and values, however deep; of JSON in a string, too."""
    if isinstance(value, str) and value.startswith("{"):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _find(node: Any, *keys: str) -> Iterator[Any]:
    """The values of some keys, wherever they stand."""
    if isinstance(node, dict):
        for key, item in node.items():
            if key in keys:
                yield item
            else:
                yield from _find(item, *keys)
    elif isinstance(node, list):
        for item in node:
            yield from _find(item, *keys)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def recording(received: list[dict[str, Any]], got: dict[str, Any], asked_at: float) -> Recording:
    """Everything that came of one run. Resources are left out: they are about the process."""
    about = [
        {key: value for key, value in part.items() if key != "resource"}
        for request in received
        for parts in request.values()
        for part in parts
    ]
    figures, durations = [], []
    for span in _find(about, "spans"):
        for one in span:
            start = int(one["startTimeUnixNano"])
            durations.append((int(one["endTimeUnixNano"]) - start) / 1e9)
    values = [*_find(about, "attributes", "body")]
    figures += [float(number) for number in _find(values, "intValue", "doubleValue")]
    figures += [
        float(point[key]) for points in _find(about, "dataPoints") for point in points for key in _MEASURED & point.keys()
    ]
    words = [leaf for leaf in _leaves(about) if isinstance(leaf, str)]
    figures += _numbers(_leaves([text for text in _find(values, "stringValue") if text.startswith("{")]))
    return Recording(figures, words, durations, _numbers(_leaves(got.pop("reported"))), got, asked_at)


def within(value: float, earlier: float, later: float) -> Callable[[float], bool]:
    """Whether a figure is this value, in seconds or in milliseconds."""
    return lambda figure: any(value - earlier <= figure * scale <= value + later for scale in (1, 1e-3))


def judge(complete: Recording, cut: Recording) -> dict[str, str]:
    """What of the interrupted stream is there, by fact."""

    def figure(is_it: Callable[[float], bool], *others: float) -> str:
        if any(map(is_it, [*cut.figures, *others])):
            return "yes"
        return "to the program" if any(map(is_it, cut.reported)) else "-"

    ended = [word for word in cut.words if any(part in word.lower() for part in ENDINGS)]
    same = [word for word in complete.words if any(part in word.lower() for part in ENDINGS)]
    text = any(TEXT[:12] in word for word in cut.words)
    return {
        "a span": "yes" if cut.durations else "-",
        "provider or model": "yes" if {"openai", "tts-1"} & {word.lower() for word in cut.words} else "-",
        "characters of text": figure(lambda number: number == len(TEXT)),
        "time to first byte": figure(within(SCHEDULE_S[0], EARLIER_S, LATER_S), *cut.durations),
        "time to first audio": figure(within(SCHEDULE_S[1], EARLIER_S, LATER_S), *cut.durations),
        "the gap in the stream": figure(lambda number: any(within(gap_s, TOLERANCE_S, TOLERANCE_S)(number) for gap_s in GAPS_S)),
        "how long it was played": figure(within(cut.got["enough_at"] - cut.asked_at, EARLIER_S, LATER_S), *cut.durations),
        "seconds of audio that left": figure(within(cut.got["audio_s"], 0.03, 0.03)),
        "that it was interrupted": "yes" if set(ended) - set(same) else "-",
        "the program gets audio as it comes": "yes" if cut.got["first_byte_at"] < cut.asked_at + SCHEDULE_S[1] else "no",
        "text is left out by default": ("no" if text else "yes") if cut.durations else "-",
    }


def installed(peer: str) -> tuple[Path, str]:
    """The interpreter of a peer's environment, and the peer's name with its version."""
    directory = ROOT / "build" / "peers" / peer
    python = directory / "bin" / "python"
    if not (directory / ".ready").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", str(directory)], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *REQUIREMENTS[peer]], check=True)
        (directory / ".ready").touch()
    name = "otel-tts" if peer == "otel_tts" else REQUIREMENTS[peer][0].partition("[")[0]
    [path] = importlib.metadata.distributions(name=name, path=[str(next(directory.glob("lib/python*/site-packages")))])
    return python, NAMES[peer] + ("" if peer == "otel_tts" else f" {path.version}")


def play(peer: str, python: Path, server: Server, how: str) -> Recording:
    """Run a peer once."""
    server.received.clear()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHONPATH"))} | {
        "SPEECH_URL": f"{server.url}/v1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
        "OTEL_SERVICE_NAME": peer,
        "LANGFUSE_HOST": server.url,
        "LANGFUSE_PUBLIC_KEY": "none",
        "LANGFUSE_SECRET_KEY": "none",
    }
    command = [str(python), str(ROOT / "benchmarks" / "peers_played.py"), peer, how]
    result = subprocess.run(command, env=environ, cwd=ROOT / "build", capture_output=True, text=True, timeout=120, check=False)
    if result.returncode:
        sys.exit(f"{peer} failed:\n{result.stderr[-3000:]}")
    if os.environ.get("PEERS_KEEP"):
        Path(os.environ["PEERS_KEEP"], f"{peer}-{how}.json").write_text(json.dumps(server.received, indent=1), "utf-8")
    return recording(server.received, json.loads(result.stdout.splitlines()[-1]), server.asked_at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(REQUIREMENTS)}; all if none is named")
    peers, server, recorded = parser.parse_args().peers, Server(), {}
    for peer in peers or REQUIREMENTS:
        python, name = installed(peer)
        recorded[name] = judge(play(peer, python, server, "complete"), play(peer, python, server, "interrupted"))
    result = json.dumps({"measured": f"{datetime.now(UTC):%Y-%m-%d}", "recorded": recorded}, indent=1)
    if not peers:
        RESULT.write_text(f"{result}\n", "utf-8")
    print(result)


if __name__ == "__main__":
    main()
