"""Where the audio of one request comes from: the caches that are looked into, and the providers that are asked one after another."""

from __future__ import annotations

from typing import Protocol

from opentelemetry.trace import Span, SpanContext

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.audio import AudioFormat
from otel_tts.core.clock import RequestClock
from otel_tts.core.emitter import Emitter
from otel_tts.core.outcome import Cause
from otel_tts.core.record import Record
from otel_tts.core.result import InvocationResult
from otel_tts.core.turn import Turn, in_turn
from otel_tts.semconv import AttemptReason, CacheResult, ErrorType, Outcome


class Unfinished(Protocol):
    """An invocation of a provider that is under way, as its request sees it."""

    @property
    def has_block(self) -> bool:
        """Whether a block of the application will end it."""

    def end(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """End it; ``now_ns``: when that was, if it is past."""


class AudioSources:
    """The sources of one request's audio, in the order in which they were tried.

    Args:
        emitter: of the request.
        record: of the request.
        span: of the request.
        timeline: of the request.
        turn: of whoever touches the request.
    """

    __slots__ = ("_emitter", "_failed_provider", "_record", "_span", "_timeline", "_unfinished", "failure", "recorded", "turn")

    def __init__(self, emitter: Emitter, record: Record, span: Span, timeline: RequestClock, turn: Turn) -> None:
        self.turn = turn
        self.failure: Cause | None = None
        """Of the first failed invocation since the last good one."""
        self.recorded = False
        """Whether the request's own points are made: what an engine still makes is billed by itself."""
        self._emitter = emitter
        self._record = record
        self._span = span
        self._timeline = timeline
        self._failed_provider: tuple[str, ErrorType | None] | None = None  # whom a fallback would replace, and why
        self._unfinished: list[Unfinished] | None = []  # None: the request is over

    # -- caches -------------------------------------------------------------------------------------------------------------------

    @in_turn
    def cache_hit(
        self, tier: str, provider: str | None, model: str | None, duration_s: float | None, format: AudioFormat | None
    ) -> None:
        """A cache tier had the audio."""
        self._serve_from_cache(CacheResult.HIT, provider, model)
        self._record.tier = tier
        self.set_audio(duration_s, format)

    @in_turn
    def cache_miss(self) -> None:
        """A cache tier did not have it."""
        if self._record.cache is CacheResult.BYPASS:
            self._record.cache = CacheResult.MISS

    @in_turn
    def coalesce(self, provider: str | None, model: str | None, leader: SpanContext | None) -> None:
        """The audio comes from an identical request that was under way, whose span ``leader`` is."""
        self._serve_from_cache(CacheResult.COALESCED, provider, model)
        if leader is not None and leader.is_valid and self._span.is_recording():
            self._span.add_link(leader)
        optional = {semconv.PROVIDER.key: self._record.provider, semconv.MODEL.key: self._record.model}
        self._add_event(semconv.COALESCED_EVENT, {key: value for key, value in optional.items() if value is not None})

    def _serve_from_cache(self, result: CacheResult, provider: str | None, model: str | None) -> None:
        """No provider is asked for the audio; these made it then, if they are known."""
        provider, model = clean.optional_name(provider), clean.optional_name(model)
        self._record.discard_lookup()
        self._record.cache, self._record.provider, self._record.model = result, provider, model
        self._record_fallback(provider)
        self.failure = self._failed_provider = None

    @in_turn
    def set_audio(self, duration_s: float | None, format: AudioFormat | None) -> None:
        """Audio that is there already has this length and format; None: not known."""
        record = self._record
        if duration_s is not None:  # what cannot be read here may be known from the cache
            record.duration_s = float(clean.number(duration_s))
        if format is not None:
            record.format, record.sample_rate = format, getattr(format, "sample_rate", None)

    # -- providers ----------------------------------------------------------------------------------------------------------------

    @in_turn
    def skip_provider(self, provider: str, error_type: ErrorType) -> None:
        """A provider is not asked, because it is of no use now: whoever is asked next is a fallback from it."""
        provider = clean.name(provider)
        self._failed_provider = (provider, error_type)
        if self._record.provider is None:  # a failure names whom it is about
            self._record.provider = provider
        self._add_event(semconv.SKIPPED_EVENT, {semconv.PROVIDER.key: provider, semconv.ERROR_TYPE.key: error_type.value})

    def attempt_reason(self, provider: str) -> AttemptReason:
        """Why ``provider`` would be asked now."""
        if self._failed_provider is None:
            return AttemptReason.INITIAL
        return AttemptReason.RETRY if self._failed_provider[0] == provider else AttemptReason.FALLBACK

    @in_turn
    def go_on(self) -> None:
        """The request goes on after its last call ended without success: whoever is asked next stands in for that one."""
        if self._failed_provider is None and self._record.provider is not None:  # it was cut off, which proves nothing of it
            self._failed_provider = (self._record.provider, None)

    @in_turn
    def invocation_began(self, invocation: Unfinished, provider: str, model: str | None, reason: AttemptReason) -> None:
        """A provider is asked."""
        record = self._record
        record.discard_lookup()
        record.provider, record.model = provider, model
        record.fallback = record.fallback or reason == AttemptReason.FALLBACK
        self._record_fallback(provider)
        if self._unfinished is not None:
            self._unfinished.append(invocation)
        record.attempts += 1

    @in_turn
    def invocation_ended(self, invocation: Unfinished, result: InvocationResult) -> None:
        """A provider has done what it did."""
        cause = result.cause
        if self._unfinished and invocation in self._unfinished:
            self._unfinished.remove(invocation)
        if cause.good:
            self.failure = self._failed_provider = None
        elif cause.outcome is not Outcome.CANCELLED:
            self.failure = self.failure or cause
            self._failed_provider = (result.provider, cause.error_type)
        self._record.add_invocation(result)
        if result.billable and self.recorded:  # the RPC ended before the engine did; the bill comes all the same
            self._record.charge(self._emitter, result.provider, result.model)

    def end_unfinished(self, end_ns: int, *, final: bool) -> None:
        """The request is over, and with it what is under way, but for blocks, which end by themselves; ``final``: those, too."""
        unfinished, self._unfinished = self._unfinished or [], None
        for invocation in [i for i in unfinished if final or not i.has_block]:
            invocation.end(None, None, end_ns)

    def _record_fallback(self, provider: str | None) -> None:
        if self._failed_provider is None or provider is None or self._failed_provider[0] == provider:
            return
        failed, error_type = self._failed_provider
        self._failed_provider = None
        self._record.fallback = True
        bound = self._emitter.provider_labels.bound
        self._emitter.instruments.fallbacks.add(1, (bound(failed), bound(provider), error_type))

    def _add_event(self, event: semconv.Event, attributes: dict[str, str]) -> None:
        if self._span.is_recording():
            self._span.add_event(event.name, attributes, self._timeline.timestamp(self._timeline.monotonic()))
