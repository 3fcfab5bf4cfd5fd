"""RPCs of known methods, one at least of each: what is asked and answered, and what shall be known of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from otel_tts import PCM16
from otel_tts.core.audio import AudioMeter
from otel_tts.service.proto.yap.tts.v1 import tts_pb2
from tests.instrumentation.proto_servers import RATE, call, message, seconds, service, spoken, wav

TEXT = "Hello there. How are you?"
SSML = "<speak>Hello there. How are you?</speak>"
PCM = spoken(TEXT)
WHOLE = b"".join(PCM)
LENGTH = seconds(WHOLE)
SPEECH = {"gen_ai.operation.name": "text_to_speech", "gen_ai.output.type": "speech"}
NOBODY = {"gen_ai.provider.name": "_NONE", "gen_ai.request.model": "_NONE"}
ENGINE_TIME = 0.25  # seconds before each response
GOOGLE, RIVA, YANDEX = "google.cloud.texttospeech.v1", "nvidia.riva.tts", "speechkit.tts.v3"


def onset(pcm: bytes) -> float:
    """Seconds of silence before speech."""
    meter = AudioMeter(PCM16(RATE))
    meter.feed(pcm)
    onset_s = meter.onset_s()
    assert onset_s is not None
    return onset_s


@dataclass
class Rpc:
    """One RPC: what is asked and answered, and what the interceptor shall know of it."""

    method: str
    requests: Sequence[Any]
    responses: Sequence[Any]
    asked: dict[str, Any]
    """Attributes of the request."""
    made: dict[str, Any]
    """Attributes of the audio."""
    request_streaming: bool = False
    response_streaming: bool = False
    maker: dict[str, str] = field(default_factory=dict)
    first_byte_after: int = 1
    """Responses up to the first that holds audio."""
    underrun: float = 0.0
    """Seconds without audio for a player, all the handler's."""

    def handler(self, stack: str, clock: Any, end: Callable[[Any], Any] = lambda _: None) -> grpc.GenericRpcHandler:
        """A handler that answers with the responses, each after a while, and then does `end` with its context."""
        behavior = sync_behavior if stack == "sync" else aio_behavior
        return service(
            self.method,
            behavior(self, clock, end),
            type(self.requests[0]),
            request_streaming=self.request_streaming,
            response_streaming=self.response_streaming,
        )

    def call(self, port: int, **arguments: Any) -> tuple[grpc.StatusCode, list[Any]]:
        kind = type(self.responses[0])
        return call(
            port,
            self.method,
            self.requests,
            kind,
            request_streaming=self.request_streaming,
            response_streaming=self.response_streaming,
            **arguments,
        )


def sync_behavior(rpc: Rpc, clock: Any, end: Callable[[Any], Any]) -> Any:
    """A handler's function for a synchronous server."""

    def take(request: Any) -> None:
        if rpc.request_streaming:
            assert list(request) == list(rpc.requests)

    def unary(request: Any, context: Any) -> Any:
        take(request)
        clock.advance(ENGINE_TIME)
        return end(context) or rpc.responses[0]

    def stream(request: Any, context: Any) -> Iterator[Any]:
        take(request)
        for response in rpc.responses:
            clock.advance(ENGINE_TIME)
            yield response
        end(context)

    return stream if rpc.response_streaming else unary


def aio_behavior(rpc: Rpc, clock: Any, end: Callable[[Any], Any]) -> Any:
    """The same for an asynchronous one."""

    async def take(request: Any) -> None:
        if rpc.request_streaming:
            assert [each async for each in request] == list(rpc.requests)

    async def ended(context: Any) -> Any:
        result = end(context)
        return await result if inspect.isawaitable(result) else result

    async def unary(request: Any, context: Any) -> Any:
        await take(request)
        clock.advance(ENGINE_TIME)
        return await ended(context) or rpc.responses[0]

    async def stream(request: Any, context: Any) -> Any:
        await take(request)
        for response in rpc.responses:
            clock.advance(ENGINE_TIME)
            yield response
        await ended(context)

    return stream if rpc.response_streaming else unary


def asked(text: str, voice: str | None = None, language: str | None = None) -> dict[str, Any]:
    """Attributes of a request."""
    expected = {"tts.text.length": len(text), "tts.voice": voice, "tts.language": language}
    return {key: value for key, value in expected.items() if value is not None}


def made(name: str, rate: int | None = RATE, length: float | None = LENGTH) -> dict[str, Any]:
    """Attributes of audio."""
    expected = {"tts.audio.format": name, "tts.audio.sample_rate": rate, "tts.audio.duration": length}
    return {key: value for key, value in expected.items() if value is not None}


def google(**input_: Any) -> Any:
    """A request to Google."""
    return message(
        f"{GOOGLE}.SynthesizeSpeechRequest",
        input=input_,
        voice={"name": "en-US-Wavenet-A", "language_code": "en-US"},
        audio_config={"audio_encoding": "LINEAR16"},
    )


def riva() -> Any:
    """A request to Riva."""
    fields = {"text": TEXT, "voice_name": "English-US.Female-1", "language_code": "en-US"}
    return message(f"{RIVA}.SynthesizeSpeechRequest", **fields, encoding="LINEAR_PCM", sample_rate_hz=RATE)


def yandex_chunks(*chunks: bytes, kind: str = "UtteranceSynthesisResponse") -> list[Any]:
    """Responses of Yandex, which say how long they last."""
    return [message(f"{YANDEX}.{kind}", audio_chunk={"data": data}, length_ms=500) for data in chunks]


def yap(**more: Any) -> Any:
    """A request to the original YAP service."""
    return message("tts.TTSRequest", text="Hello", language_code="en-GB", voice_id="amy", audio_format="wav", **more)


def yap_response(**fields: Any) -> Any:
    """Its answer: a good one, but for the fields that are given."""
    return message("tts.TTSResponse", **{"success": True, "audio_format": "wav", "audio_data": wav(WHOLE)} | fields)


YAP_HEADER = tts_pb2.Rendition(
    provider="hibari", model="hibari-heart", encoding=tts_pb2.AUDIO_ENCODING_PCM, sample_rate=RATE, voice="heart"
)
GOOGLE_ASKED = {"voice": "en-US-Wavenet-A", "language": "en-US"}
RIVA_ASKED = {"voice": "English-US.Female-1", "language": "en-US"}
MP3 = b"\xff\xfb\x90\x00" * 500
TURNS = [{"speaker": "R", "text": "Hello there."}, {"speaker": "S", "text": "How are you?"}]

RPCS = {
    "google": Rpc(
        f"{GOOGLE}.TextToSpeech/SynthesizeSpeech",
        [google(text=TEXT)],
        [message(f"{GOOGLE}.SynthesizeSpeechResponse", audio_content=wav(WHOLE))],
        asked(TEXT, **GOOGLE_ASKED),
        made("wav"),
    ),
    "google ssml": Rpc(
        f"{GOOGLE}.TextToSpeech/SynthesizeSpeech",
        [google(ssml=SSML)],
        [message(f"{GOOGLE}.SynthesizeSpeechResponse", audio_content=wav(WHOLE))],
        asked(SSML, **GOOGLE_ASKED),
        made("wav"),
    ),
    "google, two speakers": Rpc(
        f"{GOOGLE}.TextToSpeech/SynthesizeSpeech",
        [google(multi_speaker_markup={"turns": TURNS})],
        [message(f"{GOOGLE}.SynthesizeSpeechResponse", audio_content=wav(WHOLE))],
        asked("Hello there.How are you?", **GOOGLE_ASKED),
        made("wav"),
    ),
    "google streaming": Rpc(
        f"{GOOGLE}.TextToSpeech/StreamingSynthesize",
        [
            message(
                f"{GOOGLE}.StreamingSynthesizeRequest",
                streaming_config={"voice": {"name": "en-US-Chirp3-HD-Charon", "language_code": "en-US"}},
            ),
            message(f"{GOOGLE}.StreamingSynthesizeRequest", input={"text": "Hello there. "}),
            message(f"{GOOGLE}.StreamingSynthesizeRequest", input={"markup": "How are you?"}),
        ],
        [message(f"{GOOGLE}.StreamingSynthesizeResponse", audio_content=pcm) for pcm in PCM],
        asked(TEXT, "en-US-Chirp3-HD-Charon", "en-US"),
        made("pcm16"),
        request_streaming=True,
        response_streaming=True,
    ),
    "riva": Rpc(
        f"{RIVA}.RivaSpeechSynthesis/Synthesize",
        [riva()],
        [message(f"{RIVA}.SynthesizeSpeechResponse", audio=WHOLE)],
        asked(TEXT, **RIVA_ASKED),
        made("pcm16"),
    ),
    "riva online": Rpc(
        f"{RIVA}.RivaSpeechSynthesis/SynthesizeOnline",
        [riva()],
        [message(f"{RIVA}.SynthesizeSpeechResponse", audio=pcm) for pcm in PCM],
        asked(TEXT, **RIVA_ASKED),
        made("pcm16"),
        response_streaming=True,
    ),
    "yandex": Rpc(
        f"{YANDEX}.Synthesizer/UtteranceSynthesis",
        [message(f"{YANDEX}.UtteranceSynthesisRequest", text=TEXT, hints=[{"speed": 1.5}, {"voice": "alena"}, {"role": "good"}])],
        yandex_chunks(wav(WHOLE)[:44], wav(WHOLE)[44:3000], wav(WHOLE)[3000:]),
        asked(TEXT, "alena"),
        made("wav"),
        response_streaming=True,
        first_byte_after=2,  # the first holds a header only
        underrun=ENGINE_TIME - seconds(WHOLE[: 3000 - 44]),
    ),
    "yandex mp3": Rpc(
        f"{YANDEX}.Synthesizer/UtteranceSynthesis",
        [
            message(
                f"{YANDEX}.UtteranceSynthesisRequest",
                text_template={"text_template": "Hello {name}."},
                output_audio_spec={"container_audio": {"container_audio_type": "MP3"}},
            )
        ],
        yandex_chunks(MP3, MP3),
        asked("Hello {name}."),
        made("mp3", None, 1.0),  # as the messages say
        response_streaming=True,
    ),
    "yandex stream": Rpc(
        f"{YANDEX}.Synthesizer/StreamSynthesis",
        [
            message(
                f"{YANDEX}.StreamSynthesisRequest",
                options={
                    "voice": "marina",
                    "output_audio_spec": {"raw_audio": {"audio_encoding": "LINEAR16_PCM", "sample_rate_hertz": RATE}},
                },
            ),
            message(f"{YANDEX}.StreamSynthesisRequest", synthesis_input={"text": TEXT}),
            message(f"{YANDEX}.StreamSynthesisRequest", force_synthesis={}),
        ],
        yandex_chunks(*PCM, kind="StreamSynthesisResponse"),
        asked(TEXT, "marina"),
        made("pcm16"),
        request_streaming=True,
        response_streaming=True,
    ),
    "original yap": Rpc(
        "tts.TTSService/GenerateSpeech",
        [yap()],
        [yap_response(duration=99)],  # what can be read counts more than what is said
        asked("Hello", "amy", "en-GB"),
        made("wav"),
    ),
    "original yap, ssml, mp3": Rpc(
        "tts.TTSService/GenerateSpeech",
        [yap(ssml=SSML)],
        [yap_response(audio_data=MP3, audio_format="mp3", duration=2.5)],
        asked(SSML, "amy", "en-GB"),
        made("mp3", None, 2.5),
    ),
    "original yap, phoneme": Rpc(
        "tts.TTSService/GeneratePhonemeAudio",
        [message("tts.PhonemeAudioRequest", phoneme="AE", word="cat", language_code="en-US")],
        [yap_response()],
        asked("AE", None, "en-US"),
        made("wav"),
    ),
    "yap": Rpc(
        "yap.tts.v1.TextToSpeech/Synthesize",
        [tts_pb2.SynthesizeRequest(ssml=SSML, voice="heart", language="en-US")],
        [tts_pb2.SynthesizeResponse(audio=WHOLE, rendition=YAP_HEADER, audio_duration_seconds=99)],
        asked(SSML, "heart", "en-US"),
        made("pcm16"),
        maker={"gen_ai.provider.name": "hibari", "gen_ai.request.model": "hibari-heart"},
    ),
    "yap stream": Rpc(
        "yap.tts.v1.TextToSpeech/SynthesizeStream",
        [tts_pb2.SynthesizeRequest(text=TEXT, voice="heart", language="en-US")],
        [
            tts_pb2.SynthesizeStreamResponse(header=YAP_HEADER),
            *(tts_pb2.SynthesizeStreamResponse(chunk=tts_pb2.AudioChunk(audio=pcm)) for pcm in PCM),
            tts_pb2.SynthesizeStreamResponse(trailer=tts_pb2.AudioTrailer(audio_duration_seconds=LENGTH, chunk_count=2)),
        ],
        asked(TEXT, "heart", "en-US"),
        made("pcm16"),
        maker={"gen_ai.provider.name": "hibari", "gen_ai.request.model": "hibari-heart"},
        response_streaming=True,
        first_byte_after=2,
    ),
}
