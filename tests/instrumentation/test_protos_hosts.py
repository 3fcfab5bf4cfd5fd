"""Servers with known protos as their hosts see them: handlers, spans and messages stay what they were."""

from __future__ import annotations

import functools
import threading
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_tts import PCM16, Encoded, Telemetry
from otel_tts.instrumentation import protos
from otel_tts.testing.capture import Capture
from tests.grpc.servers import wait_for
from tests.instrumentation.known_rpcs import (
    ENGINE_TIME,
    LENGTH,
    PCM,
    RPCS,
    TEXT,
    WHOLE,
    Rpc,
    yap_response,
)
from tests.instrumentation.proto_pictures import picture, points, server_span, sets_code
from tests.instrumentation.proto_servers import RATE, SERVERS, message, service


@pytest.mark.parametrize("request_streaming", [False, True])
def test_handlers_that_read_and_write(request_streaming: bool, served: Any, capture_tts: Capture) -> None:
    """An asynchronous handler may read requests from its context and write responses to it; both are seen."""
    rpc = RPCS["google streaming" if request_streaming else "riva online"]
    seen = []

    async def behavior(request: Any, context: Any) -> None:
        while request_streaming and (each := await context.read()) is not grpc.aio.EOF:
            seen.append(each)
        for response in rpc.responses:
            capture_tts.clock.advance(ENGINE_TIME)
            await context.write(response)

    handler = service(rpc.method, behavior, type(rpc.requests[0]), request_streaming=request_streaming, response_streaming=True)
    assert served("aio", rpc, handler) == (grpc.StatusCode.OK, list(rpc.responses))
    assert seen == (list(rpc.requests) if request_streaming else [])
    synthesis = capture_tts.synthesis(outcome="ok")
    stated = {key: synthesis[key] for key in (*rpc.asked, *rpc.made)}
    assert stated == rpc.asked | rpc.made | {"tts.audio.duration": pytest.approx(LENGTH)}
    assert (synthesis.first_byte, synthesis["tts.stream.chunk.count"]) == (ENGINE_TIME, len(PCM))


def test_synchronous_handlers_of_an_asynchronous_server(served: Any, capture_tts: Capture) -> None:
    """They run in threads of their own, and are seen as well; an answer inside tells of a failure there too."""
    rpc = RPCS["riva online"]
    assert served("aio", rpc, rpc.handler("sync", capture_tts.clock)) == (grpc.StatusCode.OK, list(rpc.responses))
    assert capture_tts.synthesis(outcome="ok")["tts.audio.delivered_duration"] == pytest.approx(LENGTH)


def test_a_failed_answer_of_a_synchronous_handler_in_an_asynchronous_server(served: Any, capture_tts: Capture) -> None:
    """The status that it has set is known there too."""
    ok = RPCS["original yap"]
    rpc = Rpc(ok.method, ok.requests, [yap_response(success=False, audio_data=b"")], ok.asked, {})
    served("aio", rpc, rpc.handler("sync", capture_tts.clock, sets_code))
    assert capture_tts.synthesis().outcome == "rejected"


class OnlyNext:
    """The least that grpc takes for responses."""

    def __init__(self, responses: Sequence[Any]) -> None:
        self._responses = iter(responses)

    def __next__(self) -> Any:
        return next(self._responses)


def test_responses_need_be_no_more_than_grpc_asks_for(served: Any, capture_tts: Capture) -> None:
    """A handler may return anything that gives the next response."""
    rpc = RPCS["riva online"]
    handler = service(
        rpc.method, lambda request, context: OnlyNext(rpc.responses), type(rpc.requests[0]), response_streaming=True
    )
    assert served("sync", rpc, handler) == (grpc.StatusCode.OK, list(rpc.responses))
    assert capture_tts.synthesis().outcome == "ok"


@pytest.mark.parametrize("stack", SERVERS)
def test_the_hosts_own_span_stays_current_between_responses(stack: str, served: Any, capture_tts: Capture) -> None:
    """A span that the handler has around its stream is current in all of it, and a child of the request's."""
    rpc = RPCS["google streaming"]
    tracer = trace.get_tracer("host")
    inside = []

    def sync(requests: Any, context: Any) -> Iterator[Any]:
        with tracer.start_as_current_span("host"):
            for _ in requests:
                pass
            for response in rpc.responses:
                inside.append(trace.get_current_span())
                yield response
            inside.append(trace.get_current_span())

    async def aio(requests: Any, context: Any) -> Any:
        with tracer.start_as_current_span("host"):
            async for _ in requests:
                pass
            for response in rpc.responses:
                inside.append(trace.get_current_span())
                yield response
            inside.append(trace.get_current_span())

    handler = service(
        rpc.method, sync if stack == "sync" else aio, type(rpc.requests[0]), request_streaming=True, response_streaming=True
    )
    served(stack, rpc, handler)
    [host] = [span for span in capture_tts.spans if span.name == "host"]
    assert {span.get_span_context().span_id for span in inside} == {host.context.span_id}
    assert capture_tts.synthesis().outcome == "ok"


@pytest.mark.parametrize("stack", SERVERS)
def test_spans_of_a_handler_are_children_of_the_request(stack: str, served: Any, capture_tts: Capture) -> None:
    """What a handler does for the request, a look-up in a cache say, stands below it in the trace."""
    rpc = RPCS["riva"]

    def end(context: Any) -> None:
        trace.get_tracer("host").start_span("GET").end()

    served(stack, rpc, rpc.handler(stack, capture_tts.clock, end))
    assert [child[0] for child in picture(capture_tts)[0][4][0][4]] == ["GET"]


@pytest.mark.parametrize("stack", SERVERS)
def test_what_goes_on_after_the_rpc_is_on_its_own(stack: str, capture_tts: Capture) -> None:
    """A Synthesis that begins in the background when the RPC is over is another one."""
    telemetry = capture_tts.telemetry()
    rpc, over = RPCS["riva"], threading.Event()
    threads: list[threading.Thread] = []

    def background() -> None:
        assert over.wait(5)
        with telemetry.synthesis(text="later") as s, s.attempt("hibari") as attempt:
            attempt.audio(WHOLE, PCM16(RATE))

    def end(context: Any) -> None:
        threads.append(threading.Thread(target=telemetry.carry(background)))
        threads[0].start()

    with SERVERS[stack](telemetry, rpc.handler(stack, capture_tts.clock, end), protos.load()) as port:
        rpc.call(port)
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
        over.set()
        threads[0].join(5)
    assert [(s.outcome, s["tts.text.length"], len(s.attempts)) for s in capture_tts.syntheses()] == [
        ("ok", len(TEXT), 0),
        ("ok", len("later"), 1),
    ]


@pytest.mark.parametrize("stack", SERVERS)
@pytest.mark.parametrize("kind", ["original yap", "riva online", "google streaming"])
def test_messages_of_another_kind_are_served_unobserved(stack: str, kind: str, served: Any, capture_tts: Capture) -> None:
    """Where a method of a known name has messages that lack the fields, there is the RPC's span and nothing else."""
    stated = RPCS[kind]
    answer = message("alien.Response", answer="42")
    rpc = Rpc(
        stated.method,
        [message("alien.Request", query="?")],
        [answer],
        {},
        {},
        request_streaming=stated.request_streaming,
        response_streaming=stated.response_streaming,
    )
    assert served(stack, rpc, rpc.handler(stack, capture_tts.clock)) == (grpc.StatusCode.OK, [answer])
    assert picture(capture_tts) == [[rpc.method, SpanKind.SERVER, "UNSET", server_span(rpc), []]]
    assert points(capture_tts) == {}


@pytest.mark.parametrize("stack", SERVERS)
def test_an_answer_of_another_kind_is_not_judged(stack: str, served: Any, capture_tts: Capture) -> None:
    """A request that is known with an answer that is not has its outcome from the status alone."""
    stated = RPCS["riva"]
    rpc = Rpc(stated.method, stated.requests, [message("alien.Response", answer="42")], stated.asked, {})
    served(stack, rpc, rpc.handler(stack, capture_tts.clock))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.text.length"], synthesis["tts.audio.duration"]) == (len(TEXT), None)


def test_other_methods_are_left_as_they_are(capture_tts: Capture) -> None:
    """A handler's function is replaced for known methods only, and never one that answers through a callback."""

    def behavior(request: Any, context: Any) -> None: ...

    def later(request: Any, context: Any, callback: Any) -> None: ...

    later.experimental_non_blocking = True  # type: ignore[attr-defined]  # grpc's own mark
    telemetry: Telemetry = capture_tts.telemetry()
    observe = functools.partial(protos.load().observe, telemetry=telemetry, request_streaming=False, response_streaming=False)
    assert observe(behavior, "tts.TTSService/ListVoices") is behavior
    assert observe(behavior, "grpc.health.v1.Health/Check") is behavior
    assert observe(later, "tts.TTSService/GenerateSpeech") is later
    assert observe(behavior, "tts.TTSService/GenerateSpeech") is not behavior


def test_an_unmapped_interceptor_sees_no_synthesis(capture_tts: Capture) -> None:
    """Without a mapping, an RPC of a known method has its span and no more."""
    rpc = RPCS["riva"]
    handler = rpc.handler("sync", capture_tts.clock)
    with SERVERS["sync"](capture_tts.telemetry(), handler, None) as port:
        assert rpc.call(port) == (grpc.StatusCode.OK, list(rpc.responses))
        wait_for(lambda: capture_tts.spans)
    assert [span.name for span in capture_tts.spans] == [rpc.method]


def test_every_known_method_is_tried_here() -> None:
    """No row of the table goes without a server that proves it."""
    table = tomllib.loads(Path(protos.__file__).with_name("protos.toml").read_text("utf-8"))
    assert {rpc.method for rpc in RPCS.values()} == set(table)


@pytest.mark.parametrize("stack", SERVERS)
def test_requests_that_nobody_takes(stack: str, served: Any, capture_tts: Capture) -> None:
    """A handler may leave requests where they are: what it took counts."""
    rpc = RPCS["google streaming"]

    def sync(requests: Any, context: Any) -> Iterator[Any]:
        next(requests), next(requests)
        yield rpc.responses[0]

    async def aio(requests: Any, context: Any) -> Any:
        await anext(requests), await anext(requests)
        yield rpc.responses[0]

    handler = service(
        rpc.method, sync if stack == "sync" else aio, type(rpc.requests[0]), request_streaming=True, response_streaming=True
    )
    assert served(stack, rpc, handler) == (grpc.StatusCode.OK, [rpc.responses[0]])
    assert capture_tts.synthesis(outcome="ok")["tts.text.length"] == len("Hello there. ")


def test_a_streaming_handler_that_fails_before_its_stream(served: Any, capture_tts: Capture) -> None:
    """One that is no generator raises when it is called, and the request ends with that."""
    rpc = RPCS["riva online"]

    def behavior(request: Any, context: Any) -> Any:
        raise ValueError(TEXT)

    code, _ = served("sync", rpc, service(rpc.method, behavior, type(rpc.requests[0]), response_streaming=True))
    assert code is grpc.StatusCode.UNKNOWN
    synthesis = capture_tts.synthesis(outcome="error")
    assert (synthesis["tts.text.length"], synthesis.first_byte) == (len(TEXT), None)


def test_audio_that_an_attempt_cannot_read_has_the_length_that_the_messages_say(capture_tts: Capture) -> None:
    """Chunks that the handler's own telemetry has counted are not counted again, and only the length is taken from the answer."""
    telemetry = capture_tts.telemetry()
    rpc = RPCS["yandex mp3"]

    def behavior(request: Any, context: Any) -> Iterator[Any]:
        s = telemetry.synthesis(stream=True)
        audio = Encoded("mp3")
        yield from s.stream(iter(rpc.responses), "remote", audio=audio, payload=lambda chunk: chunk.audio_chunk.data, remote=True)

    with SERVERS["sync"](
        telemetry, service(rpc.method, behavior, type(rpc.requests[0]), response_streaming=True), protos.load()
    ) as port:
        assert rpc.call(port) == (grpc.StatusCode.OK, list(rpc.responses))
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.audio.duration"], synthesis["tts.stream.chunk.count"]) == (1.0, len(rpc.responses))
    assert capture_tts.total("tts.synthesis.audio", {"gen_ai.provider.name": "remote"}) == 1.0
