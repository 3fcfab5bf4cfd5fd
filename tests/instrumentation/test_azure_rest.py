"""Azure's speech over REST, as the example asks for it, against real servers: one of that protocol with Piper, and faulty ones."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
import requests

from examples import azure_rest
from otel_tts import Telemetry
from otel_tts.cli import main
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Faulty

TEXT = "Hello there & good bye."


def ask(endpoint: str) -> bytes:
    """All of the audio."""
    return b"".join(azure_rest.speak(Telemetry(), TEXT, endpoint=endpoint, key="none"))


def test_what_a_real_server_speaks(capture_tts: Capture, ovos: str) -> None:
    """The audio is measured to its last sample; the markup around the text counts for nothing."""
    with wave.open(io.BytesIO(ask(f"{ovos}/azure-tts"))) as wav:
        seconds = wav.getnframes() / wav.getframerate()
    synthesis = capture_tts.synthesis(outcome="ok")
    assert seconds > 0.5
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds)
    assert (synthesis["tts.text.length"], synthesis["tts.voice"], synthesis["tts.language"]) == (23, "en-US-AvaNeural", "en-US")
    assert [(a.provider, a.outcome) for a in synthesis.attempts] == [("azure.speech", "ok")]
    assert 0 < synthesis["tts.time_to_first_byte"] <= synthesis["tts.time_to_first_audio"]


@pytest.mark.parametrize(("status", "kind"), [(401, "unauthorized"), (429, "rate_limited"), (503, "unavailable")])
def test_a_refusal(capture_tts: Capture, faulty: Faulty, status: int, kind: str) -> None:
    """Raises as `requests` has it; the error's type says which it was."""
    faulty.status = status
    with pytest.raises(requests.HTTPError):
        ask(faulty.url)
    synthesis = capture_tts.synthesis(outcome="error")
    assert [(a.outcome, a.span.attributes["error.type"]) for a in synthesis.attempts] == [("error", kind)]  # type: ignore[index]


def test_what_breaks_in_the_middle(capture_tts: Capture, faulty: Faulty) -> None:
    """Is partial, with the audio that came."""
    faulty.pieces, faulty.broken = [header() + bytes(range(256)) * 188], True
    with pytest.raises(requests.RequestException):
        ask(faulty.url)
    synthesis = capture_tts.synthesis(outcome="partial")
    assert 0 < synthesis["tts.audio.delivered_duration"] <= 256 * 188 / 2 / 24000


def test_a_host_that_has_enough(capture_tts: Capture, ovos: str) -> None:
    """Leaves the generator: cancelled."""
    audio = azure_rest.speak(Telemetry(), TEXT, endpoint=f"{ovos}/azure-tts", key="none")
    next(audio)
    audio.close()  # type: ignore[attr-defined]  # it is a generator
    assert [s.outcome for s in capture_tts.syntheses()] == ["cancelled"]


def test_it_runs_as_a_program(
    ovos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its first lines say, and the command that they name finds the request."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path / "data"))
    environment = os.environ | {"AZURE_SPEECH_ENDPOINT": f"{ovos}/azure-tts", "AZURE_SPEECH_KEY": "none"}
    subprocess.run(
        [sys.executable, azure_rest.__file__, TEXT, str(tmp_path / "hello.wav")], env=environment, check=True, timeout=100
    )
    assert (tmp_path / "hello.wav").read_bytes()[:4] == b"RIFF"
    with pytest.raises(SystemExit):
        main(["requests", "--json"])
    [request] = json.loads(capsys.readouterr().out)["requests"]
    assert (request["provider"], request["outcome"]) == ("azure.speech", "ok")


def header() -> bytes:
    """What a WAV file that is streamed begins with."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 24000, 0, "NONE", ""))
    data: Any = bytearray(file.getvalue())
    data[40:44] = data[4:8] = b"\xff\xff\xff\xff"
    return bytes(data)
