"""Instrumentor of Deepgram's SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, Encoded, MuLaw, Wav
from otel_tts.core.formats import Samples, stated
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.managed import raw_response
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked

# The API's default, by its reference.
MODEL = "aura-asteria-en"
_SAMPLES: Mapping[str | None, tuple[type[Samples], int]] = {
    "linear16": (PCM16, 24000),
    "mulaw": (MuLaw, 8000),
    "alaw": (ALaw, 8000),
}


def audio_format(encoding: str | None, container: str | None, rate: float | None) -> AudioFormat:
    """Return the format of audio that is requested with these parameters; None: the default.

    Args:
        encoding: as the API calls it; None: its default.
        container: as the API calls it; None: its default.
        rate: in Hz; None: the encoding's default.
    """
    if encoding not in _SAMPLES:
        return Encoded(encoding or "mp3")
    kind, usual = _SAMPLES[encoding]
    return stated(kind, int(rate or usual)) if container == "none" else Wav()


def _ask(_: Any, arguments: Mapping[str, Any]) -> Asked | None:
    parameter = arguments.get
    if parameter("callback"):
        return None  # the audio goes to another server
    model = parameter("model") or MODEL
    return Asked(
        provider="deepgram",
        model=model,
        voice=model,
        text=arguments["text"],
        audio=audio_format(parameter("encoding"), parameter("container"), parameter("sample_rate")),
        stream=True,
    )


class DeepgramInstrumentor(Instrumentor):
    """Instrumentor of ``audio.generate`` of ``speak.v1`` and ``speak.v2`` of both clients: of its raw response, which it reads itself."""

    requires = "deepgram-sdk >= 5, < 8"
    targets = tuple(
        Target(
            f"deepgram.speak.{version}.audio.raw_client",
            f"{kind}RawAudioClient.generate",
            _ask,
            raw_response(chunks(), declared=True),
            managed=True,
        )
        for version in ("v1", "v2")  # older versions lack the second package, which is then never imported
        for kind in ("", "Async")
    )
