"""Record: the facts of one request, and how they become its metrics and the attributes of its span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opentelemetry.context import Context

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.audio import AudioFacts, AudioFormat
from otel_tts.core.bill import Bill
from otel_tts.core.clock import NANOSECOND
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import caller, guard
from otel_tts.core.labels import OwnLabels
from otel_tts.core.outcome import EMPTY, UNSPEAKABLE, Cause
from otel_tts.core.plan import Facts, Plan
from otel_tts.core.playback import NOT_PLAYED, Playback
from otel_tts.core.purpose import NONE, Purpose
from otel_tts.core.repeated import RepeatedAttributes, at_start
from otel_tts.core.result import InvocationResult, SpanAttributes, joined_factor
from otel_tts.semconv import SERVED_FROM_CACHE, CacheResult, Outcome

_PADDING_S = 0.1
"""A player fills its last frame with silence, and may count that."""


@dataclass(slots=True)
class Record:
    """The facts of one request. Durations are seconds, readings monotonic nanoseconds; None where unknown."""

    stream: bool
    voice: str | None
    language: str | None
    characters: int
    text: str | None
    """The text itself; only with text capture on."""
    start_ns: int
    purpose: Purpose = NONE
    speakable: bool | None = None
    """Whether the text has a letter or digit in any script; None where nobody states all of it."""
    first_text_ns: int | None = None
    """How long the first text was waited for, since the span began; only if text arrives in pieces."""
    first_segment_ns: int | None = None
    """When the engine got text to speak; only if text arrives in pieces."""
    interrupted_ns: int | None = None
    heard_s: float | None = None
    """Seconds of audio that the listener heard, if the player reports it."""
    heard_at: str | None = None
    """File and line in the application that reported it."""
    playback: Playback = NOT_PLAYED
    """How audio reaches a listener; see :meth:`played`."""
    cache: CacheResult = CacheResult.BYPASS
    tier: str | None = None
    provider: str | None = None
    model: str | None = None
    """Of the provider that made the delivered audio, else of the one that was called last."""
    attempts: int = 0
    resends: int = 0
    """How often SDKs sent a request again, over all attempts."""
    fallback: bool = False
    failed_providers: tuple[str, ...] = ()  # those that another one was asked in place of
    bill: Bill = field(default_factory=Bill)
    duration_s: float | None = None
    """Seconds of audio that was made, or found in a cache."""
    unmeasured: bool = False
    """Whether a part of the audio cannot be read, so that its duration is unknown."""
    format: AudioFormat | None = None
    sample_rate: int | None = None
    audio: AudioFacts | None = None
    """Measured facts of audio that a provider made."""
    real_time_factor: float | None = None
    queue_wait_s: float | None = None
    counted: bool = False
    """Whether its metrics are recorded, or being recorded."""
    text_wait_ns: int | None = None
    """How long the request waited for more text; only if text arrives in pieces."""

    @property
    def stated_characters(self) -> int | None:
        """Code points of the text; None where nobody states all of it."""
        return None if self.speakable is None else self.characters

    @property
    def handed_out(self) -> bool:
        """Whether the caller got audio before the end. Only for streams: a unary response is delivered completely or not at all."""
        return self.stream and self.playback.chunks > 0

    def played(self) -> Playback:
        """Return its playback, to add what is handed out."""
        if self.playback is NOT_PLAYED:
            self.playback = Playback()
        return self.playback

    def without_audio(self, cause: Cause) -> Cause:
        """Return what a request ends as whose audio is known to be none; ``cause`` for every other one.

        With words to speak it is `EMPTY`; without any it is `UNSPEAKABLE`, and so where nobody was asked. Where neither an attempt nor
        audio is reported for words, nothing is known of the audio: then it is not a failure.

        Args:
            cause: how it ended, so far as it is known otherwise.
        """
        if cause.good and not self.playback.chunks and not self.duration_s:
            if self.duration_s is not None:
                cause = EMPTY
            elif self._is_wordless and not self.attempts and self.cache not in SERVED_FROM_CACHE:
                return UNSPEAKABLE
        return UNSPEAKABLE if cause.outcome is Outcome.EMPTY and self.speakable is False else cause

    @property
    def _is_wordless(self) -> bool:
        """Whether there was nothing to speak: also where a stream began without text, and none came."""
        return self.speakable is False or (self.speakable is None and self.stream and not self.characters)

    def add_invocation(self, result: InvocationResult) -> None:
        """Add the result of a call of a provider.

        Args:
            result: of the call.
        """
        if result.cause.good and self.cache not in SERVED_FROM_CACHE:
            self.provider, self.model = result.provider, result.model
        self.resends += result.resends
        if result.billable:
            self.bill.results = [*self.bill.results, result]
        if result.audio is not None and result.kept:
            self.add_audio(result.audio, result)
        elif result.audio is not None and self.duration_s is None and not self.unmeasured:
            self.audio, self.format, self.sample_rate = result.audio, result.format, result.audio.sample_rate

    def add_audio(self, part: AudioFacts, result: InvocationResult) -> None:
        """Add a part of the audio. What is not known of each part is unknown of the whole.

        Args:
            part: what is known of it.
            result: of the call that made it.
        """
        length_s, factor = part.duration_s, result.real_time_factor
        if self.duration_s or self.unmeasured:
            part = self.audio.followed_by(part) if self.audio is not None else AudioFacts(sample_rate=part.sample_rate)
            factor = joined_factor(self.real_time_factor, self.duration_s, factor, length_s)
        self.audio, self.format, self.sample_rate, self.real_time_factor = part, result.format, part.sample_rate, factor
        self.unmeasured = self.unmeasured or length_s is None
        self.duration_s = None if length_s is None or self.unmeasured else (self.duration_s or 0.0) + length_s

    def discard_lookup(self) -> None:
        """Discard the audio of a cache or of an identical request: a provider is called after all."""
        if self.cache in SERVED_FROM_CACHE:
            self.cache = CacheResult.MISS
            self.tier = self.provider = self.model = self.duration_s = self.format = self.sample_rate = None

    def hear(self, argument: str, seconds: float) -> None:
        """Take what the player reports as heard, given as this argument. The last report counts.

        Args:
            argument: its name, for the warning.
            seconds: of audio.
        """
        heard_s = clean.seconds(argument, seconds)
        if heard_s is not None:
            self.heard_s, self.heard_at = heard_s, caller()

    def _check_heard(self) -> None:
        """Leave out a duration heard that is longer than what was handed out, which is known at the end only."""
        most_s = self.playback.length_s or self.duration_s  # neither: bytes that cannot be read
        if self.stream and most_s is None and not self.playback.chunks:
            most_s = 0.0
        heard_s = self.heard_s
        if heard_s is None or most_s is None or heard_s <= most_s:
            return
        self.heard_s = most_s if heard_s <= most_s + _PADDING_S else None
        if self.heard_s is None:
            guard.misused("heard", f"{heard_s:g}", f"{most_s:g} s of audio were handed out.", "It is left out.", self.heard_at)

    def speaking_rate(self, cause: Cause) -> float | None:
        """Return the code points of the text per second of voiced audio; None if unknown.

        It is known where one audio is the whole text: not of a request that was cut off, nor of one whose attempts each spoke a part.

        Args:
            cause: how the request ended.
        """
        if not cause.good or len(self.bill.results) > 1 or self.audio is None or not self.audio.voiced_s:
            return None
        return self.characters / self.audio.voiced_s or None

    def start_attributes(self, emitter: Emitter) -> SpanAttributes:
        """Return the attributes that the span has from its start, so that samplers see them. They must not be changed.

        Args:
            emitter: what all requests of its Telemetry share.
        """
        key = (self.stream, self.voice, self.language)
        attributes: SpanAttributes = emitter.starts.get(key) or at_start(*key)
        return attributes if self.purpose is NONE else {**attributes, **self.purpose.span_attributes()}

    def delivered_s(self, outcome: Outcome) -> float | None:
        """Return the seconds of audio that the caller got: what was streamed, or all of it in a successful response; None: unknown.

        Args:
            outcome: of the request.
        """
        in_pieces = self.stream or outcome is Outcome.PARTIAL  # also a whole answer, that an SDK returns as it is
        if in_pieces and self.playback.chunks > 0 and (self.playback.audio_s or outcome is not Outcome.OK):
            return self.playback.length_s
        return self.duration_s if outcome is Outcome.OK else 0.0

    def emit(
        self, emitter: Emitter, cause: Cause, end: int, context: Context, *, describe: bool = True
    ) -> Sequence[SpanAttributes]:
        """Record all metrics of the finished request, and return the sets of attributes that its span still needs.

        Args:
            emitter: what they are recorded with.
            cause: how the request ended.
            end: when, monotonic nanoseconds.
            context: of its span, for exemplars.
            describe: whether the span is recorded, so that it needs attributes.
        """
        if self.heard_s is not None:
            self._check_heard()
        outcome = cause.outcome
        own = self.purpose.labels(emitter.own_labels) if emitter.own_labels else ()
        plan = self._plan(emitter, cause, own)
        delivered_s = self.delivered_s(outcome)
        # What was delivered whole is wasted by nobody: where its player says less, it may play on when the request ends.
        unheard = 0.0 if outcome is Outcome.OK else self._unheard_share(cause, delivered_s)
        wasted = round(self.characters * unheard) if unheard else 0
        self.counted = True
        plan.duration((end - self.start_ns) * NANOSECOND, context)
        plan.count(self.characters - wasted, delivered_s)
        if wasted:
            plan.wasted.add(wasted)
        if self.heard_s:
            plan.add_audio("heard", self.heard_s)
        if self.text_wait_ns is not None and self.purpose.interactive:
            emitter.instruments.text_wait.record(self.text_wait_ns * NANOSECOND, (), context)
        attributes = self._measured_attributes(cause, delivered_s) if describe else {}
        if self.stream:
            attributes |= self._emit_stream(emitter, cause, plan.maker, context, own)
        if plan.saved_usd is not None and unheard < 1 and self.stated_characters is not None:
            emitter.instruments.cost_avoided.add(plan.saved_usd * self.characters, plan.maker)
        if self.bill.results:
            attributes |= self._emit_made(emitter, cause, plan.maker, unheard, context, own)
        return (self._repeated_attributes(plan, cause), attributes) if describe else ()

    def _plan(self, emitter: Emitter, cause: Cause, own: OwnLabels) -> Plan:
        """Return the series of requests like this one."""
        facts = (self.provider, self.model, self.voice, self.language, self.stream, self.cache, self.purpose.kind)
        key = (facts, cause.outcome, cause.error_type, own)
        plan: Plan | None = emitter.plans.get(key)
        if plan is None:
            plan = Plan(emitter, Facts(*facts), cause, own)
            if plan.lasting:
                emitter.plans.keep(key, plan)
                start = (self.stream, self.voice, self.language)
                emitter.starts.keep(start, RepeatedAttributes(at_start(*start)))
        return plan

    def _unheard_share(self, cause: Cause, delivered_s: float | None) -> float:
        """Return the share of the speech that nobody heard, 0 to 1, by its length. If nothing reports how much, all was heard."""
        if not (self.handed_out or cause.good or delivered_s):
            return 1.0
        heard_s = self.heard_s if self.heard_s is not None else delivered_s if cause.outcome is Outcome.CANCELLED else None
        if heard_s is None or not self.duration_s:
            return 0.0
        return min(1.0, max(0.0, 1.0 - heard_s / self.duration_s))

    def _emit_stream(
        self, emitter: Emitter, cause: Cause, maker: tuple[str, str], context: Context, own: OwnLabels
    ) -> SpanAttributes:
        instruments, playback = emitter.instruments, self.playback
        attributes: SpanAttributes = {}
        if self.first_segment_ns is not None:
            attributes[semconv.TIME_TO_FIRST_SEGMENT.key] = (self.first_segment_ns - self.start_ns) * NANOSECOND
        if self.interrupted_ns is not None:
            last = playback.last_byte_ns if playback.last_byte_ns is not None else self.interrupted_ns
            silence = max(0, last - self.interrupted_ns) * NANOSECOND
            attributes[semconv.TIME_TO_INTERRUPTION.key] = (self.interrupted_ns - self.start_ns) * NANOSECOND
            attributes[semconv.TIME_TO_SILENCE.key] = silence
            instruments.time_to_silence.record(silence, maker, context, own)
        if playback.first_byte_ns is None:
            return attributes
        interactive = self.purpose.interactive
        first_byte = (playback.first_byte_ns - self.start_ns) * NANOSECOND
        attributes |= {semconv.TIME_TO_FIRST_BYTE.key: first_byte, semconv.CHUNK_COUNT.key: playback.chunks}
        if interactive:
            instruments.first_byte.record(first_byte, (*maker, self.cache), context)
        first_audio_ns = playback.first_audio()
        if first_audio_ns is not None:
            first_audio = (first_audio_ns - self.start_ns) * NANOSECOND
            attributes[semconv.TIME_TO_FIRST_AUDIO.key] = first_audio
            if interactive:
                instruments.first_audio.record(first_audio, (*maker, self.cache, cause.outcome), context, own)
        if playback.length_s:  # where the audio can be read
            attributes[semconv.UNDERRUN.key] = playback.underrun_s
            attributes[semconv.UNDERRUN_PROVIDER.key] = playback.underrun_provider_s
            attributes[semconv.UNDERRUN_CONSUMER.key] = playback.underrun_consumer_s
            if interactive:
                instruments.underrun.record(playback.underrun_provider_s, (*maker, self.cache, "provider"), context)
                instruments.underrun.record(playback.underrun_consumer_s, (*maker, self.cache, "consumer"), context)
        return attributes

    def _emit_made(
        self, emitter: Emitter, cause: Cause, maker: tuple[str, str], unheard: float, context: Context, own: OwnLabels
    ) -> SpanAttributes:
        """Record what is known only of speech that was made for this request: its rate and its cost."""
        rate = self.speaking_rate(cause)
        if rate is not None:
            voice, language = emitter.voice_labels.bound(self.voice), emitter.language_labels.bound(self.language)
            emitter.instruments.speaking_rate.record(rate, (maker[0], voice, language), context)
        cost = self.bill.emit(emitter, maker, self.stated_characters, unheard, own, complete=cause.good)
        return {} if cost is None else {semconv.COST.key: cost}

    def emit_quality(self, emitter: Emitter, provider: str, audio: AudioFacts, context: Context) -> None:
        """Record the quality of audio that a provider made.

        Args:
            emitter: what all requests of its Telemetry share.
            provider: its label.
            audio: what was measured.
            context: the OpenTelemetry context.
        """
        instruments = emitter.instruments
        labels = (provider, emitter.voice_labels.bound(self.voice), emitter.language_labels.bound(self.language))
        for histogram, value in (
            (instruments.loudness, audio.loudness),
            (instruments.silence_ratio, audio.silence_ratio),
            (instruments.clipping_ratio, audio.clipping_ratio),
            (instruments.trailing_silence, audio.trailing_silence_s),
        ):
            if value is not None:
                histogram.record(value, labels, context)

    def _repeated_attributes(self, plan: Plan, cause: Cause) -> SpanAttributes:
        """Return the attributes of its end that other requests with this plan have, too."""
        name, rate = self.format.name if self.format is not None else None, self.sample_rate
        key = (self.attempts, self.fallback, self.resends, cause.cancel_reason, self.tier, name, rate, type(rate))
        return plan.attributes.get(key) or plan.keep(key, RepeatedAttributes({
            semconv.OUTCOME.key: cause.outcome.value,
            semconv.CACHE_RESULT.key: self.cache.value,
            semconv.ATTEMPT_COUNT.key: self.attempts,
            semconv.FALLBACK_USED.key: self.fallback,
            semconv.PROVIDER.key: self.provider,
            semconv.MODEL.key: self.model,
            semconv.RESEND_COUNT.key: self.resends or None,
            semconv.ERROR_TYPE.key: cause.error_type.value if cause.error_type is not None else None,
            semconv.CACHE_TIER.key: self.tier,
            semconv.CANCEL_REASON.key: cause.reason.value if cause.reason is not None else None,
            semconv.AUDIO_FORMAT.key: name,
            semconv.AUDIO_SAMPLE_RATE.key: rate,
        }))  # fmt: skip

    def _measured_attributes(self, cause: Cause, delivered_s: float | None) -> SpanAttributes:
        attributes: SpanAttributes = {} if self.speakable is None else {semconv.TEXT_LENGTH.key: self.characters}
        if self.text is not None:
            attributes[semconv.TEXT.key] = clean.text(self.text)
        if self.duration_s:
            attributes[semconv.AUDIO_DURATION.key] = self.duration_s
        if delivered_s is not None:
            attributes[semconv.AUDIO_DELIVERED.key] = delivered_s
        if self.heard_s is not None:
            attributes[semconv.AUDIO_HEARD.key] = self.heard_s
        if self.real_time_factor is not None:
            attributes[semconv.REAL_TIME_FACTOR.key] = self.real_time_factor
        if self.queue_wait_s is not None:
            attributes[semconv.QUEUE_WAIT.key] = self.queue_wait_s
        if self.first_text_ns is not None:
            attributes[semconv.TIME_TO_FIRST_TEXT.key] = self.first_text_ns * NANOSECOND
        if self.text_wait_ns is not None:
            attributes[semconv.TEXT_WAIT.key] = self.text_wait_ns * NANOSECOND
        if self.failed_providers:
            attributes[semconv.FALLBACK_PROVIDERS.key] = self.failed_providers
        if self.audio is not None:
            measured = {
                semconv.AUDIO_LOUDNESS.key: self.audio.loudness,
                semconv.AUDIO_SILENCE_RATIO.key: self.audio.silence_ratio,
                semconv.AUDIO_CLIPPING_RATIO.key: self.audio.clipping_ratio,
                semconv.AUDIO_SPEAKING_RATE.key: self.speaking_rate(cause),
                semconv.AUDIO_TRAILING_SILENCE.key: self.audio.trailing_silence_s,
            }
            attributes |= {key: value for key, value in measured.items() if value is not None}
        return attributes
