"""Instrumentor of Google Cloud Text-to-Speech, over gRPC and REST."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, MuLaw, Wav
from otel_tts.core.formats import Samples, stated
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks, whole
from otel_tts.instrumentation.target import ObservedArgument, Target
from otel_tts.instrumentation.utterance import Asked, Utterance

_RATE = 24000  # Hz, the default
_SAMPLES: Mapping[str, type[Samples]] = {"PCM": PCM16, "MULAW": MuLaw, "ALAW": ALaw}
_HEADED = ("LINEAR16", "MULAW", "ALAW")  # unary responses in these encodings have a WAV header
_VOICE = re.compile(r"\w+-\w+-(.+)-\w+")  # en-US-Neural2-C: language, region, model, speaker


def _audio(config: Any, headed: tuple[str, ...]) -> AudioFormat:
    encoding, rate = config.audio_encoding.name, config.sample_rate_hertz
    if encoding in headed:
        return Wav()
    if encoding in _SAMPLES:
        return stated(_SAMPLES[encoding], rate or _RATE)
    return stated(encoding.lower().removeprefix("ogg_"), rate or None)


def _text(source: Any) -> str:
    """Return the text of an input of any kind; the kinds differ between versions and streams."""
    for kind in ("text", "ssml", "markup"):
        if text := getattr(source, kind, ""):
            return str(text)
    turns = getattr(getattr(source, "multi_speaker_markup", None), "turns", ())
    return "".join(turn.text for turn in turns)


def _model(voice: Any) -> str | None:
    """Return the model: its own field, or the part of the voice's name that has it for most voices."""
    named = _VOICE.fullmatch(voice.name)
    return getattr(voice, "model_name", "") or (named[1] if named else None)


def _ask(_: Any, arguments: Mapping[str, Any], *, package: str) -> Asked:
    request = importlib.import_module(f"{package}.types").SynthesizeSpeechRequest(arguments.get("request"))
    for field in ("input", "voice", "audio_config"):
        if arguments.get(field) is not None:
            setattr(request, field, arguments[field])
    voice = request.voice
    return Asked(
        provider="gcp.texttospeech",
        model=_model(voice),
        voice=voice.name or None,
        language=voice.language_code or None,
        text=_text(request.input),
        audio=_audio(request.audio_config, _HEADED),
    )


def _ask_stream(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return Asked(provider="gcp.texttospeech", audio=PCM16(_RATE), stream=True)


def _read_request(utterance: Utterance, request: Any) -> None:
    """Read a request of a stream: the first one has the configuration, the others the text."""
    if "streaming_config" in request:
        config = request.streaming_config
        utterance.describe(config.voice.name or None, config.voice.language_code or None)
        if "streaming_audio_config" in config and config.streaming_audio_config.audio_encoding:
            utterance.audio = _audio(config.streaming_audio_config, ())
    else:
        utterance.add_text(_text(request.input))


class GoogleInstrumentor(Instrumentor):
    """Instrumentor of ``synthesize_speech`` and ``streaming_synthesize`` of both clients, in ``v1`` and ``v1beta1``."""

    requires = "google-cloud-texttospeech >= 2.25, < 3"
    targets = tuple(
        target
        for package in ("google.cloud.texttospeech_v1", "google.cloud.texttospeech_v1beta1")
        for module, client in (("client", "TextToSpeechClient"), ("async_client", "TextToSpeechAsyncClient"))
        for path in [f"{package}.services.text_to_speech.{module}"]
        for target in (
            Target(
                path,
                f"{client}.synthesize_speech",
                functools.partial(_ask, package=package),
                whole(lambda response: response.audio_content),
            ),
            Target(
                path,
                f"{client}.streaming_synthesize",
                _ask_stream,
                chunks(lambda response: response.audio_content),
                ObservedArgument("requests", _read_request),
            ),
        )
    )
