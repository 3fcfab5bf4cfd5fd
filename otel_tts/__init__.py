"""OpenTelemetry for text-to-speech services: correct spans, metrics and logs for every synthesis.

The names are imported when they are first used, so that importing the package takes almost no time.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from otel_tts.version import __version__

if sys.platform == "win32":
    raise ImportError("otel-tts runs on Linux and macOS, and not on Windows. Use WSL or a container.")

if TYPE_CHECKING:
    from otel_tts.core.attempt import Attempt
    from otel_tts.core.audio import PCM16, ALaw, Encoded, MuLaw, PCMFloat32, Wav
    from otel_tts.core.cache import Lookup
    from otel_tts.core.streams import MeasuredAsyncIterator, MeasuredIterator
    from otel_tts.core.synthesis import Synthesis
    from otel_tts.core.telemetry import Telemetry
    from otel_tts.sdk import configure
    from otel_tts.sdk.pipeline import Pipeline
    from otel_tts.semconv import Outcome
    from otel_tts.settings import Settings

__all__ = [
    "PCM16",
    "ALaw",
    "Attempt",
    "Encoded",
    "Lookup",
    "MeasuredAsyncIterator",
    "MeasuredIterator",
    "MuLaw",
    "Outcome",
    "PCMFloat32",
    "Pipeline",
    "Settings",
    "Synthesis",
    "Telemetry",
    "Wav",
    "__version__",
    "configure",
]

_HOME = {
    "ALaw": "core.audio",
    "Attempt": "core.attempt",
    "Encoded": "core.audio",
    "Lookup": "core.cache",
    "MeasuredAsyncIterator": "core.streams",
    "MeasuredIterator": "core.streams",
    "MuLaw": "core.audio",
    "Outcome": "semconv",
    "PCM16": "core.audio",
    "PCMFloat32": "core.audio",
    "Pipeline": "sdk.pipeline",
    "Settings": "settings",
    "Synthesis": "core.synthesis",
    "Telemetry": "core.telemetry",
    "Wav": "core.audio",
    "configure": "sdk",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME[name].startswith("core"):  # which imports OpenTelemetry
        importlib.import_module("otel_tts.settings.plugins").check_imports()
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
