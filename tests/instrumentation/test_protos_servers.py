"""Servers with known protos that were never changed: what the interceptor sees of their requests to speak."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from opentelemetry.trace import SpanKind

from otel_tts.testing.capture import Capture
from tests.instrumentation.known_rpcs import (
    ENGINE_TIME,
    NOBODY,
    RPCS,
    SPEECH,
    WHOLE,
    Rpc,
    onset,
)
from tests.instrumentation.proto_pictures import picture, points, server_span
from tests.instrumentation.proto_servers import SERVERS


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
        synthesis["tts.text.wait"] = synthesis["tts.time_to_first_text"] = 0.0  # all of it is there
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
