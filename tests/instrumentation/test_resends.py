"""What SDKs send once more by themselves: one attempt, as its caller sees it, that says how often, why and after how long."""

from __future__ import annotations

import asyncio
import contextvars
import json
import socket
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from threading import Event, Thread
from typing import Any

import grpc
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_tts.instrumentation.aiobotocore import AiobotocoreInstrumentor
from otel_tts.instrumentation.cartesia import CartesiaInstrumentor
from otel_tts.instrumentation.deepgram import DeepgramInstrumentor
from otel_tts.instrumentation.edge import EdgeInstrumentor
from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.gemini import GeminiInstrumentor
from otel_tts.instrumentation.google import GoogleInstrumentor
from otel_tts.instrumentation.gtts import GttsInstrumentor
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.livekit import LiveKitInstrumentor
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.instrumentation.pipecat import PipecatInstrumentor
from otel_tts.instrumentation.polly import PollyInstrumentor
from otel_tts.instrumentation.registry import LIBRARIES
from otel_tts.instrumentation.resends import ResendsInstrumentor
from otel_tts.testing.capture import Capture, SessionProviders
from tests.instrumentation import vendors
from tests.instrumentation.conftest import Observe

openai = pytest.importorskip("openai", reason="it needs the extra `vendors`")
pytestmark = [
    pytest.mark.vendors,
    pytest.mark.filterwarnings(r"ignore:websockets\.:DeprecationWarning"),  # of deepgram-sdk's making
]

RESET = 0
"""Instead of a status: the connection is reset."""
SILENT = -1
"""Instead of a status: nothing comes."""
AUDIO = bytes(range(256)) * 100
WAV = b"RIFF$\xc8\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data\0d\0\0" + AUDIO
MOST = 2
"""Resends of each SDK here."""
RETRY_AFTER_MS = 30
"""What the server asks for, where the SDK takes milliseconds."""


class Vendor(ThreadingHTTPServer):
    """A server that gives the statuses it was told, one after another, then audio."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.statuses: list[int] = []
        self.asked = 0
        self.over = Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing on stderr."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Vendor

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.asked += 1
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.close_connection = True
        if status == SILENT:
            self.server.over.wait(10)
            return
        if status == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        body = AUDIO if status == 200 else b"{}"
        if "text:synthesize" in self.path and status == 200:
            body = json.dumps({"audioContent": b64encode(WAV).decode()}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "audio/pcm;rate=16000" if status == 200 else "application/json")
        if status != 200:
            self.send_header("Retry-After-Ms", str(RETRY_AFTER_MS))
        self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one_request(self) -> None:
        """A connection that was reset has nothing to flush."""
        with suppress(OSError, ValueError):
            super().handle_one_request()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    """Such a server."""
    server = Vendor()
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def openai_sync(url: str) -> bytes:
    """``audio.speech.create``."""
    with openai.OpenAI(base_url=url, api_key="none", max_retries=MOST) as client:
        answer = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", response_format="pcm")
        return bytes(answer.content)


def openai_stream(url: str) -> bytes:
    """Through ``with_streaming_response``."""
    with openai.OpenAI(base_url=url, api_key="none", max_retries=MOST) as client:
        create = client.audio.speech.with_streaming_response.create
        with create(model="tts-1", voice="alloy", input="Hello.", response_format="pcm") as answer:
            return b"".join(answer.iter_bytes())


async def openai_async(url: str) -> bytes:
    """The same of the other client."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=MOST) as client:
        answer = await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", response_format="pcm")
        return bytes(answer.content)


CARTESIA: dict[str, Any] = {
    "model_id": "sonic-3",
    "transcript": "Hello.",
    "voice": {"id": "katie"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
}


def cartesia_sync(url: str) -> bytes:
    """``tts.generate``."""
    cartesia = pytest.importorskip("cartesia")
    with cartesia.Cartesia(api_key="none", base_url=url, max_retries=MOST) as client:
        return bytes(client.tts.generate(**CARTESIA).read())


async def cartesia_async(url: str) -> bytes:
    """The same of the other client."""
    cartesia = pytest.importorskip("cartesia")
    async with cartesia.AsyncCartesia(api_key="none", base_url=url, max_retries=MOST) as client:
        return bytes(await (await client.tts.generate(**CARTESIA)).read())


def _polly(url: str, mode: str) -> bytes:
    boto3, config = pytest.importorskip("boto3"), pytest.importorskip("botocore.config")
    client = boto3.client(
        "polly", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="none", aws_secret_access_key="none",
        config=config.Config(retries={"total_max_attempts": MOST + 1, "mode": mode}),
    )  # fmt: skip
    return bytes(client.synthesize_speech(Text="Hello.", VoiceId="Amy", OutputFormat="pcm")["AudioStream"].read())


def polly_legacy(url: str) -> bytes:
    """boto3's ``synthesize_speech``, with retries as they are by default."""
    return _polly(url, "legacy")


def polly_standard(url: str) -> bytes:
    """The same, with retries as AWS recommends."""
    return _polly(url, "standard")


async def polly_async(url: str) -> bytes:
    """The same of aiobotocore's client, with retries as they are by default."""
    async with (
        vendors.aiobotocore_client(url, "aiohttp", retries={"total_max_attempts": MOST + 1}) as client,
        (await client.synthesize_speech(Text="Hello.", VoiceId="Amy", OutputFormat="pcm"))["AudioStream"] as stream,
    ):
        return bytes(await stream.read())


@dataclass(frozen=True)
class Sdk:
    """An SDK that sends a request once more by itself."""

    instrumentor: type[Instrumentor]
    speak: Callable[[str], Any]
    again: frozenset[int]
    """Statuses after which it does so."""

    def run(self, url: str) -> str:
        """How it ends for its caller."""
        try:
            answer = self.speak(url)
            audio = asyncio.run(answer) if asyncio.iscoroutine(answer) else answer
        except Exception:  # noqa: BLE001 - whatever this SDK raises
            return "failed"
        assert audio == AUDIO
        return "ok"


STAINLESS = frozenset((RESET, 408, 409, 429, 500, 503))
SDKS = {
    "OpenAI": Sdk(OpenAIInstrumentor, openai_sync, STAINLESS),
    "OpenAI, stream": Sdk(OpenAIInstrumentor, openai_stream, STAINLESS),
    "OpenAI, async": Sdk(OpenAIInstrumentor, openai_async, STAINLESS),
    "Cartesia": Sdk(CartesiaInstrumentor, cartesia_sync, STAINLESS),
    "Cartesia, async": Sdk(CartesiaInstrumentor, cartesia_async, STAINLESS),
    "Polly, legacy": Sdk(PollyInstrumentor, polly_legacy, frozenset((RESET, 429, 500, 503))),
    "Polly, standard": Sdk(PollyInstrumentor, polly_standard, frozenset((RESET, 429, 500, 503))),
}
if find_spec("aiobotocore"):  # in an environment of its own, see `test_aiobotocore.py`
    SDKS["Polly, aiobotocore"] = Sdk(AiobotocoreInstrumentor, polly_async, frozenset((RESET, 429, 500, 503)))
ERROR_TYPES = {RESET: "connection", 408: "timeout", 409: "_OTHER", 429: "rate_limited", 500: "server_error", 503: "unavailable"}


def resends(capture: Capture) -> list[dict[str, Any]]:
    """What the only attempt says of each, and in total."""
    (attempt,) = capture.synthesis().attempts
    spans = {span.name: span for span in capture.spans}
    request, call = spans.pop("tts.synthesize"), next(iter(spans.values()))
    events = [dict(event.attributes or {}) for event in call.events if event.name == "tts.resend"]
    for span in (request, call):
        assert (span.attributes or {}).get("tts.resend.count") == (len(events) or None)
    assert attempt.reason == "initial"
    return events


def types_and_statuses(events: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """Error type and status of each; 0 where there was none."""
    return [(event["error.type"], event.get("http.response.status_code", 0)) for event in events]


@pytest.mark.parametrize("name", SDKS)
@pytest.mark.parametrize("status", [429, 503, RESET])
def test_a_failure_that_the_sdk_makes_good(
    capture_tts: Capture, observe: Observe, vendor: Vendor, name: str, status: int
) -> None:
    """One attempt, ok, whose duration has the pause; the provider is no worse for it."""
    sdk = SDKS[name]
    observe(ResendsInstrumentor, sdk.instrumentor)
    vendor.statuses = [status]
    assert sdk.run(vendor.url) == "ok"
    (event,) = resends(capture_tts)
    assert types_and_statuses([event]) == [(ERROR_TYPES[status], status)]
    synthesis = capture_tts.synthesis(outcome="ok")
    span = next(span for span in capture_tts.spans if span.attributes and "tts.attempt.reason" in span.attributes)
    assert span.end_time is not None
    assert span.start_time is not None
    assert 0 <= event["tts.resend.delay"] <= (span.end_time - span.start_time) * 1e-9
    if status and "Polly" not in name:
        assert event["tts.resend.delay"] >= RETRY_AFTER_MS / 1000
    assert synthesis.attempts[0].outcome == "ok"
    available = {
        (point.attributes or {})["gen_ai.provider.name"]: point.value for point in capture_tts.points("tts.provider.available")
    }
    assert available[synthesis.attempts[0].provider] == 1, "beside those that earlier tests asked"
    assert capture_tts.total("tts.synthesis.failures") == 0


def test_a_silent_server_is_asked_again(capture_tts: Capture, observe: Observe, vendor: Vendor) -> None:
    """A timeout of the SDK's own, before the answer: one resend, after the time that it waited."""
    observe(ResendsInstrumentor, OpenAIInstrumentor)
    vendor.statuses = [SILENT]
    with openai.OpenAI(base_url=vendor.url, api_key="none", max_retries=MOST, timeout=0.5) as client:
        answer = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", response_format="pcm")
    vendor.over.set()
    assert answer.content == AUDIO
    assert types_and_statuses(resends(capture_tts)) == [("timeout", 0)]
    assert capture_tts.synthesis().outcome == "ok"


EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def providers(_tts_providers: SessionProviders) -> SessionProviders:
    """Those of the session, of which each example has a Capture of its own."""
    return _tts_providers


@pytest.mark.parametrize("name", ["OpenAI", "OpenAI, async", "Cartesia"])
@given(statuses=st.lists(st.sampled_from((408, 409, 429, 500, 503, 400, 401, 404)), max_size=4))
@EXAMPLES
def test_any_sequence_of_answers(
    providers: SessionProviders, observe: Observe, vendor: Vendor, name: str, statuses: list[int]
) -> None:
    """What an SDK sends again is told, each with its status, and no more than that; the last failure is the attempt's."""
    sdk = SDKS[name]
    observe(ResendsInstrumentor, sdk.instrumentor)
    vendor.statuses, vendor.asked = list(statuses), 0
    with Capture(providers) as capture:
        ended = sdk.run(vendor.url)
        sent_again: list[int] = []
        for status in statuses:
            if status not in sdk.again or len(sent_again) == MOST:
                break
            sent_again.append(status)
        assert vendor.asked == 1 + len(sent_again)
        assert ended == ("ok" if len(sent_again) == len(statuses) else "failed")
        assert types_and_statuses(resends(capture)) == [(ERROR_TYPES[status], status) for status in sent_again]
        assert (capture.synthesis().outcome == "ok") == (ended == "ok")


def test_the_table_says_of_whom_they_are_seen() -> None:
    """Of those that are tried here."""
    seen = {library.instrumentor for library in LIBRARIES if library.resends.startswith("seen")}
    tried_elsewhere = {
        AiobotocoreInstrumentor,
        ElevenLabsInstrumentor,
        GeminiInstrumentor,
        LiveKitInstrumentor,
        PipecatInstrumentor,
    }  # with what else they do
    assert seen == {sdk.instrumentor for sdk in SDKS.values()} | {GoogleInstrumentor, EdgeInstrumentor} | tried_elsewhere
    none = {library.instrumentor for library in LIBRARIES if library.resends == "makes none"}
    assert none == {
        DeepgramInstrumentor,
        GttsInstrumentor,
    }  # gTTS's refusals are one request each: tests/instrumentation/test_gtts.py


@pytest.mark.parametrize(
    ("instrumentor", "speak"),
    [
        (ElevenLabsInstrumentor, vendors.elevenlabs("convert", asynchronous=False)),
        (DeepgramInstrumentor, vendors.deepgram(asynchronous=False)),
    ],
)
def test_sdks_that_send_nothing_again(
    capture_tts: Capture,
    observe: Observe,
    vendor: Vendor,
    monkeypatch: pytest.MonkeyPatch,
    instrumentor: type[Instrumentor],
    speak: Any,
) -> None:
    """Calls whose answer is streamed fail at once, also where two resends are asked for, so there is nothing to be told."""
    monkeypatch.setitem(vendors.ONCE, "max_retries", 2)
    observe(ResendsInstrumentor, instrumentor)
    vendor.statuses, vendor.asked = [503], 0
    with pytest.raises(Exception, match="503"):
        speak(vendor.url, "Hello.")
    assert vendor.asked == 1
    assert resends(capture_tts) == []


def test_it_is_of_the_attempt_that_the_host_makes_itself(capture_tts: Capture, observe: Observe, vendor: Vendor) -> None:
    """Also of an SDK that is not observed: what is sent twice in an attempt."""
    observe(ResendsInstrumentor)
    vendor.statuses = [503]
    telemetry = capture_tts.telemetry()
    with telemetry.synthesis("Hello.") as synthesis, synthesis.attempt("acme", remote=True), httpx.Client() as client:
        assert client.post(f"{vendor.url}/token").status_code == 503
        assert client.post(f"{vendor.url}/speak").status_code == 200
        vendor.statuses = [503]
        assert client.post(f"{vendor.url}/speak").status_code == 503
        assert client.post(f"{vendor.url}/speak").status_code == 200
        assert client.post(f"{vendor.url}/speak").status_code == 200  # the next request, which repeats none that failed
    assert types_and_statuses(resends(capture_tts)) == [("unavailable", 503)]


def test_an_attempt_that_has_ended_has_no_more(capture_tts: Capture, observe: Observe, vendor: Vendor) -> None:
    """What a task sends that was started in it and outlives it is none of its resends."""
    observe(ResendsInstrumentor)
    with capture_tts.telemetry().synthesis("Hello.") as synthesis, httpx.Client() as client:
        with synthesis.attempt("acme"):
            outlives = contextvars.copy_context()
        vendor.statuses = [503]
        assert [outlives.run(client.post, f"{vendor.url}/speak").status_code for _ in range(2)] == [503, 200]
    assert resends(capture_tts) == []


class _Google(grpc.GenericRpcHandler):
    """``synthesize_speech``, which is unavailable so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        types = pytest.importorskip("google.cloud.texttospeech_v1").types

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.failures -= 1
            if self.failures >= 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "no")
            return types.SynthesizeSpeechResponse(audio_content=WAV)

        return grpc.unary_unary_rpc_method_handler(
            answer, types.SynthesizeSpeechRequest.deserialize, types.SynthesizeSpeechResponse.serialize
        )


GOOGLE: dict[str, Any] = {
    "input": {"text": "Hello."},
    "voice": {"language_code": "en-US", "name": "en-US-Chirp3-HD-Charon"},
    "audio_config": {"audio_encoding": "LINEAR16"},
}


def _retry(kind: str) -> Any:
    """What a host asks for, since the clients do not try again by themselves."""
    package, errors = pytest.importorskip("google.api_core.retry"), pytest.importorskip("google.api_core.exceptions")
    return getattr(package, kind)(predicate=package.if_exception_type(errors.ServiceUnavailable), initial=0.01, maximum=0.02)


def _google(address: str) -> bytes:
    package = pytest.importorskip("google.cloud.texttospeech_v1")
    transports = pytest.importorskip("google.cloud.texttospeech_v1.services.text_to_speech.transports")
    with grpc.insecure_channel(address) as channel:
        client = package.TextToSpeechClient(transport=transports.TextToSpeechGrpcTransport(channel=channel))
        return bytes(client.synthesize_speech(**GOOGLE, retry=_retry("Retry")).audio_content)


async def _google_async(address: str) -> bytes:
    package = pytest.importorskip("google.cloud.texttospeech_v1")
    transports = pytest.importorskip("google.cloud.texttospeech_v1.services.text_to_speech.transports")
    async with grpc.aio.insecure_channel(address) as channel:
        client = package.TextToSpeechAsyncClient(transport=transports.TextToSpeechGrpcAsyncIOTransport(channel=channel))
        return bytes((await client.synthesize_speech(**GOOGLE, retry=_retry("AsyncRetry"))).audio_content)


@pytest.mark.parametrize("speak", [_google, _google_async])
@pytest.mark.parametrize("failures", [0, 1, 3])
def test_google_s_clients(capture_tts: Capture, observe: Observe, speak: Any, failures: int) -> None:
    """They try again as the host asked for, with a pause of their own."""
    observe(ResendsInstrumentor, GoogleInstrumentor)
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([_Google(failures)])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            answer = speak(address)
            assert (asyncio.run(answer) if asyncio.iscoroutine(answer) else answer) == WAV
        finally:
            server.stop(None).wait(10)
    events = resends(capture_tts)
    unavailable = {"error.type": "unavailable", "rpc.response.status_code": "UNAVAILABLE"}
    assert [{key: event[key] for key in event if key != "tts.resend.delay"} for event in events] == [unavailable] * failures
    assert capture_tts.synthesis().outcome == "ok"


def test_google_over_rest(capture_tts: Capture, observe: Observe, vendor: Vendor) -> None:
    """The same, where the status is HTTP's."""
    observe(ResendsInstrumentor, GoogleInstrumentor)
    package, credentials = pytest.importorskip("google.cloud.texttospeech"), pytest.importorskip("google.auth.credentials")
    client = package.TextToSpeechClient(
        transport="rest", credentials=credentials.AnonymousCredentials(), client_options={"api_endpoint": vendor.url}
    )
    vendor.statuses = [503]
    assert client.synthesize_speech(**GOOGLE, retry=_retry("Retry")).audio_content == WAV
    (event,) = resends(capture_tts)
    assert types_and_statuses([event]) == [("unavailable", 503)]


def test_edge_tts_corrects_its_clock(capture_tts: Capture, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal because of the clock, which the package corrects, is sent again at once."""
    edge_tts, web = pytest.importorskip("edge_tts"), pytest.importorskip("aiohttp.web")
    observe(ResendsInstrumentor, EdgeInstrumentor)
    asked: list[object] = []

    async def answer(request: Any) -> Any:
        asked.append(request)
        if len(asked) == 1:
            return web.Response(status=403, headers={"Date": "Sat, 28 Nov 2026 08:00:00 GMT"})
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            if "Path:ssml" in message.data:
                head = b"X-RequestId:1\r\nContent-Type:audio/mpeg\r\nPath:audio\r\n"
                await connection.send_bytes(len(head).to_bytes(2, "big") + head + AUDIO)
                await connection.send_str("Path:turn.end\r\n\r\n{}")
        return connection

    async def speak() -> bytes:
        application = web.Application()
        application.router.add_get("/", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", f"ws://127.0.0.1:{runner.addresses[0][1]}/?")
        audio = b"".join([piece["data"] async for piece in edge_tts.Communicate("Hello.").stream() if piece["type"] == "audio"])
        await runner.cleanup()
        return audio

    assert asyncio.run(speak()) == AUDIO
    assert types_and_statuses(resends(capture_tts)) == [("unauthorized", 403)]
