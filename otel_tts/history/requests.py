"""Requests: one row of facts for each synthesis that a span was kept of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.history.traces import Span
from otel_tts.semconv import Attribute


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
        said = {name: span.attributes.get(attribute.key) for name, attribute in SAID.items()}
        return cls(span.trace_id, span.span_id, span.start, span.duration, span.service, span.version, **said)


SAID: Mapping[str, Attribute] = {
    "outcome": semconv.OUTCOME,
    "error_type": semconv.ERROR_TYPE,
    "provider": semconv.PROVIDER,
    "model": semconv.MODEL,
    "voice": semconv.VOICE,
    "language": semconv.LANGUAGE,
    "stream": semconv.STREAM,
    "cache_result": semconv.CACHE_RESULT,
    "characters": semconv.TEXT_LENGTH,
    "audio_duration": semconv.AUDIO_DURATION,
    "ttfb": semconv.TIME_TO_FIRST_BYTE,
    "ttfa": semconv.TIME_TO_FIRST_AUDIO,
    "rtf": semconv.REAL_TIME_FACTOR,
    "attempts": semconv.ATTEMPT_COUNT,
    "fallback_used": semconv.FALLBACK_USED,
    "queue_wait": semconv.QUEUE_WAIT,
    "loudness": semconv.AUDIO_LOUDNESS,
    "silence_ratio": semconv.AUDIO_SILENCE_RATIO,
    "clipping_ratio": semconv.AUDIO_CLIPPING_RATIO,
    "speaking_rate": semconv.AUDIO_SPEAKING_RATE,
    "trailing_silence": semconv.AUDIO_TRAILING_SILENCE,
}
"""The attributes that a request's fields come from, in the order of the fields; those before them are the span's own."""


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
