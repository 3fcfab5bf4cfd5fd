"""The status of an RPC, from what a handler set or raised."""

from __future__ import annotations

from typing import Any, TypeVar

import grpc

from otel_tts.core import outcome
from otel_tts.core.outcome import Cause
from otel_tts.semconv import ErrorType, Outcome

T = TypeVar("T", str, None)

_BY_NUMBER = {
    number: code.name for code in grpc.StatusCode if (number := code.value[0]) < grpc.StatusCode.UNAUTHENTICATED.value[0]
}
"""The codes that ``grpc.aio`` takes as numbers; it has forgotten the last one."""

OURS = Cause(Outcome.ERROR, ErrorType.OTHER)


def name_of(code: Any, *, numbers: bool) -> str:
    """Return the name of the status code that grpc sends for the one that a handler has set: UNKNOWN for what is no code.

    Args:
        code: what the handler has set.
        numbers: whether a number is a code, as under ``grpc.aio``.
    """
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _BY_NUMBER.get(code, "UNKNOWN") if numbers and isinstance(code, int) else "UNKNOWN"


def code_of(context: Any, default: T, *, numbers: bool) -> str | T:
    """Return the name of the status code that the handler set, else the default.

    Args:
        context: grpc's servicer context.
        default: the name of the code if the handler has set none.
        numbers: whether a number is a code, as under ``grpc.aio``.
    """
    code = context.code()
    return default if code is None else name_of(code, numbers=numbers)


def failure_of(context: Any, default: str = "UNKNOWN") -> str:
    """Return the status of an RPC that ended with an exception under ``grpc.aio``: what the handler had set, else the default.

    Args:
        context: grpc's servicer context.
        default: the name of the code if the handler has set none.
    """
    code = code_of(context, default, numbers=True)
    return default if code == "OK" else code


def fault(code: str, error: BaseException) -> Cause | None:
    """Return the cause of an exception that left a handler; None if the handler has set a status that says it.

    Args:
        code: the name of the status code.
        error: the exception that left the handler.
    """
    return outcome.by_itself(error) if code in ("UNKNOWN", "OK") else None


def set_code(context: Any, failure: str) -> str:
    """Return the status of an RPC that ``grpc`` ends with INTERNAL, or ``grpc.aio`` with UNKNOWN, unless its handler has set another.

    ``grpc`` sends what the handler has set even if that is OK.

    Args:
        context: grpc's servicer context; None: unknown.
        failure: the name of the code that grpc sends for it.
    """
    if context is None:
        return failure
    return code_of(context, failure, numbers=False) if failure == "INTERNAL" else failure_of(context, failure)
