"""Text stays private: a phrase sent as text is looked for in everything that the service emits, writes or answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from otel_tts.files import partitions, read
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc

CANARY = "Quokkazanzibar"
# The real service with a real engine, which for some texts raises what engines raise: the text itself, also in chained exceptions.
PROGRAM = """
from otel_tts.service.providers.hibari import Hibari

speak = Hibari.stream

async def leaky(self, speech):
    if "fails" in speech.text:
        try:
            raise KeyError(speech.text)
        except KeyError as error:
            error.add_note(speech.text)
            raise ExceptionGroup(speech.text, [ValueError(speech.text)]) from error
    async for chunk in speak(self, speech):
        yield chunk
        if "breaks" in speech.text:
            raise RuntimeError(f"cannot say {speech.text!r}")

Hibari.stream = leaky

from otel_tts.service.run import main
main()
"""


@dataclass
class Seen:
    """All that left the service, by where it was seen."""

    places: dict[str, bytes] = field(default_factory=dict)

    def with_canary(self) -> list[str]:
        """The places where the phrase stands."""
        return [place for place, content in self.places.items() if CANARY.lower().encode() in content.lower()]


@contextmanager
def running(directory: Path, environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    """The service as a process; gives its gRPC port and that of its metrics."""
    with (directory / "stdout").open("wb") as stdout, (directory / "stderr").open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=stdout, stderr=stderr)
    try:
        ports = {}
        for _ in range(600):
            words = (directory / "stdout").read_text().split()
            addresses = [word for word in words if "127.0.0.1:" in word]
            if "stops" in words:
                ports = {"metrics" in a: int(a.rpartition("127.0.0.1:")[2].partition("/")[0]) for a in addresses}
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield ports[False], ports[True]
    finally:
        process.terminate()
        process.wait(20)


def everything(directory: Path, *, capture: bool) -> Seen:
    """Speak the phrase in good, bad and failing requests, and collect whatever comes of it."""
    data, cached = directory / "data", directory / "cache"
    environment = os.environ | {
        "TTS_PORT": "0",
        "PROMETHEUS_PORT": "0",
        "TTS_PROVIDERS": "hibari",
        "TTS_CACHE_URL": f"memory://,file://{cached}",
        "TTS_CIRCUIT_FAILURES": "100",
        "OTEL_TTS_DATA_DIR": str(data),
        "OTEL_TTS_CAPTURE_TEXT": str(capture),
    }
    seen = Seen()
    with running(directory, environment) as (port, metrics_port), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = tts_pb2_grpc.TextToSpeechStub(channel)
        requests = [
            tts_pb2.SynthesizeRequest(text=f"The {CANARY} speaks."),
            tts_pb2.SynthesizeRequest(text=f"The {CANARY} speaks."),  # from the cache
            tts_pb2.SynthesizeRequest(text=f"The {CANARY} fails."),
            tts_pb2.SynthesizeRequest(text=f"The {CANARY} breaks. " * 3),
            tts_pb2.SynthesizeRequest(text=f"The {CANARY} \x00 is refused."),
            tts_pb2.SynthesizeRequest(text=f"The {CANARY} is too long." * 1000),
            tts_pb2.SynthesizeRequest(ssml=f"<speak>The {CANARY} is not closed."),
            tts_pb2.SynthesizeRequest(text=f"The {CANARY} has no such voice.", voice="nobody"),
        ]
        answered = 0
        for number, request in enumerate(requests):
            for call in (stub.Synthesize, stub.SynthesizeStream):
                try:
                    response = call(request)
                    if call is stub.SynthesizeStream:
                        list(response)
                    else:
                        response.ClearField("audio")
                        seen.places[f"response {number}"] = response.SerializeToString()
                    answered += 1
                except grpc.RpcError as error:
                    trailers = repr(error.trailing_metadata()).encode()  # type: ignore[attr-defined]  # a Call too
                    seen.places[f"status {number}"] = f"{error.code()} {error.details()}".encode() + trailers  # type: ignore[attr-defined]
        assert answered == 4, "the phrase was spoken, and from the cache, both ways"
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10) as page:
            seen.places["pull endpoint"] = page.read()
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        seen.places[f"file {file.relative_to(directory)}"] = str(file).encode() + b"\n" + file.read_bytes()
    return seen


def test_text_appears_nowhere(tmp_path: Path) -> None:
    """With text capture off, no span, event, metric, log, file, answer or console line holds a phrase that was sent as text."""
    seen = everything(tmp_path, capture=False)
    assert seen.with_canary() == []
    # What was searched is all there: each signal, the cache, the console, and the exceptions that held the phrase.
    files = "\n".join(seen.places)
    assert all(
        part in files for part in ("data/traces", "data/metrics", "data/logs", "file cache/", "file stderr", "file stdout")
    )
    traces = b"".join(content for place, content in seen.places.items() if "data/traces" in place)
    assert b"exception.stacktrace" in traces
    assert b"ExceptionGroup" in traces
    assert b"exception.message" not in traces


def test_captured_text_stands_on_the_synthesis_only(tmp_path: Path) -> None:
    """With text capture on, the text stands in ``tts.text`` of ``tts.synthesize``, and in exception events; nowhere else."""
    seen = everything(tmp_path, capture=True)
    places = seen.with_canary()
    assert places
    assert all(place.startswith("file data/traces") for place in places)
    holders = set()
    for partition in partitions(tmp_path / "data", "traces"):
        for _, request in read(partition.path):
            for span in (s for r in request["resourceSpans"] for sc in r["scopeSpans"] for s in sc["spans"]):
                for attribute in span.get("attributes", []):
                    if CANARY in json.dumps(attribute):
                        holders.add((span["name"], attribute["key"]))
                for event in span.get("events", []):
                    holders.update((event["name"], a["key"]) for a in event.get("attributes", ()) if CANARY in json.dumps(a))
    assert holders == {
        ("tts.synthesize", "tts.text"),
        ("exception", "exception.message"),
        ("exception", "exception.stacktrace"),
    }
