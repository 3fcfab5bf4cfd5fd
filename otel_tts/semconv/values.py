"""The values that attributes can have, where they are a closed set, and which of them count for what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

OTHER = "_OTHER"
"""The value that stands for everything beyond a bounded set."""
NONE = "_NONE"
"""The provider and model of a request for which no provider was asked."""


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
