"""Instrumentor of the package gTTS, which uses the voices of Google Translate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otel_tts.core.audio import Encoded
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import Cause, from_exception, from_http_status
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.result import chunks
from otel_tts.instrumentation.target import Target
from otel_tts.instrumentation.utterance import Asked, Utterance

_FAILED = 400
"""The lowest HTTP status of a failure."""


def _ask(speech: Any, _: Mapping[str, Any]) -> Asked:
    return Asked(
        provider="google.translate",
        language=speech.lang,
        text=speech.text,
        audio=Encoded("mp3"),  # the only format that there is
        stream=True,
    )


def _cause(error: Exception) -> Cause | None:
    """Return what the package's exception is about: the answer's status, or the exception of requests. None if it names neither."""
    status = getattr(getattr(error, "rsp", None), "status_code", None)
    if isinstance(status, int) and status >= _FAILED:
        return from_http_status(status)
    return from_exception(error.__context__) if isinstance(error.__context__, Exception) else None


def _reporting(pieces: Iterator[bytes], utterance: Utterance) -> Iterator[bytes]:
    try:
        yield from pieces
    except Exception as error:
        _failed(utterance, error)
        raise


@guarded
def _failed(utterance: Utterance, error: Exception) -> None:
    utterance.finished(_cause(error), error)


def _stream(pieces: Any, utterance: Utterance) -> Any:
    return chunks()(_reporting(pieces, utterance), utterance)


class GttsInstrumentor(Instrumentor):
    """Instrumentor of ``gTTS.stream``, and so of ``write_to_fp`` and ``save``."""

    requires = "gTTS >= 2.5, < 3"
    targets = (Target("gtts.tts", "gTTS.stream", _ask, _stream),)
