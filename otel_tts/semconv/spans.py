"""Every span, and the events on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_tts.semconv.attributes import (
    ATTEMPT_COUNT,
    ATTEMPT_REASON,
    AUDIO_CLIPPING_RATIO,
    AUDIO_DELIVERED,
    AUDIO_DURATION,
    AUDIO_FORMAT,
    AUDIO_HEARD,
    AUDIO_LOUDNESS,
    AUDIO_SAMPLE_RATE,
    AUDIO_SILENCE_RATIO,
    AUDIO_SPEAKING_RATE,
    AUDIO_TRAILING_SILENCE,
    CACHE_RESULT,
    CACHE_TIER,
    CANCEL_REASON,
    CHUNK_COUNT,
    CONNECTION_REUSED,
    CONVERSATION,
    COST,
    ERROR_TYPE,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    FALLBACK_PROVIDERS,
    FALLBACK_USED,
    HTTP_STATUS_CODE,
    KIND,
    LANGUAGE,
    MODEL,
    OPERATION_NAME,
    OUTCOME,
    OUTPUT_TYPE,
    PROVIDER,
    QUEUE_WAIT,
    REAL_TIME_FACTOR,
    REPORT_RESULT,
    REPORT_SERVICE,
    REPORT_WINDOW,
    RESEND_COUNT,
    RESEND_DELAY,
    RPC_METHOD,
    RPC_RESPONSE_STATUS_CODE,
    RPC_SYSTEM_NAME,
    STREAM,
    TEXT,
    TEXT_LENGTH,
    TEXT_WAIT,
    TIME_TO_FIRST_AUDIO,
    TIME_TO_FIRST_BYTE,
    TIME_TO_FIRST_CHUNK,
    TIME_TO_FIRST_SEGMENT,
    TIME_TO_FIRST_TEXT,
    TIME_TO_INTERRUPTION,
    TIME_TO_SILENCE,
    UNDERRUN,
    UNDERRUN_CONSUMER,
    UNDERRUN_PROVIDER,
    VOICE,
    Attribute,
)


@dataclass(frozen=True, slots=True)
class Event:
    """A point in time on a span."""

    name: str
    description: str
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """One kind of span; ``name`` may have one field in braces, filled from a bounded attribute."""

    name: str
    kind: str
    description: str
    attributes: tuple[Attribute, ...] = ()
    events: tuple[Event, ...] = field(default=())
    stability: str = "development"


FIRST_BYTE_EVENT = Event("tts.first_byte", "The first audio byte was handed out.")
SKIPPED_EVENT = Event(
    "tts.provider.skipped",
    "A provider was not asked, or an answer that was shared with another request failed.",
    (PROVIDER, ERROR_TYPE),
)
COALESCED_EVENT = Event(
    "tts.coalesced",
    "The audio comes from an identical request that was under way: the span links to its span.",
    (PROVIDER, MODEL),
)
RESEND_EVENT = Event(
    "tts.resend",
    "The provider's SDK sends a request once more, whose failure this says.",
    (ERROR_TYPE, HTTP_STATUS_CODE, RPC_RESPONSE_STATUS_CODE, RESEND_DELAY),
)
INTERRUPTED_EVENT = Event("tts.interrupted", "The listener interrupted.")
FIRST_AUDIO_EVENT = Event("tts.first_audio", "The first audible sample could be heard.")
EXCEPTION_EVENT = Event(
    "exception", "An exception ended the operation.", (EXCEPTION_TYPE, EXCEPTION_STACKTRACE, EXCEPTION_MESSAGE)
)

_AUDIO_QUALITY = (
    AUDIO_LOUDNESS, AUDIO_SILENCE_RATIO, AUDIO_CLIPPING_RATIO, AUDIO_SPEAKING_RATE, AUDIO_TRAILING_SILENCE,
)  # fmt: skip

RPC_SPAN = Span(
    "{rpc.method}",
    "SERVER",
    "One RPC, from its arrival to its last byte.",
    (RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, ERROR_TYPE),
    (EXCEPTION_EVENT,),
    stability="release_candidate",
)
SYNTHESIS_SPAN = Span(
    "tts.synthesize",
    "INTERNAL",
    "One utterance, from the request's arrival to its last byte of audio.",
    (
        OPERATION_NAME, OUTPUT_TYPE, PROVIDER, MODEL, STREAM, CONVERSATION, KIND, VOICE, LANGUAGE, TEXT, TEXT_LENGTH, OUTCOME,
        ERROR_TYPE, CANCEL_REASON, CACHE_RESULT, CACHE_TIER, ATTEMPT_COUNT, RESEND_COUNT, FALLBACK_USED, FALLBACK_PROVIDERS,
        AUDIO_DURATION, AUDIO_DELIVERED, AUDIO_HEARD, AUDIO_FORMAT, AUDIO_SAMPLE_RATE, TIME_TO_FIRST_TEXT, TIME_TO_FIRST_SEGMENT,
        TIME_TO_FIRST_BYTE, TIME_TO_FIRST_AUDIO, TIME_TO_INTERRUPTION, TIME_TO_SILENCE, REAL_TIME_FACTOR, UNDERRUN,
        UNDERRUN_PROVIDER, UNDERRUN_CONSUMER, CHUNK_COUNT, TEXT_WAIT, QUEUE_WAIT,
        *_AUDIO_QUALITY, COST,
    ),
    (SKIPPED_EVENT, COALESCED_EVENT, INTERRUPTED_EVENT, EXCEPTION_EVENT),
)  # fmt: skip
ENCLOSING_SPAN = Span(
    "tts.enclose",
    "INTERNAL",
    "A request or an attempt that something else counts for: one that was begun inside, or an RPC that was over before.",
    (OPERATION_NAME, OUTPUT_TYPE, STREAM, CONVERSATION, KIND, VOICE, LANGUAGE),
    (SKIPPED_EVENT,),
)
ATTEMPT_SPAN = Span(
    "text_to_speech {gen_ai.request.model}",
    "INTERNAL or CLIENT",
    "One attempt at a provider: INTERNAL when the engine runs in the process, CLIENT when it is called.",
    (
        OPERATION_NAME, OUTPUT_TYPE, PROVIDER, MODEL, STREAM, CONVERSATION, ATTEMPT_REASON, OUTCOME, ERROR_TYPE,
        CANCEL_REASON, TIME_TO_FIRST_CHUNK, AUDIO_DURATION, AUDIO_FORMAT, AUDIO_SAMPLE_RATE, REAL_TIME_FACTOR, CHUNK_COUNT,
        CONNECTION_REUSED, RESEND_COUNT,
    ),
    (FIRST_BYTE_EVENT, FIRST_AUDIO_EVENT, RESEND_EVENT, EXCEPTION_EVENT),
)  # fmt: skip
CONNECT_SPAN = Span(
    "tts.connect",
    "CLIENT",
    "A connection to a provider is opened, to serve one utterance or many.",
    (PROVIDER, ERROR_TYPE),
    (EXCEPTION_EVENT,),
)
CACHE_WRITE_SPAN = Span(
    "tts.cache.write",
    "INTERNAL",
    "Audio is put into the cache after its request was answered: a trace of its own, linked to the request's.",
    (CACHE_TIER,),
    (EXCEPTION_EVENT,),
)
REPORT_SPAN = Span("tts.report", "INTERNAL", "One pass of the batch job.")
REPORT_WINDOW_SPAN = Span(
    "tts.report.service_window", "INTERNAL", "One window of one service.", (REPORT_SERVICE, REPORT_WINDOW, REPORT_RESULT)
)
REPORT_READ_SPAN = Span("tts.report.read", "INTERNAL", "The figures and requests of the window are read from telemetry.")
REPORT_JUDGE_SPAN = Span("tts.report.judge", "INTERNAL", "The window is compared with its reference.")
REPORT_WRITE_SPAN = Span("tts.report.write", "INTERNAL", "The window's run is written into MLflow.")
SPANS: Sequence[Span] = (
    RPC_SPAN, SYNTHESIS_SPAN, ENCLOSING_SPAN, ATTEMPT_SPAN, CONNECT_SPAN, CACHE_WRITE_SPAN, REPORT_SPAN, REPORT_WINDOW_SPAN,
    REPORT_READ_SPAN, REPORT_JUDGE_SPAN, REPORT_WRITE_SPAN,
)  # fmt: skip
OF_SPANS: Mapping[str, Attribute] = {attribute.key: attribute for span in SPANS for attribute in span.attributes}
"""The attributes of spans, by their keys."""
