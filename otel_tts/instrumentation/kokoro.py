"""Instrumentor of Kokoro, an engine that the package kokoro-onnx runs in the process."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from otel_tts.core.audio import PCMFloat32
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks, whole
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked

_RATE = 24000  # Hz, of the model


def _ask(engine: Any, arguments: Mapping[str, Any], *, stream: bool) -> Asked:
    voice = arguments["voice"]
    return Asked(
        provider="kokoro",
        model=PurePath(engine.config.model_path).stem,
        voice=voice if isinstance(voice, str) else None,  # else it is an array, the voice itself
        language=arguments.get("lang", "en-us"),
        text=arguments["text"],
        audio=PCMFloat32(_RATE),
        stream=stream,
        remote=False,
    )


_ask_whole = functools.partial(_ask, stream=False)


class KokoroInstrumentor(Instrumentor):
    """Instrumentor of ``Kokoro.create``, ``create_timed`` and ``create_stream``."""

    requires = "kokoro-onnx >= 0.6, < 0.7"
    targets = (
        Target("kokoro_onnx", "Kokoro.create", _ask_whole, whole(lambda result: result[0])),
        Target("kokoro_onnx", "Kokoro.create_timed", _ask_whole, whole(lambda result: result[0])),
        Target("kokoro_onnx", "Kokoro.create_stream", functools.partial(_ask, stream=True), chunks(lambda piece: piece[0])),
    )
