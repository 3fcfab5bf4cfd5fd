"""The result of one call of a provider, and how it becomes metrics and attributes of the span."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.context import Context

from otel_tts import semconv
from otel_tts.core.audio import AudioFacts, AudioFormat
from otel_tts.core.emitter import Emitter
from otel_tts.core.outcome import Cause
from otel_tts.semconv import AttemptReason, Outcome

SpanAttributes = dict[str, str | bool | int | float | tuple[str, ...]]


def joined_factor(before: float | None, before_s: float | None, factor: float | None, length_s: float | None) -> float | None:
    """Return the real-time factor of two parts: all waiting for engines over all seconds of audio; None if any is unknown.

    Args:
        before: the factor of the part before.
        before_s: its audio, seconds.
        factor: the factor of the part after it.
        length_s: its audio, seconds.
    """
    if before is None or factor is None or not before_s or not length_s:
        return None
    return (before * before_s + factor * length_s) / (before_s + length_s)


@dataclass(slots=True)
class InvocationResult:
    """The result of one call of a provider; None where unknown."""

    provider: str
    model: str | None
    cause: Cause
    audio: AudioFacts | None = None
    format: AudioFormat | None = None
    delivered: bool = True
    """Whether its audio went to the caller as it came, or some of it before its end."""
    billable: bool = False
    """Whether it made any audio: only then the provider charges for it."""
    waited_s: float | None = None
    """How long the engine was waited for, without the time of the consumer and the time without text."""
    real_time_factor: float | None = None
    """Computed by :meth:`emit`."""
    first_chunk_s: float | None = None
    """From the call to the first audio; only for streams."""
    connection_reused: bool | None = None
    resends: int = 0
    """How often its SDK sent a request again."""
    counted: bool = False
    """Whether its metrics are recorded, or being recorded."""
    characters: int | None = None
    """Code points of the text that it was given, where that is known of this call by itself."""

    @property
    def kept(self) -> bool:
        """Whether its audio is audio of the request: of a failed attempt only what was handed out before."""
        cause = self.cause
        interrupted = cause.reason is not None or cause.outcome is Outcome.DEADLINE
        return cause.good or interrupted or (cause.outcome is Outcome.PARTIAL and self.delivered)

    def emit(
        self,
        emitter: Emitter,
        labels: tuple[str, str],
        context: Context,
        *,
        reason: AttemptReason,
        duration_s: float,
        counted: bool,
    ) -> None:
        """Record its metrics.

        Args:
            emitter: what they are recorded with.
            labels: of provider and model.
            context: of its span.
            reason: why the provider was called.
            duration_s: how long it took, in seconds.
            counted: whether somebody waited for it: only such attempts count for objectives and alerts.
        """
        instruments, cause = emitter.instruments, self.cause
        self.counted = True
        if counted:
            instruments.attempt_duration.record(duration_s, (*labels, cause.outcome, cause.error_type, reason), context)
        # The same under the names of the GenAI semantic conventions, so that backends which support those show it.
        operation = ("text_to_speech", *labels)
        instruments.client_duration.record(duration_s, (*operation, cause.error_type), context)
        if self.first_chunk_s is not None:
            instruments.client_first_chunk.record(self.first_chunk_s, operation, context)
        if self.connection_reused is not None:
            instruments.connection_uses.add(1, (labels[0], self.connection_reused))
        if self.audio is None or not self.audio.duration_s:
            return
        instruments.audio.add(self.audio.duration_s, (*labels, "generated", "provider"))
        if cause.good and self.waited_s is not None:
            self.real_time_factor = self.waited_s / self.audio.duration_s
            if counted:
                instruments.real_time_factor.record(self.real_time_factor, labels, context)

    def attributes(self, chunks: int) -> SpanAttributes:
        """Return the attributes that its span still needs.

        Args:
            chunks: how many pieces of audio came.
        """
        attributes: SpanAttributes = {semconv.OUTCOME.key: self.cause.outcome.value}
        if self.cause.error_type is not None:
            attributes[semconv.ERROR_TYPE.key] = self.cause.error_type.value
        if self.cause.reason is not None:
            attributes[semconv.CANCEL_REASON.key] = self.cause.reason.value
        if self.first_chunk_s is not None:
            attributes[semconv.TIME_TO_FIRST_CHUNK.key] = self.first_chunk_s
        if self.connection_reused is not None:
            attributes[semconv.CONNECTION_REUSED.key] = self.connection_reused
        if self.resends:
            attributes[semconv.RESEND_COUNT.key] = self.resends
        if self.format is not None and self.audio is not None:
            attributes[semconv.AUDIO_FORMAT.key] = self.format.name
            if self.audio.duration_s:
                attributes[semconv.AUDIO_DURATION.key] = self.audio.duration_s
            if self.audio.sample_rate is not None:
                attributes[semconv.AUDIO_SAMPLE_RATE.key] = self.audio.sample_rate
        if self.real_time_factor is not None:
            attributes[semconv.REAL_TIME_FACTOR.key] = self.real_time_factor
        if chunks:
            attributes[semconv.CHUNK_COUNT.key] = chunks
        return attributes
