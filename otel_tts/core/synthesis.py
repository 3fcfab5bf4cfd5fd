"""Synthesis: one request to speak, as applications use it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from opentelemetry.trace import Link, TraceFlags, format_trace_id

from otel_tts import semconv
from otel_tts.core import clean, outcome
from otel_tts.core.attempt import Attempt, invoke
from otel_tts.core.audio import AudioFormat
from otel_tts.core.cache import CachedAudio, CacheWrite, Lookup
from otel_tts.core.deferred import deferrable, outside_collections
from otel_tts.core.either import iterated
from otel_tts.core.guard import MisuseError, guard, guarded_or
from otel_tts.core.invocation import Invocation
from otel_tts.core.noop import NOOP
from otel_tts.core.outcome import Cause
from otel_tts.core.request import SynthesisRequest
from otel_tts.core.streams import MeasuredAsyncIterator, MeasuredIterator, Payload, check_unmeasured, measured
from otel_tts.core.texts import CountedAsyncText, CountedText, TextInput
from otel_tts.core.whole_request import WholeRequest
from otel_tts.semconv import AttemptReason, CancelReason, ErrorType, Outcome

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")
Whole = TypeVar("Whole", bound="bytes | bytearray | memoryview | str | npt.NDArray[Any] | None")
"""All the audio at once."""


class Synthesis:
    """One request to speak. Get it from :meth:`otel_tts.Telemetry.synthesis`.

    Use it as a context manager (``with`` or ``async with``), or let :meth:`stream` end it. Its span does not become the current one, so
    a generator may yield inside its block; those of :meth:`attempt` and :meth:`lookup` do, inside theirs. An exception that leaves the
    block is raised on unchanged. Inside an RPC of our interceptors, the end of the RPC decides the outcome.

    Args:
        request: the state of the request.
        around: the attempt inside which another layer has asked for this handle; None: it has not.
    """

    __slots__ = ("__weakref__", "_around", "_request")

    def __init__(self, request: SynthesisRequest, around: Invocation | None = None) -> None:
        self._request = request
        self._around = around

    @property
    @guarded_or(lambda _: "")
    def trace_id(self) -> str:
        """The trace id, 32 hexadecimal digits; empty when there is no trace."""
        context = self._request.span_context
        return format_trace_id(context.trace_id) if context.is_valid else ""

    @property
    @guarded_or(lambda _: False)
    def sampled(self) -> bool:
        """Whether the trace is sampled."""
        return bool(self._request.span_context.trace_flags & TraceFlags.SAMPLED)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it is open."""
        return self._request.outcome

    def __enter__(self) -> Self:
        self._used_again("What its block does is not counted.")
        self._request.enter_block()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._request.exit_block(error)
        except Exception as fault:  # noqa: BLE001 - the boundary
            guard.caught("Synthesis.__exit__", fault)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.__exit__(kind, error, tb)

    def _used_again(self, consequence: str) -> None:
        if self._request.finished and not self._request.open:  # what ended without its doing, as an RPC may, it cannot know
            guard.misused("synthesis", "a request that has ended", "call synthesis() for each request.", consequence)

    # -- where the audio comes from -----------------------------------------------------------------------------------------------

    @outside_collections(lambda *_, **__: NOOP)
    def lookup(self, tier: str) -> Lookup:
        """Look into a cache tier: a block, current inside, so that the spans of a cache's client become children.

        Args:
            tier: the name of the tier, such as ``memory`` or ``redis``.
        """
        if self._around is not None:
            self._around.enclose(None)
        return Lookup(self._request, tier)

    @deferrable
    def coalesced(self, provider: str | None = None, model: str | None = None, *, leader: Synthesis | None = None) -> None:
        """Report that the audio comes from an identical request that was running.

        Args:
            provider: who made it, if that is known.
            model: with which model.
            leader: that request; this span gets a link to its span.
        """
        span = leader._request.span_context if leader is not None and clean.is_a(leader, Synthesis) else None  # noqa: SLF001 - another of its kind
        self._request.sources.coalesce(provider, model, span)

    @outside_collections(lambda *_, **__: NOOP)
    def attempt(
        self,
        provider: str,
        model: str | None = None,
        *,
        reason: AttemptReason | str | None = None,
        remote: bool = False,
        text: str | None = None,
    ) -> Attempt:
        """Start a call of a provider. After a failed attempt, one at the same provider is a retry and one at another a fallback.

        Args:
            provider: who is called, such as ``openai`` or ``piper``.
            model: its model, or its voice file where that is the model.
            reason: ``initial``, ``retry``, ``fallback`` or ``probe``; by default derived from the attempts before.
            remote: whether the provider is called (span kind CLIENT) rather than run in this process (INTERNAL).
            text: what it is given to speak, if that is a part of the request's text: its cost is then that of this part. Only its length
                is used.
        """
        return Attempt(invoke(self._request, provider, model, reason, remote=remote, text=text, around=self._around))

    @deferrable
    def skipped(
        self, provider: str, error_type: ErrorType | str = ErrorType.UNAVAILABLE, *, error: BaseException | None = None
    ) -> None:
        """Report that a provider is not called, because it cannot be used now: the next one that is called is a fallback from it.

        Args:
            provider: who is not called.
            error_type: what is wrong with it, a value of ``error.type``.
            error: an exception from which ``error_type`` is derived instead.
        """
        if error is not None:
            error = clean.exception(error)
            error_type = (outcome.from_exception(error).error_type if error is not None else None) or ErrorType.OTHER
        self._request.sources.skip_provider(provider, outcome.known_error_type(error_type))

    @overload
    def deliver(self, audio: Whole, format: AudioFormat) -> Whole: ...  # type: ignore[overload-overlap]  # bytes iterate, but are one piece
    @overload
    def deliver(
        self, audio: AsyncIterable[T], format: AudioFormat, payload: Payload | None = ...
    ) -> MeasuredAsyncIterator[T]: ...
    @overload
    def deliver(self, audio: Iterable[T], format: AudioFormat, payload: Payload | None = ...) -> MeasuredIterator[T]: ...
    def deliver(self, audio: Any, format: AudioFormat, payload: Payload | None = None) -> Any:
        """Deliver audio that exists already: cached, coalesced, or completed by an attempt before it is sent in pieces.

        Args:
            audio: all of it at once, in a form that :meth:`Attempt.audio` reads (bytes, an array, a list of samples); or chunks, as
                an iterable or an asynchronous one.
            format: of the audio.
            payload: returns the audio bytes of a chunk that is not bytes itself.

        Returns:
            What is whole as it is, chunks as an iterator that measures them.
        """
        return self._cached_audio(format).deliver(audio, payload)

    @guarded_or(lambda *_: NOOP)
    def _cached_audio(self, format: AudioFormat) -> CachedAudio:
        return CachedAudio(self._request, format, hands_out=self._around is None or self._around.passes_to_listener())

    @overload
    def stream(
        self, chunks: AsyncIterable[T], provider: str, model: str | None = ..., *,
        audio: AudioFormat, payload: Payload | None = ..., remote: bool = ...,
    ) -> MeasuredAsyncIterator[T]: ...  # fmt: skip
    @overload
    def stream(
        self, chunks: Iterable[T], provider: str, model: str | None = ..., *,
        audio: AudioFormat, payload: Payload | None = ..., remote: bool = ...,
    ) -> MeasuredIterator[T]: ...  # fmt: skip
    def stream(
        self, chunks: Iterable[T] | AsyncIterable[T], provider: str, model: str | None = None, *,
        audio: AudioFormat, payload: Payload | None = None, remote: bool = False,
    ) -> MeasuredIterator[T] | MeasuredAsyncIterator[T]:  # fmt: skip
        """Measure a request that is a single attempt, and end it with the attempt. The attempt starts with the first pull.

        Args:
            chunks: what the provider yields.
            provider: who is called.
            model: its model.
            audio: the format of the audio.
            payload: returns the audio bytes of a chunk that is not bytes itself.
            remote: as for :meth:`attempt`.

        Returns:
            The same chunks: an iterator for an iterable, an asynchronous one for an asynchronous, one of both kinds for what is both.
        """
        self._used_again("Its outcome and duration stay as they are.")
        self._request.begin_stream()
        begin = partial(invoke, self._request, provider, model, None, remote=remote, around=self._around)
        whole = WholeRequest(self._request, begin, audio, self._around)
        check_unmeasured(chunks)
        return measured(chunks, whole, payload)

    @outside_collections(lambda *_, **__: NOOP)
    def cache_write(self, tier: str) -> CacheWrite:
        """Write audio to a cache tier, also after the response was sent: a block with a span of its own, linked to this one.

        Args:
            tier: the name of the tier.
        """
        return CacheWrite(self._request.emitter, tier, Link(self._request.span_context))

    # -- further facts ------------------------------------------------------------------------------------------------------------

    @deferrable
    def add_text(self, delta: str) -> None:
        """Add text that arrives in pieces. A request that began without text starts, for all durations, with the first piece.

        Args:
            delta: the next piece.
        """
        self._request.text_input.add(delta)

    @overload
    def text_from(self, pieces: AsyncIterable[str]) -> AsyncIterator[str]: ...
    @overload
    def text_from(self, pieces: Iterable[str]) -> Iterator[str]: ...
    def text_from(self, pieces: Iterable[str] | AsyncIterable[str]) -> Iterator[str] | AsyncIterator[str]:
        """Count text that arrives in pieces on its way to the engine, as :meth:`add_text` does, and how long it was waited for.

        If an engine takes its text from here while its audio is pulled, the wait for text does not count as a wait for the engine.

        Args:
            pieces: of the text.

        Returns:
            The same pieces: an iterator for an iterable, an asynchronous one for an asynchronous, one of both kinds for what is both.
        """
        text = self._text_input()
        return iterated(pieces, lambda pieces: CountedText(pieces, text), lambda pieces: CountedAsyncText(pieces, text))

    @guarded_or(lambda _: NOOP)
    def _text_input(self) -> TextInput:
        return self._request.text_input

    @deferrable
    def flush(self) -> None:
        """Report that the engine gets the text so far, to speak it. The first call counts: it is the time to the first segment."""
        self._request.text_input.flush()

    @deferrable
    def interrupt(self, reason: CancelReason | str = CancelReason.INTERRUPTED, *, heard: float | None = None) -> None:
        """Report that the utterance is cut off. The outcome is ``cancelled``, however the block ends; the first call counts.

        An attempt that is under way ends as ``cancelled``, too, whatever exception then leaves its block.

        Audio that is handed out afterwards is too late, and how long that lasted is recorded.

        Args:
            reason: ``interrupted`` by the listener, ``superseded`` by another utterance, ``caller`` went away, or ``stopped`` by the
                service itself, which is then its failure.
            heard: seconds of audio that the listener heard, if the player reports it. A value below 0, or above what was handed out,
                is left out with a warning.
        """
        self._request.interrupt(reason, heard)

    @deferrable
    def heard(self, seconds: float) -> None:
        """Report how much of the audio has been played to the listener. The last report before the end of the request counts.

        Args:
            seconds: of audio; below 0, or more than was handed out, it is left out with a warning.
        """
        self._request.record.hear("seconds", seconds)

    @deferrable
    def queued(self, seconds: float) -> None:
        """Report that the request waited for a free engine.

        Args:
            seconds: how long.
        """
        record, instruments = self._request.record, self._request.emitter.instruments
        recorded = instruments.queue_wait.record(seconds, (), self._request.context)
        if recorded is not None:
            record.queue_wait_s = (record.queue_wait_s or 0.0) + recorded

    @deferrable
    def encoded(self, format: str, seconds: float) -> None:
        """Report that the audio was encoded.

        Args:
            format: one of ``semconv.AUDIO_FORMATS``; others count as ``_OTHER``.
            seconds: how long that took.
        """
        label = clean.one_of(semconv.AUDIO_FORMATS, format)
        self._request.emitter.instruments.encode_duration.record(seconds, (label,), self._request.context)

    @deferrable
    def score(self, name: str, value: float) -> None:
        """Report the score that a quality model gives to the audio.

        Args:
            name: of the model.
            value: 0 or more, in the scale of that model.

        Raises:
            MisuseError: the value is below 0, or no number; only in strict mode, as in tests. In production it is logged, and not recorded.
        """
        number = clean.number(value)
        if number < 0:
            raise MisuseError(f"The score {clean.name(name)} is {number:g}; a score is a number of 0 or more.")
        emitter = self._request.emitter
        labels = emitter.score_labels.bound(name), emitter.voice_labels.bound(self._request.record.voice)
        emitter.instruments.score.record(number, labels, self._request.context)

    @deferrable
    def fail(
        self,
        error: BaseException | None = None,
        *,
        outcome: Outcome | str | None = None,
        error_type: ErrorType | str | None = None,
    ) -> None:
        """Report how the request fails. The first report counts, and counts more than what becomes known later.

        Args:
            error: what was or will be raised; it is not raised here.
            outcome: by default what ``error`` means, else ``error``.
            error_type: a value of ``error.type``, by default what ``error`` means.
        """
        error = clean.exception(error)
        self._request.declare(Cause.declared(error, outcome, error_type), error)
