"""A mapping with a mistake that only a call can show: one line says which path or method leads nowhere."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest

from otel_tts import semconv
from otel_tts.instrumentation import protos
from otel_tts.settings import Settings
from otel_tts.testing.capture import Capture
from tests.instrumentation.known_rpcs import RPCS
from tests.instrumentation.proto_servers import SERVERS, service

RPC = RPCS["original yap"]
RIGHT = {
    "request.text": "text", "request.voice": "voice_id", "response.audio": "audio_data", "response.success": "success",
}  # fmt: skip


def warnings(
    capture_tts: Capture,
    caplog: pytest.LogCaptureFixture,
    path: Path,
    stack: str,
    method: str,
    mapping: dict[str, Any],
    calls: int = 2,
    response: Any = RPC.responses[0],
) -> list[str]:
    """The lines that calls with a mapping leave, without the file's path."""
    lines = "\n".join(f"{key} = {str(value) if isinstance(value, list) else repr(value)}" for key, value in mapping.items())
    path.write_text(f"[{method!r}]\n{lines}\n", "utf-8")
    loaded = protos.load(Settings.load({"OTEL_TTS_GRPC_MAPPING": str(path)}))

    async def aio(request: Any, context: Any) -> Any:
        return response

    behavior = aio if stack == "aio" else lambda request, context: response
    with (
        caplog.at_level(logging.WARNING, "otel_tts"),
        SERVERS[stack](capture_tts.telemetry(), service(RPC.method, behavior, type(RPC.requests[0])), loaded) as port,
    ):
        for _ in range(calls):
            assert RPC.call(port) == (grpc.StatusCode.OK, [response])
    return [
        record.getMessage().replace(str(path), "map.toml") for record in caplog.records if record.name.startswith("otel_tts.")
    ]


@pytest.mark.parametrize("stack", SERVERS)
@pytest.mark.parametrize(
    ("key", "path", "quoted"),
    [
        ("request.text", "txt", "request.text = 'txt'"),
        ("request.text", ["txt", "text.plain"], "request.text = 'txt', request.text = 'text.plain'"),
        ("request.voice", "voice.name", "request.voice = 'voice.name'"),
        ("request.voice", ["voice_id", "speaker"], "request.voice = 'speaker'"),
        ("response.audio", "audio", "response.audio = 'audio'"),
        ("response.success", "audio_data", "response.success = 'audio_data'"),
    ],
)
def test_a_path_that_leads_nowhere_is_named_once(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path, stack: str, key: str, path: Any, quoted: str
) -> None:
    """The method, the message, the path, the fields that there are, and what comes of it, at its first call and never again."""
    lines = warnings(capture_tts, caplog, tmp_path / "map.toml", stack, RPC.method, RIGHT | {key: path})
    (line,) = lines
    kind = type(RPC.requests[0] if key.startswith("request") else RPC.responses[0]).DESCRIPTOR
    assert line.startswith(
        f"The gRPC mapping 'map.toml', '{RPC.method}': {kind.full_name} has no field of a type that fits at {quoted}. Its fields are "
    )
    assert all(field.name in line for field in kind.fields)
    consequences = {
        "request.text": "So nothing is recorded of this method's calls.",
        "response.audio": "So this method's requests are recorded without audio: neither its seconds nor whether any came.",
    }
    assert line.endswith(consequences.get(key, "What the other paths lead to is recorded."))
    assert len(capture_tts.syntheses()) == (0 if key == "request.text" else 2)


@pytest.mark.parametrize("stack", SERVERS)
@pytest.mark.parametrize("success", [True, False])
def test_outcomes_are_right_without_a_path_to_the_audio(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path, stack: str, success: bool
) -> None:
    """What the response says of its success counts, and no audio is made up: what the line in the log says is true."""
    mapping = RIGHT | {"response.audio": "adio"}
    response = copy.deepcopy(RPC.responses[0])
    response.success = success
    assert len(warnings(capture_tts, caplog, tmp_path / "map.toml", stack, RPC.method, mapping, response=response)) == 1
    assert [synthesis.outcome for synthesis in capture_tts.syntheses()] == ["ok" if success else "error"] * 2
    assert capture_tts.total("tts.synthesis.requests", {"tts.outcome": "ok" if success else "error"}) == 2
    assert capture_tts.total(semconv.SYNTHESIS_AUDIO) == 0


def test_a_mapping_without_a_mistake_is_silent(capture_tts: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """So are the known protos, whose tables name fields of several versions."""
    assert warnings(capture_tts, caplog, tmp_path / "map.toml", "sync", RPC.method, RIGHT) == []
    assert capture_tts.syntheses(outcome="ok")
    for rpc in RPCS.values():
        for message in (*rpc.requests, *rpc.responses):
            for method in protos.load(Settings.load({}))._methods.values():
                method.request.read(message)
    assert not caplog.records


@pytest.mark.parametrize(
    "change", [("GenerateSpeech", "GenerateSpech"), ("tts.TTSService", "tts.TTSServise"), ("GenerateSpeech", "generateSpeech")]
)
def test_a_method_that_is_mistyped_is_named_with_what_was_called(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path, change: tuple[str, str]
) -> None:
    """A method that no table names, and that is nearly one that a table names: one line says both."""
    mistyped = f"acme.{RPC.method.replace(*change)}"
    loaded = tmp_path / "map.toml"
    loaded.write_text(f'["{mistyped}"]\nrequest.text = "text"\nresponse.audio = "audio"\n', "utf-8")
    mapping = protos.load(Settings.load({"OTEL_TTS_GRPC_MAPPING": str(loaded)}))

    def call(method: str) -> None:
        mapping.observe(print, method, capture_tts.telemetry(), request_streaming=False, response_streaming=False)

    with caplog.at_level(logging.WARNING, "otel_tts"):
        call("grpc.health.v1.Health/Check")
        call(f"acme.{RPC.method}")
    (record,) = caplog.records
    assert f"names '{mistyped}'" in record.getMessage()
    assert f"'acme.{RPC.method}', which was called now" in record.getMessage()


@pytest.mark.parametrize(
    ("named", "called"),
    [
        ("acme.v1.Speech/Stream", "acme.v1.Speech/Say"),
        ("acme.v1.Speech/Synthesize", "acme.v1.Speech/SynthesizeStream"),
        ("com.acme.speech.synthesis.v1.SpeechSynthesisService/Start", "com.acme.speech.synthesis.v1.SpeechSynthesisService/Stop"),
        ("acme.v1.Speech/Say", "acme.v1.Voices/Say"),
    ],
)
def test_methods_that_share_only_their_service_or_only_their_name_are_not_alike(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, tmp_path: Path, named: str, called: str
) -> None:
    """A method that is left out on purpose is not asked about, however long its service's name is."""
    loaded = tmp_path / "map.toml"
    loaded.write_text(f'["{named}"]\nrequest.text = "text"\nresponse.audio = "audio"\n', "utf-8")
    mapping = protos.load(Settings.load({"OTEL_TTS_GRPC_MAPPING": str(loaded)}))
    with caplog.at_level(logging.WARNING, "otel_tts"):
        mapping.observe(print, called, capture_tts.telemetry(), request_streaming=False, response_streaming=False)
    assert not caplog.records
