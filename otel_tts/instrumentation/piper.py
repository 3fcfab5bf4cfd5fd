"""Instrumentor of Piper, an engine that runs in the process."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import PurePath
from typing import Any
from weakref import WeakKeyDictionary

from otel_tts.core.audio import PCMFloat32
from otel_tts.core.formats import stated
from otel_tts.core.guard import guarded
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked

# The names of the models, by session, since a voice refers to its session only. Weak keys, so that sessions are freed as without us.
_NAMES: MutableMapping[Any, str] = WeakKeyDictionary()


def _load(load: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    voice = load(*args, **kwargs)
    _remember_name(voice.session, args[0] if args else kwargs["model_path"])
    return voice


@guarded
def _remember_name(session: Any, path: Any) -> None:
    _NAMES[session] = PurePath(path).stem


def _name(session: Any) -> str | None:
    """Return the name of a model. If it was loaded before we were, it is the name of the file that the session has read, if any."""
    path = getattr(session, "_model_path", None)
    return _NAMES.get(session) or (PurePath(path).stem if isinstance(path, str) else None)


def _ask(voice: Any, arguments: Mapping[str, Any]) -> Asked:
    name = _name(voice.session)
    return Asked(
        provider="piper",
        model=name,
        voice=name,
        language=voice.config.espeak_voice,
        text=arguments["text"],
        audio=stated(PCMFloat32, voice.config.sample_rate),
        stream=True,
        remote=False,
    )


class PiperInstrumentor(Instrumentor):
    """Instrumentor of ``PiperVoice.synthesize``, which all other methods call."""

    requires = "piper-tts >= 1.3, < 2"
    targets = (Target("piper.voice", "PiperVoice.synthesize", _ask, chunks(lambda chunk: chunk.audio_float_array)),)

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of the call, and of the method that loads a voice's model."""
        return [Patch("piper.voice", "PiperVoice.load", lambda _: _load), *super().patches(telemetry)]
