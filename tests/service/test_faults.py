"""What callers get, and what is reported, when engines misbehave; over real gRPC, with engines that fail as they are told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry import trace

from otel_tts.service.cache import cache_tiers
from otel_tts.service.circuit import Circuit
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from otel_tts.service.speech import UnsupportedError

CANARY = "the canary sings at midnight"
MEMORY = cache_tiers("memory://")
MISS, BYPASS, HIT, COALESCED = (
    tts_pb2.CacheStatus.Value(f"CACHE_STATUS_{how}") for how in ("MISS", "BYPASS", "HIT", "COALESCED")
)


def refuses_input() -> httpx.HTTPStatusError:
    """What an HTTP engine raises that cannot speak the text."""
    request = httpx.Request("POST", "http://engine/v1/audio/speech")
    return httpx.HTTPStatusError(CANARY, request=request, response=httpx.Response(400, text=CANARY, request=request))


def retry_after(error: grpc.aio.AioRpcError) -> float | None:
    """Seconds, from the RetryInfo in the status details."""
    metadata = dict(error.trailing_metadata() or ())
    if "grpc-status-details-bin" not in metadata:
        return None
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    return info.retry_delay.ToMilliseconds() / 1000


def attempts(capture: Any, **expected: Any) -> list[tuple[Any, ...]]:
    """Provider, reason, outcome and error type of each attempt of the one synthesis."""
    return [(a.provider, a.reason, a.outcome, a.error_type) for a in capture.synthesis(**expected).attempts]


# --- fallback ---------------------------------------------------------------------------------

FAULTS = {
    "raises": (RuntimeError(CANARY), ("error", "_OTHER")),
    "connection": (ConnectionRefusedError(CANARY), ("error", "connection")),
    "stalls": (asyncio.Event, ("error", "timeout")),
    "refuses": (refuses_input(), ("rejected", "invalid_input")),
    "empty": (None, ("empty", "no_audio")),
}


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_before_the_first_sample_the_next_provider_takes_over(
    start: Any, scripted: Any, capture_tts: Any, fault: str, *, streaming: bool
) -> None:
    """Whatever the first does instead of speaking: the caller hears the second, and is told so."""
    step, (outcome, error_type) = FAULTS[fault]
    first, second = scripted("first"), scripted("second")
    first.script = [step() if callable(step) else step] if step else []
    client = await start(first, second, attempt_timeout=0.1)
    if streaming:
        received = await client.listen(CANARY)
        rendition, audio = received.header, received.audio
        assert received.trailer == tts_pb2.AudioTrailer(audio_duration_seconds=1.0, chunk_count=1)
    else:
        response = await client.speak(CANARY, encoding=tts_pb2.AUDIO_ENCODING_PCM)
        rendition, audio = response.rendition, response.audio
    assert audio == scripted.SECOND
    await client.until(lambda: capture_tts.syntheses(outcome="ok"))
    assert rendition == tts_pb2.Rendition(
        provider="second",
        model="second-model",
        voice="second-voice",
        language="en-US",
        cache=BYPASS,
        fallback_used=True,
        encoding=tts_pb2.AUDIO_ENCODING_PCM,
        sample_rate=scripted.RATE,
        trace_id=f"{capture_tts.synthesis().span.context.trace_id:032x}",
    )
    assert attempts(capture_tts) == [("first", "initial", outcome, error_type), ("second", "fallback", "ok", None)]
    hops = [
        (p.attributes["tts.fallback.from"], p.attributes["tts.fallback.to"]) for p in capture_tts.points("tts.provider.fallbacks")
    ]
    assert hops == [("first", "second")]
    assert (first.active, second.active) == (0, 0)


async def test_after_the_first_sample_there_is_no_fallback(start: Any, scripted: Any, capture_tts: Any) -> None:
    """A listener keeps what was heard, gets no second voice, and the stream ends with an error and without a trailer."""
    first, second = scripted("first", scripted.SECOND, RuntimeError(CANARY)), scripted("second")
    client = await start(first, second)
    received = await client.listen(CANARY)
    assert (received.audio, received.trailer, second.calls) == (scripted.SECOND, None, [])
    assert received.error.code() is grpc.StatusCode.UNAVAILABLE
    assert received.error.details() == "The speech engine failed before the end of the audio. Try again."
    await client.until(lambda: capture_tts.syntheses(outcome="partial"))
    assert attempts(capture_tts) == [("first", "initial", "partial", "_OTHER")]
    assert capture_tts.synthesis()["tts.audio.delivered_duration"] == 1.0


async def test_a_unary_caller_has_heard_nothing_until_all_is_there(start: Any, scripted: Any) -> None:
    """So an engine that breaks off in the middle is fallen back from."""
    client = await start(scripted("first", scripted.SECOND, RuntimeError(CANARY)), scripted("second"))
    response = await client.speak()
    assert (response.rendition.provider, response.audio_duration_seconds) == ("second", 1.0)


ENDS = {
    "all fail": ([RuntimeError(CANARY)], [ConnectionError()], grpc.StatusCode.UNAVAILABLE, "error"),
    "one fails, one refuses": ([RuntimeError(CANARY)], [refuses_input()], grpc.StatusCode.UNAVAILABLE, "error"),
    "one refuses, one fails": ([refuses_input()], [RuntimeError(CANARY)], grpc.StatusCode.INVALID_ARGUMENT, "rejected"),
    "all refuse": ([refuses_input()], [UnsupportedError(CANARY)], grpc.StatusCode.INVALID_ARGUMENT, "rejected"),
    "one empty, one refuses": ([], [refuses_input()], grpc.StatusCode.INTERNAL, "empty"),
    "all empty": ([], [], grpc.StatusCode.INTERNAL, "empty"),
}


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("end", ENDS)
async def test_when_nobody_speaks_the_status_says_why(
    start: Any, scripted: Any, capture_tts: Any, caplog: pytest.LogCaptureFixture, end: str, *, streaming: bool
) -> None:
    """A fixed message with what to do; what the engines raised, and with it the text, stays with us and out of the log."""
    caplog.set_level(logging.DEBUG)
    one, two, code, outcome = ENDS[end]
    first, second = scripted("first"), scripted("second")
    first.script, second.script = one, two
    client = await start(first, second)
    error = (await client.listen(CANARY)).error if streaming else await client.refused(CANARY)
    assert error.code() is code
    assert error.details().endswith((".", ". Try again later."))
    await client.until(capture_tts.syntheses)
    assert capture_tts.synthesis().outcome == outcome
    assert CANARY not in f"{error.details()} {error.trailing_metadata()} {caplog.text}"
    assert [len(engine.calls) for engine in (first, second)] == [1, 1]


async def test_a_bug_of_ours_is_internal_and_says_nothing(
    start: Any, scripted: Any, capture_tts: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fixed message for the caller, frames without the message for the log."""
    engine = scripted("one")
    client = await start(engine)

    def broken(*_: object) -> None:
        raise AssertionError(CANARY)

    monkeypatch.setattr(engine, "accept", broken)
    error = await client.refused(CANARY)
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INTERNAL,
        "The service failed: a bug of ours. The trace id in the trailing metadata identifies it.",
    )
    assert "in broken" in caplog.text
    assert CANARY not in caplog.text
    await client.until(lambda: capture_tts.syntheses(outcome="error"))


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
async def test_the_whole_trace_of_a_fallback(start: Any, scripted: Any, capture_tts: Any, *, streaming: bool) -> None:
    """The RPC, the request in it, in that the attempts, and in those what the engines do."""

    class Traced(scripted):  # type: ignore[misc, valid-type]
        async def stream(self, speech: Any) -> Any:
            with trace.get_tracer("engine").start_as_current_span(f"{self.name} works"):
                pass
            async for chunk in super().stream(speech):
                yield chunk

    client = await start(Traced("first", RuntimeError()), Traced("second"))
    await (client.listen() if streaming else client.speak())
    await client.until(lambda: len(capture_tts.spans) == 6)

    def names(nodes: list[Any]) -> list[Any]:
        return [[name, names(children)] if children else name for name, _, children in nodes]

    assert names(capture_tts.tree()) == [
        [
            f"yap.tts.v1.TextToSpeech/Synthesize{'Stream' if streaming else ''}",
            [
                [
                    "tts.synthesize",
                    [
                        ["text_to_speech first-model", ["first works"]],
                        ["text_to_speech second-model", ["second works"]],
                    ],
                ]
            ],
        ]
    ]


# --- cache and single flight ------------------------------------------------------------------


async def test_fallback_audio_never_poisons_the_preferred_providers_entry(start: Any, scripted: Any) -> None:
    """While the first is down, its fallback is cached as the fallback's; when it is back, it speaks itself."""
    first, second = scripted("first", RuntimeError()), scripted("second")
    client = await start(first, second, cache=MEMORY, circuit_failures=100)
    seen = []
    for step in (None, None, scripted.SECOND, None):
        if step is not None:
            first.script = [step]
        rendition = (await client.speak()).rendition
        seen.append((rendition.provider, rendition.cache, rendition.fallback_used))
    assert seen == [("second", MISS, True), ("second", HIT, True), ("first", MISS, False), ("first", HIT, False)]
    assert [len(engine.calls) for engine in (first, second)] == [3, 1]


async def test_an_entry_serves_every_encoding_and_both_kinds_of_call(start: Any, scripted: Any) -> None:
    """The audio is kept as it was made; what callers want of it is made for each."""
    engine = scripted("one")
    client = await start(engine, cache=MEMORY)
    for encoding in (tts_pb2.AUDIO_ENCODING_WAV, tts_pb2.AUDIO_ENCODING_FLAC, tts_pb2.AUDIO_ENCODING_MP3):
        assert (await client.speak(encoding=encoding)).audio_duration_seconds == 1.0
    assert (await client.speak("  Hello. \t\n ", sample_rate=8000)).rendition.cache == HIT
    received = await client.listen()
    assert (received.header.cache, received.audio) == (HIT, scripted.SECOND)
    assert len(engine.calls) == 1


async def test_no_cache_means_an_engine_call_of_ones_own(start: Any, scripted: Any) -> None:
    """Neither read, nor written, nor shared."""
    engine = scripted("one")
    client = await start(engine, cache=MEMORY)
    responses = await asyncio.gather(*(client.speak(no_cache=True) for _ in range(3)))
    assert [response.rendition.cache for response in responses] == [BYPASS] * 3
    assert len(engine.calls) == 3
    assert (await client.speak()).rendition.cache == MISS


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
async def test_twenty_identical_requests_cost_one_engine_call(
    start: Any, scripted: Any, capture_tts: Any, *, streaming: bool
) -> None:
    """One of them made it, the others shared it, all heard it; unary callers and listeners share with each other."""
    go = asyncio.Event()
    engine = scripted("one", scripted.SECOND, go, scripted.SECOND)
    client = await start(engine)
    calls = [asyncio.create_task(client.listen()) for _ in range(20 if streaming else 1)]
    calls += [asyncio.create_task(client.listen() if streaming else client.speak()) for _ in range(20 - len(calls))]
    await client.until(lambda: capture_tts.total("tts.synthesis.active") == 20)
    go.set()
    results = await asyncio.gather(*calls)
    renditions = [getattr(result, "rendition", None) or result.header for result in results]
    assert sorted(rendition.cache for rendition in renditions) == [BYPASS] + [COALESCED] * 19
    assert {len(result.audio) for result in results} <= {2 * len(scripted.SECOND), 2 * len(scripted.SECOND) + 44}
    assert len(engine.calls) == 1
    await client.until(lambda: len(capture_tts.syntheses(outcome="ok")) == 20)
    assert sorted(s.cache_result for s in capture_tts.syntheses()) == ["bypass"] + ["coalesced"] * 19
    (leader,) = [s for s in capture_tts.syntheses() if s.attempts]
    links = [link.context.span_id for s in capture_tts.syntheses() for link in s.span.links]
    assert links == [leader.span.context.span_id] * 19


async def test_who_shares_a_call_shares_its_failure_and_falls_back_together(
    start: Any, scripted: Any, capture_tts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An engine that has nothing to say, then one that breaks, then one that speaks: each is called once for all."""
    go, on = asyncio.Event(), asyncio.Event()
    engines = [scripted("empty", go), scripted("broken", RuntimeError()), scripted("good", on, scripted.SECOND)]
    client = await start(*engines)
    calls = [asyncio.create_task(client.speak()) for _ in range(5)]
    await client.until(lambda: engines[0].active and capture_tts.total("tts.synthesis.active") == 5)
    go.set()
    await client.until(lambda: caplog.text.count("broken failed") == 5)  # who comes later than the audio makes a call of its own
    on.set()
    renditions = [response.rendition for response in await asyncio.gather(*calls)]
    assert [(r.provider, r.fallback_used) for r in renditions] == [("good", True)] * 5
    assert sorted(r.cache for r in renditions) == [BYPASS] + [COALESCED] * 4
    assert [len(engine.calls) for engine in engines] == [1, 1, 1]


def skipped(synthesis: Any) -> list[tuple[str, str]]:
    """Provider and error type of each event that says whose audio a request did not get, and why."""
    events = [dict(e.attributes) for e in synthesis.span.events if e.name == "tts.provider.skipped"]
    return [(e["gen_ai.provider.name"], e["error.type"]) for e in events]


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("fault", ["raises", "connection", "refuses", "empty"])
async def test_a_shared_call_that_fails_is_named_in_each_request(
    start: Any, scripted: Any, capture_tts: Any, fault: str, *, streaming: bool
) -> None:
    """The request that made it has an attempt; those that waited for it have an event with who and why, and fail for the same."""
    step, (outcome, error_type) = FAULTS[fault]
    go = asyncio.Event()
    client = await start(scripted("one", go, *([step] if step else [])))
    calls = [asyncio.create_task(client.listen() if streaming else client.refused()) for _ in range(4)]
    await client.until(lambda: capture_tts.total("tts.synthesis.active") == 4)
    go.set()
    await asyncio.gather(*calls)
    await client.until(lambda: len(capture_tts.syntheses()) == 4)
    views = capture_tts.syntheses()
    assert sorted([(a.provider, a.outcome, a.error_type) for a in v.attempts] for v in views) == [[]] * 3 + [
        [("one", outcome, error_type)]
    ]
    assert [skipped(v) for v in views if not v.attempts] == [[("one", error_type)]] * 3
    assert [v["gen_ai.provider.name"] for v in views] == ["one"] * 4
    assert capture_tts.total("tts.synthesis.failures", {"gen_ai.provider.name": "one"}) == capture_tts.total(
        "tts.synthesis.failures"
    )


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
async def test_a_leader_that_goes_away_costs_the_others_nothing(
    start: Any, scripted: Any, capture_tts: Any, *, streaming: bool
) -> None:
    """The engine's one call goes on for them, and its audio is cached."""
    go = asyncio.Event()
    engine = scripted("one", scripted.SECOND, go, scripted.SECOND)
    client = await start(engine, cache=MEMORY)
    request = tts_pb2.SynthesizeRequest(text="Hello.")
    leader = client.stub.SynthesizeStream(request) if streaming else client.stub.Synthesize(request)
    await client.until(lambda: engine.calls)
    followers = [asyncio.create_task(client.listen()) for _ in range(3)]
    await client.until(lambda: capture_tts.total("tts.synthesis.active") == 4)
    leader.cancel()
    await client.until(lambda: capture_tts.syntheses(outcome="cancelled"))
    go.set()
    received = await asyncio.gather(*followers)
    assert [(one.header.cache, one.audio) for one in received] == [(COALESCED, 2 * scripted.SECOND)] * 3
    assert (await client.speak()).rendition.cache == HIT
    assert (len(engine.calls), engine.active) == (1, 0)


async def test_when_every_caller_is_gone_the_engine_stops(start: Any, scripted: Any, capture_tts: Any) -> None:
    """Its slot is free for the next request, and what it had made by then is not taken for the whole."""
    engine = scripted("one", scripted.SECOND, asyncio.Event(), concurrency=1)
    client = await start(engine, cache=MEMORY)
    calls = [client.stub.Synthesize(tts_pb2.SynthesizeRequest(text="Hello.")) for _ in range(2)]
    await client.until(lambda: capture_tts.total("tts.synthesis.active") == 2)
    for call in calls:
        call.cancel()
    await client.until(lambda: not engine.active)
    assert [s.outcome for s in capture_tts.syntheses()] == ["cancelled"] * 2
    engine.script = [scripted.SECOND] * 2
    response = await client.speak()
    assert (response.rendition.cache, response.audio_duration_seconds) == (MISS, 2.0)


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize(
    "cut", [[], [b"\0\1" * 800, RuntimeError()], [b"\0\1" * 800, ConnectionResetError()]], ids=["empty", "bug", "reset"]
)
async def test_what_is_not_whole_is_not_kept(start: Any, scripted: Any, cut: list[Any], *, streaming: bool) -> None:
    """No audio, or the beginning of it: the next request for the text makes its own, and the one after it gets that."""
    engine = scripted("one")
    engine.script = cut
    client = await start(engine, cache=MEMORY)
    if streaming:
        assert (await client.listen()).error is not None
    else:
        await client.refused()
    engine.script = [scripted.SECOND]
    responses = [await client.speak() for _ in range(2)]
    assert [(r.rendition.cache, r.audio_duration_seconds) for r in responses] == [(MISS, 1.0), (HIT, 1.0)]


# --- queue ------------------------------------------------------------------------------------


async def test_a_full_queue_refuses_at_once_with_retry_info(start: Any, scripted: Any, capture_tts: Any) -> None:
    """One speaks, one waits, the third is told when to come back; identical requests need no place of their own."""
    go = asyncio.Event()
    engine = scripted("one", go, scripted.SECOND, concurrency=1)
    client = await start(engine, scripted("two"), queue_size=1)
    under_way = [asyncio.create_task(client.speak(text)) for text in ("One.", "Two.", "Two.")]
    await client.until(lambda: capture_tts.total("tts.synthesis.active") == 3)
    error = await client.refused("Three.")
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "Too many requests are waiting. Try again in 0.1 s."
    assert retry_after(error) == 0.1
    go.set()
    assert sorted(r.rendition.cache for r in await asyncio.gather(*under_way)) == [BYPASS, BYPASS, COALESCED]
    await client.until(lambda: len(capture_tts.syntheses()) == 4)
    refused = capture_tts.synthesis(outcome="error")
    assert (refused["error.type"], refused.attempts, skipped(refused)) == ("queue_full", [], [("one", "queue_full")])
    assert refused["gen_ai.provider.name"] == "one"
    assert capture_tts.total("tts.queue.wait") == 2


# --- health of providers ----------------------------------------------------------------------


async def test_a_circuit_opens_and_a_probe_closes_it(start: Any, scripted: Any, capture_tts: Any) -> None:
    """After failures in a row a provider gets no requests, only probes; once one succeeds, it is the preferred one again."""
    first, second = scripted("first", RuntimeError()), scripted("second")
    client = await start(first, second, circuit_failures=3, circuit_cooldown=0.05)
    for n in range(4):
        rendition = (await client.speak(f"Number {n}.")).rendition
        assert (rendition.provider, rendition.fallback_used) == ("second", True)
    assert len(first.calls) == 3
    await client.until(lambda: len(capture_tts.syntheses()) == 4)
    passed_by = [skipped(s) for s in capture_tts.syntheses() if len(s.attempts) == 1]
    assert passed_by == [[("first", "unavailable")]]  # of the fourth request, which asked the second provider alone
    assert capture_tts.total("tts.provider.fallbacks") == 4
    available = [
        capture_tts.points("tts.provider.available", {"gen_ai.provider.name": name})[0].value for name in ("first", "second")
    ]
    assert available == [0, 1]
    await client.until(lambda: first.checks)
    first.script = [scripted.SECOND]
    await client.until(lambda: client.service.engines[0].circuit.closed)
    assert (await client.speak("Again.")).rendition.provider == "first"
    probes = [s.attributes for s in capture_tts.spans if (s.attributes or {}).get("tts.attempt.reason") == "probe"]
    seen = [(p["gen_ai.provider.name"], p["tts.outcome"]) for p in probes if p["gen_ai.provider.name"] == "first"]
    assert seen[0] == ("first", "error")
    assert seen[-1] == ("first", "ok")


async def test_a_cheap_check_does_not_close_what_speech_has_opened(start: Any, scripted: Any, capture_tts: Any) -> None:
    """A provider that lists its models and cannot speak is unavailable until it speaks; one that is not there at all is so at once."""

    class Cheap(scripted):  # type: ignore[misc]
        makes_audio_to_check = False
        asked = 0
        answers = True

        async def check(self) -> None:
            """Whether anybody answers at all."""
            self.asked += 1
            if not self.answers:
                raise ConnectionError

    first, second = Cheap("first", RuntimeError()), scripted("second")
    client = await start(first, second, circuit_failures=3, circuit_cooldown=0.01, probe_interval=0.01)
    circuit = client.service.engines[0].circuit
    await client.until(lambda: first.asked >= 5)
    assert circuit.closed  # nobody has asked it to speak yet
    for n in range(3):
        checked = first.asked + 1  # so that one of them has ended well since the failure before
        await client.until(lambda checked=checked: first.asked > checked)
        assert (await client.speak(f"Number {n}.")).rendition.provider == "second"
    await client.until(lambda: first.checks >= 5)
    assert not circuit.closed
    assert [p.value for p in capture_tts.points("tts.provider.available", {"gen_ai.provider.name": "first"})] == [0]
    first.script = [scripted.SECOND]
    await client.until(lambda: circuit.closed)
    first.answers = False
    await client.until(lambda: not circuit.closed)


def test_a_cheap_check_between_failures_takes_back_none() -> None:
    """Three failures of speech open the circuit, however many checks without audio went well between them."""
    circuit = Circuit(3, 10.0, lambda _: None)
    for _ in range(3):
        assert circuit.closed
        circuit.failed()
        circuit.responded()
    assert not circuit.closed


async def test_with_every_circuit_open_the_answer_is_immediate(start: Any, scripted: Any, capture_tts: Any) -> None:
    """UNAVAILABLE, with the time of the next probe, nobody is asked, and the health service says so."""
    engine = scripted("one", RuntimeError())
    client = await start(engine, circuit_failures=1, circuit_cooldown=60.0, probe_interval=60.0)
    await client.until(lambda: engine.checks)  # the first probe comes at the start
    error = await client.refused()
    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNAVAILABLE,
        "No speech engine works at the moment. Try again later.",
    )
    assert 50 < (retry_after(error) or 0) <= 60
    assert engine.calls == []
    await client.until(lambda: capture_tts.syntheses(outcome="error"))
    synthesis = capture_tts.synthesis()
    assert (skipped(synthesis), synthesis["gen_ai.provider.name"]) == ([("one", "unavailable")], "one")
    health = health_pb2_grpc.HealthStub(client.channel)
    for name in ("", "yap.tts.v1.TextToSpeech"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("between", [[], [refuses_input()]], ids=["empty", "refuses the input"])
async def test_what_is_about_the_text_takes_back_no_failure(start: Any, scripted: Any, between: list[Any]) -> None:
    """It is no news of the provider: the failure before it and the one after it are two in a row."""
    engine = scripted("one")
    client = await start(engine, circuit_failures=2, circuit_cooldown=60.0, probe_interval=60.0)
    await client.until(lambda: engine.checks)  # the first probe, which is well
    for n, script in enumerate(([RuntimeError()], between, [RuntimeError()])):
        assert client.service.engines[0].circuit.closed
        engine.script = script
        await client.refused(f"Number {n}.")
    assert not client.service.engines[0].circuit.closed


@pytest.mark.parametrize("script", [[refuses_input()], []], ids=["refuses the input", "empty"])
async def test_what_is_about_the_text_opens_no_circuit(start: Any, scripted: Any, script: list[Any]) -> None:
    """Nor does a caller who goes away."""
    engine = scripted("one")
    client = await start(engine, circuit_failures=1)
    engine.script = script
    for n in range(5):
        await client.refused(f"Number {n}.")
    engine.script = [asyncio.Event()]
    call = client.stub.Synthesize(tts_pb2.SynthesizeRequest(text="Hello."))
    await client.until(lambda: engine.active)
    call.cancel()
    await client.until(lambda: not engine.active)
    assert client.service.engines[0].circuit.closed
