"""How a request ends: from an exception, or from a gRPC status, to one of the closed set of outcomes.

The table of outcomes is in ``docs/telemetry.md``. Nothing here looks at an exception's message: it may hold the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from otel_tts.core import clean
from otel_tts.semconv import ERROR_TYPES, CancelReason, ErrorType, Outcome


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something ended as it did. ``error_type`` is None where the outcome says it all."""

    outcome: Outcome
    error_type: ErrorType | None = None
    cancel_reason: CancelReason | None = None
    """Why it was cut off; see `reason`."""

    @classmethod
    def from_outcome(cls, outcome: Outcome | str, error_type: ErrorType | str | None = None) -> Cause:
        """A cause whose error type is one that its outcome allows; any other becomes ``_OTHER``, a missing one the only one.

        Raises:
            ValueError: no such outcome.
        """
        try:
            outcome = Outcome(outcome)
        except ValueError:
            raise ValueError(f"{outcome!r} is no outcome. Use one of: {', '.join(Outcome)}.") from None
        allowed = ERROR_TYPES[outcome]
        if not allowed:
            return cls(outcome)
        if error_type in allowed:
            return cls(outcome, ErrorType(error_type))
        return cls(outcome, ErrorType.OTHER if ErrorType.OTHER in allowed else allowed[0])

    @classmethod
    def declared(cls, error: BaseException | None, outcome: Outcome | str | None, error_type: ErrorType | str | None) -> Cause:
        """What an application says: by default what ``error`` means, without an error a failure of no known kind.

        A value that cannot be used is reported, and makes it a failure of no known kind: what an application wanted to fail never
        counts as well.
        """
        cause = from_exception(error) if error is not None else _ERROR
        chosen = None if outcome is None else clean.choice(Outcome, "outcome", outcome)
        if outcome is not None and chosen is None:
            return _ERROR
        kind = None if error_type is None else known_error_type(error_type)
        if chosen is None and kind is None:
            return cause
        return cls.from_outcome(chosen or cause.outcome, kind or cause.error_type)

    @property
    def reason(self) -> CancelReason | None:
        """Why it was cut off: where nobody said, the caller went away; None when it was not."""
        return self.cancel_reason or (CancelReason.CALLER if self.outcome is Outcome.CANCELLED else None)

    def as_partial(self) -> Cause:
        """The same of what had given some audio before."""
        return replace(self.from_outcome(Outcome.PARTIAL, self.error_type), cancel_reason=self.cancel_reason)

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        return self.outcome is Outcome.OK


OK = Cause(Outcome.OK)
CANCELLED = Cause(Outcome.CANCELLED)
DEADLINE = Cause(Outcome.DEADLINE, ErrorType.DEADLINE)
SHUTDOWN = Cause(Outcome.ERROR, ErrorType.SHUTDOWN, CancelReason.STOPPED)
"""Stopped by us: a failure of ours, not the caller's cancel."""
EMPTY = Cause(Outcome.EMPTY, ErrorType.NO_AUDIO)
WORDS = Cause(Outcome.ERROR, ErrorType.SERVER_ERROR)
"""The status says success, and what came is JSON, HTML or text: an error told in words."""
_INVALID = Cause(Outcome.REJECTED, ErrorType.INVALID_INPUT)
_UNSUPPORTED = Cause(Outcome.REJECTED, ErrorType.UNSUPPORTED)

DEADLINE_MARGIN_S = 0.02

# What a provider's answer means for the attempt. 400 and 422 refuse the input; 401, 403, 404 and 429 are about us, not the text.
_HTTP = {
    400: _INVALID,
    422: _INVALID,
    401: Cause(Outcome.ERROR, ErrorType.UNAUTHORIZED),
    403: Cause(Outcome.ERROR, ErrorType.UNAUTHORIZED),
    404: Cause(Outcome.ERROR, ErrorType.NOT_FOUND),
    408: Cause(Outcome.ERROR, ErrorType.TIMEOUT),
    429: Cause(Outcome.ERROR, ErrorType.RATE_LIMITED),
    503: Cause(Outcome.ERROR, ErrorType.UNAVAILABLE),
    504: Cause(Outcome.ERROR, ErrorType.TIMEOUT),
}
_GRPC_CLIENT = {
    "INVALID_ARGUMENT": _INVALID,
    "OUT_OF_RANGE": _INVALID,
    "UNIMPLEMENTED": _UNSUPPORTED,
    "UNAUTHENTICATED": _HTTP[401],
    "PERMISSION_DENIED": _HTTP[403],
    "NOT_FOUND": _HTTP[404],
    "DEADLINE_EXCEEDED": _HTTP[408],
    "RESOURCE_EXHAUSTED": _HTTP[429],
    "UNAVAILABLE": _HTTP[503],
    "INTERNAL": Cause(Outcome.ERROR, ErrorType.SERVER_ERROR),
    "UNKNOWN": Cause(Outcome.ERROR, ErrorType.SERVER_ERROR),
    "DATA_LOSS": Cause(Outcome.ERROR, ErrorType.SERVER_ERROR),
    "CANCELLED": CANCELLED,
}
# What our own answer means for the request, when nothing else is known of it.
_GRPC_SERVER = {
    "OK": OK,
    "CANCELLED": CANCELLED,
    "DEADLINE_EXCEEDED": DEADLINE,
    "RESOURCE_EXHAUSTED": Cause(Outcome.ERROR, ErrorType.QUEUE_FULL),
    "UNAVAILABLE": Cause(Outcome.ERROR, ErrorType.UNAVAILABLE),
}
_GRPC_REFUSALS = {
    "INVALID_ARGUMENT": _INVALID,
    "OUT_OF_RANGE": _INVALID,
    "NOT_FOUND": _INVALID,
    "FAILED_PRECONDITION": _INVALID,
    "UNIMPLEMENTED": _UNSUPPORTED,
    "UNAUTHENTICATED": Cause(Outcome.REJECTED, ErrorType.OTHER),
    "PERMISSION_DENIED": Cause(Outcome.REJECTED, ErrorType.OTHER),
}
_ERROR = Cause(Outcome.ERROR, ErrorType.OTHER)
# What servers raise into a handler that answers a caller who is gone: grpc's from a write, Starlette's.
_DEPARTURES = {"ExecuteBatchError", "ClientDisconnect", "WebSocketDisconnect"}

_LOST = {"NetworkError", "RemoteProtocolError"}
"""What httpx raises when a connection breaks, or ends before its answer does."""


def known_error_type(value: ErrorType | str) -> ErrorType:
    """An error type that an application gives; one that there is not is reported, and is ``_OTHER``."""
    return clean.choice(ErrorType, "error_type", value) or ErrorType.OTHER


def from_exception(error: BaseException) -> Cause:
    """The outcome of an operation that ``error`` ended.

    HTTP and gRPC statuses are found by the attributes under which the well-known clients carry them (``response.status_code``,
    ``status_code``, ``status``, ``code``, gRPC's ``code()``, botocore's ``ResponseMetadata``), so that no client has to be imported.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    if not isinstance(error, Exception) or names & _DEPARTURES:  # cancellations, of asyncio and others, and exits
        return CANCELLED
    try:
        status = _http_status(error)
        code = _grpc_code(error) if status is None else None
    except Exception:  # noqa: BLE001 - the boundary: the exception is the host's, and so are its properties
        return _ERROR
    if status is not None:
        return from_http_status(status)
    if code is not None:
        return _GRPC_CLIENT.get(code, _ERROR)
    if isinstance(error, TimeoutError) or any("Timeout" in name for name in names):
        return Cause(Outcome.ERROR, ErrorType.TIMEOUT)
    if isinstance(error, ConnectionError) or names & _LOST or any("Connect" in name for name in names):
        return Cause(Outcome.ERROR, ErrorType.CONNECTION)
    return _ERROR


def statuses(error: BaseException) -> tuple[str | None, int | None]:
    """The gRPC status code by name, or else the HTTP status, that an exception of a client carries; None where it has none."""
    try:
        status = _http_status(error)  # of Google's, over gRPC too, the status that it would be
        code = getattr(getattr(error, "grpc_status_code", None), "name", None) if status is not None else _grpc_code(error)
        over_http = hasattr(getattr(error, "response", None), "status_code")
        return (None, status) if over_http or not isinstance(code, str) else (code, None)
    except Exception:  # noqa: BLE001 - the boundary, as above
        return None, None


def interrupted(reason: CancelReason | str) -> Cause:
    """The cause of a request that was cut off for this reason. Stopped by the service itself, it is a failure of the service."""
    why = clean.choice(CancelReason, "reason", reason, "It counts as interrupted.") or CancelReason.INTERRUPTED
    if why is CancelReason.STOPPED:
        return SHUTDOWN
    return Cause(Outcome.CANCELLED, None, why)


def from_http_status(status: int) -> Cause:
    """What a provider's answer with this status means for the attempt."""
    return _HTTP.get(status) or (Cause(Outcome.ERROR, ErrorType.SERVER_ERROR) if status >= 500 else _ERROR)


def by_itself(error: BaseException) -> Cause:
    """The outcome of what ``error`` ended although nobody had cancelled it: then a cancellation is a fault like any other."""
    cause = from_exception(error)
    return _ERROR if cause.outcome is Outcome.CANCELLED else cause


def met_deadline(remaining_s: float | None) -> bool:
    """Whether an operation that was cut off with so many seconds left met its deadline: clocks of two machines differ a little."""
    return remaining_s is not None and remaining_s <= DEADLINE_MARGIN_S


def from_rpc_status(code: str, *, attempted: bool) -> Cause:
    """The outcome of a request whose RPC was answered with ``code``, when nothing else is known.

    ``attempted``: whether a provider was asked. Before that, a refusal is the caller's fault; after it, ours.
    """
    if not attempted and code in _GRPC_REFUSALS:
        return _GRPC_REFUSALS[code]
    return _GRPC_SERVER.get(code, _ERROR)


def _http_status(error: BaseException) -> int | None:
    candidates: Iterable[Any]
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        response = response.get("ResponseMetadata", {})
        candidates = (response.get("HTTPStatusCode") if isinstance(response, dict) else None,)
    else:
        holders = ((response, "status_code"), (error, "status_code"), (error, "status"), (error, "code"))
        candidates = (
            getattr(holder, name, None) for holder, name in holders
        )  # aiohttp warns of who asks for more than the first
    return next((c for c in candidates if isinstance(c, int) and not isinstance(c, bool) and 400 <= c <= 599), None)


def _grpc_code(error: BaseException) -> str | None:
    code = getattr(error, "code", None)
    if not callable(code) or not hasattr(error, "details"):
        return None
    name = getattr(code(), "name", None)
    return name if isinstance(name, str) else None
