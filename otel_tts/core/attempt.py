"""Attempt: one call of a provider, as applications use it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from types import TracebackType
from typing import Self, TypeVar, overload

from otel_tts.core import clean
from otel_tts.core import outcome as outcomes
from otel_tts.core.audio import AudioFormat
from otel_tts.core.deferred import run_deferred
from otel_tts.core.guard import guarded
from otel_tts.core.invocation import Invocation
from otel_tts.core.outcome import Cause
from otel_tts.core.requester import Requester
from otel_tts.core.streams import Current, MeasuredAsyncIterator, MeasuredIterator, Payload, check_unmeasured, measured
from otel_tts.core.underway import UNDER_WAY
from otel_tts.semconv import AttemptReason, ErrorType, Outcome

T = TypeVar("T")


def invoke(
    request: Requester,
    provider: str,
    model: str | None,
    reason: AttemptReason | str | None = None,
    *,
    remote: bool,
    start_ns: int | None = None,
    text: str | None = None,
    around: Invocation | None = None,
) -> Invocation:
    """Start a call of a provider for a request.

    Args:
        request: the request.
        provider: who is called.
        model: with which model.
        reason: why; None: derived from the attempts before.
        remote: whether the provider runs elsewhere (span kind CLIENT).
        start_ns: when it started, if that is in the past: on the clock of the request, in nanoseconds.
        text: what it is given to speak; None: that is not known of this call by itself.
        around: the call inside which another layer reports it; None: none.
    """
    if request.outcome is not None:
        UNDER_WAY.hold()
    provider, model = clean.name(provider) if provider is not None else clean.missing("provider"), clean.optional_name(model)  # type: ignore[redundant-expr]
    sources = request.sources
    if sources.unfinished:
        run_deferred()  # one whose stream was dropped has ended, and what follows depends on it
    if sources.undecided:
        sources.decide(provider)
    stated = None if reason is None else clean.choice(AttemptReason, "reason", reason, "The reason is what follows from before.")
    why = stated or sources.attempt_reason(provider)
    if around is not None and around.speaks_for(request):
        if around.inside is None or not around.inside.any:
            why = stated or around.reason
            sources.take_place(around.reason)
    else:
        around = None
    invocation = Invocation(
        request.emitter, request.timeline, request, provider, model, why, remote=clean.flag("remote", remote), start_ns=start_ns
    )  # fmt: skip
    if around is not None:
        around.enclose(invocation)
    invocation.repeats = sources.invocation_began(invocation, provider, model, why)
    if text is not None:
        spoken = clean.spoken(text)
        invocation.characters = len(spoken) if spoken or clean.is_text(text) else None
        if not invocation.repeats and (around is None or around.characters is None):
            request.text_input.add_of_call(spoken, whole=True)
    return invocation


class Attempt:
    """One attempt at a provider. Get it from :meth:`Synthesis.attempt` or :meth:`Telemetry.probe`.

    As a context manager (``with`` or ``async with``) it is current inside its block and ends with it. Not entered, it ends with the
    stream that :meth:`stream` gives. An exception that leaves the block is its outcome and goes on unchanged.

    Args:
        invocation: the state of the call.
    """

    __slots__ = ("__weakref__", "_current", "_invocation")

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._current = Current(invocation.context)

    def __enter__(self) -> Self:
        self._invocation.block = self._current
        self._current.__enter__()
        return self

    @guarded
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._current.__exit__(kind, error, tb)
        self._invocation.end(outcomes.OK if error is None else None, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.__exit__(kind, error, tb)

    def audio(self, data: T, format: AudioFormat) -> T:
        """Report all the audio that the engine returned, and get it back.

        Args:
            data: bytes-like, base64, a list of samples, or an array or tensor of shape (frames,) or (frames, channels). If it
                cannot be read, all facts about the audio are unknown.
            format: of the audio.
        """
        self._invocation.whole(data, format)
        return data

    @guarded
    def connection(self, *, reused: bool) -> None:
        """Report whether the call reused an open connection to the provider.

        Args:
            reused: whether the connection had served another utterance or was opened in advance, so that this call did not wait for it.
        """
        self._invocation.connection_reused = clean.flag("reused", reused)

    @overload
    def stream(
        self, chunks: AsyncIterable[T], format: AudioFormat, payload: Payload | None = ...
    ) -> MeasuredAsyncIterator[T]: ...
    @overload
    def stream(self, chunks: Iterable[T], format: AudioFormat, payload: Payload | None = ...) -> MeasuredIterator[T]: ...
    def stream(
        self, chunks: Iterable[T] | AsyncIterable[T], format: AudioFormat, payload: Payload | None = None
    ) -> MeasuredIterator[T] | MeasuredAsyncIterator[T]:
        """Measure chunks as they are pulled.

        The attempt is current only while a chunk is pulled, and ends with the stream unless it has a block of its own.

        Args:
            chunks: what the engine yields.
            format: of the audio in them.
            payload: takes the audio bytes out of a chunk that is not bytes itself.

        Returns:
            The same chunks: an iterator for an iterable, an asynchronous one for an asynchronous, one of both kinds for what is both.
        """
        self._invocation.expect(format)
        check_unmeasured(chunks)
        return measured(chunks, self._invocation, payload)

    @guarded
    def fail(
        self,
        error: BaseException | None = None,
        *,
        outcome: Outcome | str | None = None,
        error_type: ErrorType | str | None = None,
    ) -> None:
        """Report a failure that is not raised, or say what an exception that is about to be raised means. The first report counts.

        Args:
            error: what was or will be raised; it is not raised here.
            outcome: by default what ``error`` means, else ``error``.
            error_type: a value of ``error.type``, by default what ``error`` means.
        """
        error = clean.exception(error)
        self._invocation.declare(Cause.declared(error, outcome, error_type), error)
