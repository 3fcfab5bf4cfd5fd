"""Servers with known protos that were never changed: how their requests end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.trace import SpanKind

from otel_tts import Settings
from otel_tts.instrumentation import protos
from otel_tts.testing.capture import Capture
from tests.grpc.servers import wait_for
from tests.instrumentation.known_rpcs import (
    ENGINE_TIME,
    LENGTH,
    NOBODY,
    PCM,
    RPCS,
    SPEECH,
    TEXT,
    WHOLE,
    Rpc,
    asked,
    yap_response,
)
from tests.instrumentation.proto_pictures import picture, points, server_span, sets_code
from tests.instrumentation.proto_servers import SERVERS, message, wav


def aborts(context: Any) -> Any:
    """Refuse the request."""
    return context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")


def fails(context: Any) -> Any:
    """Have a bug."""
    raise ValueError(TEXT)


def unavailable(context: Any) -> Any:
    """Give up."""
    return context.abort(grpc.StatusCode.UNAVAILABLE, "no")


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
        (yap_response(success=False, message=TEXT, audio_data=wav(WHOLE)), None, "OK", "partial", "_OTHER"),
        (yap_response(success=False, audio_data=b""), sets_code, "NOT_FOUND", "rejected", "invalid_input"),
        (yap_response(audio_data=b"", duration=2), None, "OK", "empty", "no_audio"),
        (yap_response(audio_data=wav(b"")), None, "OK", "empty", "no_audio"),
    ],
    ids=["failure", "failure with audio", "failure and status", "no audio", "no samples"],
)
def test_a_failure_inside_the_answer_is_a_failure(
    stack: str, response: Any, end: Any, code: str, outcome: str, error_type: str, served: Any, capture_tts: Capture
) -> None:
    """`success` false under status OK is an error, and so is no audio; a status that says more counts more.

    The caller of an answer that failed and has audio all the same has got that audio.
    """
    ok = RPCS["original yap"]
    rpc = Rpc(ok.method, ok.requests, [response], ok.asked, {})
    seen, _ = served(stack, rpc, rpc.handler(stack, capture_tts.clock, end or (lambda _: None)))
    assert seen.name == code
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["error.type"]) == (outcome, error_type)
    got = outcome == "partial"
    assert synthesis["tts.audio.delivered_duration"] == (pytest.approx(LENGTH) if got else 0.0)
    assert synthesis["tts.text.length"] == len("Hello")
    assert points(capture_tts)["tts.synthesis.characters"] == [
        (NOBODY | {"tts.characters.state": "synthesized" if got else "wasted"}, 5)
    ]
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
