"""The registry: every metric, span, event and attribute that otel-tts emits.

A name stands here and nowhere else. Instruments, label limits, documentation, queries and readers derive from these objects,
so renaming a metric is one changed line here and ``make generate``.

Names follow the OpenTelemetry naming rules: dots between namespaces, no unit and no ``_total`` in a name, units in UCUM or in
braces. ``rpc.*`` follows the RPC semantic conventions (release candidate); ``gen_ai.*`` follows the GenAI conventions and the
open proposal for text to speech (both Development); ``tts.*`` is ours, for what no convention covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from typing import Literal

OTHER = "_OTHER"
"""The value that stands for everything beyond a bounded set."""
NONE = "_NONE"
"""The provider and model of a request for which no provider was asked."""
MAX_ATTRIBUTE_SETS = 1500
"""No metric ever has more attribute sets than this: the SDK folds a metric that passes 2,000 into one overflow series."""


class Outcome(StrEnum):
    """How a synthesis or an attempt ended. Closed; a request has exactly one."""

    OK = "ok"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    PARTIAL = "partial"
    EMPTY = "empty"
    ERROR = "error"


class CacheResult(StrEnum):
    """How the audio cache served a request."""

    HIT = "hit"
    MISS = "miss"
    BYPASS = "bypass"
    COALESCED = "coalesced"


class LookupResult(StrEnum):
    """How one cache tier answered one look-up."""

    HIT = "hit"
    MISS = "miss"
    ERROR = "error"


class AttemptReason(StrEnum):
    """Why a provider was asked."""

    INITIAL = "initial"
    RETRY = "retry"
    FALLBACK = "fallback"
    PROBE = "probe"


class CancelReason(StrEnum):
    """Why a request or an attempt was cancelled."""

    CALLER = "caller"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"
    STOPPED = "stopped"


class RequestKind(StrEnum):
    """What a request is for. Only interactive ones, for which somebody waits, count for latency objectives, alerts and drift."""

    INTERACTIVE = "interactive"
    PREFETCH = "prefetch"
    BATCH = "batch"


class ErrorType(StrEnum):
    """What went wrong, as a closed set. Exception classes are never values: their number is not ours to bound."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    SERVER_ERROR = "server_error"
    QUEUE_FULL = "queue_full"
    INVALID_INPUT = "invalid_input"
    UNSUPPORTED = "unsupported"
    NO_AUDIO = "no_audio"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    OTHER = OTHER


_FAULTS = (
    ErrorType.TIMEOUT,
    ErrorType.CONNECTION,
    ErrorType.UNAVAILABLE,
    ErrorType.RATE_LIMITED,
    ErrorType.UNAUTHORIZED,
    ErrorType.NOT_FOUND,
    ErrorType.SERVER_ERROR,
    ErrorType.QUEUE_FULL,
    ErrorType.SHUTDOWN,
    ErrorType.OTHER,
)
ERROR_TYPES: Mapping[Outcome, tuple[ErrorType, ...]] = {
    Outcome.OK: (),
    Outcome.CANCELLED: (),
    Outcome.REJECTED: (ErrorType.INVALID_INPUT, ErrorType.UNSUPPORTED, ErrorType.OTHER),
    Outcome.DEADLINE: (ErrorType.DEADLINE,),
    Outcome.EMPTY: (ErrorType.NO_AUDIO,),
    Outcome.PARTIAL: _FAULTS,
    Outcome.ERROR: _FAULTS,
}
"""The error types an outcome may carry; none where the outcome says everything."""

FAILURES = frozenset({Outcome.DEADLINE, Outcome.PARTIAL, Outcome.EMPTY, Outcome.ERROR})
"""The outcomes that count against the service: success rate = ok / (ok + these)."""
COUNTED = (Outcome.OK, *sorted(FAILURES))
"""The outcomes that a success rate counts. What was cancelled or rejected says nothing of the service."""

SERVED_FROM_CACHE = (CacheResult.HIT, CacheResult.COALESCED)
"""The cache results of audio that no provider made for this request."""
MADE_BY_PROVIDER = (CacheResult.MISS, CacheResult.BYPASS)
"""The cache results of audio that a provider made for this request: only this is judged for speed and quality."""
REQUEST_ATTEMPTS = tuple(reason for reason in AttemptReason if reason is not AttemptReason.PROBE)
"""The reasons of attempts that a request waited for; a probe is of nobody's request."""

CACHE_ASKED = (CacheResult.HIT, CacheResult.MISS, CacheResult.COALESCED)
"""The cache results of requests that asked a cache: hit rate = hit / these."""

GRPC_STATUS_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
GRPC_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The codes that make a SERVER span's status ERROR: the server table of the RPC semantic conventions."""

AUDIO_FORMATS = ("pcm16", "pcm_f32", "wav", "mulaw", "alaw", "flac", "mp3", "opus", "vorbis", "aac", OTHER)

AttributeType = Literal["string", "int", "double", "boolean"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute key.

    values: all values it can have, where that is a closed set. limit: how many distinct values metrics keep of an open set, the
    rest becoming ``_OTHER``. An attribute with neither never stands on a metric.
    """

    key: str
    type: AttributeType
    description: str
    values: tuple[str | bool, ...] = ()
    limit: int = 0


RPC_SYSTEM_NAME = Attribute("rpc.system.name", "string", "The RPC system, always `grpc`.", values=("grpc",))
RPC_METHOD = Attribute("rpc.method", "string", "The fully qualified method, `package.Service/Method`.", limit=50)
RPC_RESPONSE_STATUS_CODE = Attribute(
    "rpc.response.status_code", "string", "The gRPC status code by name.", values=GRPC_STATUS_CODES
)
ERROR_TYPE = Attribute(
    "error.type", "string", "What went wrong; absent when nothing did.", values=tuple(ErrorType)
)  # on RPC spans and metrics: the status code's name, as the RPC conventions say
OPERATION_NAME = Attribute(
    "gen_ai.operation.name", "string", "The operation, always `text_to_speech`.", values=("text_to_speech",)
)
OUTPUT_TYPE = Attribute("gen_ai.output.type", "string", "The kind of output, always `speech`.", values=("speech",))
PROVIDER = Attribute(
    "gen_ai.provider.name",
    "string",
    "Who made the audio that was delivered (on a hit: who made it then), else the last one asked, else `_NONE`.",
    limit=50,
)
MODEL = Attribute("gen_ai.request.model", "string", "The provider's model, or its voice file where that is the model.", limit=50)
STREAM = Attribute("gen_ai.request.stream", "boolean", "Whether audio was delivered in pieces.", values=(True, False))
CONVERSATION = Attribute(
    "gen_ai.conversation.id", "string", "The conversation (session, call) that the utterance is part of. Never on metrics."
)
KIND = Attribute(
    "tts.request.kind",
    "string",
    "What the request is for: somebody waits for it, it is made ahead of time, or in bulk. Absent: interactive.",
    values=tuple(RequestKind),
)
VOICE = Attribute("tts.voice", "string", "The voice asked for.", limit=50)
LANGUAGE = Attribute("tts.language", "string", "The language asked for, a BCP 47 tag.", limit=50)
TEXT = Attribute("tts.text", "string", "The text itself; only with text capture switched on.")
TEXT_LENGTH = Attribute("tts.text.length", "int", "Unicode code points of the text as received.")
OUTCOME = Attribute("tts.outcome", "string", "How it ended.", values=tuple(Outcome))
CANCEL_REASON = Attribute(
    "tts.cancel.reason",
    "string",
    "Why it was cancelled: the caller left, the listener interrupted, another utterance took its place, or it was stopped.",
    values=tuple(CancelReason),
)
CACHE_RESULT = Attribute("tts.cache.result", "string", "How the cache served the request.", values=tuple(CacheResult))
CACHE_TIER = Attribute("tts.cache.tier", "string", "The cache tier that answered.", limit=10)
CACHE_LOOKUP_RESULT = Attribute(
    "tts.cache.lookup.result", "string", "How one tier answered one look-up.", values=tuple(LookupResult)
)
CACHE_EVICTION_REASON = Attribute(
    "tts.cache.eviction.reason", "string", "Why an entry left.", values=("size", "expired", "invalid", OTHER)
)
ATTEMPT_COUNT = Attribute("tts.attempt.count", "int", "How often a provider was asked for this request.")
ATTEMPT_REASON = Attribute("tts.attempt.reason", "string", "Why a provider was asked.", values=tuple(AttemptReason))
FALLBACK_USED = Attribute("tts.fallback.used", "boolean", "Whether another provider than the first was asked.")
FALLBACK_FROM = Attribute("tts.fallback.from", "string", "The provider that failed.", limit=50)
FALLBACK_TO = Attribute("tts.fallback.to", "string", "The provider asked in its place.", limit=50)
AUDIO_DURATION = Attribute("tts.audio.duration", "double", "Seconds of audio that the request made or found.")
AUDIO_DELIVERED = Attribute("tts.audio.delivered_duration", "double", "Seconds of audio handed to the caller.")
AUDIO_HEARD = Attribute(
    "tts.audio.heard_duration", "double", "Seconds of audio that were played to the listener, where the player says so."
)
AUDIO_FORMAT = Attribute("tts.audio.format", "string", "The audio encoding.", values=AUDIO_FORMATS)
AUDIO_SAMPLE_RATE = Attribute("tts.audio.sample_rate", "int", "Samples per second.")
AUDIO_STATE = Attribute(
    "tts.audio.state",
    "string",
    "Made by a provider, handed to the caller, or played to the listener, where the player says so.",
    values=("generated", "delivered", "heard"),
)
AUDIO_SOURCE = Attribute("tts.audio.source", "string", "Where the audio came from.", values=("provider", "cache"))
AUDIO_LOUDNESS = Attribute("tts.audio.loudness", "double", "Mean level of the voiced frames, in dB below full scale.")
AUDIO_SILENCE_RATIO = Attribute("tts.audio.silence_ratio", "double", "Share of the audio that is silent, 0 to 1.")
AUDIO_CLIPPING_RATIO = Attribute("tts.audio.clipping_ratio", "double", "Share of the samples at full scale, 0 to 1.")
AUDIO_SPEAKING_RATE = Attribute("tts.audio.speaking_rate", "double", "Code points of text per second of voiced audio.")
AUDIO_TRAILING_SILENCE = Attribute("tts.audio.trailing_silence", "double", "Seconds of silence at the end.")
TIME_TO_FIRST_BYTE = Attribute("tts.time_to_first_byte", "double", "Seconds until the first audio byte was handed out.")
TIME_TO_FIRST_AUDIO = Attribute("tts.time_to_first_audio", "double", "Seconds until the first audible sample could be heard.")
TIME_TO_FIRST_CHUNK = Attribute(
    "gen_ai.response.time_to_first_chunk", "double", "Seconds from asking the provider to its first audio. Of streams only."
)
TIME_TO_FIRST_SEGMENT = Attribute(
    "tts.time_to_first_segment",
    "double",
    "Text in pieces: seconds from its first piece to the first segment that the engine was given to speak.",
)
TIME_TO_INTERRUPTION = Attribute("tts.time_to_interruption", "double", "Seconds until the utterance was interrupted.")
TIME_TO_SILENCE = Attribute(
    "tts.time_to_silence",
    "double",
    "Seconds from the interruption to the last audio that was handed out after it; 0 when none was.",
)
REAL_TIME_FACTOR = Attribute(
    "tts.real_time_factor",
    "double",
    "Seconds spent waiting for the engine, and not for text, per second of audio; below 1 is faster than real time.",
)
UNDERRUN = Attribute(
    "tts.stream.underrun", "double", "The worst shortfall that the listener met, in seconds, for a player without pre-roll."
)
UNDERRUN_PROVIDER = Attribute(
    "tts.underrun.provider", "double", "The worst shortfall that waiting for the engine caused by itself, in seconds."
)
UNDERRUN_CONSUMER = Attribute(
    "tts.underrun.consumer", "double", "The worst shortfall that slow reading added to the engine's, in seconds."
)
UNDERRUN_CAUSE = Attribute("tts.underrun.cause", "string", "Who left the player short.", values=("provider", "consumer"))
CHUNK_COUNT = Attribute("tts.stream.chunk.count", "int", "Audio chunks handed out.")
TEXT_WAIT = Attribute(
    "tts.text.wait", "double", "Text in pieces: seconds for which more of it was waited for, after its first piece."
)
QUEUE_WAIT = Attribute("tts.queue.wait", "double", "Seconds the request waited for a free engine.")
CHARACTERS_STATE = Attribute(
    "tts.characters.state", "string", "What became of the text.", values=("synthesized", "cached", "wasted")
)
SCORE_NAME = Attribute("tts.score.name", "string", "The quality model that gave the score.", limit=10)
CONNECTION_REUSED = Attribute(
    "tts.connection.reused",
    "boolean",
    "Whether the connection to the provider had served another utterance or was opened ahead; absent when that is not known.",
    values=(True, False),
)
COST = Attribute("tts.usage.cost", "double", "US dollars that the request cost; absent when no price is known.")
DRIFT_COLUMN = Attribute("tts.drift.column", "string", "The measure that was compared with its reference.", limit=30)
REPORT_SERVICE = Attribute("tts.report.service", "string", "The service that a report is about.")
REPORT_WINDOW = Attribute("tts.report.window", "string", "The window that a report is about: its beginning and its length.")
REPORT_RESULT = Attribute("tts.report.result", "string", "What became of the window.", values=("written", "unchanged", "kept"))

# What an exception event may say while text capture is off: the class and the frames, never the message.
EXCEPTION_TYPE = Attribute("exception.type", "string", "The exception's class.")
EXCEPTION_STACKTRACE = Attribute("exception.stacktrace", "string", "The frames, without the exception's message.")
EXCEPTION_MESSAGE = Attribute("exception.message", "string", "The exception's message; only with text capture switched on.")


class Instrument(StrEnum):
    """The instrument kinds in use. All but the histogram are observed at export, from totals kept on the request path."""

    COUNTER = "counter"
    UP_DOWN_COUNTER = "updowncounter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its complete attribute set, and for a histogram the bucket bounds it advises, in its unit."""

    name: str
    instrument: Instrument
    unit: str
    description: str
    attributes: tuple[Attribute, ...] = ()
    buckets: tuple[float, ...] = ()
    stability: str = "development"

    @property
    def keys(self) -> tuple[str, ...]:
        """The attribute keys, in the order in which values are recorded."""
        return tuple(attribute.key for attribute in self.attributes)

    @property
    def closed_sets(self) -> int:
        """How many combinations the closed attributes can take; ``error.type`` is counted jointly with what determines it."""
        closed = {a.key: len(a.values) for a in self.attributes if a.values}
        if ERROR_TYPE.key in closed and RPC_RESPONSE_STATUS_CODE.key in closed:
            del closed[ERROR_TYPE.key]  # the code's own name, or absent
        elif ERROR_TYPE.key in closed and OUTCOME.key in closed:
            del closed[ERROR_TYPE.key]
            closed[OUTCOME.key] = sum(max(1, len(types)) for types in ERROR_TYPES.values())
        elif ERROR_TYPE.key in closed:
            closed[ERROR_TYPE.key] += 1  # absent
        return prod(closed.values())

    @property
    def label_sets(self) -> int:
        """How many combinations of open label values (provider, model, voice, …) are kept apart before ``_OTHER`` takes the rest."""
        limits = [a.limit for a in self.attributes if a.limit]
        if not limits:
            return 0
        return min(prod(limits), MAX_ATTRIBUTE_SETS // self.closed_sets - 1)

    @property
    def worst_case(self) -> int:
        """The most attribute sets this metric can ever have."""
        return self.closed_sets * (self.label_sets + 1)


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


SCOPE = "otel_tts"
"""The instrumentation scope of everything below."""

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
        ERROR_TYPE, CANCEL_REASON, CACHE_RESULT, CACHE_TIER, ATTEMPT_COUNT, FALLBACK_USED, AUDIO_DURATION, AUDIO_DELIVERED,
        AUDIO_HEARD, AUDIO_FORMAT, AUDIO_SAMPLE_RATE, TIME_TO_FIRST_SEGMENT, TIME_TO_FIRST_BYTE, TIME_TO_FIRST_AUDIO,
        TIME_TO_INTERRUPTION, TIME_TO_SILENCE, REAL_TIME_FACTOR, UNDERRUN,
        UNDERRUN_PROVIDER, UNDERRUN_CONSUMER, CHUNK_COUNT, TEXT_WAIT, QUEUE_WAIT,
        *_AUDIO_QUALITY, COST,
    ),
    (SKIPPED_EVENT, COALESCED_EVENT, INTERRUPTED_EVENT, EXCEPTION_EVENT),
)  # fmt: skip
ATTEMPT_SPAN = Span(
    "text_to_speech {gen_ai.request.model}",
    "INTERNAL or CLIENT",
    "One attempt at a provider: INTERNAL when the engine runs in the process, CLIENT when it is called.",
    (
        OPERATION_NAME, OUTPUT_TYPE, PROVIDER, MODEL, STREAM, CONVERSATION, ATTEMPT_REASON, OUTCOME, ERROR_TYPE,
        CANCEL_REASON, TIME_TO_FIRST_CHUNK, AUDIO_DURATION, AUDIO_FORMAT, AUDIO_SAMPLE_RATE, REAL_TIME_FACTOR, CHUNK_COUNT,
        CONNECTION_REUSED,
    ),
    (FIRST_BYTE_EVENT, FIRST_AUDIO_EVENT, EXCEPTION_EVENT),
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
    RPC_SPAN, SYNTHESIS_SPAN, ATTEMPT_SPAN, CONNECT_SPAN, CACHE_WRITE_SPAN, REPORT_SPAN, REPORT_WINDOW_SPAN, REPORT_READ_SPAN,
    REPORT_JUDGE_SPAN, REPORT_WRITE_SPAN,
)  # fmt: skip

_P = (PROVIDER, MODEL)
# Latencies reach beyond the longest default timeout (30 s): a quantile beyond the last bucket is not known.
# 0.8 s and 2.5 s are the default references and 1.5x of them the alert thresholds: a threshold inside a bucket cannot be judged.
_DURATION = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 2.5, 3.75, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.8, 1.0, 1.2, 2.0, 2.5, 3.75, 5.0, 10.0, 20.0, 40.0)
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
_RPC = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)  # advised by the RPC conventions
_RATIO = (0.0, 0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_SILENCE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 5.0)  # people want less than 0.2 s
_GENAI = (
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
    81.92,
)  # advised by the GenAI conventions
_UNDERRUN = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
_RTF = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0, 5.0, 10.0)
# Histograms take no negative values, so the level is kept as dB below full scale with the sign turned: see the description.
_LOUDNESS = (3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0, 33.0, 36.0, 40.0, 50.0, 60.0)
_SPEAKING = (4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 25.0, 30.0, 40.0)
_SCORE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)

_H, _C, _U, _G = Instrument.HISTOGRAM, Instrument.COUNTER, Instrument.UP_DOWN_COUNTER, Instrument.GAUGE

RPC_DURATION = Metric(
    "rpc.server.call.duration", _H, "s", "Duration of RPCs, of every kind.",
    (RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, ERROR_TYPE), _RPC, "release_candidate",
)  # fmt: skip
SYNTHESIS_DURATION = Metric(
    "tts.synthesis.duration", _H, "s", "Duration of synthesis requests, from arrival to the last byte.",
    (*_P, STREAM, CACHE_RESULT, OUTCOME), _DURATION,
)  # fmt: skip
SYNTHESIS_FIRST_BYTE = Metric(
    "tts.synthesis.time_to_first_byte", _H, "s", "Streams: from arrival to the first audio byte handed out.",
    (*_P, CACHE_RESULT), _FIRST,
)  # fmt: skip
SYNTHESIS_FIRST_AUDIO = Metric(
    "tts.synthesis.time_to_first_audio", _H, "s", "Streams: from arrival to the first audible sample.",
    (*_P, CACHE_RESULT, OUTCOME), _FIRST,
)  # fmt: skip
SYNTHESIS_TIME_TO_SILENCE = Metric(
    "tts.synthesis.time_to_silence", _H, "s", "Interrupted requests: from the interruption to the last audio handed out.",
    _P, _SILENCE,
)  # fmt: skip
BACKGROUND_DURATION = Metric(
    "tts.background.duration", _H, "s",
    "Duration of prefetch and batch requests, which no other metric of duration, number or failure counts.",
    (*_P, KIND, OUTCOME), _DURATION,
)  # fmt: skip
SYNTHESIS_ACTIVE = Metric("tts.synthesis.active", _U, "{request}", "Synthesis requests under way.", (STREAM,))
SYNTHESIS_REQUESTS = Metric(
    "tts.synthesis.requests", _C, "{request}", "Synthesis requests by what was asked for.", (LANGUAGE, VOICE, OUTCOME)
)
SYNTHESIS_FAILURES = Metric(
    "tts.synthesis.failures", _C, "{request}", "Synthesis requests that failed through the service's fault.",
    (*_P, OUTCOME, ERROR_TYPE),
)  # fmt: skip
SYNTHESIS_CHARACTERS = Metric(
    "tts.synthesis.characters", _C, "{character}", "Unicode code points of text, once per request.", (*_P, CHARACTERS_STATE)
)
SYNTHESIS_AUDIO = Metric(
    "tts.synthesis.audio", _C, "s", "Seconds of audio made by providers and handed to callers.",
    (*_P, AUDIO_STATE, AUDIO_SOURCE),
)  # fmt: skip
STREAM_UNDERRUN = Metric(
    "tts.stream.underrun", _H, "s", "Streams: worst shortfall of audio for a player without pre-roll; 0 when none.",
    (*_P, CACHE_RESULT, UNDERRUN_CAUSE), _UNDERRUN,
)  # fmt: skip
QUEUE_WAITING = Metric("tts.queue.wait", _H, "s", "How long requests waited for a free engine.", (), _SHORT)
ENCODE_DURATION = Metric("tts.encode.duration", _H, "s", "Duration of encoding audio.", (AUDIO_FORMAT,), _SHORT)
ATTEMPT_DURATION = Metric(
    "tts.attempt.duration", _H, "s", "Duration of attempts at a provider.", (*_P, OUTCOME, ERROR_TYPE, ATTEMPT_REASON), _DURATION
)
ATTEMPT_REAL_TIME_FACTOR = Metric(
    "tts.attempt.real_time_factor", _H, "1", "Waiting for the engine per second of audio, of attempts that ended ok.", _P, _RTF
)
CLIENT_DURATION = Metric(
    "gen_ai.client.operation.duration", _H, "s", "Duration of attempts at a provider, by the name of the GenAI conventions.",
    (OPERATION_NAME, *_P, ERROR_TYPE), _GENAI,
)  # fmt: skip
CLIENT_FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk", _H, "s",
    "Streams: from asking a provider to its first audio, by the name of the GenAI conventions.",
    (OPERATION_NAME, *_P), _GENAI,
)  # fmt: skip
CONNECT_DURATION = Metric(
    "tts.connection.open.duration", _H, "s", "How long opening a connection to a provider took, or took to fail.",
    (PROVIDER, ERROR_TYPE), _SHORT,
)  # fmt: skip
CONNECTION_USES = Metric(
    "tts.connection.uses", _C, "{utterance}", "Utterances over connections to a provider.", (PROVIDER, CONNECTION_REUSED)
)
CACHE_LOOKUPS = Metric("tts.cache.lookups", _C, "{lookup}", "Cache look-ups, per tier.", (CACHE_TIER, CACHE_LOOKUP_RESULT))
CACHE_ENTRIES = Metric("tts.cache.entry.count", _U, "{entry}", "Entries in the cache.", (CACHE_TIER,))
CACHE_SIZE = Metric("tts.cache.size", _U, "By", "Bytes in the cache.", (CACHE_TIER,))
CACHE_EVICTIONS = Metric(
    "tts.cache.evictions", _C, "{entry}", "Entries that left the cache.", (CACHE_TIER, CACHE_EVICTION_REASON)
)
PROVIDER_AVAILABLE = Metric(
    "tts.provider.available", _G, "{provider}", "1 when the provider can be used, 0 when not; never tried: no point.", (PROVIDER,)
)
PROVIDER_HEALTH_AGE = Metric(
    "tts.provider.health.age", _G, "s", "Time since the provider was last known to be good.", (PROVIDER,)
)
PROVIDER_FALLBACKS = Metric(
    "tts.provider.fallbacks", _C, "{fallback}", "Moves from a failed provider to the next, one per hop.",
    (FALLBACK_FROM, FALLBACK_TO, ERROR_TYPE),
)  # fmt: skip
USAGE_COST = Metric("tts.usage.cost", _C, "{USD}", "What provider-made audio cost, by the prices given.", _P)
USAGE_COST_AVOIDED = Metric("tts.usage.cost_avoided", _C, "{USD}", "What cached and coalesced audio would have cost.", _P)
USAGE_COST_WASTED = Metric(
    "tts.usage.cost_wasted", _C, "{USD}", "What provider-made audio cost that nobody heard; part of the cost.", _P
)
USAGE_UNPRICED = Metric("tts.usage.unpriced", _C, "{request}", "Requests whose price is not known; never counted as 0.", _P)
_QUALITY = (PROVIDER, VOICE, LANGUAGE)
QUALITY_LOUDNESS = Metric(
    "tts.audio.loudness", _H, "dB", "Level of voiced frames, in dB below full scale (20 means -20 dBFS).", _QUALITY, _LOUDNESS
)
QUALITY_SILENCE_RATIO = Metric("tts.audio.silence_ratio", _H, "1", "Share of the audio that is silent.", _QUALITY, _RATIO)
QUALITY_CLIPPING_RATIO = Metric("tts.audio.clipping_ratio", _H, "1", "Share of samples at full scale.", _QUALITY, _RATIO)
QUALITY_SPEAKING_RATE = Metric(
    "tts.audio.speaking_rate", _H, "{character}/s", "Code points of text per second of voiced audio.", _QUALITY, _SPEAKING
)
QUALITY_TRAILING_SILENCE = Metric("tts.audio.trailing_silence", _H, "s", "Silence at the end of the audio.", _QUALITY, _SHORT)
QUALITY_SCORE = Metric("tts.audio.score", _H, "1", "Verdicts of the adopter's quality model.", (SCORE_NAME, VOICE), _SCORE)
REFERENCE_LATENCY = Metric(
    "tts.reference.latency", _G, "s",
    "The p95 that current latency is judged against: of streams that of first audio, of unary requests that of their duration.",
    (PROVIDER, STREAM),
)  # fmt: skip
DRIFT_SCORE = Metric("tts.drift.score", _G, "{score}", "Distance of a measure from its reference.", (PROVIDER, DRIFT_COLUMN))
DRIFT_DETECTED = Metric(
    "tts.drift.detected", _G, "{detection}", "1 when a measure was judged drifted, else 0.", (PROVIDER, DRIFT_COLUMN)
)

METRICS: Sequence[Metric] = (
    RPC_DURATION, SYNTHESIS_DURATION, SYNTHESIS_FIRST_BYTE, SYNTHESIS_FIRST_AUDIO, SYNTHESIS_TIME_TO_SILENCE,
    BACKGROUND_DURATION, SYNTHESIS_ACTIVE, SYNTHESIS_REQUESTS, SYNTHESIS_FAILURES, SYNTHESIS_CHARACTERS,
    SYNTHESIS_AUDIO, STREAM_UNDERRUN, QUEUE_WAITING, ENCODE_DURATION, ATTEMPT_DURATION, ATTEMPT_REAL_TIME_FACTOR,
    CLIENT_DURATION, CLIENT_FIRST_CHUNK, CONNECT_DURATION, CONNECTION_USES, CACHE_LOOKUPS, CACHE_ENTRIES, CACHE_SIZE,
    CACHE_EVICTIONS, PROVIDER_AVAILABLE, PROVIDER_HEALTH_AGE, PROVIDER_FALLBACKS, USAGE_COST, USAGE_COST_AVOIDED,
    USAGE_COST_WASTED, USAGE_UNPRICED, QUALITY_LOUDNESS, QUALITY_SILENCE_RATIO, QUALITY_CLIPPING_RATIO,
    QUALITY_SPEAKING_RATE, QUALITY_TRAILING_SILENCE, QUALITY_SCORE, REFERENCE_LATENCY, DRIFT_SCORE, DRIFT_DETECTED,
)  # fmt: skip
