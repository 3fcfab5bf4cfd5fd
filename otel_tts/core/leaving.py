"""Leaving: how an attempt or a request ended that was left by an exception which no engine raised."""

from __future__ import annotations

from typing import NamedTuple

from otel_tts.core import outcome
from otel_tts.core.exits import members
from otel_tts.core.outcome import Cause
from otel_tts.core.requester import Requester, cut_off
from otel_tts.semconv import ErrorType, Outcome

_DISCONNECTED = {
    "ClientDisconnected",
    "ConnectionClosed",
    "ConnectionClosedError",
    "StreamClosedError",
    "WebSocketClosedError",
    "WebsocketClosed",
}
"""The exceptions of uvicorn, websockets, tornado and sanic for sending to a caller who is gone; aiohttp's is a ConnectionResetError."""


class LeftAttempt(NamedTuple):
    """How an attempt ended that an exception left which its engine did not raise."""

    cause: Cause
    """If its request ends with it."""
    given_up: Cause
    """If its request goes on."""
    cut_off: bool
    """Whether its task was cancelled while it spoke, and the next attempt may be for another sentence."""


def left(error: BaseException, request: Requester | None, *, in_body: bool, has_audio: bool) -> LeftAttempt | None:
    """Return how an attempt ended that this exception left; None if it is a failure of the attempt, or an end that needs no decision.

    Args:
        error: the exception.
        request: of the attempt; None for a probe.
        in_body: whether the engine had delivered, and had not raised: then the code that takes the audio did.
        has_audio: whether any audio was made.
    """
    if request is None or request.declared is not None or cut_off(request):
        return None
    cause = outcome.from_exception(error)
    if not isinstance(error, Exception) and cause.outcome is Outcome.CANCELLED:
        # What a call of an SDK alone began goes on with the same text only, never with the next sentence.
        is_cut_off = has_audio and not request.implicit
        return None if isinstance(error, GeneratorExit) else LeftAttempt(outcome.CANCELLED, outcome.TIMEOUT, is_cut_off)
    if not in_body or cause == outcome.SHUTDOWN:
        return None
    if cause == outcome.ERROR and request.rpc_status() not in (None, "OK"):
        return None  # the handler of its RPC has said what it is
    return LeftAttempt(outcome.CANCELLED if departs(error) else outcome.STOPPED, cause, cut_off=False)


def meaning(error: BaseException | None, request: Requester | None, *, raised: bool, has_audio: bool) -> Cause:
    """Return what an exception means that ended an attempt: of the provider, unless its request was cut off or said what it is before.

    Args:
        error: the exception; None: it was left without one.
        request: of the attempt; None for a probe.
        raised: whether the engine raised it.
        has_audio: whether any audio was made.
    """
    if error is None:
        return outcome.CANCELLED
    cause = outcome.from_exception(error)
    if not raised:
        if cut_off(request):
            return outcome.CANCELLED
        declared = request.declared if request is not None else None
        if cause == outcome.ERROR and declared is not None and not declared.good:
            return outcome.STOPPED if declared.error_type is ErrorType.SHUTDOWN else declared
    return by_status(cause, request, has_audio=has_audio) if cause == outcome.ERROR else cause


def by_status(cause: Cause, request: Requester | None, *, has_audio: bool) -> Cause:
    """Return what the status means that the RPC's handler has set inside an attempt, of which nothing more exact is known.

    Args:
        cause: of the attempt, without a status.
        request: of the attempt; None for a probe.
        has_audio: whether any audio was made.
    """
    status = request.rpc_status() if request is not None else None
    if status is None or status == "OK":
        return cause
    return outcome.from_rpc_status(status, attempted=has_audio)


def departs(error: BaseException) -> bool:
    """Return whether an exception of the code that sends audio means that the listener is gone.

    Args:
        error: what it raised.
    """
    return all(map(_departs, members(error)))


def _departs(error: BaseException) -> bool:
    if isinstance(error, ConnectionError):
        return not isinstance(error, ConnectionRefusedError)
    if not isinstance(error, Exception):
        return False
    names = {cls.__name__ for cls in type(error).__mro__}
    cause = outcome.from_exception(error)
    return cause != outcome.SHUTDOWN and (bool(names & _DISCONNECTED) or cause.outcome is Outcome.CANCELLED)
