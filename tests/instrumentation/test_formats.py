"""Which audio a vendor's call asks for, in the vendor's own words: what of it can be read, at what rate."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, Encoded, MuLaw, PCMFloat32, Wav
from otel_tts.core.guard import guard
from otel_tts.instrumentation.aiobotocore import AiobotocoreInstrumentor
from otel_tts.instrumentation.cartesia import CartesiaInstrumentor
from otel_tts.instrumentation.deepgram import DeepgramInstrumentor
from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.google import GoogleInstrumentor
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.messages import Fields, Method
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.instrumentation.polly import PollyInstrumentor


def asked(instrumentor: type[Instrumentor], instance: Any = None, **arguments: Any) -> AudioFormat:
    """The format that a call of the first target asks for."""
    asked_for = instrumentor.targets[0].ask(instance, arguments)
    assert asked_for is not None
    return asked_for.audio


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [("pcm", Encoded("pcm16")), ("wav", Wav()), ("opus", Encoded("opus")), (None, Encoded("mp3")), (object(), Encoded("mp3"))],
)
def test_openai(response_format: Any, expected: AudioFormat) -> None:
    """MP3 unless something else is asked for; the SDK marks what is left out with an object of its own."""
    given = {} if response_format is None else {"response_format": response_format}
    assert asked(OpenAIInstrumentor, model="tts-1", voice={"id": "mine"}, input="Hi.", **given) == expected


@pytest.mark.parametrize(
    ("output_format", "expected"),
    [
        ("pcm_24000", PCM16(24000)),
        ("ulaw_8000", MuLaw(8000)),
        ("alaw_8000", ALaw(8000)),
        ("wav_22050", Wav()),
        ("opus_48000_128", Encoded("opus", 48000)),
        (None, Encoded("mp3", 44100)),
    ],
)
def test_elevenlabs(output_format: str | None, expected: AudioFormat) -> None:
    """The name says it all."""
    assert asked(ElevenLabsInstrumentor, voice_id="rachel", text="Hi.", output_format=output_format) == expected


@pytest.mark.parametrize(
    ("format", "rate", "expected"),
    [
        ("pcm", None, PCM16(16000)),
        ("pcm", "8000", PCM16(8000)),
        ("mulaw", None, MuLaw(8000)),
        ("alaw", None, ALaw(8000)),
        ("mp3", "24000", Encoded("mp3", 24000)),
        ("ogg_vorbis", None, Encoded("vorbis")),
    ],
)
@pytest.mark.parametrize("instrumentor", [PollyInstrumentor, AiobotocoreInstrumentor])
def test_polly(instrumentor: type[Instrumentor], format: str, rate: str | None, expected: AudioFormat) -> None:
    """The rates that are usual where none is asked for are Polly's."""
    client = SimpleNamespace(meta=SimpleNamespace(service_model=SimpleNamespace(service_name="polly")))
    given = {"Text": "Hi.", "VoiceId": "Amy", "OutputFormat": format} | ({"SampleRate": rate} if rate else {})
    assert asked(instrumentor, client, operation_name="SynthesizeSpeech", api_params=given) == expected


@pytest.mark.parametrize(
    ("service", "operation", "format"),
    [("s3", "GetObject", "pcm"), ("polly", "DescribeVoices", "pcm"), ("polly", "SynthesizeSpeech", "json")],
)
def test_other_calls_to_amazon_are_no_speech(service: str, operation: str, format: str) -> None:
    """Nor are Polly's marks of what is spoken when."""
    client = SimpleNamespace(meta=SimpleNamespace(service_model=SimpleNamespace(service_name=service)))
    arguments = {"operation_name": operation, "api_params": {"OutputFormat": format}}
    assert PollyInstrumentor.targets[0].ask(client, arguments) is None


@pytest.mark.parametrize(
    ("output_format", "expected"),
    [
        ({"container": "raw", "encoding": "pcm_f32le", "sample_rate": 44100}, PCMFloat32(44100)),
        ({"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000}, PCM16(16000)),
        ({"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000}, MuLaw(8000)),
        ({"container": "raw", "encoding": "pcm_alaw", "sample_rate": 8000}, ALaw(8000)),
        ({"container": "wav", "encoding": "pcm_f32le", "sample_rate": 44100}, Wav()),
        ({"container": "mp3", "sample_rate": 44100, "bit_rate": 128000}, Encoded("mp3", 44100)),
    ],
)
def test_cartesia(output_format: dict[str, Any], expected: AudioFormat) -> None:
    """The container counts first."""
    assert (
        asked(CartesiaInstrumentor, model_id="sonic-3", transcript="Hi.", voice="katie", output_format=output_format) == expected
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Encoded("mp3")),
        ({"encoding": "linear16"}, Wav()),
        ({"encoding": "linear16", "container": "none"}, PCM16(24000)),
        ({"encoding": "linear16", "container": "none", "sample_rate": 48000.0}, PCM16(48000)),
        ({"encoding": "mulaw", "container": "none"}, MuLaw(8000)),
        ({"encoding": "alaw", "container": "none"}, ALaw(8000)),
        ({"encoding": "flac"}, Encoded("flac")),
    ],
)
def test_deepgram(given: dict[str, Any], expected: AudioFormat) -> None:
    """Samples come as WAV unless without a container."""
    assert asked(DeepgramInstrumentor, text="Hi.", **given) == expected


@pytest.mark.vendors
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"audio_encoding": "LINEAR16"}, Wav()),
        ({"audio_encoding": "MULAW", "sample_rate_hertz": 8000}, Wav()),
        ({"audio_encoding": "ALAW", "sample_rate_hertz": 8000}, Wav()),
        ({"audio_encoding": "PCM"}, PCM16(24000)),
        ({"audio_encoding": "OGG_OPUS"}, Encoded("opus")),
        ({"audio_encoding": "MP3", "sample_rate_hertz": 24000}, Encoded("mp3", 24000)),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["request", "fields"])
def test_google(config: dict[str, Any], expected: AudioFormat, whole: bool) -> None:
    """In whichever way the request is put."""
    pytest.importorskip("google.cloud.texttospeech_v1", reason="it needs the extra `vendors`")
    fields = {"input": {"ssml": "<speak>Hi.</speak>"}, "voice": {"language_code": "en-US"}, "audio_config": config}
    message = import_module("google.cloud.texttospeech_v1").SynthesizeSpeechRequest(fields)
    assert asked(GoogleInstrumentor, **({"request": message} if whole else fields)) == expected


@pytest.mark.parametrize(
    ("instrumentor", "arguments"),
    [
        (OpenAIInstrumentor, {"model": "m", "voice": "v", "input": "Hi.", "response_format": "pcm", "extra_body": {"sample_rate": 24}}),
        (ElevenLabsInstrumentor, {"voice_id": "v", "text": "Hi.", "output_format": "pcm_24"}),
        (ElevenLabsInstrumentor, {"voice_id": "v", "text": "Hi.", "output_format": "mp3_44_128"}),
        (DeepgramInstrumentor, {"text": "Hi.", "encoding": "linear16", "container": "none", "sample_rate": 48}),
        (
            CartesiaInstrumentor,
            {
                "model_id": "m", "transcript": "Hi.", "voice": {"id": "v"},
                "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16},
            },
        ),
    ],
)  # fmt: skip
def test_a_rate_in_khz(
    instrumentor: type[Instrumentor], arguments: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is observed all the same: only what needs the rate is unknown, and the log says why."""
    monkeypatch.setattr(guard, "_warned", set())
    came = asked(instrumentor, **arguments)
    assert isinstance(came, Encoded)
    assert came.sample_rate is None
    [message] = caplog.messages
    assert "Is that kHz?" in message


@pytest.mark.parametrize("rate", [8, 16, 24, 44, 48, 999])
@pytest.mark.parametrize("encoding", ["pcm16", "mp3", None])
def test_a_rate_in_khz_in_a_message(encoding: str | None, rate: int) -> None:
    """Of a gRPC method that a mapping describes."""
    method = Method(Fields({}, essential="text"), Fields({}, essential="audio"), format="pcm16")
    came = method.audio_format(encoding, rate)
    assert (type(came), came.sample_rate) == (Encoded, None)  # type: ignore[union-attr]
    assert method.audio_format(encoding, rate * 1000).sample_rate == (rate * 1000 if rate < 769 else None)  # type: ignore[union-attr]
