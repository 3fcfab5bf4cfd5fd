"""Instrumentor of Cartesia's SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from otel_tts.core.audio import PCM16, ALaw, AudioFormat, Encoded, MuLaw, PCMFloat32, Wav
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import body
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked

_SAMPLES: Mapping[str, Callable[[int], AudioFormat]] = {
    "pcm_f32le": PCMFloat32,
    "pcm_s16le": PCM16,
    "pcm_mulaw": MuLaw,
    "pcm_alaw": ALaw,
}
_RAW = "X-Stainless-Raw-Response"  # how the SDK marks a call through `with_streaming_response`


def _audio(asked: Mapping[str, Any]) -> AudioFormat:
    if asked["container"] == "raw":
        return _SAMPLES[asked["encoding"]](asked["sample_rate"])
    return Wav() if asked["container"] == "wav" else Encoded(asked["container"], asked.get("sample_rate"))


def _ask(_: Any, arguments: Mapping[str, Any]) -> Asked:
    return asked(arguments, stream=(arguments.get("extra_headers") or {}).get(_RAW) == "stream")


def asked(arguments: Mapping[str, Any], *, stream: bool) -> Asked:
    """Return what a call or a WebSocket message requests; both have the same names."""
    voice, language = arguments["voice"], arguments.get("language") or arguments.get("locale")
    return Asked(
        provider="cartesia",
        model=arguments["model_id"],
        voice=voice if isinstance(voice, str) else voice["id"],
        language=language if isinstance(language, str) else None,
        text=arguments["transcript"],
        audio=_audio(arguments["output_format"]),
        stream=stream,
    )


class CartesiaInstrumentor(Instrumentor):
    """Observes ``tts.generate`` of both clients, also through ``with_raw_response`` and ``with_streaming_response``."""

    requires = "cartesia >= 3, < 5"
    targets = tuple(
        Target("cartesia.resources.tts", f"{kind}.generate", _ask, body(lambda result: result.http_response))
        for kind in ("TTSResource", "AsyncTTSResource")
    )
