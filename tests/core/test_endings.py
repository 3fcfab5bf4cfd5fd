"""How a request ends: every ending, streamed or not, asynchronous or not, in an RPC or not, as a whole picture each time."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_tts import Telemetry
from otel_tts.testing.capture import Capture, FakeClock
from tests.core.picture import (
    ASKED,
    CONVENTION,
    COST,
    FORMAT,
    HALF,
    NOBODY,
    PRICES,
    RATE,
    SPEECH,
    TEXT,
    HttpError,
    P,
    Steps,
    aplay,
    play,
    points,
    roughly,
    rpc,
    tree,
)


def without_none(**values: Any) -> dict[str, Any]:
    """What there is."""
    return {key: value for key, value in values.items() if value is not None}


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


REFUSED = {"outcome": "rejected", "error_type": "invalid_input"}
CASES = {
    "ok": Case((0.5, HALF, 0.5, HALF), "ok"),
    "said rejected": Case(None, "rejected", "invalid_input", REFUSED, "INVALID_ARGUMENT"),
    "said rejected, of no type": Case(None, "rejected", "_OTHER", {"outcome": "rejected"}, "RESOURCE_EXHAUSTED"),
    "refused with 400": Case((0.5, HttpError(400)), "rejected", "invalid_input"),
    "refused with 422": Case((0.5, HttpError(422)), "rejected", "invalid_input"),
    "cancelled": Case((0.5, asyncio.CancelledError()), "cancelled"),
    "cancelled half way": Case((0.5, HALF, 0.5, asyncio.CancelledError()), "cancelled"),
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
            "tts.audio.duration": (made or None) if measured else None,
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
            "tts.audio.duration": (made or None) if ok or (outcome in ("cancelled", "deadline", "partial") and measured) else None,
            "tts.cancel.reason": "caller" if outcome == "cancelled" else None,
            "tts.real_time_factor": took / made if ok else None,
            "tts.usage.cost": COST if made else None,
        })
        | ({
            "tts.audio.clipping_ratio": 0.0,
            "tts.audio.loudness": pytest.approx(6.0206, abs=1e-4),
            "tts.audio.silence_ratio": 0.0,
            "tts.audio.trailing_silence": 0.0,
        } if made else {})
        | ({"tts.audio.speaking_rate": 5 / made} if ok and made else {})
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
    if ok:  # one failure does not make a provider unavailable
        metrics["tts.provider.available"] = [({"gen_ai.provider.name": "piper"}, 1)]
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
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - what a handler lets through
            raised = error
        assert ([raised] if raised is not None else []) == faults
        assert audio == (b"" if faults else HALF * list(case.engine or ()).count(HALF))
        if call is not None:
            assert [span.name for span in capture_tts.spans if span.name == "tts.synthesize"] == []
            if isinstance(raised, asyncio.CancelledError):
                call.end("CANCELLED", interruption=call.interruption())
            else:
                call.end("UNKNOWN" if raised else case.code, error=raised)
    streams = speak in (stream, astream)
    outcome = case.stream_outcome if streams and case.stream_outcome else case.outcome
    spans, metrics = expected(case, outcome, streams=streams, engine_streams=speak is not aunary, inside=inside)
    assert tree(capture_tts) == spans
    assert points(capture_tts) == metrics
