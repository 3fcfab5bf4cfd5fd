"""OpenAI's speech API (``audio.speech``), and whatever server its SDK is pointed at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tts.core.audio import PCM16, AudioFormat, Encoded, Wav
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import body
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked

_FORMATS: Mapping[str, AudioFormat] = {"pcm": PCM16(24000), "wav": Wav()}  # the rate is the API's
_RAW = "X-Stainless-Raw-Response"  # how the SDK marks a call through `with_streaming_response`


def _ask(_: Any, arguments: Mapping[str, Any]) -> Asked:
    voice, asked = arguments["voice"], arguments.get("response_format", "mp3")
    audio = _FORMATS.get(asked) or Encoded(asked if isinstance(asked, str) else "mp3")
    return Asked(
        provider="openai",
        model=arguments["model"],
        voice=voice["id"] if isinstance(voice, Mapping) else voice,
        text=arguments["input"],
        audio=Encoded("sse") if arguments.get("stream_format") == "sse" else audio,
        stream=(arguments.get("extra_headers") or {}).get(_RAW) == "stream",
    )


def _response(result: Any) -> Any:
    return getattr(result, "http_response", None) or result.response


class OpenAIInstrumentor(Instrumentor):
    """Observes ``audio.speech.create`` of both clients, also through ``with_raw_response`` and ``with_streaming_response``."""

    requires = "openai >= 1.60, < 4"
    targets = tuple(
        Target("openai.resources.audio.speech", f"{kind}.create", _ask, body(_response)) for kind in ("Speech", "AsyncSpeech")
    )
