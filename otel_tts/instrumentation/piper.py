"""Piper, in process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from otel_tts.audio import PCMFloat32
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked


def _ask(voice: Any, arguments: Mapping[str, Any]) -> Asked:
    path = getattr(voice.session, "_model_path", None)  # nothing else knows the model's name
    name = PurePath(path).stem if isinstance(path, str) else None
    return Asked(
        provider="piper",
        model=name,
        voice=name,
        language=voice.config.espeak_voice,
        text=arguments["text"],
        audio=PCMFloat32(voice.config.sample_rate),
        stream=True,
        remote=False,
    )


class PiperInstrumentor(Instrumentor):
    """Observes ``PiperVoice.synthesize``, and so all that calls it."""

    requires = "piper-tts >= 1.3, < 2"
    targets = (Target("piper.voice", "PiperVoice.synthesize", _ask, chunks(lambda chunk: chunk.audio_float_array)),)
