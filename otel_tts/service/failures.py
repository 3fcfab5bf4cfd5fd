"""How a request can fail, and the gRPC status that answers each: the table of the service's API.

Failure
├ InvalidInputError, UnsupportedError   what is asked cannot be spoken, by any engine or by these (see speech)
├ NotFoundError                    there is no such voice or provider
├ QueueFullError                   too many wait already (see queue)
├ InputRefusedError                     a provider refused the input
├ AllProvidersDownError                     no provider works
├ BrokenOffError                   the engine failed in the middle
└ NoAudioError                     every engine ended well, and gave nothing
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from otel_tts.errors import OtelTtsError
from otel_tts.service.queue import QueueFullError
from otel_tts.service.speech import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from otel_tts import Synthesis

_logger = logging.getLogger(__name__)

_DETAILS = "grpc-status-details-bin"  # where gRPC's richer error model puts a google.rpc.Status


class NotFoundError(OtelTtsError, LookupError):
    """There is no such voice or provider; the message says which there are."""


class InputRefusedError(OtelTtsError):
    """A provider refused the input."""


class AllProvidersDownError(OtelTtsError):
    """No provider works. ``retry_after``: seconds after which one will be tried again, where that is known."""

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("no provider works")
        self.retry_after = retry_after


class BrokenOffError(OtelTtsError):
    """The engine failed after some of its audio had been delivered."""


class NoAudioError(OtelTtsError):
    """An engine ended well and gave no audio."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A gRPC status. ``outcome`` and ``error_type`` are for telemetry, where the status alone does not tell them."""

    code: grpc.StatusCode
    message: str
    retry_after: float | None = None
    outcome: str | None = None
    error_type: str | None = None


def answer(error: Exception) -> Answer:
    """The answer to the caller. Messages of ours go to the caller; those of engines and bugs never do: they may hold the text.

    Args:
        error: what went wrong.
    """
    code = grpc.StatusCode
    match error:
        case InvalidInputError():
            return Answer(code.INVALID_ARGUMENT, str(error), outcome="rejected", error_type="invalid_input")
        case NotFoundError():
            return Answer(code.NOT_FOUND, str(error), outcome="rejected", error_type="invalid_input")
        case UnsupportedError():
            return Answer(code.UNIMPLEMENTED, str(error), outcome="rejected", error_type="unsupported")
        case InputRefusedError():
            return Answer(
                code.INVALID_ARGUMENT,
                "The speech engine refused this input. Change the text, or ask for another voice or provider.",
                outcome="rejected",
                error_type="invalid_input",
            )
        case QueueFullError(retry_after=wait):
            message = f"Too many requests are waiting. Try again in {wait:.1f} s."
            return Answer(code.RESOURCE_EXHAUSTED, message, wait, outcome="error", error_type="queue_full")
        case AllProvidersDownError(retry_after=wait):
            error_type = None if error.__cause__ and not isinstance(error.__cause__, AllProvidersDownError) else "unavailable"
            message = "No speech engine works at the moment. Try again later."
            return Answer(code.UNAVAILABLE, message, wait, outcome="error", error_type=error_type)
        case BrokenOffError():
            return Answer(code.UNAVAILABLE, "The speech engine failed before the end of the audio. Try again.")
        case NoAudioError():
            return Answer(
                code.INTERNAL,
                "The speech engine gave no audio for this text. Ask for a voice of the text's language, or another provider.",
                outcome="empty",
            )
        case _:
            return Answer(
                code.INTERNAL, "The service failed: a bug of ours. The trace id in the trailing metadata identifies it."
            )


@asynccontextmanager
async def answering(context: grpc.aio.ServicerContext[Any, Any], s: Synthesis | None = None) -> AsyncIterator[None]:
    """Ends the RPC with the status that answers whatever exception leaves the block, and tells the Synthesis.

    Args:
        context: grpc's servicer context.
        s: the request, in telemetry; None: there is none yet.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - grpc would send its message to the caller and to the log
        status = answer(error)
        if status.outcome and s is not None:
            s.fail(error.__cause__ or error, outcome=status.outcome, error_type=status.error_type)
        elif status.code is grpc.StatusCode.INTERNAL:
            _logger.error("A bug: %s", frames(error))  # noqa: TRY400 - the message may hold the text, so no logging.exception
            if s is not None:
                s.fail(error)
        await context.abort(status.code, status.message, _trailer(status))


def frames(error: BaseException) -> str:
    """An exception's class and, on the lines after it, where it was raised; without its message.

    Args:
        error: the exception.
    """
    return "".join((type(error).__name__, "\n", *traceback.format_tb(error.__traceback__))).rstrip()


def _trailer(status: Answer) -> tuple[tuple[str, bytes], ...]:
    if status.retry_after is None:
        return ()
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(status.retry_after * 1000))
    details = any_pb2.Any()
    details.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    number: int = status.code.value[0]
    rich = status_pb2.Status(code=number, message=status.message, details=[details])
    return ((_DETAILS, rich.SerializeToString()),)
