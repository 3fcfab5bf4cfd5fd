"""Requests: one row of facts for each synthesis that a span was kept of."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.history.traces import Span


@dataclass(frozen=True, slots=True)
class Request:
    """One synthesis. ``start`` is in seconds since the Unix epoch; durations are seconds; None is what the span doesn't say.

    ttfb and ttfa: time to first byte and to first audio. rtf: real-time factor. attempts: how often a provider was asked. What is
    known of how provider-made audio sounds is as in `semconv`: loudness in dB below full scale, speaking_rate in code points per
    voiced second, trailing_silence in seconds, both ratios 0 to 1.
    """

    trace_id: str
    span_id: str
    start: float
    duration: float
    service: str
    version: str
    outcome: str | None
    error_type: str | None
    provider: str | None
    model: str | None
    voice: str | None
    language: str | None
    stream: bool | None
    cache_result: str | None
    characters: int | None
    audio_duration: float | None
    ttfb: float | None
    ttfa: float | None
    rtf: float | None
    attempts: int | None
    fallback_used: bool | None
    queue_wait: float | None
    loudness: float | None
    silence_ratio: float | None
    clipping_ratio: float | None
    speaking_rate: float | None
    trailing_silence: float | None

    @property
    def end(self) -> float:
        """When it ended, in seconds since the Unix epoch."""
        return self.start + self.duration

    @classmethod
    def of(cls, span: Span) -> Request:
        """The request of a synthesis span."""
        said = span.attributes.get
        return cls(
            trace_id=span.trace_id,
            span_id=span.span_id,
            start=span.start,
            duration=span.duration,
            service=span.service,
            version=span.version,
            outcome=said(semconv.OUTCOME.key),
            error_type=said(semconv.ERROR_TYPE.key),
            provider=said(semconv.PROVIDER.key),
            model=said(semconv.MODEL.key),
            voice=said(semconv.VOICE.key),
            language=said(semconv.LANGUAGE.key),
            stream=said(semconv.STREAM.key),
            cache_result=said(semconv.CACHE_RESULT.key),
            characters=said(semconv.TEXT_LENGTH.key),
            audio_duration=said(semconv.AUDIO_DURATION.key),
            ttfb=said(semconv.TIME_TO_FIRST_BYTE.key),
            ttfa=said(semconv.TIME_TO_FIRST_AUDIO.key),
            rtf=said(semconv.REAL_TIME_FACTOR.key),
            attempts=said(semconv.ATTEMPT_COUNT.key),
            fallback_used=said(semconv.FALLBACK_USED.key),
            queue_wait=said(semconv.QUEUE_WAIT.key),
            loudness=said(semconv.AUDIO_LOUDNESS.key),
            silence_ratio=said(semconv.AUDIO_SILENCE_RATIO.key),
            clipping_ratio=said(semconv.AUDIO_CLIPPING_RATIO.key),
            speaking_rate=said(semconv.AUDIO_SPEAKING_RATE.key),
            trailing_silence=said(semconv.AUDIO_TRAILING_SILENCE.key),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Which requests are wanted: those of which all holds that is given.

    slower_than: seconds. since and until: when the request started, in seconds since the Unix epoch. ended_since and ended_before:
    when it ended, which is when metrics count it.
    """

    outcome: str | None = None
    provider: str | None = None
    service: str | None = None
    version: str | None = None
    slower_than: float | None = None
    since: float | None = None
    until: float | None = None
    ended_since: float | None = None
    ended_before: float | None = None

    def holds(self, request: Request) -> bool:
        """Whether the request is wanted."""
        return (
            self.outcome in (None, request.outcome)
            and self.provider in (None, request.provider)
            and self.service in (None, request.service)
            and self.version in (None, request.version)
            and (self.slower_than is None or request.duration > self.slower_than)
            and (self.since is None or request.start >= self.since)
            and (self.until is None or request.start <= self.until)
            and (self.ended_since is None or request.end >= self.ended_since)
            and (self.ended_before is None or request.end < self.ended_before)
        )


EVERYTHING = RequestFilter()
"""All requests are wanted."""
