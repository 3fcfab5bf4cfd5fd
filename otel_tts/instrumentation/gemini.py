"""Instrumentor of the package google-genai, for speech of Google's Gemini models."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from otel_tts.core.audio import PCM16, AudioFormat, Encoded, Wav
from otel_tts.core.formats import stated
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked, Utterance

_RATE = 24000  # Hz, of all its speech so far; a response states it


def audio_format(media_type: str) -> AudioFormat:
    """Return the format of a media type: ``audio/L16;codec=pcm;rate=24000`` is 16 bit at this rate, others are known by name.

    Args:
        media_type: of the audio, for example `audio/L16;rate=24000`.
    """
    kind, *parameters = (part.strip().lower() for part in media_type.split(";"))
    if kind in ("audio/l16", "audio/pcm"):
        rate = next((value for name, _, value in (p.partition("=") for p in parameters) if name == "rate"), "")
        return stated(PCM16, int(rate) if rate.isdigit() else _RATE)
    return Wav() if kind in ("audio/wav", "audio/x-wav") else Encoded(kind.removeprefix("audio/"), None)


def _get(value: Any, name: str) -> Any:
    """Return a field of a dictionary or of one of the SDK's models."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _texts(contents: Any) -> Iterator[str]:
    """Yield the texts of a string, a part, a content, or a list of any of these."""
    if isinstance(contents, str):
        yield contents
    elif isinstance(contents, list | tuple):
        for content in contents:
            yield from _texts(content)
    elif isinstance(text := _get(contents, "text"), str):
        yield text
    elif parts := _get(contents, "parts"):
        yield from _texts(list(parts))


def _speaks(config: Any) -> bool:
    modalities = config.response_modalities or ()
    return any(str(getattr(modality, "value", modality)).upper() == "AUDIO" for modality in modalities)


def _ask(models: Any, arguments: Mapping[str, Any], *, stream: bool) -> Asked | None:
    config = arguments.get("config")
    types = importlib.import_module("google.genai.types")
    if isinstance(config, Mapping):
        config = types.GenerateContentConfig.model_validate(config)
    if config is None or not _speaks(config):
        return None
    speech = config.speech_config
    voice = getattr(getattr(getattr(speech, "voice_config", None), "prebuilt_voice_config", None), "voice_name", None)
    return Asked(
        provider="gcp.vertex_ai" if models._api_client.vertexai else "gcp.gemini",  # noqa: SLF001 - nothing public says it
        model=arguments["model"].rpartition("/")[2],
        voice=speech if isinstance(speech, str) else voice,
        language=getattr(speech, "language_code", None),
        text="".join(_texts(arguments["contents"])),
        audio=PCM16(_RATE),
        stream=stream,
    )


def _ask_whole(models: Any, arguments: Mapping[str, Any]) -> Asked | None:
    return _ask(models, arguments, stream=False)


def _ask_stream(models: Any, arguments: Mapping[str, Any]) -> Asked | None:
    return _ask(models, arguments, stream=True)


def _audio(response: Any, utterance: Utterance) -> bytes:
    """Return the audio of a response, and note its format, which its parts state."""
    pieces = []
    for candidate in response.candidates or ():
        for part in getattr(candidate.content, "parts", None) or ():
            blob = part.inline_data
            if blob is not None and blob.data and (blob.mime_type or "").startswith("audio/"):
                utterance.audio = audio_format(blob.mime_type)
                pieces.append(blob.data)
    return b"".join(pieces)


def _whole(response: Any, utterance: Utterance) -> Any:
    utterance.whole(_audio(response, utterance))
    return response


def _stream(responses: Any, utterance: Utterance) -> Any:
    return chunks(lambda response: _audio(response, utterance))(responses, utterance)


class GeminiInstrumentor(Instrumentor):
    """Instrumentor of ``models.generate_content`` and ``generate_content_stream`` of both clients, for calls that request audio."""

    requires = "google-genai >= 3, < 4"
    targets = tuple(
        Target("google.genai.models", f"{client}.{name}", ask, extract)
        for client in ("Models", "AsyncModels")
        for name, ask, extract in (
            ("generate_content", _ask_whole, _whole),
            ("generate_content_stream", _ask_stream, _stream),
        )
    )
