"""The status of an RPC, from what a handler set or raised."""

from __future__ import annotations

from typing import Any

import grpc

from otel_tts.core import outcome
from otel_tts.core.outcome import Cause
from otel_tts.semconv import ErrorType, Outcome

_BY_NUMBER = {code.value[0]: code.name for code in grpc.StatusCode}

OURS = Cause(Outcome.ERROR, ErrorType.OTHER)


def name_of(code: Any) -> str:
    """Return the name of a status code; handlers may set it by number.

    Args:
        code: a `grpc.StatusCode`, or a number.
    """
    if type(code) is not int and (name := getattr(code, "name", None)):
        return str(name)
    return _BY_NUMBER.get(code, "UNKNOWN")


def code_of(context: Any, default: str) -> str:
    """Return the name of the status code that the handler set, else the default.

    Args:
        context: grpc's servicer context.
        default: the name of the code if the handler has set none.
    """
    code = context.code()
    return default if code is None else name_of(code)


def failure_of(context: Any, default: str = "UNKNOWN") -> str:
    """Return the status of an RPC that ended with an exception under ``grpc.aio``: what the handler had set, else the default.

    Args:
        context: grpc's servicer context.
        default: the name of the code if the handler has set none.
    """
    code = code_of(context, default)
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
    return (code_of if failure == "INTERNAL" else failure_of)(context, failure)
