"""Instrumentor of the package edge-tts, which uses the voices of Microsoft Edge."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from otel_tts.core.audio import Encoded
from otel_tts.core.guard import guarded
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked

_MP3 = Encoded("mp3", 24000)  # the only format that the package requests
_VOICE = re.compile(r".*\((.+), *(.+)\)")  # "Microsoft Server … Voice (en-US, EmmaNeural)", however it was asked for
# The package itself keeps only the rest of a text. Weak keys, so that its objects are freed as without us.
_TEXTS: MutableMapping[Any, str] = WeakKeyDictionary()


def _init(init: Any, communicate: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    init(*args, **kwargs)
    _remember_text(communicate, args[0] if args else kwargs["text"])


@guarded
def _remember_text(communicate: Any, text: str) -> None:
    _TEXTS[communicate] = text


def _ask(communicate: Any, _: Mapping[str, Any]) -> Asked:
    language, name = _VOICE.fullmatch(communicate.tts_config.voice).groups()  # type: ignore[union-attr]  # the package has checked it
    return Asked(
        provider="microsoft.edge",
        voice=f"{language}-{name}",
        language=language,
        text=_TEXTS.get(communicate),
        audio=_MP3,
        stream=True,
    )


class EdgeInstrumentor(Instrumentor):
    """Instrumentor of ``Communicate.stream``, and so of ``save`` and their synchronous forms."""

    requires = "edge-tts >= 7, < 8"
    targets = (Target("edge_tts.communicate", "Communicate.stream", _ask, chunks(lambda piece: piece.get("data", b""))),)

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of the call, and of the constructor that gets the text."""
        return [Patch("edge_tts.communicate", "Communicate.__init__", lambda _: _init), *super().patches(telemetry)]
