"""Google's SDK over gRPC, both clients, against a local server of the real proto that the SDK ships, with a real engine behind it."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from threading import Event
from typing import Any

import grpc
import grpc.aio
import hibari
import numpy as np
import pytest

from otel_tts import Telemetry
from otel_tts.instrumentation.google import GoogleInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe, bill
from tests.instrumentation.pictures import PLAYED, QUALITY, SOME, audio, counts, tree

texttospeech = pytest.importorskip("google.cloud.texttospeech_v1", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

TEXT = "Hello there. How are you?"
VOICE = {"language_code": "en-US", "name": "en-US-Chirp3-HD-Charon"}
OF_VOICE = {"tts.voice": "en-US-Chirp3-HD-Charon", "tts.language": "en-US"}
MODEL = "Chirp3-HD"
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
FAILED = ONE | {"tts.synthesis.failures": 1}
RATE = hibari.SAMPLE_RATE


class Service(grpc.GenericRpcHandler):
    """``google.cloud.texttospeech.v1``, spoken by Hibari. A text that names a status code gets that, and one that says so hangs."""

    def __init__(self) -> None:
        self.engine = hibari.Hibari(threads=1)
        self.asked = Event()
        self.over = Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        types = texttospeech.types
        if handler_call_details.method.endswith("/SynthesizeSpeech"):
            return grpc.unary_unary_rpc_method_handler(
                self.whole, types.SynthesizeSpeechRequest.deserialize, types.SynthesizeSpeechResponse.serialize
            )
        return grpc.stream_stream_rpc_method_handler(
            self.stream, types.StreamingSynthesizeRequest.deserialize, types.StreamingSynthesizeResponse.serialize
        )

    def whole(self, request: Any, context: grpc.ServicerContext) -> Any:
        samples = self.speak(request.input.text, context)
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setparams((1, 2, RATE, 0, "NONE", ""))
            wav.writeframes(samples)
        return texttospeech.types.SynthesizeSpeechResponse(audio_content=file.getvalue())

    def stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            if request.input.text:
                yield texttospeech.types.StreamingSynthesizeResponse(audio_content=self.speak(request.input.text, context))

    def speak(self, text: str, context: grpc.ServicerContext) -> bytes:
        self.asked.set()
        if text == "hang":
            self.over.wait(30)
        if text in grpc.StatusCode.__members__:
            context.abort(grpc.StatusCode[text], "no")
        return bytes((np.clip(self.engine(text), -1, 1) * 32767).astype("<i2").tobytes())


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    """The service and its address."""
    handler = Service()
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield handler, f"127.0.0.1:{port}"
        finally:
            handler.over.set()
            server.stop(None).wait(10)


def whole(address: str, text: str, **options: Any) -> bytes:
    """``synthesize_speech``."""
    with grpc.insecure_channel(address) as channel:
        return bytes(_client(channel).synthesize_speech(**_asked(text), retry=None, **options).audio_content)


async def whole_async(address: str, text: str, **options: Any) -> bytes:
    """The same."""
    async with grpc.aio.insecure_channel(address) as channel:
        return bytes((await _client_async(channel).synthesize_speech(**_asked(text), retry=None, **options)).audio_content)


def stream(address: str, *texts: str, leave: bool = False, **options: Any) -> bytes:
    """``streaming_synthesize``."""
    with grpc.insecure_channel(address) as channel:
        responses = _client(channel).streaming_synthesize(requests=_requests(texts), **options)
        if not leave:
            return b"".join(response.audio_content for response in responses)
        first = next(iter(responses)).audio_content
        responses.cancel()
        return bytes(first)


async def stream_async(address: str, *texts: str, leave: bool = False, **options: Any) -> bytes:
    """The same."""

    async def requests() -> AsyncIterator[Any]:
        for request in _requests(texts):
            yield request

    async with grpc.aio.insecure_channel(address) as channel:
        responses = await _client_async(channel).streaming_synthesize(requests=requests(), **options)
        if not leave:
            return b"".join([response.audio_content async for response in responses])
        first = (await anext(aiter(responses))).audio_content
        responses.cancel()
        return bytes(first)


def _client(channel: Any) -> Any:
    from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcTransport

    return texttospeech.TextToSpeechClient(transport=TextToSpeechGrpcTransport(channel=channel))


def _client_async(channel: Any) -> Any:
    from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcAsyncIOTransport

    return texttospeech.TextToSpeechAsyncClient(transport=TextToSpeechGrpcAsyncIOTransport(channel=channel))


def _asked(text: str) -> dict[str, Any]:
    return {"input": {"text": text}, "voice": VOICE, "audio_config": {"audio_encoding": "LINEAR16"}}


def _requests(texts: tuple[str, ...]) -> Iterator[Any]:
    config = {"voice": VOICE, "streaming_audio_config": {"audio_encoding": "PCM", "sample_rate_hertz": RATE}}
    yield texttospeech.StreamingSynthesizeRequest(streaming_config=config)
    for text in texts:
        yield texttospeech.StreamingSynthesizeRequest(input={"text": text})


def run(speak: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    """What it returns, run in an event loop where it is asynchronous."""
    answer = speak(*arguments, **options)
    return bytes(asyncio.run(answer) if asyncio.iscoroutine(answer) else answer)


WHOLE = pytest.mark.parametrize("speak", [whole, whole_async])
STREAM = pytest.mark.parametrize("speak", [stream, stream_async])
ALL = pytest.mark.parametrize("speak", [whole, whole_async, stream, stream_async])


@WHOLE
def test_a_whole_answer(capture_tts: Capture, observe: Observe, service: tuple[Service, str], speak: Any) -> None:
    """Its model is the one that Google has in the voice's name."""
    observe(GoogleInstrumentor)
    seconds = (len(run(speak, service[1], TEXT)) - 44) / 2 / RATE
    expected = OF_VOICE | QUALITY | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    assert capture_tts.tree() == [
        tree("gcp.texttospeech", MODEL, characters=25, of_both=audio(seconds, RATE, "wav"), of_synthesis=expected)
    ]
    assert counts(capture_tts) == ONE


@STREAM
def test_a_stream_in_both_directions(capture_tts: Capture, observe: Observe, service: tuple[Service, str], speak: Any) -> None:
    """Text that goes out in pieces is counted, and audio measured to the end."""
    observe(GoogleInstrumentor)
    seconds = len(run(speak, service[1], "Hello there.", "How are you?")) / 2 / RATE
    spoken = audio(seconds, RATE, "pcm16") | {"tts.stream.chunk.count": 2}
    expected = OF_VOICE | QUALITY | PLAYED | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    expected |= {"tts.time_to_first_text": SOME}
    assert capture_tts.tree() == [
        tree("gcp.texttospeech", None, characters=24, stream=True, of_both=spoken, of_synthesis=expected)
    ]
    assert counts(capture_tts) == ONE


@STREAM
def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, service: tuple[Service, str], speak: Any) -> None:
    """Cancelled by the host."""
    observe(GoogleInstrumentor)
    run(speak, service[1], "Hello there.", "hang", leave=True)
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.audio.delivered_duration"] == SOME
    assert counts(capture_tts) == ONE


@ALL
@pytest.mark.parametrize(
    ("code", "outcome", "error"),
    [
        ("INVALID_ARGUMENT", "rejected", "invalid_input"),
        ("PERMISSION_DENIED", "error", "unauthorized"),
        ("RESOURCE_EXHAUSTED", "error", "rate_limited"),
        ("UNAVAILABLE", "error", "unavailable"),
    ],
)
def test_a_refusal(
    capture_tts: Capture, observe: Observe, service: tuple[Service, str], speak: Any, code: str, outcome: str, error: str
) -> None:
    """The SDK's own exception reaches the host."""
    from google.api_core.exceptions import GoogleAPICallError

    observe(GoogleInstrumentor)
    with pytest.raises(GoogleAPICallError) as raised:
        run(speak, service[1], code)
    assert raised.value.grpc_status_code is grpc.StatusCode[code]
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [(outcome, error)]
    assert counts(capture_tts) == (ONE if outcome == "rejected" else FAILED)


@ALL
def test_a_timeout(capture_tts: Capture, observe: Observe, service: tuple[Service, str], speak: Any) -> None:
    """The deadline that the host gave."""
    from google.api_core.exceptions import DeadlineExceeded

    observe(GoogleInstrumentor)
    with pytest.raises(DeadlineExceeded):
        run(speak, service[1], "hang", timeout=0.2)
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "timeout")]


@pytest.mark.parametrize("speak", [whole_async, stream_async])
async def test_a_cancelled_task(capture_tts: Capture, observe: Observe, service: tuple[Service, str], speak: Any) -> None:
    """While the server is at it."""
    observe(GoogleInstrumentor)
    task = asyncio.create_task(speak(service[1], "hang"))
    await asyncio.to_thread(service[0].asked.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [s.outcome for s in capture_tts.syntheses()] == ["cancelled"]


@ALL
def test_a_price(
    capture_tts: Capture, observe: Observe, price: Callable[[str], None], service: tuple[Service, str], speak: Any
) -> None:
    """Of the text, also where it goes out in a stream."""
    price("gcp.texttospeech")
    observe(GoogleInstrumentor)
    run(speak, service[1], TEXT)
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


@ALL
def test_inside_a_request_it_is_an_attempt(
    capture_tts: Capture, observe: Observe, service: tuple[Service, str], speak: Any
) -> None:
    """And inside an attempt it is that one."""
    observe(GoogleInstrumentor)
    tts = Telemetry()
    with tts.synthesis(TEXT):
        run(speak, service[1], TEXT)
    with tts.synthesis(TEXT) as s, s.attempt("gcp.texttospeech", remote=True):
        run(speak, service[1], TEXT)
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses(outcome="ok")] == [["gcp.texttospeech"]] * 2
    assert counts(capture_tts) == {name: 2 * count for name, count in ONE.items()}


def test_the_host_s_objects_are_its_own(capture_tts: Capture, observe: Observe, service: tuple[Service, str]) -> None:
    """What a stream can do besides being pulled, it still can; a request object is not changed."""
    observe(GoogleInstrumentor)
    request = texttospeech.SynthesizeSpeechRequest(_asked(TEXT))
    before = texttospeech.SynthesizeSpeechRequest.serialize(request)
    with grpc.insecure_channel(service[1]) as channel:
        assert type(_client(channel).synthesize_speech(request, retry=None)) is texttospeech.SynthesizeSpeechResponse
        assert texttospeech.SynthesizeSpeechRequest.serialize(request) == before
        responses = _client(channel).streaming_synthesize(requests=_requests(("Hello there.",)))
        assert not hasattr(responses, "close")
        assert [type(response) for response in responses] == [texttospeech.StreamingSynthesizeResponse]
        assert responses.code() is grpc.StatusCode.OK
    assert capture_tts.total("tts.synthesis.requests", {"tts.outcome": "ok"}) == 2


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("streaming", [True, False])
def test_the_beta_is_observed_too(
    capture_tts: Capture, observe: Observe, service: tuple[Service, str], streaming: bool, asynchronous: bool
) -> None:
    """``v1beta1`` has the same calls, of classes of its own; the server hears them as they are in ``v1``."""
    observe(GoogleInstrumentor)
    beta = import_module("google.cloud.texttospeech_v1beta1")
    transports = import_module("google.cloud.texttospeech_v1beta1.services.text_to_speech.transports")
    requests = [
        beta.StreamingSynthesizeRequest(streaming_config={"voice": VOICE}),
        beta.StreamingSynthesizeRequest(input={"text": TEXT}),
    ]

    def speak() -> None:
        with grpc.insecure_channel(service[1]) as channel:
            client = beta.TextToSpeechClient(transport=transports.TextToSpeechGrpcTransport(channel=channel))
            if streaming:
                list(client.streaming_synthesize(requests=iter(requests)))
            else:
                client.synthesize_speech(**_asked(TEXT), retry=None)

    async def speak_async() -> None:
        async def each() -> AsyncIterator[Any]:
            for request in requests:
                yield request

        async with grpc.aio.insecure_channel(service[1]) as channel:
            client = beta.TextToSpeechAsyncClient(transport=transports.TextToSpeechGrpcAsyncIOTransport(channel=channel))
            if streaming:
                [_ async for _ in await client.streaming_synthesize(requests=each())]
            else:
                await client.synthesize_speech(**_asked(TEXT), retry=None)

    asyncio.run(speak_async()) if asynchronous else speak()
    synthesis = capture_tts.synthesis(outcome="ok")
    assert [synthesis[key] for key in ("tts.voice", "tts.text.length", "tts.audio.sample_rate")] == [VOICE["name"], 25, RATE]
    assert [attempt.model for attempt in synthesis.attempts] == [None if streaming else MODEL]
    assert counts(capture_tts) == ONE
