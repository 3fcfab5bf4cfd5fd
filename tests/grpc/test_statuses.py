"""A status that a handler sets, or aborts with, inside the block of an attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import pytest

from otel_tts import PCM16
from otel_tts.core.outcome import from_rpc_status
from otel_tts.semconv import Outcome
from otel_tts.testing.capture import Capture
from tests.grpc.servers import STACKS, connect, speech, wait_for

FORMAT = PCM16(8000)
SECOND = b"\x00\x10" * 8000
CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def meaning(code: grpc.StatusCode, *, audio: bool) -> tuple[str, str | None]:
    """The outcome and type of a request and its attempt: by the table, and `partial` where the caller got audio."""
    cause = from_rpc_status(code.name, attempted=audio)
    if audio and cause.outcome is Outcome.ERROR:
        cause = cause.as_partial()
    return cause.outcome, cause.error_type


@pytest.mark.parametrize("audio", [False, True])
@pytest.mark.parametrize("how", ["abort", "set", "set and raise"])
@pytest.mark.parametrize("stack", STACKS)
def test_the_status_decides_inside_an_attempt(stack: str, how: str, audio: bool, capture_tts: Capture) -> None:
    """Every status means inside an attempt what it means outside: a request that is refused there is not a failure of the service."""
    tts = capture_tts.telemetry()

    def ended(count: int) -> bool:
        return len(capture_tts.syntheses()) == count

    def end(code: grpc.StatusCode, context: Any) -> None:
        context.set_code(code)
        if how == "set and raise":
            raise ValueError

    def stream(request: bytes, context: Any) -> Iterator[bytes]:
        code = CODES[request[0]]
        with tts.synthesis("hello", stream=True) as s, s.attempt("piper") as attempt:
            yield from attempt.stream([SECOND] * audio, FORMAT)
            if how == "abort":
                context.abort(code, "no")
            end(code, context)

    async def astream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        code = CODES[request[0]]
        async with tts.synthesis("hello", stream=True) as s, s.attempt("piper") as attempt:
            for chunk in attempt.stream([SECOND] * audio, FORMAT):
                yield chunk
            if how == "abort":
                await context.abort(code, "no")
            end(code, context)

    handlers = speech(unary_stream=astream if stack == "aio" else stream)
    with STACKS[stack](tts, handlers) as port, connect(port) as channel:
        for number in range(len(CODES)):
            with suppress(grpc.RpcError):
                list(channel.unary_stream("/test.Speech/unary_stream")(bytes([number])))
            wait_for(partial(ended, number + 1))
    for code, synthesis in zip(CODES, capture_tts.syntheses(), strict=True):
        expected = meaning(code, audio=audio)
        assert (synthesis.outcome, synthesis["error.type"]) == expected, code
        if not (audio and how == "set"):  # then the attempt has succeeded: what failed came after it
            assert [(a.outcome, a["error.type"]) for a in synthesis.attempts] == [expected], code


@pytest.mark.parametrize("stack", STACKS)
def test_what_a_provider_says_is_more_exact(stack: str, capture_tts: Capture) -> None:
    """A handler that has set a status, and whose provider then cannot be reached: the attempt says so."""
    tts = capture_tts.telemetry()

    def unary(request: bytes, context: Any) -> bytes:
        with tts.synthesis("hello") as s, s.attempt("piper"):
            context.set_code(grpc.StatusCode.INTERNAL)
            raise ConnectionError

    async def aunary(request: bytes, context: Any) -> bytes:
        return unary(request, context)

    handlers = speech(unary_unary=aunary if stack == "aio" else unary)
    with STACKS[stack](tts, handlers) as port, connect(port) as channel, suppress(grpc.RpcError):
        channel.unary_unary("/test.Speech/unary_unary")(b"a")
    wait_for(capture_tts.syntheses)
    assert [(a.outcome, a["error.type"]) for a in capture_tts.synthesis().attempts] == [("error", "connection")]
    assert capture_tts.synthesis()["error.type"] == "connection"
