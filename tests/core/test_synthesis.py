"""One request to speak: how it ends, who made it, what it cost; through the public API, as a whole picture each time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach, set_value
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from otel_tts import PCM16, Encoded, Settings, Synthesis, Telemetry, Wav, semconv
from otel_tts.core.call import CALL, Call
from otel_tts.core.clock import RequestClock
from otel_tts.testing.capture import Capture, FakeClock

RATE = 16000
FORMAT = PCM16(RATE)
TEXT = "Hello"
P = {"gen_ai.provider.name": "piper", "gen_ai.request.model": "joe"}
NOBODY = {"gen_ai.provider.name": "_NONE", "gen_ai.request.model": "_NONE"}
SPEECH = {"gen_ai.operation.name": "text_to_speech", "gen_ai.output.type": "speech"}
ASKED = {"tts.voice": "amy", "tts.language": "en"}
PRICES = {"piper": 10.0}
COST = 5e-05


def tone(seconds: float) -> bytes:
    """A square wave at half of full scale: 6.02 dB below it, voiced from the first sample to the last."""
    return np.resize(np.array([16384, -16384], "<i2"), round(seconds * RATE)).tobytes()


def silence(seconds: float) -> bytes:
    """Zeros."""
    return bytes(2 * round(seconds * RATE))


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> Iterator[None]:
    """What exists already is not looked through each time that a test has garbage collected."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class HttpError(Exception):
    """An error of an HTTP client."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status


# -- whole pictures ----------------------------------------------------------------------------------------------------


def tree(capture: Capture) -> list[Any]:
    """All spans: name, kind, status, names of events, attributes, children."""
    spans = sorted(capture.spans, key=lambda span: span.start_time or 0)

    def node(span: ReadableSpan) -> list[Any]:
        children = [s for s in spans if s.parent is not None and s.parent.span_id == span.context.span_id]
        events = [event.name for event in span.events]
        return [span.name, span.kind, span.status.status_code, events, dict(span.attributes or {}), [node(s) for s in children]]

    return [node(span) for span in spans if span.parent is None]


def points(capture: Capture) -> dict[str, list[Any]]:
    """All points of all metrics: attributes with the value, of histograms with count and sum; in an order of their own."""
    return {
        name: ordered(
            (dict(p.attributes or {}), (p.count, p.sum) if isinstance(p, HistogramDataPoint) else p.value) for p in matching
        )
        for name in capture.metrics()
        if (matching := capture.points(name))
    }


def ordered(matching: Iterable[tuple[dict[str, Any], Any]]) -> list[Any]:
    """Points of one metric in an order of their own."""
    return sorted(((sorted(attributes.items()), value) for attributes, value in matching), key=lambda point: str(point[0]))


def roughly(metrics: dict[str, list[tuple[dict[str, Any], Any]]]) -> dict[str, list[Any]]:
    """What `points` has to be, but for the last digits."""
    return {
        name: [(key, pytest.approx(value, rel=1e-5)) for key, value in ordered(matching)] for name, matching in metrics.items()
    }


def without_none(**values: Any) -> dict[str, Any]:
    """What there is."""
    return {key: value for key, value in values.items() if value is not None}


@contextmanager
def rpc(clock: FakeClock, remaining: Callable[[], float | None] = lambda: None) -> Iterator[Call]:
    """What an interceptor does around a handler."""
    call = Call(RequestClock(clock), remaining)
    token = attach(set_value(CALL, call))
    try:
        yield call
    finally:
        detach(token)


# -- how a request ends ------------------------------------------------------------------------------------------------

Steps = Sequence[float | bytes | BaseException]


@dataclass(frozen=True)
class Case:
    """What the engine does: takes seconds, gives audio, fails; or what the application says, and then no engine is asked."""

    engine: Steps | None
    outcome: str
    error_type: str | None = None
    fail_arguments: dict[str, Any] = field(default_factory=dict)
    code: str = "OK"
    """With which status the RPC is answered, where nothing is raised."""
    remaining: float | None = None
    stream_outcome: str | None = None
    """Where it differs for a stream."""


HALF = tone(0.5)
REFUSED = {"outcome": "rejected", "error_type": "invalid_input"}
CASES = {
    "ok": Case((0.5, HALF, 0.5, HALF), "ok"),
    "said rejected": Case(None, "rejected", "invalid_input", REFUSED, "INVALID_ARGUMENT"),
    "said rejected, of no type": Case(None, "rejected", "_OTHER", {"outcome": "rejected"}, "RESOURCE_EXHAUSTED"),
    "refused with 400": Case((0.5, HttpError(400)), "rejected", "invalid_input"),
    "refused with 422": Case((0.5, HttpError(422)), "rejected", "invalid_input"),
    "cancelled": Case((0.5, asyncio.CancelledError()), "cancelled"),
    "cancelled half way": Case((0.5, HALF, 0.5, asyncio.CancelledError()), "cancelled"),
    "interrupted": Case((0.5, KeyboardInterrupt()), "cancelled"),
    "deadline": Case((0.5, asyncio.CancelledError()), "deadline", "deadline", remaining=0.0),
    "deadline half way": Case((0.5, HALF, 0.5, asyncio.CancelledError()), "deadline", "deadline", remaining=0.02),
    "said deadline": Case(None, "deadline", "deadline", {"outcome": "deadline"}, "DEADLINE_EXCEEDED"),
    "broken half way": Case((0.5, HALF, 0.5, ConnectionError()), "error", "connection", stream_outcome="partial"),
    "empty": Case((0.5, b""), "empty", "no_audio"),
    "queue full": Case(None, "error", "queue_full", {"error_type": "queue_full"}, "RESOURCE_EXHAUSTED"),
    "timeout": Case((0.5, TimeoutError()), "error", "timeout"),
    "no connection": Case((0.5, ConnectionRefusedError()), "error", "connection"),
    "unavailable": Case((0.5, HttpError(503)), "error", "unavailable"),
    "rate limited": Case((0.5, HttpError(429)), "error", "rate_limited"),
    "unauthorized": Case((0.5, HttpError(401)), "error", "unauthorized"),
    "forbidden": Case((0.5, HttpError(403)), "error", "unauthorized"),
    "not found": Case((0.5, HttpError(404)), "error", "not_found"),
    "server error": Case((0.5, HttpError(500)), "error", "server_error"),
    "a bug": Case((0.5, ZeroDivisionError()), "error", "_OTHER"),
}  # fmt: skip


def play(steps: Steps, clock: FakeClock) -> Iterator[bytes]:
    """An engine."""
    for step in steps:
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, bytes):
            yield step
        else:
            clock.advance(step)


async def aplay(steps: Steps, clock: FakeClock) -> AsyncIterator[bytes]:
    """An asynchronous one."""
    for chunk in play(steps, clock):
        yield chunk


def unary(tts: Telemetry, case: Case, clock: FakeClock) -> bytes:
    """Its engine streams, but the caller gets the audio as a whole."""
    with tts.synthesis(TEXT, "amy", "en") as s:
        if case.engine is None:
            s.fail(**case.fail_arguments)
            return b""
        with s.attempt("piper", "joe") as attempt:
            return b"".join(attempt.stream(play(case.engine, clock), FORMAT))


async def aunary(tts: Telemetry, case: Case, clock: FakeClock) -> bytes:
    """Its engine gives the audio as a whole."""
    async with tts.synthesis(TEXT, "amy", "en") as s:
        if case.engine is None:
            s.fail(**case.fail_arguments)
            return b""
        async with s.attempt("piper", "joe") as attempt:
            return attempt.audio(b"".join([chunk async for chunk in aplay(case.engine, clock)]), FORMAT)


def stream(tts: Telemetry, case: Case, clock: FakeClock) -> bytes:
    """Engine and answer are streams."""
    s = tts.synthesis(TEXT, "amy", "en", stream=True)
    if case.engine is None:
        with s:
            s.fail(**case.fail_arguments)
        return b""
    return b"".join(s.stream(play(case.engine, clock), "piper", "joe", audio=FORMAT))


async def astream(tts: Telemetry, case: Case, clock: FakeClock) -> bytes:
    """Asynchronous ones."""
    s = tts.synthesis(TEXT, "amy", "en", stream=True)
    if case.engine is None:
        async with s:
            s.fail(**case.fail_arguments)
        return b""
    return b"".join([chunk async for chunk in s.stream(aplay(case.engine, clock), "piper", "joe", audio=FORMAT)])


FAILURES = ("deadline", "partial", "empty", "error")


CONVENTION = P | {"gen_ai.operation.name": "text_to_speech"}


def expected(case: Case, outcome: str, *, streams: bool, engine_streams: bool, inside: bool) -> tuple[list[Any], dict[str, Any]]:
    """All that such a request emits."""
    steps = case.engine or ()
    fault = next((step for step in steps if isinstance(step, BaseException)), None)
    asked, ok = case.engine is not None, outcome == "ok"
    made = 0.5 * steps.count(HALF) if ok or engine_streams else 0.0
    delivered = made if ok or streams else 0.0
    took = sum(step for step in steps if isinstance(step, float))
    chunks = steps.count(HALF) if engine_streams and made else None
    measured = asked and (engine_streams or fault is None)
    error_type = {"error.type": case.error_type} if outcome not in ("ok", "cancelled") else {}
    status = StatusCode.ERROR if outcome in FAILURES else StatusCode.UNSET
    maker = P if asked else NOBODY
    outcome_ = {"tts.outcome": outcome}
    bypass = {"tts.cache.result": "bypass"}
    audio = {"tts.audio.format": "pcm16", "tts.audio.sample_rate": RATE} if measured else {}

    attempt = [
        "text_to_speech joe",
        SpanKind.INTERNAL,
        status,
        ["tts.first_byte", "tts.first_audio"] * bool(chunks)
        + ["exception"] * (fault is not None and outcome not in ("cancelled", "deadline")),
        SPEECH | P | outcome_ | error_type | audio | {"gen_ai.request.stream": streams, "tts.attempt.reason": "initial"}
        | without_none(**{
            "tts.audio.duration": made if measured else None,
            "tts.real_time_factor": took / made if ok else None,
            "tts.stream.chunk.count": chunks,
            "gen_ai.response.time_to_first_chunk": 0.5 if streams and chunks else None,
            "tts.cancel.reason": "caller" if outcome == "cancelled" else None,
        }),
        [],
    ]  # fmt: skip
    request = [
        "tts.synthesize",
        SpanKind.INTERNAL,
        status,
        [],
        SPEECH | ASKED | outcome_ | error_type | audio | bypass | (P if asked else {})
        | {"gen_ai.request.stream": streams, "tts.text.length": 5, "tts.attempt.count": int(asked), "tts.fallback.used": False}
        | without_none(**{
            "tts.audio.delivered_duration": delivered,
            "tts.audio.duration": made if ok or (outcome == "cancelled" and measured) else None,
            "tts.cancel.reason": "caller" if outcome == "cancelled" else None,
            "tts.real_time_factor": took / made if ok else None,
            "tts.usage.cost": COST if made else None,
        })
        | ({
            "tts.audio.clipping_ratio": 0.0,
            "tts.audio.loudness": pytest.approx(6.0206, abs=1e-4),
            "tts.audio.silence_ratio": 0.0,
            "tts.audio.speaking_rate": 5 / made,
            "tts.audio.trailing_silence": 0.0,
        } if made else {})
        | ({
            "tts.stream.chunk.count": chunks,
            "tts.stream.underrun": 0.0,
            "tts.underrun.provider": 0.0,
            "tts.underrun.consumer": 0.0,
            "tts.time_to_first_byte": 0.5,
            "tts.time_to_first_audio": 0.5,
        } if streams and chunks else {}),
        [attempt] if asked else [],
    ]  # fmt: skip

    quality = {"gen_ai.provider.name": "piper"} | ASKED
    state = "synthesized" if ok or (streams and chunks) else "wasted"
    metrics: dict[str, list[tuple[dict[str, Any], Any]]] = {
        "tts.synthesis.duration": [(maker | bypass | outcome_ | {"gen_ai.request.stream": streams}, (1, took))],
        "tts.synthesis.requests": [(ASKED | outcome_, 1)],
        "tts.synthesis.characters": [(maker | {"tts.characters.state": state}, 5)],
    }
    if outcome in FAILURES:
        metrics["tts.synthesis.failures"] = [(maker | outcome_ | error_type, 1)]
    if asked:
        metrics["tts.attempt.duration"] = [(P | outcome_ | error_type | {"tts.attempt.reason": "initial"}, (1, took))]
        metrics["gen_ai.client.operation.duration"] = [(CONVENTION | error_type, (1, took))]
    if asked and outcome in ("ok", "partial", "empty", "error"):
        metrics["tts.provider.available"] = [({"gen_ai.provider.name": "piper"}, int(ok))]
    if ok:
        metrics["tts.provider.health.age"] = [({"gen_ai.provider.name": "piper"}, 0)]
        metrics["tts.attempt.real_time_factor"] = [(P, (1, took / made))]
        metrics |= {
            "tts.audio.clipping_ratio": [(quality, (1, 0))],
            "tts.audio.loudness": [(quality, (1, 6.0206))],
            "tts.audio.silence_ratio": [(quality, (1, 0))],
            "tts.audio.speaking_rate": [(quality, (1, 5 / made))],
            "tts.audio.trailing_silence": [(quality, (1, 0))],
        }
    if made:
        provider = P | {"tts.audio.source": "provider"}
        metrics["tts.usage.cost"] = [(P, COST)]
        if state == "wasted":
            metrics["tts.usage.cost_wasted"] = [(P, COST)]
        metrics["tts.synthesis.audio"] = [
            (provider | {"tts.audio.state": state}, seconds)
            for state, seconds in (("generated", made), ("delivered", delivered))
            if seconds
        ]
    if streams and chunks:
        metrics["gen_ai.client.operation.time_to_first_chunk"] = [(CONVENTION, (1, 0.5))]
        metrics["tts.synthesis.time_to_first_byte"] = [(P | bypass, (1, 0.5))]
        metrics["tts.synthesis.time_to_first_audio"] = [(P | bypass | outcome_, (1, 0.5))]
        metrics["tts.stream.underrun"] = [
            (P | bypass | {"tts.underrun.cause": cause}, (1, 0)) for cause in ("provider", "consumer")
        ]
    return [request], roughly(metrics)


@pytest.mark.parametrize(
    ("name", "inside"), [(n, i) for n, c in CASES.items() for i in (False, True) if i or c.remaining is None]
)
@pytest.mark.parametrize("speak", [unary, aunary, stream, astream])
async def test_every_ending_is_told_once_and_whole(capture_tts: Capture, speak: Any, name: str, inside: bool) -> None:
    """Each row of the table of outcomes, however a request is made: one tree of spans, one set of points, and nothing beside."""
    case, clock = CASES[name], capture_tts.clock
    tts = capture_tts.telemetry(prices=PRICES, voices=["amy"], languages=["en"])
    faults = [step for step in case.engine or () if isinstance(step, BaseException)]
    with ExitStack() as stack:
        call = stack.enter_context(rpc(clock, lambda: case.remaining)) if inside else None
        raised: BaseException | None = None
        audio = b""
        try:
            audio = speak(tts, case, clock) if not asyncio.iscoroutinefunction(speak) else await speak(tts, case, clock)
        except (Exception, asyncio.CancelledError, KeyboardInterrupt) as error:  # noqa: BLE001 - what a handler lets through
            raised = error
        assert ([raised] if raised is not None else []) == faults
        assert audio == (b"" if faults else HALF * list(case.engine or ()).count(HALF))
        if call is not None:
            assert [span.name for span in capture_tts.spans if span.name == "tts.synthesize"] == []
            if isinstance(raised, asyncio.CancelledError | KeyboardInterrupt):
                call.end("CANCELLED", interruption=call.interruption())
            else:
                call.end("UNKNOWN" if raised else case.code, error=raised)
    streams = speak in (stream, astream)
    outcome = case.stream_outcome if streams and case.stream_outcome else case.outcome
    spans, metrics = expected(case, outcome, streams=streams, engine_streams=speak is not aunary, inside=inside)
    assert tree(capture_tts) == spans
    assert points(capture_tts) == metrics


# -- which cause counts ------------------------------------------------------------------------------------------------


def attempted(s: Synthesis, provider: str, fault: Exception | None = None, audio: bytes = HALF, **arguments: Any) -> None:
    """One attempt that raises, if it has something to raise, and is got over by the application."""
    with suppress(*([type(fault)] if fault else [])), s.attempt(provider, "joe", **arguments) as attempt:
        if fault is not None:
            raise fault
        attempt.audio(audio, FORMAT)


def summarize(capture: Capture) -> tuple[str, str | None, list[tuple[str, str, str, str | None]]]:
    """Outcome and error type of the one request, and of its attempts: provider, reason, outcome, error type."""
    s = capture.synthesis()
    return s.outcome, s["error.type"], [(a.provider, a.reason, a.outcome, a.error_type) for a in s.attempts]


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


# -- one provider after another ----------------------------------------------------------------------------------------


def test_retries_and_fallbacks(capture_tts: Capture) -> None:
    """The same provider again is a retry, another one a fallback; each hop is counted, with what it was for."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, "amy", "en") as s:
        attempted(s, "openai", HttpError(429))
        attempted(s, "openai", HttpError(500))
        attempted(s, "azure", audio=b"")
        attempted(s, "piper")
    assert summarize(capture_tts) == (
        "ok",
        None,
        [
            ("openai", "initial", "error", "rate_limited"),
            ("openai", "retry", "error", "server_error"),
            ("azure", "fallback", "empty", "no_audio"),
            ("piper", "fallback", "ok", None),
        ],
    )
    view = capture_tts.synthesis()
    assert (view["gen_ai.provider.name"], view["tts.attempt.count"], view["tts.fallback.used"]) == ("piper", 4, True)
    made = {"gen_ai.request.model": "joe"}
    metrics = points(capture_tts)
    names = ("tts.provider.fallbacks", "tts.attempt.duration", "tts.provider.available")
    assert {name: metrics[name] for name in names} == roughly(
        {
            "tts.provider.fallbacks": [
                ({"tts.fallback.from": "openai", "tts.fallback.to": "azure", "error.type": "server_error"}, 1),
                ({"tts.fallback.from": "azure", "tts.fallback.to": "piper", "error.type": "no_audio"}, 1),
            ],
            "tts.attempt.duration": [
                (made | {"gen_ai.provider.name": provider, "tts.outcome": outcome, "tts.attempt.reason": reason} | error, (1, 0))
                for provider, outcome, error, reason in (
                    ("openai", "error", {"error.type": "rate_limited"}, "initial"),
                    ("openai", "error", {"error.type": "server_error"}, "retry"),
                    ("azure", "empty", {"error.type": "no_audio"}, "fallback"),
                    ("piper", "ok", {}, "fallback"),
                )
            ],
            "tts.provider.available": [
                ({"gen_ai.provider.name": "openai"}, 0),
                ({"gen_ai.provider.name": "azure"}, 0),
                ({"gen_ai.provider.name": "piper"}, 1),
            ],
        }
    )  # fmt: skip
    assert "tts.synthesis.failures" not in metrics


def test_a_second_attempt_after_a_good_one_is_no_fallback(capture_tts: Capture) -> None:
    """A request whose text is spoken in two parts asked each provider for the first time; the audio is the sum."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper")
        attempted(s, "hibari")
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None), ("hibari", "initial", "ok", None)])
    view = capture_tts.synthesis()
    assert (view["tts.fallback.used"], view["tts.audio.duration"]) == (False, 1.0)
    assert capture_tts.points("tts.provider.fallbacks") == []


@pytest.mark.parametrize("served", ["attempt", "hit", "coalesced"])
def test_a_provider_that_was_passed_over(capture_tts: Capture, served: str) -> None:
    """Whoever is asked in place of a provider known to be of no use is its fallback; audio that is there already is none."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        s.skipped("openai")
        if served == "attempt":
            attempted(s, "piper")
        elif served == "hit":
            with s.lookup("memory") as lookup:
                lookup.found(HALF, "piper")
        else:
            s.coalesced("piper")
    asked = served == "attempt"
    assert summarize(capture_tts) == ("ok", None, [("piper", "fallback", "ok", None)] * asked)
    assert capture_tts.synthesis()["tts.fallback.used"] is asked
    assert points(capture_tts).get("tts.provider.fallbacks", []) == ordered(
        [({"tts.fallback.from": "openai", "tts.fallback.to": "piper", "error.type": "unavailable"}, 1)] * asked
    )


def test_a_fallback_that_the_application_knows_of(capture_tts: Capture) -> None:
    """A provider that was passed over without being asked leaves no hop, but the request used a fallback if one is named."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper", reason="fallback", remote=True)
    assert summarize(capture_tts) == ("ok", None, [("piper", "fallback", "ok", None)])
    assert capture_tts.synthesis()["tts.fallback.used"] is True
    assert tree(capture_tts)[0][5][0][1] is SpanKind.CLIENT
    assert capture_tts.points("tts.provider.fallbacks") == []


def test_a_fallback_after_the_first_sample_is_the_applications_affair(capture_tts: Capture) -> None:
    """Nothing forbids it; it is told as what it was: a partial attempt, then a good one, and all of the audio delivered."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s:
        with pytest.raises(ConnectionError):
            list(s.attempt("openai").stream(play([HALF, ConnectionError()], capture_tts.clock), FORMAT))
        assert list(s.attempt("piper").stream([HALF], FORMAT)) == [HALF]
    assert summarize(capture_tts) == (
        "ok",
        None,
        [("openai", "initial", "partial", "connection"), ("piper", "fallback", "ok", None)],
    )
    assert capture_tts.synthesis()["tts.audio.delivered_duration"] == 1.0


def test_the_provider_is_known_while_it_is_still_at_it(capture_tts: Capture) -> None:
    """An RPC's deadline ends the request while a synchronous handler waits for the engine: who was asked is known."""
    tts = capture_tts.telemetry()
    cancelled = suppress(asyncio.CancelledError)
    with rpc(capture_tts.clock, lambda: 0.0) as call, cancelled, tts.synthesis(TEXT) as s, s.attempt("piper", "joe"):
        call.end("DEADLINE_EXCEEDED", interruption=call.interruption())
        assert s.outcome == "deadline"
        raise asyncio.CancelledError
    assert summarize(capture_tts) == ("deadline", "deadline", [("piper", "initial", "deadline", "deadline")])
    assert capture_tts.total("tts.synthesis.duration", P | {"tts.outcome": "deadline"}) == 1
    assert capture_tts.total("tts.attempt.duration", P) == 1


def test_the_bill_of_an_engine_that_nobody_waits_for(capture_tts: Capture) -> None:
    """An engine that goes on after its RPC's deadline costs what it costs, and its audio was made."""
    tts = capture_tts.telemetry(prices=PRICES)
    with rpc(capture_tts.clock, lambda: 0.0) as call, tts.synthesis(TEXT) as s, s.attempt("piper", "joe") as attempt:
        call.end("DEADLINE_EXCEEDED", interruption=call.interruption())
        attempt.audio(HALF, FORMAT)
    assert summarize(capture_tts) == ("deadline", "deadline", [("piper", "initial", "ok", None)])
    metrics = points(capture_tts)
    assert {name: metrics[name] for name in ("tts.usage.cost", "tts.synthesis.audio", "tts.synthesis.characters")} == roughly(
        {
            "tts.usage.cost": [(P, COST)],
            "tts.synthesis.audio": [(P | {"tts.audio.state": "generated", "tts.audio.source": "provider"}, 0.5)],
            "tts.synthesis.characters": [(P | {"tts.characters.state": "wasted"}, 5)],
        }
    )


def test_an_engine_that_does_not_stream_behind_an_answer_that_does(capture_tts: Capture) -> None:
    """Its audio is handed out with `deliver`, and has a first byte when the first piece is."""
    tts, clock = capture_tts.telemetry(), capture_tts.clock
    with tts.synthesis(TEXT, stream=True) as s:
        with s.attempt("piper", "joe") as attempt:
            audio = attempt.audio(b"".join(play([0.5, HALF, HALF], clock)), FORMAT)
        clock.advance(0.1)
        assert b"".join(s.deliver([audio[:9000], audio[9000:]], FORMAT)) == audio
    view = capture_tts.synthesis(outcome="ok", cache_result="bypass")
    keys = ("tts.audio.duration", "tts.audio.delivered_duration", "tts.real_time_factor", "tts.stream.chunk.count")
    assert [view.first_byte, *(view[key] for key in keys)] == pytest.approx([0.6, 1.0, 1.0, 0.5, 2])
    assert capture_tts.total("tts.synthesis.audio", P | {"tts.audio.source": "provider", "tts.audio.state": "delivered"}) == 1.0


def test_an_attempt_after_the_end_ends_too(capture_tts: Capture) -> None:
    """A handler may not notice that its RPC is over: what it asks for then is an attempt of its own, that ends and is counted."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call, tts.synthesis(TEXT) as s:
        call.end("OK")
        chunks = s.attempt("piper").stream([HALF], FORMAT)
        next(chunks)
        del chunks
    del s, call
    gc.collect()
    assert [(a.provider, a.outcome) for a in capture_tts.synthesis(outcome="ok").attempts] == [("piper", "cancelled")]
    assert capture_tts.total("tts.attempt.duration") == 1
    assert capture_tts.total("tts.synthesis.requests") == 1


def test_a_probe_is_nobodys_request(capture_tts: Capture) -> None:
    """A health probe is an attempt in a trace of its own, and nothing else."""
    tts = capture_tts.telemetry()
    with tts.probe("piper", "joe", remote=True) as probe:
        assert probe.audio(HALF, FORMAT) == HALF
    probe_attributes = {"tts.attempt.reason": "probe", "tts.outcome": "ok"}
    audio = {"tts.audio.duration": 0.5, "tts.audio.format": "pcm16", "tts.audio.sample_rate": RATE, "tts.real_time_factor": 0.0}
    assert tree(capture_tts) == [
        ["text_to_speech joe", SpanKind.CLIENT, StatusCode.UNSET, [], SPEECH | P | probe_attributes | audio, []]
    ]
    assert points(capture_tts) == roughly(
        {
            "tts.attempt.duration": [(P | probe_attributes, (1, 0))],
            "gen_ai.client.operation.duration": [(CONVENTION, (1, 0))],
            "tts.attempt.real_time_factor": [(P, (1, 0))],
            "tts.provider.available": [({"gen_ai.provider.name": "piper"}, 1)],
            "tts.provider.health.age": [({"gen_ai.provider.name": "piper"}, 0)],
            "tts.synthesis.audio": [(P | {"tts.audio.state": "generated", "tts.audio.source": "provider"}, 0.5)],
        }
    )


# -- the cache ---------------------------------------------------------------------------------------------------------


def cached(capture: Capture) -> tuple[Any, ...]:
    """What the one request tells: cache result, tier, who made the audio, its seconds, those delivered, state of characters."""
    s = capture.synthesis()
    characters = [(point.attributes or {})["tts.characters.state"] for point in capture.points("tts.synthesis.characters")]
    keys = ("tts.cache.tier", "gen_ai.provider.name", "tts.audio.duration", "tts.audio.delivered_duration")
    return s.cache_result, *(s[key] for key in keys), *characters


def test_a_hit(capture_tts: Capture) -> None:
    """Audio from a cache: who made it then is who made it, what it would have cost is avoided, the client's span is a child."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT, "amy", "en") as s:
        with s.lookup("memory") as lookup:
            assert lookup.found(None) is None
        with s.lookup("redis") as lookup, trace.get_tracer("redis").start_as_current_span("GET"):
            audio = lookup.found(HALF, "piper", "joe", audio=FORMAT)
        assert s.deliver(audio, FORMAT) is HALF
    hit = {"tts.cache.result": "hit"}
    request = {
        "gen_ai.request.stream": False,
        "tts.outcome": "ok",
        "tts.text.length": 5,
        "tts.attempt.count": 0,
        "tts.fallback.used": False,
        "tts.cache.tier": "redis",
        "tts.audio.duration": 0.5,
        "tts.audio.delivered_duration": 0.5,
        "tts.audio.format": "pcm16",
        "tts.audio.sample_rate": RATE,
    }
    child = ["GET", SpanKind.INTERNAL, StatusCode.UNSET, [], {}, []]
    assert tree(capture_tts) == [
        ["tts.synthesize", SpanKind.INTERNAL, StatusCode.UNSET, [], SPEECH | ASKED | P | hit | request, [child]]
    ]
    assert points(capture_tts) == roughly(
        {
            "tts.cache.lookups": [
                ({"tts.cache.tier": "memory", "tts.cache.lookup.result": "miss"}, 1),
                ({"tts.cache.tier": "redis", "tts.cache.lookup.result": "hit"}, 1),
            ],
            "tts.synthesis.audio": [(P | {"tts.audio.state": "delivered", "tts.audio.source": "cache"}, 0.5)],
            "tts.synthesis.characters": [(P | {"tts.characters.state": "cached"}, 5)],
            "tts.synthesis.duration": [(P | hit | {"gen_ai.request.stream": False, "tts.outcome": "ok"}, (1, 0))],
            "tts.synthesis.requests": [(ASKED | {"tts.outcome": "ok"}, 1)],
            "tts.usage.cost_avoided": [(P, COST)],
        }
    )


def test_a_hit_streamed(capture_tts: Capture) -> None:
    """First byte, first audio and underruns of cached streams are told apart from those of providers, by the cache's result."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, "amy", "en", stream=True) as s:
        with s.lookup("memory") as lookup:
            lookup.found("key", "piper", "joe", duration=1)
        capture_tts.clock.advance(0.1)
        for _ in s.deliver([HALF, b"", HALF], FORMAT):
            capture_tts.clock.advance(0.6)
    assert cached(capture_tts) == ("hit", "memory", "piper", 1.0, 1.0, "cached")
    hit = P | {"tts.cache.result": "hit"}
    metrics = points(capture_tts)
    names = ("tts.synthesis.time_to_first_byte", "tts.synthesis.time_to_first_audio", "tts.stream.underrun")
    assert {name: metrics[name] for name in names} == roughly(
        {
            "tts.synthesis.time_to_first_byte": [(hit, (1, 0.1))],
            "tts.synthesis.time_to_first_audio": [(hit | {"tts.outcome": "ok"}, (1, 0.1))],
            "tts.stream.underrun": [
                (hit | {"tts.underrun.cause": "provider"}, (1, 0)),
                (hit | {"tts.underrun.cause": "consumer"}, (1, 0.7)),
            ],
        }
    )
    assert {"tts.attempt.duration", "tts.audio.loudness", "tts.attempt.real_time_factor"}.isdisjoint(metrics)


def test_a_hit_streamed_as_one_piece(capture_tts: Capture) -> None:
    """Bytes that answer a stream are its first and only chunk."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s:
        with s.lookup("memory") as lookup:
            lookup.found(HALF)
        capture_tts.clock.advance(0.1)
        assert s.deliver(HALF, FORMAT) is HALF
    view = capture_tts.synthesis(cache_result="hit")
    assert [view.first_byte, view.first_audio, view["tts.stream.chunk.count"]] == pytest.approx([0.1, 0.1, 1])


async def test_cached_audio_from_an_asynchronous_store(capture_tts: Capture) -> None:
    """`async with` and `async for` do what their synchronous twins do."""
    tts = capture_tts.telemetry()
    async with tts.synthesis(TEXT, stream=True) as s:
        async with s.lookup("redis") as lookup:
            lookup.found(True, "piper", "joe")
        assert [chunk async for chunk in s.deliver(aplay([HALF, HALF], capture_tts.clock), FORMAT)] == [HALF, HALF]
    assert cached(capture_tts) == ("hit", "redis", "piper", 1.0, 1.0, "cached")


def test_what_cannot_be_read_keeps_the_length_that_the_cache_knows(capture_tts: Capture) -> None:
    """Cached MP3 whose seconds stand in the cache is delivered in those seconds, as a whole or as a stream."""
    tts = capture_tts.telemetry()
    for stream in (False, True):
        with tts.synthesis(TEXT, stream=stream) as s:
            with s.lookup("redis") as lookup:
                lookup.found(b"...", "openai", "tts-1", audio=Encoded("mp3"), duration=2)
            assert b"".join(s.deliver([b"...", b"..."], Encoded("mp3"))) == b"......"
    assert [
        (v["tts.audio.duration"], v["tts.audio.delivered_duration"], v["tts.audio.format"]) for v in capture_tts.syntheses()
    ] == [(2.0, 2.0, "mp3")] * 2
    assert capture_tts.total("tts.synthesis.audio") == 4.0


def test_a_miss(capture_tts: Capture) -> None:
    """No tier had it: the provider makes it."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        with s.lookup("memory") as lookup:
            lookup.found(None)
        with s.lookup("redis"):
            pass
        attempted(s, "piper")
    assert cached(capture_tts) == ("miss", None, "piper", 0.5, 0.5, "synthesized")
    assert capture_tts.total("tts.cache.lookups", {"tts.cache.lookup.result": "miss"}) == 2


def test_a_broken_cache(capture_tts: Capture) -> None:
    """A look-up that raises is an error of its tier and a miss of the request; the exception is the application's."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        with pytest.raises(ConnectionError), s.lookup("redis"):
            raise ConnectionError
        attempted(s, "piper")
    assert cached(capture_tts) == ("miss", None, "piper", 0.5, 0.5, "synthesized")
    assert points(capture_tts)["tts.cache.lookups"] == ordered(
        [({"tts.cache.tier": "redis", "tts.cache.lookup.result": "error"}, 1)]
    )
    assert capture_tts.synthesis().outcome == "ok"


def test_no_cache(capture_tts: Capture) -> None:
    """Without any look-up the cache is bypassed."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper")
    assert cached(capture_tts) == ("bypass", None, "piper", 0.5, 0.5, "synthesized")


def test_coalesced(capture_tts: Capture) -> None:
    """Audio of an identical request under way: cached characters, an avoided cost, no attempt."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT) as s:
        with s.lookup("memory"):
            pass
        s.coalesced("piper", "joe")
        assert s.deliver(HALF, FORMAT) == HALF
    assert cached(capture_tts) == ("coalesced", None, "piper", 0.5, 0.5, "cached")
    assert capture_tts.total("tts.usage.cost_avoided", P) == pytest.approx(COST)
    assert capture_tts.points("tts.usage.cost") == []


@pytest.mark.parametrize("matching", ["hit", "coalesced"])
@pytest.mark.parametrize("fault", [None, HttpError(503)])
def test_found_but_asked_after_all(capture_tts: Capture, matching: str, fault: Exception | None) -> None:
    """Audio that was found and could not be used counts for nothing once a provider is asked."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT) as s:
        if matching == "hit":
            with suppress(ValueError), s.lookup("redis") as lookup:
                lookup.found(HALF, "openai", "tts-1", audio=FORMAT, duration=9.0)
                raise ValueError("torn")
        else:
            s.coalesced("openai", "tts-1")
        attempted(s, "piper", fault)
    if fault is None:
        assert cached(capture_tts) == ("miss", None, "piper", 0.5, 0.5, "synthesized")
    else:
        assert cached(capture_tts) == ("miss", None, "piper", None, 0.0, "wasted")
    assert capture_tts.points("tts.usage.cost_avoided") == []


def test_stale_audio_when_the_provider_fails(capture_tts: Capture) -> None:
    """A hit after a failed attempt makes the request good."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper", HttpError(503))
        with s.lookup("stale") as lookup:
            lookup.found(HALF, "openai", "tts-1", audio=FORMAT)
    assert cached(capture_tts) == ("hit", "stale", "openai", 0.5, 0.5, "cached")
    assert capture_tts.synthesis().outcome == "ok"


def test_a_cache_write_is_a_trace_of_its_own(capture_tts: Capture) -> None:
    """What outlives the request is linked to it, is no child of it, and is current in its block; its failure is nobody else's."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT) as s:
        pass
    with suppress(ConnectionError), s.cache_write("redis"):
        trace.get_tracer("redis").start_span("SET").end()
        raise ConnectionError
    spans: dict[str, Any] = {span.name: span for span in capture_tts.spans}
    request, write, client = (spans[name] for name in ("tts.synthesize", "tts.cache.write", "SET"))
    assert [link.context.span_id for link in write.links] == [request.context.span_id]
    assert write.context.trace_id != request.context.trace_id
    assert write.parent is None
    assert client.parent.span_id == write.context.span_id
    assert dict(write.attributes or {}) == {"tts.cache.tier": "redis"}
    assert (write.status.status_code, [event.name for event in write.events]) == (StatusCode.ERROR, ["exception"])
    assert capture_tts.synthesis().outcome == "ok"


# -- text and money ----------------------------------------------------------------------------------------------------


def test_characters_are_code_points_once_a_request(capture_tts: Capture) -> None:
    """Code points of the text as received, however many providers were asked for it."""
    tts = capture_tts.telemetry()
    with tts.synthesis("Grüße 👋🏽 ", "amy") as s:
        attempted(s, "openai", HttpError(500))
        attempted(s, "piper")
    assert capture_tts.synthesis()["tts.text.length"] == 9
    assert points(capture_tts)["tts.synthesis.characters"] == ordered([(P | {"tts.characters.state": "synthesized"}, 9)])


def test_text_in_pieces(capture_tts: Capture) -> None:
    """The clock starts at the first piece that holds text, and all pieces count."""
    tts = capture_tts.telemetry()
    with tts.synthesis(stream=True) as s:
        capture_tts.clock.advance(5)
        s.add_text("")
        capture_tts.clock.advance(5)
        s.add_text("Hel")
        capture_tts.clock.advance(0.25)
        s.add_text("lo")
        list(s.attempt("piper", "joe").stream([HALF], FORMAT))
    assert capture_tts.synthesis()["tts.text.length"] == 5
    assert capture_tts.synthesis().first_byte == pytest.approx(0.25)
    assert [p.sum for p in capture_tts.points("tts.synthesis.duration")] == [pytest.approx(0.25)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prices", "cost", "total", "unpriced"),
    [
        ({"openai": {"tts-1": 15.0}, "piper": 0.0}, 75e-6, 75e-6, 0),
        ({"openai": {"*": 15.0, "tts-1": 30.0}, "piper": {"joe": 1.0}}, 155e-6, 155e-6, 0),
        ({"openai": {"hd": 15.0}, "piper": 2.0}, None, 10e-6, 1),
        ({}, None, 0, 1),
    ],
)
def test_cost(capture_tts: Capture, prices: Any, cost: float | None, total: float, unpriced: int) -> None:
    """Every attempt that made audio costs; one unknown price makes the request's cost unknown, never lower."""
    tts = capture_tts.telemetry(prices=prices)
    with tts.synthesis(TEXT, stream=True) as s:
        attempted(s, "azure", HttpError(500))
        with pytest.raises(ConnectionError):
            list(s.attempt("openai", "tts-1").stream(play([HALF, ConnectionError()], capture_tts.clock), FORMAT))
        list(s.attempt("piper", "joe").stream([HALF], FORMAT))
    assert capture_tts.synthesis()["tts.usage.cost"] == (None if cost is None else pytest.approx(cost))
    assert capture_tts.total("tts.usage.cost") == pytest.approx(total)
    assert capture_tts.total("tts.usage.unpriced", P) == unpriced


def test_a_rejected_request_costs_nothing(capture_tts: Capture) -> None:
    """Nobody was asked: its text is wasted, and neither priced nor unpriced."""
    tts = capture_tts.telemetry(prices=PRICES)
    with tts.synthesis(TEXT) as s:
        s.fail(outcome="rejected")
    metrics = points(capture_tts)
    assert metrics["tts.synthesis.characters"] == ordered([(NOBODY | {"tts.characters.state": "wasted"}, 5)])
    assert {"tts.usage.cost", "tts.usage.cost_avoided", "tts.usage.unpriced"}.isdisjoint(metrics)


# -- what else it tells ------------------------------------------------------------------------------------------------


def test_queue_encoding_and_score(capture_tts: Capture) -> None:
    """What the application knows and we cannot see: waiting, encoding, the verdict of its quality model."""
    tts = capture_tts.telemetry()
    half: Any = np.float32(0.5)
    with tts.synthesis(TEXT, "amy", "en") as s:
        s.queued(1)
        s.queued(half)
        s.encoded("opus", 0.25)
        s.encoded("tape", 0.5)
        s.score("mos", 4.5)
    assert capture_tts.synthesis()["tts.queue.wait"] == 1.5
    metrics = points(capture_tts)
    assert {name: metrics[name] for name in ("tts.queue.wait", "tts.encode.duration", "tts.audio.score")} == roughly(
        {
            "tts.queue.wait": [({}, (2, 1.5))],
            "tts.encode.duration": [({"tts.audio.format": "opus"}, (1, 0.25)), ({"tts.audio.format": "_OTHER"}, (1, 0.5))],
            "tts.audio.score": [({"tts.score.name": "mos", "tts.voice": "amy"}, (1, 4.5))],
        }
    )


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_score_that_is_none(capture_tts: Capture, value: float) -> None:
    """A score is a number of 0 or more: the fault names the value."""
    with capture_tts.telemetry().synthesis(TEXT) as s, pytest.raises(ValueError, match=str(value)):
        s.score("mos", value)


def test_attribute_types(capture_tts: Capture) -> None:
    """Values are plain strings, booleans, integers and floats as the registry says: an exporter sees no enumeration, no numpy."""
    tts = capture_tts.telemetry(prices=PRICES)
    one: Any = np.float32(1)
    rate: Any = np.int64(RATE)
    with tts.synthesis(TEXT, "amy", "en", stream=True) as s:
        s.queued(one)
        with s.lookup("memory") as lookup:
            lookup.found(HALF, audio=FORMAT, duration=one)
        attempted(s, "openai", HttpError(500))
        list(s.attempt("piper", "joe").stream([np.frombuffer(HALF, "<i2")], PCM16(rate)))
    with tts.synthesis(TEXT) as s:
        with s.lookup("memory") as lookup:
            lookup.found("...", duration=1)
        s.fail(error_type="queue_full")
    types = {"string": str, "int": int, "double": float, "boolean": bool}
    registry = {a.key: types[a.type] for a in vars(semconv).values() if isinstance(a, semconv.Attribute)}
    matching = [(key, type(value)) for span in capture_tts.spans for key, value in (span.attributes or {}).items()]
    matching += [
        (key, type(value))
        for points in map(capture_tts.points, semconv.METRICS)
        for p in points
        for key, value in (p.attributes or {}).items()
    ]
    assert {(key, kind) for key, kind in matching if kind is not registry[key]} == set()
    assert {"error.type", "tts.queue.wait", "tts.audio.duration", "tts.audio.sample_rate", "tts.usage.cost"} <= {
        key for key, _ in matching
    }


def test_the_trace_id_is_there_for_the_caller(capture_tts: Capture) -> None:
    """As 32 digits, from the beginning, with whether the trace is kept; both empty where nothing is traced."""
    with capture_tts.telemetry().synthesis(TEXT) as s:
        assert (len(s.trace_id), s.sampled) == (32, True)
    assert f"{capture_tts.synthesis().span.context.trace_id:032x}" == s.trace_id
    with capture_tts.telemetry(tracer_provider=trace.NoOpTracerProvider()).synthesis(TEXT) as s:
        assert (s.trace_id, s.sampled) == ("", False)


def test_without_metrics_traces_stay(capture_tts: Capture) -> None:
    """`METRICS_ENABLED=false` switches metrics off and nothing else."""
    tts = capture_tts.telemetry(settings=Settings.load(environ={"METRICS_ENABLED": "false"}))
    with tts.synthesis(TEXT) as s:
        attempted(s, "piper")
    assert summarize(capture_tts)[0] == "ok"
    assert points(capture_tts) == {}


# -- requests within requests ------------------------------------------------------------------------------------------


def test_an_inner_synthesis_is_the_open_one(capture_tts: Capture) -> None:
    """However many layers ask, it is one request; what the inner one knows more is added."""
    tts = capture_tts.telemetry()
    with tts.synthesis(voice="amy") as outer, outer.lookup("memory"):
        with tts.synthesis(TEXT, "joe", "en") as inner:
            attempted(inner, "piper")
        assert (inner.trace_id, outer.outcome) == (outer.trace_id, None)
    view = capture_tts.synthesis(outcome="ok")
    assert (view["tts.voice"], view["tts.text.length"], len(view.attempts)) == ("amy", 5, 1)
    assert points(capture_tts)["tts.synthesis.requests"] == ordered([(ASKED | {"tts.outcome": "ok"}, 1)])


def test_an_inner_synthesis_inside_a_stream(capture_tts: Capture) -> None:
    """An engine that is instrumented itself joins the request that streams it, and an error it gets over is its own affair."""
    tts = capture_tts.telemetry()

    def engine() -> Iterator[bytes]:
        with pytest.raises(ValueError, match="inner"), tts.synthesis(TEXT):
            raise ValueError("inner")
        yield HALF

    assert list(tts.synthesis(TEXT, stream=True).stream(engine(), "piper", audio=FORMAT)) == [HALF]
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None)])


def test_several_utterances_in_one_rpc(capture_tts: Capture) -> None:
    """Each is a request: the first one starts with the RPC, a later one by itself; only the last one shares the RPC's fate."""
    tts, clock = capture_tts.telemetry(), capture_tts.clock
    with rpc(clock) as call:
        clock.advance(1)
        for provider in ("piper", "hibari", "espeak"):
            with tts.synthesis(TEXT) as s:
                clock.advance(0.5)
                attempted(s, provider)
            clock.advance(2)
        call.end("CANCELLED", interruption=call.interruption())
    assert [(view.outcome, [a.provider for a in view.attempts]) for view in capture_tts.syntheses()] == [
        ("ok", ["piper"]),
        ("ok", ["hibari"]),
        ("cancelled", ["espeak"]),
    ]
    durations = {
        (p.attributes or {})["gen_ai.provider.name"]: p.sum  # type: ignore[union-attr]
        for p in capture_tts.points("tts.synthesis.duration")
    }
    assert durations == pytest.approx({"piper": 1.5, "hibari": 0.5, "espeak": 2.5})
    spans: list[Any] = [span for span in capture_tts.spans if span.name == "tts.synthesize"]
    assert [span.end_time - span.start_time for span in spans] == pytest.approx([1.5e9, 0.5e9, 2.5e9])


def test_a_synthesis_that_begins_after_its_rpc(capture_tts: Capture) -> None:
    """Work that a handler left to the background, in the RPC's context, finishes by itself once the RPC is over."""
    tts = capture_tts.telemetry()
    with rpc(capture_tts.clock) as call:
        call.end("OK")
        with tts.synthesis(TEXT) as s:
            attempted(s, "piper")
        assert s.outcome == "ok"
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None)])


# -- requests that nobody finishes -------------------------------------------------------------------------------------


def started(tts: Telemetry) -> Iterator[bytes]:
    """A stream that was pulled once."""
    chunks: Iterator[bytes] = tts.synthesis(TEXT, stream=True).stream(iter([HALF, HALF]), "piper", "joe", audio=FORMAT)
    assert next(chunks) == HALF
    return chunks


def attempting(tts: Telemetry) -> Iterator[bytes]:
    """A handler that was pulled once."""

    def handler() -> Iterator[bytes]:
        with tts.synthesis(TEXT, stream=True) as s:
            yield from s.attempt("piper", "joe").stream(iter([HALF, HALF]), FORMAT)

    chunks = handler()
    assert next(chunks) == HALF
    return chunks


NEVER_FINISHED: dict[str, Callable[[Telemetry], Any]] = {
    "never used": lambda tts: tts.synthesis(TEXT),
    "never pulled": lambda tts: tts.synthesis(TEXT, stream=True).stream(iter([HALF]), "piper", "joe", audio=FORMAT),
    "dropped half way": started,
    "dropped half way, its attempt by hand": attempting,
    "an attempt never entered": lambda tts: tts.synthesis(TEXT).attempt("piper", "joe"),
    "an asynchronous stream": lambda tts: tts.synthesis(TEXT, stream=True).stream(
        aplay([HALF], FakeClock()), "piper", "joe", audio=FORMAT
    ),
}


@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("name", NEVER_FINISHED)
def test_dropped_requests_were_cancelled(capture_tts: Capture, name: str, cycle: bool) -> None:
    """What nobody finishes is finished when it is dropped, once, as of that moment, also by the garbage collector."""
    tts = capture_tts.telemetry()
    held = [NEVER_FINISHED[name](tts)]
    if cycle:
        held.append(held)
    capture_tts.clock.advance(1)
    assert capture_tts.spans == []
    assert capture_tts.total("tts.synthesis.active") == 1
    del held
    gc.collect()
    capture_tts.clock.advance(30)  # until the next export
    gc.collect()
    metrics = points(capture_tts)  # which is what finishes it
    asked = name not in ("never used", "never pulled", "an asynchronous stream")
    assert summarize(capture_tts) == ("cancelled", None, [("piper", "initial", "cancelled", None)] if asked else [])
    assert "tts.synthesis.active" not in metrics
    assert metrics["tts.synthesis.requests"] == ordered(
        [({"tts.language": "_NONE", "tts.voice": "_NONE", "tts.outcome": "cancelled"}, 1)]
    )
    assert [p.sum for p in capture_tts.points("tts.synthesis.duration")] == [pytest.approx(1)]  # type: ignore[union-attr]
    assert [p.sum for p in capture_tts.points("tts.attempt.duration")] == [pytest.approx(1)] * asked  # type: ignore[union-attr]
    tts.flush_abandoned()
    assert points(capture_tts) == metrics


def test_the_next_request_finishes_dropped_ones(capture_tts: Capture) -> None:
    """Spans of dropped requests do not wait for an export of metrics: the next request finishes them too."""
    tts = capture_tts.telemetry(settings=Settings.load(environ={}, metrics_enabled=False))
    tts.synthesis(TEXT)
    assert capture_tts._spans.get_finished_spans() == ()
    with tts.synthesis(TEXT):
        assert [view.outcome for view in capture_tts.syntheses()] == ["cancelled"]


def test_a_stream_broken_off_inside_its_attempt(capture_tts: Capture) -> None:
    """An application that has heard enough drops the stream, and may go on in the same attempt, which ends with its block."""
    tts = capture_tts.telemetry()
    with tts.synthesis(TEXT, stream=True) as s, s.attempt("piper") as attempt:
        for _ in attempt.stream(iter([HALF, HALF]), FORMAT):
            break
        tts.flush_abandoned()
        assert list(attempt.stream([HALF], FORMAT)) == [HALF]
    assert summarize(capture_tts) == ("ok", None, [("piper", "initial", "ok", None)])
    assert capture_tts.synthesis()["tts.audio.delivered_duration"] == 1.0


def test_a_finished_request_holds_nothing(capture_tts: Capture) -> None:
    """It is freed without the garbage collector: no circle of references, and no exception that keeps its frames."""
    tts = capture_tts.telemetry()
    gc.collect()
    gc.disable()
    try:
        with rpc(capture_tts.clock) as call:
            with tts.synthesis(TEXT) as s:
                with suppress(ConnectionError), s.attempt("piper"):
                    raise ConnectionError
                attempted(s, "openai")
            call.end("OK")
        reference = weakref.ref(s)
        del s, call
        assert reference() is None
    finally:
        gc.enable()


def test_what_streams_is_a_stream(capture_tts: Capture) -> None:
    """A request that was not begun as a stream and streams all the same has a stream's attributes and metrics."""
    tts = capture_tts.telemetry()
    assert list(tts.synthesis(TEXT).stream([HALF], "piper", audio=FORMAT)) == [HALF]
    assert capture_tts.synthesis(outcome="ok")["gen_ai.request.stream"] is True
    assert capture_tts.total("tts.synthesis.time_to_first_byte") == 1
    assert [dict(p.attributes or {}) for p in capture_tts.points("tts.synthesis.duration", {"gen_ai.request.stream": True})]
    assert capture_tts.total("tts.synthesis.active") == 0
