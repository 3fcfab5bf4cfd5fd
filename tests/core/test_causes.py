"""Which cause counts when there are several: what the application stated, the first failure, the RPC, the deadline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from otel_tts import Settings, Wav
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT, HttpError, attempted, rpc, summarize, tree


def test_what_the_application_said_first_counts(capture_tts: Capture) -> None:
    """Neither a second word, nor an exception, nor the RPC's end changes what the application said."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock, lambda: 0.0) as call:
        with suppress(ValueError), tts.synthesis(TEXT) as s:
            s.fail(error_type="queue_full")
            s.fail(outcome="rejected")
            raise ValueError("later")
        call.end("CANCELLED", interruption=call.interruption())
    assert summarize(capture_tts) == ("error", "queue_full", [])
    assert s.outcome == "error"


def test_the_first_failure_counts(capture_tts: Capture) -> None:
    """When every provider fails, the request failed for the reason for which the first one did."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "openai", TimeoutError())
        attempted(s, "piper", HttpError(500))
    assert summarize(capture_tts) == (
        "error",
        "timeout",
        [("openai", "initial", "error", "timeout"), ("piper", "fallback", "error", "server_error")],
    )


@pytest.mark.parametrize(("remaining", "outcome", "error_type"), [(None, "cancelled", None), (0.01, "deadline", "deadline")])
def test_a_caller_who_goes_away_after_a_failure_still_went_away(
    capture_tts: Capture, remaining: float | None, outcome: str, error_type: str | None
) -> None:
    """An attempt's failure is the request's only if the request goes on to its end: a fallback might have come."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock, lambda: remaining) as call:
        with tts.synthesis(TEXT) as s:
            attempted(s, "openai", TimeoutError())
        call.end("CANCELLED", interruption=call.interruption())
    assert summarize(capture_tts) == (outcome, error_type, [("openai", "initial", "error", "timeout")])


@pytest.mark.parametrize(
    ("code", "attempt", "outcome", "error_type"),
    [
        ("OK", False, "ok", None),
        ("INVALID_ARGUMENT", False, "rejected", "invalid_input"),
        ("NOT_FOUND", False, "rejected", "invalid_input"),
        ("UNIMPLEMENTED", False, "rejected", "unsupported"),
        ("PERMISSION_DENIED", False, "rejected", "_OTHER"),
        ("RESOURCE_EXHAUSTED", False, "error", "queue_full"),
        ("UNAVAILABLE", False, "error", "unavailable"),
        ("CANCELLED", False, "cancelled", None),
        ("DEADLINE_EXCEEDED", False, "deadline", "deadline"),
        ("INTERNAL", False, "error", "_OTHER"),
        ("OK", True, "ok", None),
        ("INVALID_ARGUMENT", True, "error", "_OTHER"),
        ("UNAVAILABLE", True, "error", "unavailable"),
    ],
)
def test_the_rpc_decides_what_nobody_else_knows(
    capture_tts: Capture, code: str, attempt: bool, outcome: str, error_type: str | None
) -> None:
    """Of a request that ends inside an RPC, the status with which that is answered tells the outcome."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call:
        with tts.synthesis(TEXT) as s:
            if attempt:
                attempted(s, "piper")
        assert s.outcome is None
        call.end(code)
    assert s.outcome == outcome
    assert summarize(capture_tts)[:2] == (outcome, error_type)


def test_an_exception_that_the_handler_answered_is_not_the_outcome(capture_tts: Capture) -> None:
    """An exception may leave the block and be caught by the handler: the RPC's answer says what came of it."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call:
        with pytest.raises(KeyError), tts.synthesis(TEXT):
            raise KeyError("voice")
        call.end("NOT_FOUND")
    assert summarize(capture_tts) == ("rejected", "invalid_input", [])


def test_a_failed_attempt_is_not_made_good_by_an_empty_answer(capture_tts: Capture) -> None:
    """An RPC that is answered OK although the only provider failed has failed."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call:
        with tts.synthesis(TEXT) as s:
            attempted(s, "piper", HttpError(503))
        call.end("OK")
    assert summarize(capture_tts) == ("error", "unavailable", [("piper", "initial", "error", "unavailable")])


@pytest.mark.parametrize(("allowance", "outcome"), [(0.1, "rejected"), (0.3, "deadline"), (None, "deadline")])
def test_a_deadline_that_nobody_could_meet_is_the_callers_fault(
    capture_tts: Capture, allowance: float | None, outcome: str
) -> None:
    """Below the floor that is set, a missed deadline counts as a refused request; a missed one above it, as ours."""
    remaining = iter([allowance, 0.0])
    tts = capture_tts.telemetry(settings=Settings.load(environ={}, deadline_floor=0.2))
    with rpc(capture_tts.clock, lambda: next(remaining)) as call:
        with tts.synthesis(TEXT):
            pass
        call.end("DEADLINE_EXCEEDED", interruption=call.interruption())
    assert summarize(capture_tts)[0] == outcome


def test_a_bug_of_the_application_in_the_middle_of_a_stream(capture_tts: Capture) -> None:
    """It ends the request at once: partial, with the exception that the application gets to see; the provider is not to blame."""
    tts = capture_tts.telemetry()

    def handler() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s:
            for chunk in s.stream(iter([HALF, HALF]), "piper", audio=FORMAT):
                yield chunk
                raise ZeroDivisionError

    responses = handler()
    assert next(responses) == HALF
    with pytest.raises(ZeroDivisionError):
        next(responses)
    assert summarize(capture_tts) == ("partial", "_OTHER", [("piper", "initial", "cancelled", None)])
    assert capture_tts.total("tts.synthesis.requests") == 1


def test_a_caller_who_closes_the_handler(capture_tts: Capture) -> None:
    """A handler that is closed between two chunks was cancelled, and that is known at once."""
    tts = capture_tts.telemetry()

    def handler() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s:
            yield from s.stream(iter([HALF, HALF]), "piper", audio=FORMAT)

    responses: Any = handler()
    assert next(responses) == HALF
    responses.close()
    assert summarize(capture_tts) == ("cancelled", None, [("piper", "initial", "cancelled", None)])
    assert capture_tts.synthesis()["tts.audio.delivered_duration"] == 0.5


def test_a_fault_that_is_reported_instead_of_raised(capture_tts: Capture) -> None:
    """`attempt.fail` counts as an exception does, event included, and the exception means what the application says it means."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        with s.attempt("piper") as attempt:
            attempt.fail(HttpError(500), outcome="rejected", error_type="unsupported")
        with s.attempt("openai") as attempt:
            attempt.fail(HttpError(500))
    assert summarize(capture_tts) == (
        "rejected",
        "unsupported",
        [("piper", "initial", "rejected", "unsupported"), ("openai", "fallback", "error", "server_error")],
    )
    assert [node[3] for node in tree(capture_tts)[0][5]] == [["exception"], ["exception"]]


@pytest.mark.parametrize("inside", [False, True])
def test_an_exception_stands_on_one_span(capture_tts: Capture, inside: bool) -> None:
    """A bug before any attempt is told by the request's span, or inside an RPC by the RPC's, which the interceptor makes."""
    tts = capture_tts.telemetry()
    with ExitStack() as stack:
        call = stack.enter_context(rpc(capture_tts.clock)) if inside else None
        with pytest.raises(ZeroDivisionError) as caught, tts.synthesis(TEXT):
            raise ZeroDivisionError
        if call is not None:
            call.end("UNKNOWN", error=caught.value)
    assert summarize(capture_tts) == ("error", "_OTHER", [])
    assert tree(capture_tts)[0][3] == ([] if inside else ["exception"])


def test_an_empty_wav_is_empty(capture_tts: Capture) -> None:
    """A header without samples is no audio: not a first byte, not a chunk, and the outcome is `empty`, not `partial`."""
    header = bytes.fromhex("52494646ffffffff57415645666d7420100000000100010080bb000000770100020010006461746100000000")
    tts = capture_tts.telemetry()
    s = tts.synthesis(TEXT, stream=True)
    assert list(s.stream([header, b""], "piper", audio=Wav())) == [header, b""]
    assert summarize(capture_tts) == ("empty", "no_audio", [("piper", "initial", "empty", "no_audio")])
    view = capture_tts.synthesis()
    assert (view.first_byte, view["tts.stream.chunk.count"], view["tts.audio.delivered_duration"]) == (None, None, 0.0)
