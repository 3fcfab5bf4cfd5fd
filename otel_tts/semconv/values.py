"""The closed sets of values of attributes, and the groups of them that objectives and rates count."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

OTHER = "_OTHER"
"""The value in place of every value outside of a bounded set."""
NONE = "_NONE"
"""The provider and model of a request for which no provider was called."""


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
    """Why a provider was called."""

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
    HEAD = "head"


class RequestKind(StrEnum):
    """What a request is for. Only interactive ones, for which somebody waits, count for latency objectives, alerts and drift."""

    INTERACTIVE = "interactive"
    PREFETCH = "prefetch"
    BATCH = "batch"


class ErrorType(StrEnum):
    """What went wrong, as a closed set. Exception classes are not used as values: their number has no limit."""

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
"""The error types that an outcome may have; none if the outcome needs no detail."""

FAILURES = frozenset({Outcome.DEADLINE, Outcome.PARTIAL, Outcome.EMPTY, Outcome.ERROR})
"""The outcomes that count against the service: success rate = ok / (ok + these)."""
COUNTED = (Outcome.OK, *sorted(FAILURES))
"""The outcomes that a success rate counts. Cancelled and rejected requests say nothing about the service."""

SERVED_FROM_CACHE = (CacheResult.HIT, CacheResult.COALESCED)
"""The cache results of audio that no provider made for this request."""
MADE_BY_PROVIDER = (CacheResult.MISS, CacheResult.BYPASS)
"""The cache results of audio that a provider made for this request: only that audio is judged for speed and quality."""
REQUEST_ATTEMPTS = tuple(reason for reason in AttemptReason if reason is not AttemptReason.PROBE)
"""The reasons of attempts that a request waited for; a probe does not belong to a request."""

CACHE_ASKED = (CacheResult.HIT, CacheResult.MISS, CacheResult.COALESCED)
"""The cache results of requests that looked into a cache: hit rate = hit / these."""

DOWN_AFTER = 3
"""The failed attempts in a row after which a provider is down: one alone may have a reason of its own."""

GRPC_STATUS_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
GRPC_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The codes that make a SERVER span's status ERROR: the server table of the RPC semantic conventions."""

AUDIO_FORMATS = ("pcm16", "pcm_f32", "wav", "mulaw", "alaw", "flac", "mp3", "opus", "vorbis", "aac", OTHER)
