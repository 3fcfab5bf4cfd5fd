"""Instrumentor of Hibari, an engine that runs in the process."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from otel_tts.core.audio import PCMFloat32
from otel_tts.core.formats import stated
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks, whole
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked


def _ask(engine: Any, arguments: Mapping[str, Any], *, stream: bool) -> Asked:
    return Asked(
        provider="hibari",
        model=f"hibari-{engine.voice}",
        voice=engine.voice,
        language=importlib.import_module("hibari.voices").VOICES.get(engine.voice, {}).get("language"),
        text=arguments["text"],
        audio=stated(PCMFloat32, engine.sample_rate),
        stream=stream,
        remote=False,
    )


class HibariInstrumentor(Instrumentor):
    """Instrumentor of calls of a ``Hibari`` object, and of its ``stream``."""

    requires = "hibari-tts >= 0.2.1, < 0.3"
    targets = (
        Target("hibari.tts", "Hibari.stream", functools.partial(_ask, stream=True), chunks()),
        Target("hibari.tts", "Hibari.__call__", functools.partial(_ask, stream=False), whole(lambda samples: samples)),
    )
