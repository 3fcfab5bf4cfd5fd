"""Outcome: the mapping from an exception, an HTTP status or a gRPC status to one of the fixed outcomes.

The table of outcomes is in ``docs/telemetry.md``. Nothing here reads an exception's message: it may contain the text to speak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from otel_tts.core import clean
from otel_tts.core.exits import cuts_off, members, server_closed, service_ends
from otel_tts.core.guard import guard
from otel_tts.semconv import ERROR_TYPES, CancelReason, ErrorType, Outcome


@dataclass(frozen=True, slots=True)
class Cause:
    """The outcome of a request or attempt, with its details. ``error_type`` is None where the outcome needs none."""

    outcome: Outcome
    error_type: ErrorType | None = None
    cancel_reason: CancelReason | None = None
    """Why it was cut off; see `reason`."""

    @classmethod
    def from_outcome(cls, outcome: Outcome | str, error_type: ErrorType | str | None = None) -> Cause:
        """Return a cause whose error type its outcome allows.

        Any other error type becomes ``_OTHER`` or, if the outcome does not allow that, the first that it allows.

        Args:
            outcome: one of `Outcome`.
            error_type: one of `ErrorType`; None: the one of the error, or of the outcome.

        Raises:
            ValueError: there is no such outcome.
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
        """Return the cause that an application states: by default what ``error`` means, without an error a failure of unknown type.

        A value that cannot be used is reported, and the cause is a failure of unknown type: what an application reported as failed must
        not count as a success.

        Args:
            error: what went wrong; None: unknown.
            outcome: one of `Outcome`; None: what the error means.
            error_type: one of `ErrorType`; None: the one of the error, or of the outcome.
        """
        cause = from_exception(error) if error is not None else ERROR
        chosen = None if outcome is None else clean.choice(Outcome, "outcome", outcome)
        if outcome is not None and chosen is None:
            return ERROR
        kind = None if error_type is None else known_error_type(error_type)
        if chosen is None and kind is None:
            return cause
        return cls.from_outcome(chosen or cause.outcome, kind or cause.error_type)

    @property
    def reason(self) -> CancelReason | None:
        """Why it was cut off: the caller went away, unless something else was stated; None if it was not cut off."""
        return self.cancel_reason or (CancelReason.CALLER if self.outcome is Outcome.CANCELLED else None)

    def as_partial(self) -> Cause:
        """Return the same cause with the outcome PARTIAL, for a request that had delivered some audio."""
        return replace(self.from_outcome(Outcome.PARTIAL, self.error_type), cancel_reason=self.cancel_reason)

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        return self.outcome is Outcome.OK


OK = Cause(Outcome.OK)
CANCELLED = Cause(Outcome.CANCELLED)
HEAD = Cause(Outcome.CANCELLED, None, CancelReason.HEAD)
"""In an HTTP HEAD request: nobody left, but nobody asked for audio, and the server sends none."""
DEADLINE = Cause(Outcome.DEADLINE, ErrorType.DEADLINE)
SHUTDOWN = Cause(Outcome.ERROR, ErrorType.SHUTDOWN, CancelReason.STOPPED)
"""Stopped by the service: its failure, not a cancellation by the caller."""
STOPPED = Cause(Outcome.CANCELLED, None, CancelReason.STOPPED)
"""The same for the call of a provider, which has done nothing wrong."""
EMPTY = Cause(Outcome.EMPTY, ErrorType.NO_AUDIO)
UNSPEAKABLE = Cause(Outcome.REJECTED, ErrorType.INVALID_INPUT)
"""The text has no letter or digit, so that nobody could make audio of it."""
WORDS = Cause(Outcome.ERROR, ErrorType.SERVER_ERROR)
"""The status was success, but the body is JSON, HTML or text in place of audio."""
_INVALID = Cause(Outcome.REJECTED, ErrorType.INVALID_INPUT)
_UNSUPPORTED = Cause(Outcome.REJECTED, ErrorType.UNSUPPORTED)

_CLOSE_CODES = range(1000, 1016)
"""Of WebSockets: RFC 6455, section 7.4.1."""
_CLOCK_MARGIN_S, _TRANSIT_S, _ROUNDING = 0.02, 0.05, 0.01

# What a provider's status means for the attempt. 400 and 422 reject the input; 401, 403, 404 and 429 are faults of the service.
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
# What our own status means for the request, when nothing else is known about it.
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
ERROR = Cause(Outcome.ERROR, ErrorType.OTHER)
TIMEOUT = Cause(Outcome.ERROR, ErrorType.TIMEOUT)
# The exceptions that a handler gets when it answers a caller that is gone: from a write in grpc, and Starlette's.
_DEPARTURES = {"ExecuteBatchError", "ClientDisconnect", "WebSocketDisconnect"}

_LATE = ("Timeout", "TimeLimit")
"""Parts of the names of exceptions that end what takes too long, also a job: RQ's, Celery's, Dramatiq's."""
_LOST = {"NetworkError", "RemoteProtocolError", "StreamClosedError", "WebSocketClosedError"}
"""The exceptions of httpx and Tornado for a connection that breaks, or ends before the response is complete."""


def known_error_type(value: ErrorType | str) -> ErrorType:
    """Return the error type that an application states; an unknown one is reported, and becomes ``_OTHER``.

    Args:
        value: one of `ErrorType`.
    """
    return clean.choice(ErrorType, "error_type", value) or ErrorType.OTHER


def from_exception(error: BaseException) -> Cause:
    """Return the cause of an operation that ended with ``error``.

    HTTP and gRPC statuses are found by the attributes under which the well-known clients carry them (``response.status_code``,
    ``status_code``, ``status``, ``code``, gRPC's ``code()``, botocore's ``ResponseMetadata``), so that no client has to be imported.
    """
    if isinstance(error, BaseExceptionGroup):
        return _from_group(error)
    names = {cls.__name__ for cls in type(error).__mro__}
    is_late = isinstance(error, TimeoutError) or any(word in name for name in names for word in _LATE)
    if (cut := _cut_off(error, is_late=is_late)) is not None:
        return cut
    try:
        if server_closed(error):
            return SHUTDOWN
        if names & _DEPARTURES:
            return CANCELLED
        status = _http_status(error)
        code = _grpc_code(error) if status is None else None
        closed = status is None and _is_closed(error)
    except Exception as fault:  # noqa: BLE001 - the boundary: the exception is the host's, and so are its properties
        guard.pass_on(fault)
        return ERROR
    if status is not None:
        return from_http_status(status)
    if code is not None:
        return _GRPC_CLIENT.get(code, ERROR)
    if closed:
        return Cause(Outcome.ERROR, ErrorType.CONNECTION)
    if is_late:
        return TIMEOUT
    if isinstance(error, ConnectionError) or names & _LOST or any("Connect" in name for name in names):
        return Cause(Outcome.ERROR, ErrorType.CONNECTION)
    return ERROR


def _cut_off(error: BaseException, *, is_late: bool) -> Cause | None:
    """Return what an exception means that is no ``Exception``, of asyncio and others; None if it is a fault like any other."""
    if not isinstance(error, Exception) and is_late:  # limits of gevent and Dramatiq
        return TIMEOUT
    if not cuts_off(error):
        return None
    return SHUTDOWN if service_ends(error) else CANCELLED


def _from_group(group: BaseException) -> Cause:
    """Return what the exceptions in a group mean together: the end of the service, else a cancellation, else what all of them mean."""
    causes = {from_exception(error) for error in members(group)}
    for cause in (SHUTDOWN, CANCELLED):
        if cause in causes:
            return cause
    return causes.pop() if len(causes) == 1 else ERROR


def explained(cause: Cause | None, error: BaseException | None, otherwise: Callable[[], Cause]) -> Cause:
    """Return why work ended: the cause that is known, or what the exception means.

    Args:
        cause: how it ended, if that is known.
        error: the exception that ended it.
        otherwise: returns the cause where there is neither.
    """
    return cause or (from_exception(error) if error is not None else otherwise())


def statuses(error: BaseException) -> tuple[str | None, int | None]:
    """Return the gRPC status code by name, or else the HTTP status, of an exception of a client; None for each it does not have.

    Args:
        error: the exception.
    """
    try:
        status = _http_status(error)  # of Google's, over gRPC too, the status that it would be
        code = getattr(getattr(error, "grpc_status_code", None), "name", None) if status is not None else _grpc_code(error)
        over_http = hasattr(getattr(error, "response", None), "status_code")
        return (None, status) if over_http or not isinstance(code, str) else (code, None)
    except Exception as fault:  # noqa: BLE001 - the boundary, as above
        guard.pass_on(fault)
        return None, None


def interrupted(reason: CancelReason | str) -> Cause:
    """Return the cause of a request that was cut off for this reason. If the service itself stopped it, it is a failure of the service.

    Args:
        reason: one of `CancelReason`.
    """
    why = clean.choice(CancelReason, "reason", reason, "It counts as interrupted.") or CancelReason.INTERRUPTED
    if why is CancelReason.STOPPED:
        return SHUTDOWN
    return Cause(Outcome.CANCELLED, None, why)


def from_http_status(status: int) -> Cause:
    """Return the cause of an attempt that the provider answered with this HTTP status.

    Args:
        status: the HTTP status.
    """
    return _HTTP.get(status) or (Cause(Outcome.ERROR, ErrorType.SERVER_ERROR) if status >= 500 else ERROR)


def by_itself(error: BaseException) -> Cause:
    """Return the cause of an operation that ended with ``error`` and that nobody had cancelled: a cancellation is then an error."""
    cause = from_exception(error)
    return ERROR if cause.outcome is Outcome.CANCELLED else cause


def met_deadline(remaining_s: float | None, timeout_s: float | None) -> bool:
    """Return whether an operation that was cut off so many seconds before its deadline reached the one of its caller.

    The caller's deadline is earlier by the time that the request was on its way, and by what gRPC rounds up a timeout to: three digits.

    Args:
        remaining_s: seconds to the deadline, as this process knows it; None without a deadline.
        timeout_s: seconds from the arrival to the deadline; None if unknown.
    """
    if remaining_s is None:
        return False
    timeout_s = timeout_s or 0.0
    return remaining_s <= max(_CLOCK_MARGIN_S, min(_TRANSIT_S + timeout_s * _ROUNDING, timeout_s / 2))


def from_rpc_status(code: str, *, attempted: bool) -> Cause:
    """Return the cause of a request whose RPC ended with the status ``code``, when nothing else is known.

    ``attempted``: whether a provider was called. Before that, a rejection is the caller's fault; after it, the service's.
    """
    if not attempted and code in _GRPC_REFUSALS:
        return _GRPC_REFUSALS[code]
    return _GRPC_SERVER.get(code, ERROR)


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


def _is_closed(error: BaseException) -> bool:
    """Return whether the status is how a WebSocket was closed, as LiveKit's plugins report a connection that has ended."""
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and status in _CLOSE_CODES


def _grpc_code(error: BaseException) -> str | None:
    code = getattr(error, "code", None)
    if not callable(code) or not hasattr(error, "details"):
        return None
    name = getattr(code(), "name", None)
    return name if isinstance(name, str) else None
