"""OpenTelemetry for text-to-speech services: spans, metrics and logs of each request to speak.

A service that calls an engine of its own::

    import otel_tts
    from otel_tts import PCM16

    pipeline = otel_tts.configure(service_name="my-speech", local=True)  # once, when the program starts
    tts = otel_tts.Telemetry(voices=["joe"])


    def speak(text):
        with tts.synthesis(text=text, voice="joe") as synthesis, synthesis.attempt("my-engine") as attempt:
            return attempt.audio(engine(text), PCM16(24_000))


    pipeline.shutdown()  # when it ends

- :func:`configure` sets up where telemetry goes, and returns a :class:`Pipeline`. Leave it out where your program sets OpenTelemetry up.
- :class:`Telemetry` begins requests. A :class:`Synthesis` is one request; in it there are look-ups in caches (:class:`Lookup`) and calls of
  engines (:class:`Attempt`). Audio in pieces goes through their ``stream``, which gives a :class:`MeasuredIterator` or a
  :class:`MeasuredAsyncIterator`.
- :class:`PCM16`, :class:`PCMFloat32`, :class:`MuLaw`, :class:`ALaw`, :class:`Wav` and :class:`Encoded` say what the audio is.
- :class:`Outcome` is how a request ended. :class:`Settings` are the environment variables that recording reads.

Units: times are in seconds, sample rates in Hz, sizes in bytes, text in Unicode code points, prices in US dollars per million characters.

Errors: :func:`configure` and :class:`Telemetry` raise :class:`otel_tts.errors.SettingError` for a setting that cannot be used. What
records never raises: a wrong argument is one warning in the log, and what it says is left out. In tests with the fixture
``capture_tts`` it raises ``MisuseError``, which is a ``ValueError``.

See also :mod:`otel_tts.grpc` (interceptors), :mod:`otel_tts.history` (reading telemetry back) and :mod:`otel_tts.testing`.

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
    from otel_tts.core.cache import Lookup
    from otel_tts.core.formats import PCM16, ALaw, Encoded, MuLaw, PCMFloat32, Wav
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
    "ALaw": "core.formats",
    "Attempt": "core.attempt",
    "Encoded": "core.formats",
    "Lookup": "core.cache",
    "MeasuredAsyncIterator": "core.streams",
    "MeasuredIterator": "core.streams",
    "MuLaw": "core.formats",
    "Outcome": "semconv",
    "PCM16": "core.formats",
    "PCMFloat32": "core.formats",
    "Pipeline": "sdk.pipeline",
    "Settings": "settings",
    "Synthesis": "core.synthesis",
    "Telemetry": "core.telemetry",
    "Wav": "core.formats",
    "configure": "sdk",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME[name].startswith(("core", "sdk")):  # which import OpenTelemetry
        importlib.import_module("otel_tts.settings.plugins").import_context()
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
