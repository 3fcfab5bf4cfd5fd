"""Servers with known protos whose handlers have telemetry of their own: both are one request."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.trace import SpanKind

from otel_tts import PCM16
from otel_tts.instrumentation import protos
from otel_tts.testing.capture import Capture
from tests.grpc.servers import wait_for
from tests.instrumentation.known_rpcs import (
    LENGTH,
    PCM,
    RIVA,
    RPCS,
    TEXT,
    Rpc,
    yap_response,
)
from tests.instrumentation.proto_pictures import points
from tests.instrumentation.proto_servers import RATE, SERVERS, message, service


@pytest.mark.parametrize("stack", SERVERS)
def test_an_explicit_synthesis_is_the_same_one(stack: str, capture_tts: Capture) -> None:
    """A handler's own Synthesis and its attempts are joined: what they measure counts, and nothing counts twice."""
    telemetry = capture_tts.telemetry()
    rpc, clock = RPCS["riva online"], capture_tts.clock
    response = functools.partial(message, f"{RIVA}.SynthesizeSpeechResponse")

    def engine() -> Iterator[bytes]:
        for pcm in PCM:
            clock.advance(0.125)
            yield pcm

    def sync(request: Any, context: Any) -> Iterator[Any]:
        with telemetry.synthesis(text=request.text, voice="alias", language="xx", stream=True) as s:
            s.queued(0.5)
            for pcm in s.attempt("hibari", "heart").stream(engine(), PCM16(RATE)):
                yield response(audio=pcm)

    async def aio(request: Any, context: Any) -> Any:
        async with telemetry.synthesis(text=request.text, voice="alias", language="xx", stream=True) as s:
            s.queued(0.5)
            for pcm in s.attempt("hibari", "heart").stream(engine(), PCM16(RATE)):
                yield response(audio=pcm)

    behavior = sync if stack == "sync" else aio
    with SERVERS[stack](
        telemetry, service(rpc.method, behavior, type(rpc.requests[0]), response_streaming=True), protos.load()
    ) as port:
        assert rpc.call(port) == (grpc.StatusCode.OK, list(rpc.responses))
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])

    maker = {"gen_ai.provider.name": "hibari", "gen_ai.request.model": "heart"}
    synthesis = capture_tts.synthesis(outcome="ok")
    assert [(a.provider, a.model, a.outcome) for a in synthesis.attempts] == [("hibari", "heart", "ok")]
    assert synthesis["tts.voice"] == "English-US.Female-1"  # as asked
    assert synthesis["tts.text.length"] == len(TEXT)
    assert synthesis["tts.stream.chunk.count"] == len(PCM)
    assert synthesis["tts.queue.wait"] == 0.5
    assert synthesis["tts.real_time_factor"] == pytest.approx(0.125 * len(PCM) / LENGTH)
    assert synthesis.first_byte == 0.125
    assert synthesis["tts.audio.duration"] == synthesis["tts.audio.delivered_duration"] == pytest.approx(LENGTH)
    assert points(capture_tts)["tts.synthesis.characters"] == [(maker | {"tts.characters.state": "synthesized"}, len(TEXT))]
    assert [value for _, value in points(capture_tts)["tts.synthesis.audio"]] == [pytest.approx(LENGTH)] * 2
    for metric in (
        "tts.synthesis.duration",
        "tts.synthesis.requests",
        "tts.attempt.duration",
        "tts.synthesis.time_to_first_byte",
    ):
        assert capture_tts.total(metric) == 1, metric


@pytest.mark.parametrize("stack", SERVERS)
def test_the_mapping_fills_what_an_explicit_synthesis_leaves_out(stack: str, capture_tts: Capture) -> None:
    """Of a handler that only names its engine, text, voice and audio are known from the messages."""
    telemetry = capture_tts.telemetry()
    rpc = RPCS["original yap"]

    def work() -> Any:
        with telemetry.synthesis() as s, s.attempt("hibari", "heart"):
            capture_tts.clock.advance(0.5)
            return rpc.responses[0]

    async def aio(request: Any, context: Any) -> Any:
        return work()

    behavior = aio if stack == "aio" else lambda request, context: work()
    with SERVERS[stack](telemetry, service(rpc.method, behavior, type(rpc.requests[0])), protos.load()) as port:
        assert rpc.call(port) == (grpc.StatusCode.OK, list(rpc.responses))
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
    synthesis = capture_tts.synthesis(outcome="ok")
    stated = {key: synthesis[key] for key in (*rpc.asked, *rpc.made, "gen_ai.provider.name")}
    assert stated == rpc.asked | rpc.made | {"tts.audio.duration": pytest.approx(LENGTH), "gen_ai.provider.name": "hibari"}
    assert len(synthesis.attempts) == 1
    audio = {"gen_ai.provider.name": "hibari", "gen_ai.request.model": "heart", "tts.audio.state": "delivered"}
    assert capture_tts.total("tts.synthesis.audio", audio) == capture_tts.total("tts.synthesis.audio") == pytest.approx(LENGTH)


def test_what_an_attempt_knows_of_a_failure_counts_more(capture_tts: Capture) -> None:
    """When the handler answers `success` false because its engine failed, the engine's failure says why."""
    telemetry = capture_tts.telemetry()
    ok = RPCS["original yap"]
    rpc = Rpc(ok.method, ok.requests, [yap_response(success=False, audio_data=b"")], ok.asked, {})

    def behavior(request: Any, context: Any) -> Any:
        with telemetry.synthesis() as s, s.attempt("hibari") as attempt:
            attempt.fail(ConnectionRefusedError())
        return rpc.responses[0]

    with SERVERS["sync"](telemetry, service(rpc.method, behavior, type(rpc.requests[0])), protos.load()) as port:
        assert rpc.call(port) == (grpc.StatusCode.OK, list(rpc.responses))
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["error.type"], len(synthesis.attempts)) == ("error", "connection", 1)


@pytest.mark.parametrize("stack", SERVERS)
def test_text_in_pieces_is_counted_once(stack: str, capture_tts: Capture) -> None:
    """A handler that reports the pieces of text which the messages have shown already does not double them."""
    telemetry = capture_tts.telemetry()
    rpc = RPCS["google streaming"]

    def speak(s: Any, request: Any) -> Iterator[Any]:
        if request.input.text or request.input.markup:
            s.add_text(request.input.text or request.input.markup)
            yield rpc.responses[0]

    def sync(requests: Any, context: Any) -> Iterator[Any]:
        with telemetry.synthesis(stream=True) as s:
            for request in requests:
                yield from speak(s, request)

    async def aio(requests: Any, context: Any) -> Any:
        async with telemetry.synthesis(stream=True) as s:
            async for request in requests:
                for response in speak(s, request):
                    yield response

    handler = service(
        rpc.method, sync if stack == "sync" else aio, type(rpc.requests[0]), request_streaming=True, response_streaming=True
    )
    with SERVERS[stack](telemetry, handler, protos.load()) as port:
        assert rpc.call(port) == (grpc.StatusCode.OK, [rpc.responses[0]] * 2)
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.text.length"], synthesis["tts.stream.chunk.count"]) == (len(TEXT), 2)
    assert {key: synthesis[key] for key in rpc.asked} == rpc.asked


@pytest.mark.parametrize("stack", SERVERS)
def test_engines_that_are_called_sentence_by_sentence_belong_to_one_request(stack: str, capture_tts: Capture) -> None:
    """What an instrumented engine begins for each of its calls is part of the one request that came."""
    telemetry = capture_tts.telemetry()
    rpc = RPCS["riva"]

    def work() -> Any:
        for sentence, pcm in zip(TEXT.split(". "), PCM, strict=True):
            with telemetry.synthesis(text=sentence) as s, s.attempt("hibari") as attempt:
                attempt.audio(pcm, PCM16(RATE))
        return rpc.responses[0]

    async def aio(request: Any, context: Any) -> Any:
        return work()

    behavior = aio if stack == "aio" else lambda request, context: work()
    with SERVERS[stack](telemetry, service(rpc.method, behavior, type(rpc.requests[0])), protos.load()) as port:
        assert rpc.call(port) == (grpc.StatusCode.OK, list(rpc.responses))
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
    synthesis = capture_tts.synthesis(outcome="ok")
    assert [attempt.outcome for attempt in synthesis.attempts] == ["ok", "ok"]
    assert (synthesis["tts.text.length"], synthesis["tts.audio.duration"]) == (len(TEXT), pytest.approx(LENGTH))
    audio = [("generated", pytest.approx(LENGTH)), ("delivered", pytest.approx(LENGTH))]
    seconds = [(labels["tts.audio.state"], value) for labels, value in points(capture_tts)["tts.synthesis.audio"]]
    assert sorted(seconds, key=lambda f: str(f[0])) == sorted(audio, key=lambda f: str(f[0]))
