"""The sources of one request's audio: the caches that are looked up, and the providers that are called one after another."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from opentelemetry.trace import Span, SpanContext

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.audio import AudioFormat
from otel_tts.core.clock import RequestClock
from otel_tts.core.emitter import Emitter
from otel_tts.core.outcome import STOPPED, Cause
from otel_tts.core.record import Record
from otel_tts.core.result import InvocationResult
from otel_tts.core.turn import Turn, in_turn
from otel_tts.core.undecided import Undecided
from otel_tts.semconv import SERVED_FROM_CACHE, AttemptReason, CacheResult, ErrorType, Outcome

_REPEATS = (AttemptReason.RETRY, AttemptReason.FALLBACK)
"""The reasons of an attempt that is given the same text as the one before it."""


class _Replaced(NamedTuple):
    """The provider that a fallback would replace."""

    provider: str
    error_type: ErrorType | None
    cut_off: bool = False
    """Whether its audio was cut off while it came. Then another call of the same provider is for the next text, no retry."""


class Unfinished(Protocol):
    """An invocation of a provider that has not ended, as its request sees it."""

    @property
    def block(self) -> object | None:
        """The block of the application that will end it; None without one."""

    def end(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End it.

        Args:
            cause: how it ended; None: as the exception says, or as far as it is known.
            error: the exception that ended it; None without one.
            now_ns: when it ended, if that is in the past: on the clock of the request, in nanoseconds.
        """

    def leave_to_parent(self) -> None:
        """Do nothing at its end, in a forked child."""


class AudioSources:
    """The sources of one request's audio, in the order in which they were tried.

    Args:
        emitter: of the request.
        record: of the request.
        span: of the request.
        timeline: of the request.
        turn: of the request.
    """

    __slots__ = (
        "_delivered",
        "_emitter",
        "_failed_part",
        "_failed_provider",
        "_record",
        "_skipped",
        "_span",
        "_timeline",
        "_undelivered",
        "departed",
        "failure",
        "recorded",
        "turn",
        "undecided",
        "unfinished",
    )

    def __init__(self, emitter: Emitter, record: Record, span: Span, timeline: RequestClock, turn: Turn) -> None:
        self.turn = turn
        self.failure: Cause | None = None
        """The cause of the first failed invocation since the last successful one, or of one for a part that was not asked for again."""
        self._failed_part: Cause | None = None  # the failure of an earlier part of the text
        self.recorded = False
        """Whether the request's metrics are recorded already: audio that an engine makes after that is charged separately."""
        self._emitter = emitter
        self._record = record
        self._span = span
        self._timeline = timeline
        self._failed_provider: _Replaced | None = None
        self._delivered: tuple[float | None, AudioFormat | None] | None = (
            None  # in the block of a call, which may report the same audio
        )
        self._skipped = False  # whether a provider was skipped for a part of the text that nobody was asked for yet
        self._undelivered: InvocationResult | None = None  # the last that made audio, if it failed before any was handed out
        self.unfinished: list[Unfinished] | None = []
        """The calls that have not ended; None: the request is over."""
        self.undecided: list[Undecided] = []
        """The attempts that have ended, of which the next one or the end of the request shows what they were."""
        self.departed = False
        """Whether the last of them ended since its audio could not be sent: the listener was gone."""

    # -- caches -------------------------------------------------------------------------------------------------------------------

    def cache_hit(
        self, tier: str, provider: str | None, model: str | None, duration_s: float | None, format: AudioFormat | None
    ) -> None:
        """Note that a cache tier had the audio.

        Args:
            tier: of the cache that had it.
            provider: who made it; None: unknown.
            model: with which model; None: unknown.
            duration_s: of the audio, in seconds; None: unknown.
            format: of the audio; None: unknown.
        """
        turn = self.turn
        try:  # as `in_turn` does, with a call less
            with turn.lock:
                self._serve_from_cache(CacheResult.HIT, provider, model)
                self._record.tier = tier
                self._set_audio(duration_s, format)
        finally:
            if turn.left:
                turn.leave()

    @in_turn
    def cache_miss(self) -> None:
        """Note that a cache tier did not have the audio."""
        if self._record.cache is CacheResult.BYPASS:
            self._record.cache = CacheResult.MISS

    @in_turn
    def coalesce(self, provider: str | None, model: str | None, leader: SpanContext | None) -> None:
        """Note that the audio comes from an identical request that was running.

        Args:
            provider: who made it; None: unknown.
            model: with which model; None: unknown.
            leader: the context of its span.
        """
        self._serve_from_cache(CacheResult.COALESCED, provider, model)
        if leader is not None and leader.is_valid and self._span.is_recording():
            self._span.add_link(leader)
        optional = {semconv.PROVIDER.key: self._record.provider, semconv.MODEL.key: self._record.model}
        self._add_event(semconv.COALESCED_EVENT, {key: value for key, value in optional.items() if value is not None})

    def _serve_from_cache(self, result: CacheResult, provider: str | None, model: str | None) -> None:
        """Note that no provider is called, so this is no fallback. ``provider`` and ``model``: who made the audio before, if known."""
        provider, model = self._emitter.provider_labels.name(provider), self._emitter.model_labels.name(model)
        self._record.discard_lookup()
        self._record.cache, self._record.provider, self._record.model = result, provider, model
        self.failure = self._failed_part = self._failed_provider = None

    @in_turn
    def set_audio(self, duration_s: float | None, format: AudioFormat | None) -> None:
        """Set the duration and format of audio that exists already; None: unknown.

        Args:
            duration_s: of the audio, in seconds; None: unknown.
            format: of the audio; None: unknown.
        """
        self._set_audio(duration_s, format)

    @in_turn
    def delivered(self, duration_s: float | None, format: AudioFormat | None) -> None:
        """Note the duration and format of audio that existed already; None: unknown. A call that is under way may report the same.

        Args:
            duration_s: of the audio, in seconds; None: unknown.
            format: of the audio; None: unknown.
        """
        if self.unfinished:
            self._delivered = duration_s, format
        else:
            self._set_audio(duration_s, format)

    def _set_audio(self, duration_s: float | None, format: AudioFormat | None) -> None:
        record = self._record
        if duration_s is not None:  # the cache may know the duration of audio that cannot be read here
            record.duration_s = float(clean.number(duration_s))
        if format is not None:
            record.format, record.sample_rate = format, getattr(format, "sample_rate", None)

    # -- providers ----------------------------------------------------------------------------------------------------------------

    @in_turn
    def skip_provider(self, provider: str, error_type: ErrorType) -> None:
        """Note that a provider is not called, because it cannot be used now: the next one that is called is a fallback from it.

        Args:
            provider: the provider.
            error_type: why it is not called.
        """
        provider = clean.name(provider)
        self._skipped = self._skipped or self._failed_provider is None
        self._failed_provider = _Replaced(provider, error_type)
        if self._record.provider is None:  # a failure names whom it is about
            self._record.provider = provider
        self._add_event(semconv.SKIPPED_EVENT, {semconv.PROVIDER.key: provider, semconv.ERROR_TYPE.key: error_type.value})

    def attempt_reason(self, provider: str) -> AttemptReason:
        """Return why ``provider`` would be called now: first call, retry or fallback."""
        failed = self._failed_provider
        if failed is None or self._is_next_text(failed, provider):
            return AttemptReason.INITIAL
        return AttemptReason.RETRY if failed.provider == provider else AttemptReason.FALLBACK

    def _is_next_text(self, failed: _Replaced, provider: str) -> bool:
        """Return whether a call is for the text after that of a provider that was cut off."""
        return failed.cut_off and (failed.provider == provider or self._record.interrupted_ns is not None)

    @in_turn
    def go_on(self) -> None:
        """Continue after the last call ended without success: the next call is a retry or a fallback."""
        if (failed := self._failed_provider) is not None:  # the text is the same, so another call of the provider is a retry
            self._failed_provider = _Replaced(failed.provider, failed.error_type)
        elif self._record.provider is not None:  # it was cut off, which says nothing about the provider
            self._failed_provider = _Replaced(self._record.provider, None)

    @in_turn
    def invocation_began(self, invocation: Unfinished, provider: str, model: str | None, reason: AttemptReason) -> int:
        """Note that a call of a provider started. Return how many code points the failed calls were given that it repeats or replaces.

        Args:
            invocation: the call.
            provider: the provider.
            model: with which model; None: unknown.
            reason: why it was called.
        """
        record = self._record
        record.discard_lookup()
        record.provider, record.model = provider, model
        if self._skipped or not record.attempts or reason not in _REPEATS:
            record.bill.parts += 1
            self._failed_part = self.failure
            self._skipped, record.bill.given = False, 0
        record.fallback = record.fallback or reason == AttemptReason.FALLBACK
        self._record_fallback(provider, reason)
        if self.unfinished is not None:
            self.unfinished.append(invocation)
        record.attempts += 1
        return record.bill.given

    @in_turn
    def invocation_ended(self, invocation: Unfinished, result: InvocationResult) -> None:
        """Note the end of a call of a provider.

        Args:
            invocation: the call.
            result: what came of it.
        """
        cause = result.cause
        if self.unfinished and invocation in self.unfinished:
            self.unfinished.remove(invocation)
        if cause.good:
            self.failure, self._failed_provider = self._failed_part, None
        elif (is_failure := cause.outcome is not Outcome.CANCELLED) or self._gave_up(result):
            self.failure = self.failure or (cause if is_failure else None)
            self._failed_provider = _Replaced(result.provider, cause.error_type, cut_off=not is_failure and result.billable)
            bill = self._record.bill
            bill.given = max(bill.given, result.characters or 0)
        if result.billable:
            self._undelivered = None if result.kept else result
        self._record.add_invocation(result)
        if self._delivered is not None:
            delivered, self._delivered = self._delivered, None
            if self._record.duration_s is None and not self._record.unmeasured:
                self._set_audio(*delivered)
        if result.billable and self.recorded:  # the RPC ended before the engine did; the provider charges all the same
            self._record.bill.emit_late(
                self._emitter, result, self._record.stated_characters, self._record.purpose.labels(self._emitter.own_labels)
            )

    @property
    def cached(self) -> bool:
        """Whether the audio comes from a cache or an identical request."""
        return self._record.cache in SERVED_FROM_CACHE

    @in_turn
    def counted(self, change: int) -> None:
        """Correct how many attempts there were: one only encloses others, or counts beside them.

        Args:
            change: by how much.
        """
        self._record.attempts += change

    @in_turn
    def take_place(self, reason: AttemptReason) -> None:
        """Note that the next call is made inside the last one, as the first there: it takes its place.

        Args:
            reason: of that one.
        """
        record = self._record
        record.attempts -= 1
        if not record.attempts or reason not in _REPEATS:  # as `invocation_began` has counted it
            record.bill.parts -= 1

    @in_turn
    def enclosed(self, invocation: Unfinished, *, by_attempts: bool) -> None:
        """Note the end of a call that only enclosed others, or a question to a cache, which count in its place.

        Args:
            invocation: the call.
            by_attempts: whether there were others; else it is counted itself so far.
        """
        self._record.attempts -= not by_attempts
        if self.unfinished and invocation in self.unfinished:
            self.unfinished.remove(invocation)

    @property
    def over(self) -> bool:
        """Whether the request is over: no call follows."""
        return self.unfinished is None

    @in_turn
    def decide(self, provider: str | None) -> None:
        """Decide what the undecided attempts were.

        Args:
            provider: that is called next; None: the request has ended.
        """
        while self.undecided:
            attempt = self.undecided.pop(0)
            if attempt.is_given_up_for(provider):
                attempt.record(attempt.given_up)
                continue
            attempt.record(attempt.cause)
            if attempt.cause == STOPPED:  # a failure of the request, not of its provider
                self.failure = self.failure or attempt.given_up
            self.departed = provider is None and attempt.cause != STOPPED

    @in_turn
    def handed_out_late(self) -> None:
        """Note that audio is handed out whose call has ended: that of a failed one is then audio of the request, too."""
        result, self._undelivered = self._undelivered, None
        if result is not None and result.audio is not None:
            self._record.add_audio(result.audio, result)

    def _gave_up(self, result: InvocationResult) -> bool:
        """Return whether the application waited for this call alone, and no longer, if the request goes on to another provider."""
        record = self._record
        is_last = record.provider == result.provider and not self.unfinished
        return is_last and record.interrupted_ns is None

    def end_unfinished(self, end_ns: int, *, final: bool) -> None:
        """End the open invocations with their request, except those in a block, which end with it.

        Args:
            end_ns: when the request ended, in nanoseconds.
            final: those, too.
        """
        if self.undecided:
            self.decide(None)
        unfinished, self.unfinished = self.unfinished, None
        if unfinished:
            for invocation in [i for i in unfinished if final or i.block is None]:
                invocation.end(None, None, end_ns)

    def leave_to_parent(self) -> None:
        """Leave the open invocations, and those that are not decided, to the process that this one was forked from."""
        unfinished, self.unfinished, self.undecided = self.unfinished, None, []
        for invocation in unfinished or ():
            invocation.leave_to_parent()

    def _record_fallback(self, provider: str, reason: AttemptReason) -> None:
        failed = self._failed_provider
        if failed is None or (failed.provider == provider and not failed.cut_off):
            return
        self._failed_provider = None
        if self._is_next_text(failed, provider) or (failed.cut_off and reason not in _REPEATS):
            return
        self._record.fallback = True
        self._record.failed_providers += (failed.provider,)
        bound = self._emitter.provider_labels.bound
        self._emitter.instruments.fallbacks.add(1, (bound(failed.provider), bound(provider), failed.error_type))

    def _add_event(self, event: semconv.Event, attributes: dict[str, str]) -> None:
        if self._span.is_recording():
            self._span.add_event(event.name, attributes, self._timeline.timestamp(self._timeline.monotonic()))
