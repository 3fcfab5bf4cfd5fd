"""Utterance: one call of an engine or SDK, from the moment it is made to the last byte of its audio."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from opentelemetry.context import Context, create_key, get_current

from otel_tts.core import outcome
from otel_tts.core.audio import AudioFormat
from otel_tts.core.deferred import defer
from otel_tts.core.enclosing import begin_request, enclosing_request
from otel_tts.core.guard import guard, guarded
from otel_tts.core.invocation import INVOCATION, invoke
from otel_tts.core.outcome import Cause
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a call asks for."""

    provider: str
    audio: AudioFormat
    """In which format the audio should come."""
    text: str | None = None
    voice: str | None = None
    language: str | None = None
    model: str | None = None
    stream: bool = False
    """Whether the caller gets the audio in pieces."""
    remote: bool = True
    """Whether the provider is called over a network rather than run in this process."""


class Utterance:
    """An attempt at a provider, in the Synthesis that is open where the call is made, else in one of its own.

    As a block it is the time in which the engine is asked. The source of the stream that it may answer with, see
    :class:`otel_tts.core.streams.Source`.
    """

    def __init__(self, telemetry: Telemetry, asked: Asked) -> None:
        outer = enclosing_request()
        self._text_known = outer is not None and outer.record.characters > 0  # the application has told it
        if outer is not None:
            outer.update(asked.text, asked.voice, asked.language)
        self.audio = asked.audio
        """The format of the audio, unless its first bytes say otherwise."""
        self._emitter = telemetry.emitter
        self._request = outer or begin_request(
            self._emitter, asked.text, asked.voice, asked.language, stream=asked.stream, implicit=True
        )
        self._own = None if outer else self._request
        self._invocation = invoke(self._request, asked.provider, asked.model, remote=asked.remote)
        self._expected = False
        self._over = False
        self._text_ns = 0  # waited for text since the engine was last counted
        self._current = Current(self.context)

    def __enter__(self) -> Self:
        self._began = self.monotonic()
        self._current.__enter__()
        return self

    @guarded
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._current.__exit__(kind, error, tb)
        self.waiting(self.monotonic() - self._began)
        if error is not None:
            self.finished(None, error)

    def describe(self, voice: str | None, language: str | None) -> None:
        """What was not known when it began."""
        self._request.update(None, voice, language)

    def add_text(self, delta: str) -> None:
        """Text that arrives in pieces."""
        if not self._text_known:
            self._request.text_input.add(delta)

    def whole(self, data: Any) -> None:
        """All the audio came at once."""
        self._invocation.whole(data, self.audio)
        self._expected = True
        self.finished(outcome.OK, None)

    # -- the source of a stream ---------------------------------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """The context in which the engine works."""
        return self._invocation.context

    def monotonic(self) -> int:
        """The clock's reading, nanoseconds."""
        return self._invocation.monotonic()  # of the request, which another Telemetry may have begun

    def chunk(self, data: Any, now_ns: int, waited_ns: int) -> None:
        """A piece of the audio came."""
        if not self._expected:
            self._expect(self.audio)
        self._invocation.chunk(data, now_ns, self._for_engine(waited_ns))

    def waiting(self, waited_ns: int) -> None:
        """The engine took this long, in nanoseconds, to give nothing."""
        self._invocation.waiting(self._for_engine(waited_ns))

    def waited_for_text(self, waited_ns: int) -> None:
        """So much of what was waited for audio, it was waited for text."""
        self._text_ns += waited_ns

    def _for_engine(self, waited_ns: int) -> int:
        text_ns, self._text_ns = self._text_ns, 0
        return max(0, waited_ns - text_ns)

    @guarded
    def finished(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """It is over. ``cause`` None: what ``error`` means, and without an error an interruption. ``now_ns``: when that was.

        An interruption that does not say when may come out of the garbage collector, as the end of a generator does: it waits.
        """
        if self._over:
            return
        if cause is None and error is None and now_ns is None:
            self.dropped()
            return
        self._over = True
        if not self._expected and cause is not None and cause.good:
            self._expect(self.audio)  # which did not come
        self._invocation.end(cause, error, now_ns)
        if self._own is not None:
            ended = cause or (outcome.from_exception(error) if error is not None else self._own.interruption())
            self._own.release(ended, error, now_ns)

    def dropped(self) -> None:
        """Its stream was dropped, perhaps inside the garbage collector: finish it later, as of now."""
        now_ns = self.monotonic()
        defer(lambda: self.finished(None, None, now_ns))

    def _expect(self, format: AudioFormat) -> None:
        self._expected = True
        self._invocation.expect(format)


OBSERVED = create_key("observed")
"""Stands in the OpenTelemetry context where an outer layer observes an utterance, so that no inner one begins another."""


def observed() -> bool:
    """Whether an outer layer observes what is done here."""
    context = get_current()
    reference = context.get(INVOCATION)
    invocation = reference() if callable(reference) else None
    return bool(context.get(OBSERVED)) or (invocation is not None and invocation.open)


def begin(telemetry: Telemetry, asked: Asked) -> Utterance | None:
    """The utterance of a call that is made here; None inside an attempt that is open, which the call is part of."""
    try:
        return None if observed() else Utterance(telemetry, asked)
    except Exception as error:  # noqa: BLE001 - the boundary: the host's call goes on unobserved
        guard.caught("beginning an utterance", error)
        return None
