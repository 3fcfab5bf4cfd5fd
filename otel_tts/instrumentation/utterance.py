"""Utterance: one call of an engine or SDK, from its start to the last byte of its audio."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from opentelemetry.context import Context, create_key, get_current

from otel_tts.core import outcome
from otel_tts.core.attempt import invoke
from otel_tts.core.audio import AudioFormat
from otel_tts.core.deferred import defer
from otel_tts.core.enclosing import begin_request, enclosing_request
from otel_tts.core.guard import guard, guarded
from otel_tts.core.invocation import INVOCATION
from otel_tts.core.outcome import Cause
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.semconv import ErrorType, Outcome

LOST = Cause(Outcome.ERROR, ErrorType.CONNECTION)
"""The rest of the audio cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The parameters of a call of an engine or SDK."""

    provider: str
    audio: AudioFormat
    """The requested format of the audio."""
    text: str | None = None
    voice: str | None = None
    language: str | None = None
    model: str | None = None
    stream: bool = False
    """Whether the caller gets the audio in pieces."""
    remote: bool = True
    """Whether the provider is called over a network, not run in this process."""


class Utterance:
    """An attempt at a provider, in the open Synthesis that encloses the call, else in one of its own.

    As a block it is the duration of the call itself. It is also the source of the stream that the call may return, see
    :class:`otel_tts.core.streams.Source`.

    Args:
        telemetry: the Telemetry that records.
        asked: what the call asks for.
    """

    def __init__(self, telemetry: Telemetry, asked: Asked) -> None:
        outer = enclosing_request()
        if outer is not None:
            outer.update(None, asked.voice, asked.language)
        self.audio = asked.audio
        """The format of the audio, unless its first bytes show another one."""
        self._emitter = telemetry.emitter
        self._request = outer or begin_request(
            self._emitter, asked.text, asked.voice, asked.language, stream=asked.stream, implicit=True
        )
        self._own = None if outer else self._request
        self._invocation = invoke(self._request, asked.provider, asked.model, remote=asked.remote, text=asked.text)
        self._expected = False
        self._over = self._broken = False
        self._text_ns = 0  # time spent waiting for text since the last count of waiting for the engine
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
        """Add a voice and a language that were not known at its start.

        Args:
            voice: as requested; None: unknown.
            language: as requested; None: unknown.
        """
        self._request.update(None, voice, language)

    def add_text(self, delta: str) -> None:
        """Add a piece of text.

        Args:
            delta: a piece of the text.
        """
        before = self._invocation.characters or 0
        self._invocation.characters = before + len(delta)
        if self._own is not None:
            self._request.text_input.add(delta)
        else:
            self._request.text_input.add_of_call(delta[max(0, self._invocation.repeats - before) :], whole=False)

    def whole(self, data: Any) -> None:
        """Take all the audio at once.

        Args:
            data: a chunk, or all the audio.
        """
        self._invocation.whole(data, self.audio)
        self._expected = True
        self.finished(outcome.OK, None)

    # -- the source of a stream ---------------------------------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """The OpenTelemetry context in which the engine works."""
        return self._invocation.context

    def monotonic(self) -> int:
        """Return the clock's reading, in nanoseconds."""
        return self._invocation.monotonic()  # that of the request, which may be of another Telemetry with another clock

    def chunk(self, data: Any, now_ns: int, waited_ns: int) -> None:
        """Measure a piece of audio that came.

        Args:
            data: a chunk, or all the audio.
            now_ns: when, on the clock of the request, in nanoseconds.
            waited_ns: how long it was waited for, in nanoseconds.
        """
        if not self._expected:
            self._expect(self.audio)
        self._invocation.chunk(data, now_ns, self._for_engine(waited_ns))

    def waiting(self, waited_ns: int) -> None:
        """Count a pull that took this long, in nanoseconds, and gave nothing.

        Args:
            waited_ns: how long it was waited for, in nanoseconds.
        """
        self._invocation.waiting(self._for_engine(waited_ns))

    def waited_for_text(self, waited_ns: int) -> None:
        """Note that a part of the wait for audio was a wait for text, in nanoseconds.

        Args:
            waited_ns: how long it was waited for, in nanoseconds.
        """
        self._text_ns += waited_ns

    def _for_engine(self, waited_ns: int) -> int:
        text_ns, self._text_ns = self._text_ns, 0
        return max(0, waited_ns - text_ns)

    def broken(self) -> None:
        """Note that the host's client can read no more of the stream: whoever closes it now has not left."""
        self._broken = True

    @guarded
    def finished(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End it. ``cause`` None: what ``error`` means, and without an error an interruption. ``now_ns``: when it ended.

        An interruption without ``now_ns`` may come from the garbage collector, which closes generators: its end is deferred, since it
        takes locks that the thread may hold already.
        """
        if self._over:
            return
        if cause is None and error is None:
            if now_ns is None:
                self.dropped()
                return
            cause = LOST if self._broken else None
        self._over = True
        if not self._expected and cause is not None and cause.good:
            self._expect(self.audio)  # no audio came, which makes the outcome EMPTY
        self._invocation.end(cause, error, now_ns)
        if self._own is not None:
            ended = outcome.explained(cause, error, self._own.interruption)
            self._own.release(ended, error, now_ns)

    def dropped(self) -> None:
        """End it later, with the current time: its stream was dropped, perhaps by the garbage collector."""
        now_ns = self.monotonic()
        defer(lambda: self.finished(None, None, now_ns))

    def _expect(self, format: AudioFormat) -> None:
        self._expected = True
        self._invocation.expect(format)


OBSERVED = create_key("observed")
"""The key that is set in the OpenTelemetry context while an outer layer observes an utterance, so that no inner one starts another."""


def observed() -> bool:
    """Return whether an outer layer observes the current call."""
    context = get_current()
    reference = context.get(INVOCATION)
    invocation = reference() if callable(reference) else None
    return bool(context.get(OBSERVED)) or (invocation is not None and invocation.open)


def begin(telemetry: Telemetry, asked: Asked) -> Utterance | None:
    """Start the utterance of a call; return None inside an open attempt, which the call is part of.

    Args:
        telemetry: the Telemetry that records.
        asked: what the call asks for.
    """
    try:
        return None if observed() else Utterance(telemetry, asked)
    except Exception as error:  # noqa: BLE001 - the boundary: the host's call goes on unobserved
        guard.caught("beginning an utterance", error)
        return None
