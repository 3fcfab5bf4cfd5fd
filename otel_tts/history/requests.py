"""Requests: one row of facts for each synthesis that a span was kept of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from otel_tts import semconv
from otel_tts.history.traces import Span
from otel_tts.semconv import FAILURES, Attribute, RequestKind
from otel_tts.semconv.identifiers import recorded_id


@dataclass(frozen=True, slots=True)
class Request:
    """One synthesis. ``start`` is in seconds since the Unix epoch; durations are seconds; None is what the span doesn't say.

    ttfb and ttfa: time to first byte and to first audio. rtf: real-time factor. attempts: how often a provider was asked.
    resends: how often an SDK sent a request once more within an attempt, where that was seen. What is known of how provider-made
    audio sounds is as in `semconv`: loudness in dB below full scale, speaking_rate in code points per voiced second,
    trailing_silence in seconds, both ratios 0 to 1. delivered and heard: seconds of audio handed out and played. interrupted: seconds
    from its start to the interruption, silent: from that to the last audio handed out. first_text: seconds from its start to the
    first part of its text, where that was streamed: metrics count from there. failed_providers: those that another one
    was asked in place of, as a JSON array. own: the application's own attributes, as JSON; see :attr:`attributes`.
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
    conversation: str | None = None
    kind: str | None = None
    cancel_reason: str | None = None
    delivered: float | None = None
    heard: float | None = None
    interrupted: float | None = None
    silent: float | None = None
    underrun: float | None = None
    cost: float | None = None
    resends: int | None = None
    first_text: float | None = None
    failed_providers: str | None = None
    own: str | None = None

    @property
    def interactive(self) -> bool:
        """Whether somebody waited for it."""
        return self.kind == RequestKind.INTERACTIVE

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes of its span that are not ours: the application's own."""
        return json.loads(self.own) if self.own else {}

    @property
    def end(self) -> float:
        """When it ended, in seconds since the Unix epoch."""
        return self.start + self.duration

    def text_of(self, key: str) -> str | None:
        """The value of an attribute as text; None without it.

        Args:
            key: the attribute's, ours or the application's own.
        """
        value = getattr(self, FIELDS[key]) if key in FIELDS else self.attributes.get(key)
        return None if value is None else as_text(value)

    @classmethod
    def from_span(cls, span: Span) -> Request:
        """The request of a synthesis span.

        Args:
            span: one called ``tts.synthesize``.
        """
        fields = {name: span.attributes.get(attribute.key, DEFAULTS.get(name)) for name, attribute in ATTRIBUTES.items()}
        if (names := fields["failed_providers"]) is not None:
            fields["failed_providers"] = as_array(names)
        return cls(
            span.trace_id, span.span_id, span.start, span.duration, span.service, span.version, **fields, own=own(span.attributes)
        )  # fmt: skip


ATTRIBUTES: Mapping[str, Attribute] = {
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
    "conversation": semconv.CONVERSATION,
    "kind": semconv.KIND,
    "cancel_reason": semconv.CANCEL_REASON,
    "delivered": semconv.AUDIO_DELIVERED,
    "heard": semconv.AUDIO_HEARD,
    "interrupted": semconv.TIME_TO_INTERRUPTION,
    "silent": semconv.TIME_TO_SILENCE,
    "underrun": semconv.UNDERRUN,
    "cost": semconv.COST,
    "resends": semconv.RESEND_COUNT,
    "first_text": semconv.TIME_TO_FIRST_TEXT,
    "failed_providers": semconv.FALLBACK_PROVIDERS,
}
"""The attributes that a request's fields come from, in the order of the fields. Those before them are the span's, the last is `own`."""
DEFAULTS: Mapping[str, str] = {"kind": RequestKind.INTERACTIVE.value}
"""What fields are where a span does not say."""
OURS = frozenset(attribute.key for attribute in semconv.SYNTHESIS_SPAN.attributes)
"""The keys of attributes that are not the application's own."""


def as_array(texts: Iterable[object]) -> str:
    """Texts as a JSON array.

    Args:
        texts: in their order.

    Raises:
        TypeError: they are no texts.
    """
    names = list(texts)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"texts were expected, not {names!r}")
    return json.dumps(names, ensure_ascii=False)


def asked(provider: str, failed_providers: str | None) -> bool:
    """Whether a provider is one of those that another one was asked in place of.

    Args:
        provider: its name.
        failed_providers: as in `Request`.
    """
    return failed_providers is not None and provider in json.loads(failed_providers)


def own(attributes: Mapping[str, Any]) -> str | None:
    """The application's own attributes among those of a span, as JSON; None without any.

    Args:
        attributes: of a span.
    """
    kept = {key: value for key, value in sorted(attributes.items()) if key not in OURS}
    return json.dumps(kept, ensure_ascii=False, default=str) if kept else None


def late_silence_s(span: Span) -> float | None:
    """Seconds of silence that the audio of a request begins with, where a listener hears the first sound only after the request's end.

    A player that gets audio faster than it plays it is still at the silence by then. None where first audio is within the request.

    Args:
        span: that of the request.
    """
    byte, audio = (span.attributes.get(each.key) for each in (semconv.TIME_TO_FIRST_BYTE, semconv.TIME_TO_FIRST_AUDIO))
    if isinstance(byte, float) and isinstance(audio, float) and audio > max(span.duration, byte):
        return audio - byte
    return None


def as_text(value: object) -> str:
    """The value of an attribute as people write it: ``true``, ``3``, ``0.5``, ``acme``.

    Args:
        value: of an attribute.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
    return str(value)


FIELDS = {attribute.key: name for name, attribute in ATTRIBUTES.items()}
"""The fields by the keys of their attributes."""


class Problem(StrEnum):
    """What may have gone wrong with a request, across outcomes."""

    FAILED = "failed"
    """It ended with one of the outcomes that count as failures."""
    AFFECTED = "affected"
    """It failed, or was saved by another provider."""
    GAPS = "gaps"
    """The listener heard a gap."""

    def holds(self, request: Request) -> bool:
        """Whether a request has this problem.

        Args:
            request: the one to look at.
        """
        failed = request.outcome in FAILURES
        match self:
            case Problem.FAILED:
                return failed
            case Problem.AFFECTED:
                return failed or bool(request.fallback_used)
        return bool(request.underrun)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """A filter: a request matches if it fulfils every condition that is given.

    problem: what went wrong, across outcomes. error_type: the value of ``error.type``. provider: who made the audio, failed, or was
    skipped. conversation: its id, as the application gave it or as it is recorded. where: attributes by their keys, ours or the
    application's own, and the values they must have as text, see `as_text`.
    slower_than: seconds. since and until: when the request started, in seconds since the Unix epoch. ended_since and ended_before: when
    it ended, which is when metrics count it.
    """

    outcome: str | None = None
    problem: Problem | None = None
    error_type: str | None = None
    provider: str | None = None
    voice: str | None = None
    service: str | None = None
    version: str | None = None
    conversation: str | None = None
    kind: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    slower_than: float | None = None
    since: float | None = None
    until: float | None = None
    ended_since: float | None = None
    ended_before: float | None = None

    def __post_init__(self) -> None:
        if self.conversation is not None:
            object.__setattr__(self, "conversation", recorded_id(self.conversation))
        where = tuple((key, recorded_id(value) if key == semconv.CONVERSATION.key else value) for key, value in self.where)
        object.__setattr__(self, "where", where)

    def holds(self, request: Request) -> bool:
        """Whether a request matches.

        Args:
            request: the one to look at.
        """
        return (
            self.outcome in (None, request.outcome)
            and (self.problem is None or self.problem.holds(request))
            and self.error_type in (None, request.error_type)
            and (self.provider in (None, request.provider) or asked(self.provider, request.failed_providers))
            and self.voice in (None, request.voice)
            and self.service in (None, request.service)
            and self.version in (None, request.version)
            and self.conversation in (None, request.conversation)
            and self.kind in (None, request.kind)
            and all(request.text_of(key) == value for key, value in self.where)
            and (self.slower_than is None or request.duration > self.slower_than)
            and (self.since is None or request.start >= self.since)
            and (self.until is None or request.start <= self.until)
            and (self.ended_since is None or request.end >= self.ended_since)
            and (self.ended_before is None or request.end < self.ended_before)
        )


EVERYTHING = RequestFilter()
"""All requests are wanted."""
