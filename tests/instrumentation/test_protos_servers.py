"""Servers with known protos that were never changed: what the interceptor sees of their requests to speak, as a whole picture."""

from __future__ import annotations

import asyncio
import functools
import threading
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.trace import SpanKind

from otel_tts import PCM16, Encoded, Settings, Telemetry
from otel_tts.instrumentation import protos
from otel_tts.testing.capture import Capture
from tests.grpc.servers import wait_for
from tests.instrumentation.known_rpcs import (
    ENGINE_TIME,
    LENGTH,
    NOBODY,
    PCM,
    RIVA,
    RPCS,
    SPEECH,
    TEXT,
    WHOLE,
    Rpc,
    asked,
    onset,
    yap_response,
)
from tests.instrumentation.proto_servers import RATE, SERVERS, message, service, wav


def picture(capture: Capture) -> list[Any]:
    """All spans: name, kind, status, events, attributes, children."""
    spans = sorted(capture.spans, key=lambda span: (span.start_time or 0, span.parent is not None))

    def node(span: Any) -> list[Any]:
        children = [s for s in spans if s.parent is not None and s.parent.span_id == span.context.span_id]
        return [span.name, span.kind, span.status.status_code.name, dict(span.attributes or {}), [node(s) for s in children]]

    return [node(span) for span in spans if span.parent is None]


def points(capture: Capture) -> dict[str, list[Any]]:
    """All points of all metrics but the RPC's: attributes with the value, of histograms with their sum.

    Not the state of providers: that knows of every one that an earlier test asked.
    """
    return {
        name: [(dict(p.attributes or {}), p.sum if isinstance(p, HistogramDataPoint) else p.value) for p in capture.points(name)]
        for name in capture.metrics()
        if not name.startswith(("rpc.", "tts.provider.available", "tts.provider.health."))
    }


def server_span(rpc: Rpc, code: str = "OK", error_type: str | None = None) -> dict[str, Any]:
    """Attributes of the RPC's span."""
    attributes = {"rpc.system.name": "grpc", "rpc.method": rpc.method, "rpc.response.status_code": code}
    return attributes | ({"error.type": error_type} if error_type else {})


@pytest.fixture
def served(capture_tts: Capture) -> Any:
    """Serves a handler of one stack, with the mapping that is known or another, makes one RPC, and waits until all is told."""

    def serve(stack: str, rpc: Rpc, handler: grpc.GenericRpcHandler, *, mapping: Any = None, **arguments: Any) -> Any:
        telemetry = capture_tts.telemetry()
        with SERVERS[stack](telemetry, handler, mapping or protos.load()) as port:
            seen = rpc.call(port, **arguments)
            wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
        return seen

    return serve


@pytest.mark.parametrize("stack", SERVERS)
@pytest.mark.parametrize("rpc", RPCS.values(), ids=RPCS)
def test_a_server_that_was_never_changed_has_its_synthesis(rpc: Rpc, stack: str, served: Any, capture_tts: Capture) -> None:
    """Of each known method the span and all the metrics of the request are whole, with no attempt that nobody saw."""
    code, responses = served(stack, rpc, rpc.handler(stack, capture_tts.clock))
    assert (code, responses) == (grpc.StatusCode.OK, list(rpc.responses))

    took = ENGINE_TIME * len(rpc.responses)
    readable = "tts.audio.sample_rate" in rpc.made
    first_byte = ENGINE_TIME * rpc.first_byte_after
    synthesis = {
        **SPEECH, **rpc.asked, **rpc.made, **rpc.maker,
        "gen_ai.request.stream": rpc.response_streaming,
        "tts.outcome": "ok",
        "tts.cache.result": "bypass",
        "tts.attempt.count": 0,
        "tts.fallback.used": False,
        "tts.audio.delivered_duration": rpc.made["tts.audio.duration"],
    }  # fmt: skip
    maker = NOBODY | rpc.maker
    cached = maker | {"tts.cache.result": "bypass"}
    stream = {"gen_ai.request.stream": rpc.response_streaming}
    labels = {"tts.voice": "_NONE", "tts.language": "_NONE"} | {k: v for k, v in rpc.asked.items() if k != "tts.text.length"}
    expected = {
        "tts.synthesis.duration": [(cached | stream | {"tts.outcome": "ok"}, took)],
        "tts.synthesis.requests": [(labels | {"tts.outcome": "ok"}, 1)],
        "tts.synthesis.characters": [(maker | {"tts.characters.state": "synthesized"}, rpc.asked["tts.text.length"])],
        "tts.synthesis.audio": [
            (
                maker | {"tts.audio.state": "delivered", "tts.audio.source": "provider"},
                pytest.approx(rpc.made["tts.audio.duration"]),
            )
        ],
    }
    if rpc.request_streaming:
        synthesis["tts.text.wait"] = 0.0  # all of it is there
        expected["tts.text.wait"] = [({}, 0.0)]
    if rpc.response_streaming:
        chunks = len(rpc.responses) - (rpc.first_byte_after - 1) - ("trailer" in str(rpc.responses[-1]))
        synthesis |= {"tts.time_to_first_byte": first_byte, "tts.stream.chunk.count": chunks}
        expected["tts.synthesis.time_to_first_byte"] = [(cached, first_byte)]
    if rpc.response_streaming and readable:
        first_audio = pytest.approx(first_byte + onset(WHOLE), abs=1e-6)
        synthesis |= {"tts.time_to_first_audio": first_audio, "tts.stream.underrun": pytest.approx(rpc.underrun),
            "tts.underrun.provider": pytest.approx(rpc.underrun), "tts.underrun.consumer": pytest.approx(0.0)}  # fmt: skip
        expected["tts.synthesis.time_to_first_audio"] = [(cached | {"tts.outcome": "ok"}, first_audio)]
        expected["tts.stream.underrun"] = [
            (cached | {"tts.underrun.cause": "provider"}, pytest.approx(rpc.underrun)),
            (cached | {"tts.underrun.cause": "consumer"}, 0.0),
        ]
    synthesis["tts.audio.duration"] = synthesis["tts.audio.delivered_duration"] = pytest.approx(rpc.made["tts.audio.duration"])
    span = ["tts.synthesize", SpanKind.INTERNAL, "UNSET", synthesis, []]
    assert picture(capture_tts) == [[rpc.method, SpanKind.SERVER, "UNSET", server_span(rpc), [span]]]
    assert points(capture_tts) == expected


# -- how it ends -------------------------------------------------------------------------------------------------------


def aborts(context: Any) -> Any:
    """Refuse the request."""
    return context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")


def fails(context: Any) -> Any:
    """Have a bug."""
    raise ValueError(TEXT)


def unavailable(context: Any) -> Any:
    """Give up."""
    return context.abort(grpc.StatusCode.UNAVAILABLE, "no")


def sets_code(context: Any) -> Any:
    """Refuse the request and answer all the same."""
    context.set_code(grpc.StatusCode.NOT_FOUND)


@dataclass
class Ending:
    """How a handler ends, and what becomes of the request: before the answer, and after the stream's first pieces."""

    end: Callable[[Any], Any]
    code: str
    unary: tuple[str, str | None]
    """Outcome and error type."""
    stream: tuple[str, str | None]
    server_error: bool = False


ENDINGS = {
    "abort": Ending(aborts, "INVALID_ARGUMENT", ("rejected", "invalid_input"), ("rejected", "invalid_input")),
    "set_code": Ending(sets_code, "NOT_FOUND", ("rejected", "invalid_input"), ("rejected", "invalid_input")),
    "unavailable": Ending(unavailable, "UNAVAILABLE", ("error", "unavailable"), ("partial", "unavailable"), server_error=True),
    "exception": Ending(fails, "UNKNOWN", ("error", "_OTHER"), ("partial", "_OTHER"), server_error=True),
}


@pytest.mark.parametrize("kind", ["riva", "riva online", "google streaming"])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("stack", SERVERS)
def test_the_status_of_the_rpc_decides_the_outcome(
    stack: str, ending: Ending, kind: str, served: Any, capture_tts: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """A request ends as its RPC does, before the first audio or after it, and its text and length are known all the same."""
    rpc = RPCS[kind]
    code, responses = served(stack, rpc, rpc.handler(stack, capture_tts.clock, ending.end))
    assert (code.name, responses) == (ending.code, list(rpc.responses) if rpc.response_streaming else [])
    outcome, error_type = ending.stream if rpc.response_streaming else ending.unary
    handed_out = pytest.approx(LENGTH) if rpc.response_streaming else 0.0
    failure = outcome in ("error", "partial")

    [[_, _, _, attributes, [synthesis]]] = picture(capture_tts)
    assert attributes == server_span(rpc, ending.code, ending.code if ending.server_error else None)
    expected = {
        **SPEECH, **rpc.asked,
        "gen_ai.request.stream": rpc.response_streaming,
        "tts.outcome": outcome,
        "error.type": error_type,
        "tts.cache.result": "bypass",
        "tts.attempt.count": 0,
        "tts.fallback.used": False,
        "tts.audio.delivered_duration": handed_out,
    }  # fmt: skip
    assert synthesis[3].items() >= expected.items()
    assert synthesis[2] == ("ERROR" if failure else "UNSET")
    assert (
        capture_tts.total("tts.synthesis.duration", {"tts.outcome": outcome}) == capture_tts.total("tts.synthesis.duration") == 1
    )
    state = "synthesized" if rpc.response_streaming else "wasted"
    assert capture_tts.total("tts.synthesis.characters", {"tts.characters.state": state}) == len(TEXT)
    assert capture_tts.total("tts.synthesis.failures", NOBODY) == failure
    assert capture_tts.total("tts.synthesis.active") == 0
    assert "Failed to detach context" not in caplog.text


@pytest.mark.parametrize("stack", SERVERS)
@pytest.mark.parametrize(
    ("response", "end", "code", "outcome", "error_type"),
    [
        (yap_response(success=False, message=TEXT, audio_data=b""), None, "OK", "error", "_OTHER"),
        (yap_response(success=False, message=TEXT, audio_data=wav(WHOLE)), None, "OK", "error", "_OTHER"),
        (yap_response(success=False, audio_data=b""), sets_code, "NOT_FOUND", "rejected", "invalid_input"),
        (yap_response(audio_data=b"", duration=2), None, "OK", "empty", "no_audio"),
        (yap_response(audio_data=wav(b"")), None, "OK", "empty", "no_audio"),
    ],
    ids=["failure", "failure with audio", "failure and status", "no audio", "no samples"],
)
def test_a_failure_inside_the_answer_is_a_failure(
    stack: str, response: Any, end: Any, code: str, outcome: str, error_type: str, served: Any, capture_tts: Capture
) -> None:
    """`success` false under status OK is an error, and so is no audio; a status that says more counts more."""
    ok = RPCS["original yap"]
    rpc = Rpc(ok.method, ok.requests, [response], ok.asked, {})
    seen, _ = served(stack, rpc, rpc.handler(stack, capture_tts.clock, end or (lambda _: None)))
    assert seen.name == code
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["error.type"], synthesis["tts.audio.delivered_duration"]) == (outcome, error_type, 0.0)
    assert synthesis["tts.text.length"] == len("Hello")
    assert points(capture_tts)["tts.synthesis.characters"] == [(NOBODY | {"tts.characters.state": "wasted"}, 5)]
    assert capture_tts.total("tts.synthesis.failures", {"tts.outcome": outcome, "error.type": error_type}) == (code == "OK")
    assert TEXT not in str([span.to_json() for span in capture_tts.spans])


def sound(**fields: Any) -> Any:
    """An answer of the user's own service."""
    return message("acme.v1.Sound", **fields)


ACME = """
["acme.v1.Speech/Say"]
request.text = "lines"
request.voice = "speaker"
response.audio = "pcm"
response.seconds = "seconds"
format = "pcm16"
sample_rate = 24000

["acme.v1.Speech/Read"]
request.text = "lines"
request.voice = "speaker"
response.audio = "pcm"
format = "pcm16"
sample_rate = 24000

["acme.v1.Speech/Sing"]
request.text = "lines"
request.voice = "speaker"
response.audio = "pcm"
response.success = "result.fine"
response.seconds = "seconds"
format = "pcm16"
sample_rate = 24000
"""


@pytest.fixture
def acme(tmp_path: Path) -> protos.Protos:
    """The methods of a user's own service, from a file."""
    path = tmp_path / "mapping.toml"
    path.write_text(ACME, "utf-8")
    return protos.load(Settings.load({"OTEL_TTS_GRPC_MAPPING": str(path)}))


def sing(*responses: Any, method: str = "Sing", request_streaming: bool = False, response_streaming: bool = True) -> Rpc:
    """An RPC of the user's own service."""
    words = [message("acme.v1.Words", lines=["Hello there. ", "How are you?"], speaker="joe", options={"a": "b"})]
    if request_streaming:
        words = [
            message("acme.v1.Words", lines=["Hello there. "], speaker="joe"),
            message("acme.v1.Words", lines=["How are you?"]),
        ]
    return Rpc(
        f"acme.v1.Speech/{method}",
        words,
        responses,
        asked(TEXT, "joe"),
        {},
        request_streaming=request_streaming,
        response_streaming=response_streaming,
    )


OWN = {
    "unary": (sing(sound(pcm=WHOLE), method="Say", response_streaming=False), "ok", LENGTH),
    "client stream": (sing(sound(pcm=WHOLE), method="Read", request_streaming=True, response_streaming=False), "ok", LENGTH),
    "server stream": (sing(*(sound(pcm=pcm) for pcm in PCM)), "ok", LENGTH),
    "fine in the end": (sing(sound(pcm=WHOLE), sound(result={"fine": True})), "ok", LENGTH),
    "failed in the end": (sing(sound(pcm=WHOLE), sound(result={"fine": False})), "partial", LENGTH),
    "failed at once": (sing(sound(result={"fine": False})), "error", 0.0),
    "nothing but silence of the server": (sing(sound()), "empty", 0.0),
    "another container than was said": (sing(sound(pcm=wav(WHOLE))), "ok", LENGTH),
}


@pytest.mark.parametrize("stack", SERVERS)
@pytest.mark.parametrize(("rpc", "outcome", "length"), OWN.values(), ids=OWN)
def test_a_service_of_ones_own(
    rpc: Rpc, outcome: str, length: float, stack: str, acme: Any, served: Any, capture_tts: Capture
) -> None:
    """What a user's file says of their methods, of every kind, is seen like what is known."""
    code, responses = served(stack, rpc, rpc.handler(stack, capture_tts.clock), mapping=acme)
    assert (code.name, responses) == ("OK", list(rpc.responses))
    synthesis = capture_tts.synthesis()
    stated = {key: synthesis[key] for key in (*rpc.asked, "gen_ai.request.stream", "tts.audio.delivered_duration")}
    expected = rpc.asked | {
        "gen_ai.request.stream": rpc.response_streaming,
        "tts.audio.delivered_duration": pytest.approx(length),
    }
    assert (synthesis.outcome, stated) == (outcome, expected)
    assert capture_tts.total("tts.synthesis.requests", {"tts.outcome": outcome, "tts.voice": "joe"}) == 1


@pytest.mark.parametrize("stack", SERVERS)
@pytest.mark.parametrize("kind", ["riva online", "google streaming"])
@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_stream_that_is_cut_off(
    stack: str, kind: str, how: str, capture_tts: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """The request ends with its RPC, though the handler is still at it; what the caller got by then is known."""
    rpc = RPCS[kind]
    release = threading.Event()
    handler = rpc.handler(stack, capture_tts.clock, lambda _: release.wait(30) if stack == "sync" else asyncio.sleep(30))
    telemetry = capture_tts.telemetry()
    with SERVERS[stack](telemetry, handler, protos.load()) as port:
        if how == "cancel":
            code, responses = rpc.call(port, cancel_after=len(rpc.responses))
        else:
            code, responses = rpc.call(port, timeout=0.5)
        try:
            wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
        finally:
            release.set()
    outcome = "cancelled" if how == "cancel" else "deadline"
    assert (code.name, responses) == ("CANCELLED" if how == "cancel" else "DEADLINE_EXCEEDED", list(rpc.responses))
    synthesis = capture_tts.synthesis()
    assert synthesis.outcome == outcome
    assert synthesis.attempts == []
    assert {key: synthesis[key] for key in rpc.asked} == rpc.asked
    assert synthesis["tts.audio.format"] == "pcm16"
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(LENGTH)
    assert synthesis.first_byte == ENGINE_TIME
    assert (
        capture_tts.total("tts.synthesis.duration", {"tts.outcome": outcome}) == capture_tts.total("tts.synthesis.duration") == 1
    )
    assert capture_tts.total("tts.synthesis.active") == 0
    assert "Failed to detach context" not in caplog.text


# -- with telemetry inside ---------------------------------------------------------------------------------------------


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


# -- the host's view ---------------------------------------------------------------------------------------------------


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
