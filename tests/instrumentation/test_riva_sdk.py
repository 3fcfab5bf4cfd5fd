"""NVIDIA Riva's client, against a local server of the real proto that the client ships, with a real engine behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from threading import Event
from typing import Any

import grpc
import hibari
import numpy as np
import pytest

from otel_tts import Telemetry
from otel_tts.instrumentation.riva import RivaInstrumentor
from otel_tts.instrumentation.servers import GrpcServerInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe, bill
from tests.instrumentation.pictures import PLAYED, QUALITY, SOME, audio, counts, tree

riva = pytest.importorskip("riva.client", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

TEXT = "Hello there. How are you?"
VOICE = "English-US.Female-1"
OF_VOICE = {"tts.voice": VOICE, "tts.language": "en-US"}
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
FAILED = ONE | {"tts.synthesis.failures": 1}
RATE = hibari.SAMPLE_RATE


class Service(grpc.GenericRpcHandler):
    """``nvidia.riva.tts``, spoken by Hibari. A text that names a status gets that, `after …` behind its first audio; `hang` hangs."""

    def __init__(self) -> None:
        self.engine = hibari.Hibari(threads=1)
        self.over = Event()
        self.proto = import_module("riva.client.proto.riva_tts_pb2")

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        read, write = self.proto.SynthesizeSpeechRequest.FromString, self.proto.SynthesizeSpeechResponse.SerializeToString
        if handler_call_details.method == "/nvidia.riva.tts.RivaSpeechSynthesis/Synthesize":
            return grpc.unary_unary_rpc_method_handler(self.whole, read, write)
        assert handler_call_details.method == "/nvidia.riva.tts.RivaSpeechSynthesis/SynthesizeOnline"
        return grpc.stream_stream_rpc_method_handler(self.stream, read, write)

    def whole(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.proto.SynthesizeSpeechResponse(audio=b"".join(self.speak(request, context)))

    def stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            for pcm in self.speak(request, context):
                yield self.proto.SynthesizeSpeechResponse(audio=pcm)

    def speak(self, request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        text, (*first, last) = request.text, request.text.split() or [""]
        fault = getattr(grpc.StatusCode, last, None)
        if fault and not first:
            context.abort(fault, "as asked")
        if text == "hang":
            self.over.wait(30)
        for samples in self.engine.stream(text, seed=0):
            yield (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
            if fault:
                context.abort(fault, "as asked")


@pytest.fixture(scope="module")
def service() -> Iterator[Any]:
    """A server, and a client of it."""
    handler = Service()
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        auth = riva.Auth(uri=f"127.0.0.1:{port}")
        try:
            yield riva.SpeechSynthesisService(auth)
        finally:
            handler.over.set()
            auth.channel.close()
            server.stop(None).wait()


def whole(client: Any, text: str, **options: Any) -> bytes:
    """One answer."""
    return bytes(client.synthesize(text, VOICE, sample_rate_hz=RATE, **options).audio)


def future(client: Any, text: str, **options: Any) -> bytes:
    """One answer, waited for by a future."""
    return bytes(client.synthesize(text, VOICE, sample_rate_hz=RATE, future=True, **options).result().audio)


def stream(client: Any, text: Any, **options: Any) -> bytes:
    """Many answers."""
    return b"".join(answer.audio for answer in client.synthesize_online(text, VOICE, sample_rate_hz=RATE, **options))


ALL = pytest.mark.parametrize("speak", [whole, future, stream])


@pytest.mark.parametrize("speak", [whole, future])
def test_a_whole_answer(capture_tts: Capture, observe: Observe, service: Any, speak: Callable[..., bytes]) -> None:
    """What was asked for, what came, how it sounds; with a future, too, whose answer comes in a thread of grpc's."""
    observe(RivaInstrumentor)
    seconds = len(speak(service, TEXT)) / 2 / RATE
    assert seconds > 1
    assert settled(capture_tts) == 1
    expected = OF_VOICE | QUALITY | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    assert capture_tts.tree() == [
        tree("nvidia.riva", None, characters=25, of_both=audio(seconds, RATE, "pcm16"), of_synthesis=expected)
    ]
    assert counts(capture_tts) == ONE


def settled(capture: Capture, count: int = 1) -> int:
    """How many requests have ended; a future's ends in another thread, at the same time as it is done."""
    over = Event()
    for _ in range(500):
        if len(capture.syntheses()) >= count:
            break
        over.wait(0.02)
    return len(capture.syntheses())


def test_a_stream(capture_tts: Capture, observe: Observe, service: Any) -> None:
    """To its last sample, piece by piece."""
    observe(RivaInstrumentor)
    seconds = len(stream(service, TEXT)) / 2 / RATE
    both = audio(seconds, RATE, "pcm16") | {"tts.stream.chunk.count": 2}
    expected = OF_VOICE | QUALITY | PLAYED | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    assert capture_tts.tree() == [
        tree("nvidia.riva", None, characters=25, stream=True, of_both=both, of_synthesis=expected)
    ]  # fmt: skip
    assert counts(capture_tts) == ONE


@pytest.mark.parametrize(("encoding", "format"), [("LINEAR_PCM", "pcm16"), ("FLAC", "flac"), ("OGGOPUS", "opus")])
def test_which_audio_is_read(capture_tts: Capture, observe: Observe, service: Any, encoding: str, format: str) -> None:
    """Samples are; of encoded audio the first byte is known, and no duration is made up."""
    observe(RivaInstrumentor)
    stream(service, TEXT, encoding=getattr(riva.AudioEncoding, encoding))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.audio.format"] == format
    assert synthesis["tts.audio.duration"] == (SOME if format == "pcm16" else None)


def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, service: Any) -> None:
    """Cancelled by the client's own call, with what had come."""
    observe(RivaInstrumentor)
    answers = service.synthesize_online(TEXT * 5, VOICE, sample_rate_hz=RATE)
    first = next(answers)
    answers.cancel()
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(len(first.audio) / 2 / RATE)
    assert counts(capture_tts) == ONE


@ALL
@pytest.mark.parametrize(("code", "kind"), [("UNAVAILABLE", "unavailable"), ("RESOURCE_EXHAUSTED", "rate_limited")])
def test_what_goes_wrong(
    capture_tts: Capture, observe: Observe, service: Any, speak: Callable[..., bytes], code: str, kind: str
) -> None:
    """The status is the type of the error; after audio the request is partial."""
    observe(RivaInstrumentor)
    with pytest.raises(grpc.RpcError):
        speak(service, code)
    assert settled(capture_tts) == 1
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", kind)]
    assert counts(capture_tts) == FAILED
    if speak is stream:
        with pytest.raises(grpc.RpcError):
            speak(service, f"One. Two. After {code}")
        assert [s.outcome for s in capture_tts.syntheses()] == ["error", "partial"]


def test_a_text_without_audio(capture_tts: Capture, observe: Observe, service: Any) -> None:
    """Is no request to speak, where it has no words: Riva's engine says nothing to it."""
    observe(RivaInstrumentor)
    assert whole(service, "🙂") == b""
    assert [s.outcome for s in capture_tts.syntheses()] == ["rejected"]


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_patience(capture_tts: Capture, observe: Observe, service: Any, how: str) -> None:
    """The client has no timeout; a host that waits no longer, on a future, cancels it."""
    observe(RivaInstrumentor)
    waiting = service.synthesize("hang", VOICE, sample_rate_hz=RATE, future=True)
    if how == "timeout":
        with pytest.raises(grpc.FutureTimeoutError):
            waiting.result(timeout=0.05)
    waiting.cancel()
    assert settled(capture_tts) == 1
    assert [[s.outcome, *(a.outcome for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "cancelled"]]
    assert counts(capture_tts) == ONE


@ALL
def test_inside_a_request_it_is_an_attempt(
    capture_tts: Capture, observe: Observe, service: Any, speak: Callable[..., bytes]
) -> None:
    """And inside an attempt it is that one. The server, observed in the same process, has a request of its own."""
    observe(RivaInstrumentor)
    tts = Telemetry()
    with tts.synthesis(TEXT):
        speak(service, TEXT)
    with tts.synthesis(TEXT) as s, s.attempt("mine", "itself"):
        speak(service, TEXT)
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses()] == [["nvidia.riva"], ["mine"]]


def test_a_price(capture_tts: Capture, observe: Observe, price: Callable[[str], None], service: Any) -> None:
    """That the user gave."""
    price("nvidia.riva")
    observe(RivaInstrumentor)
    stream(service, TEXT)
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


def test_both_ends(capture_tts: Capture, observe: Observe) -> None:
    """A server of the same proto in the same process: the caller's request and the server's are one trace, each with its figures."""
    observe(RivaInstrumentor, GrpcServerInstrumentor)
    handler = Service()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        auth = riva.Auth(uri=f"127.0.0.1:{port}")
        try:
            sent = stream(riva.SpeechSynthesisService(auth), TEXT)
            assert settled(capture_tts, 2) == 2
        finally:
            auth.channel.close()
            server.stop(None).wait()
    seconds = [synthesis["tts.audio.delivered_duration"] for synthesis in capture_tts.syntheses()]
    assert seconds == [pytest.approx(len(sent) / 2 / RATE)] * 2


def test_the_functions_come_back() -> None:
    """The very same."""
    kind, names = riva.SpeechSynthesisService, ("synthesize", "synthesize_online")
    before = [vars(kind)[name] for name in names]
    RivaInstrumentor().instrument()
    assert all(vars(kind)[name] is not original for name, original in zip(names, before, strict=True))
    RivaInstrumentor().uninstrument()
    assert [vars(kind)[name] for name in names] == before
