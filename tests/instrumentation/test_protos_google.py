"""Google's own client package against an unchanged server of its proto: its messages are wrappers, and are read like any."""

from __future__ import annotations

import grpc
import pytest
from google.cloud import texttospeech_v1 as google
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcTransport
from opentelemetry.trace import SpanKind

from otel_tts.instrumentation import protos
from otel_tts.testing.capture import Capture
from tests.grpc.servers import wait_for
from tests.instrumentation.proto_servers import RATE, SERVERS, seconds, spoken, wav

pytestmark = pytest.mark.vendors

TEXT = "Good morning to all of you."


def client(port: int) -> google.TextToSpeechClient:
    """The package's own client of a local server."""
    transport = TextToSpeechGrpcTransport(channel=grpc.insecure_channel(f"127.0.0.1:{port}"))
    return google.TextToSpeechClient(transport=transport)


@pytest.mark.parametrize("stack", SERVERS)
def test_googles_client_and_googles_messages(stack: str, capture_tts: Capture) -> None:
    """A server whose handler takes and gives the package's own messages has its synthesis, as the client asked for it."""

    def respond(request: google.SynthesizeSpeechRequest) -> google.SynthesizeSpeechResponse:
        return google.SynthesizeSpeechResponse(audio_content=wav(b"".join(spoken(request.input.text))))

    async def aio(request: google.SynthesizeSpeechRequest, context: object) -> google.SynthesizeSpeechResponse:
        return respond(request)

    behavior = aio if stack == "aio" else lambda request, context: respond(request)
    read, write = google.SynthesizeSpeechRequest.deserialize, google.SynthesizeSpeechResponse.serialize
    handler = grpc.method_handlers_generic_handler(
        "google.cloud.texttospeech.v1.TextToSpeech",
        {"SynthesizeSpeech": grpc.unary_unary_rpc_method_handler(behavior, read, write)},
    )
    with SERVERS[stack](capture_tts.telemetry(), handler, protos.load()) as port:
        response = client(port).synthesize_speech(
            input=google.SynthesisInput(text=TEXT),
            voice=google.VoiceSelectionParams(name="en-US-Standard-C", language_code="en-US"),
            audio_config=google.AudioConfig(audio_encoding=google.AudioEncoding.LINEAR16),
        )
        wait_for(lambda: [span for span in capture_tts.spans if span.kind is SpanKind.SERVER])
    length = seconds(*spoken(TEXT))
    assert response.audio_content == wav(b"".join(spoken(TEXT)))
    synthesis = capture_tts.synthesis(outcome="ok")
    stated = {key: synthesis[key] for key in ("tts.text.length", "tts.voice", "tts.language", "tts.audio.format")}
    assert stated == {
        "tts.text.length": len(TEXT),
        "tts.voice": "en-US-Standard-C",
        "tts.language": "en-US",
        "tts.audio.format": "wav",
    }
    assert (synthesis["tts.audio.sample_rate"], synthesis["tts.audio.duration"]) == (RATE, pytest.approx(length))
