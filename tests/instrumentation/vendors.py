"""Vendors' SDKs, the real ones, each made to speak in the same words.

A ``speak`` asks for raw 16-bit samples at 16 kHz, of a server at ``url``. It reads the answer to its end and returns it, or leaves after
the first piece where ``leave`` is set. ``patience`` is the SDK's timeout, in seconds; nothing is tried again. ``heard``, of what is
asynchronous, is set with the first piece.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import httpx

from otel_tts.instrumentation.aiobotocore import AiobotocoreInstrumentor
from otel_tts.instrumentation.cartesia import CartesiaInstrumentor
from otel_tts.instrumentation.deepgram import DeepgramInstrumentor
from otel_tts.instrumentation.elevenlabs import ElevenLabsInstrumentor
from otel_tts.instrumentation.google import GoogleInstrumentor
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.polly import PollyInstrumentor

ONCE: Any = {"max_retries": 0}


def _pieces(pieces: Any, leave: bool) -> bytes:
    with closing(pieces):
        return bytes(next(pieces)) if leave else b"".join(pieces)


async def _pieces_async(pieces: Any, leave: bool, first_piece: asyncio.Event | None) -> bytes:
    try:
        first = bytes(await anext(pieces))
        if first_piece is not None:
            first_piece.set()
        return first if leave else first + b"".join([piece async for piece in pieces])
    finally:
        await pieces.aclose()


def elevenlabs(method: str, asynchronous: bool) -> Any:
    """``text_to_speech.convert`` or ``.stream``."""

    def asked(client: Any, text: str) -> Any:
        speak = getattr(client.text_to_speech, method)
        return speak("rachel", text=text, model_id="eleven_flash_v2_5", output_format="pcm_16000", request_options=ONCE)

    def speak(url: str, text: str, leave: bool = False, patience: float = 30) -> bytes:
        with httpx.Client(timeout=patience) as http:
            return _pieces(
                asked(
                    import_module("elevenlabs").ElevenLabs(api_key="none", base_url=url, httpx_client=http, timeout=patience),
                    text,
                ),
                leave,
            )

    async def speak_async(url: str, text: str, leave: bool = False, patience: float = 30, first_piece: Any = None) -> bytes:
        async with httpx.AsyncClient(timeout=patience) as http:
            client = import_module("elevenlabs").AsyncElevenLabs(
                api_key="none", base_url=url, httpx_client=http, timeout=patience
            )
            return await _pieces_async(asked(client, text), leave, first_piece)

    return speak_async if asynchronous else speak


def deepgram(asynchronous: bool) -> Any:
    """``speak.v1.audio.generate``."""

    def asked(kind: str, url: str, text: str, http: Any, patience: float) -> Any:
        deepgram, environments = import_module("deepgram"), import_module("deepgram.environment")
        names = list(inspect.signature(environments.DeepgramClientEnvironment.__init__).parameters)[1:]
        environment = environments.DeepgramClientEnvironment(**dict.fromkeys(names, url))
        client = getattr(deepgram, kind)(api_key="none", environment=environment, httpx_client=http, timeout=patience)
        return client.speak.v1.audio.generate(
            text=text, model="aura-2-thalia-en", encoding="linear16", container="none", sample_rate=16000, request_options=ONCE
        )

    def speak(url: str, text: str, leave: bool = False, patience: float = 30) -> bytes:
        with httpx.Client(timeout=patience) as http:
            return _pieces(asked("DeepgramClient", url, text, http, patience), leave)

    async def speak_async(url: str, text: str, leave: bool = False, patience: float = 30, first_piece: Any = None) -> bytes:
        async with httpx.AsyncClient(timeout=patience) as http:
            return await _pieces_async(asked("AsyncDeepgramClient", url, text, http, patience), leave, first_piece)

    return speak_async if asynchronous else speak


def cartesia(how: str, asynchronous: bool) -> Any:
    """``tts.generate``: ``whole``, or through ``with_raw_response`` or ``with_streaming_response``, which are ``raw`` and ``stream``."""

    def asked(text: str) -> Any:
        audio = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000}
        return {"model_id": "sonic-3", "transcript": text, "voice": {"id": "katie"}, "language": "en", "output_format": audio}

    def speak(url: str, text: str, leave: bool = False, patience: float = 30) -> bytes:
        with import_module("cartesia").Cartesia(api_key="none", base_url=url, timeout=patience, max_retries=0) as client:
            if how == "whole":
                return bytes(client.tts.generate(**asked(text)).read())
            if how == "raw":
                return bytes(client.tts.with_raw_response.generate(**asked(text)).read())
            with client.tts.with_streaming_response.generate(**asked(text)) as response:
                return _pieces(response.iter_bytes(), leave)

    async def speak_async(url: str, text: str, leave: bool = False, patience: float = 30, first_piece: Any = None) -> bytes:
        async with import_module("cartesia").AsyncCartesia(
            api_key="none", base_url=url, timeout=patience, max_retries=0
        ) as client:
            if how == "whole":
                return bytes(await (await client.tts.generate(**asked(text))).read())
            if how == "raw":
                return bytes(await (await client.tts.with_raw_response.generate(**asked(text))).read())
            async with client.tts.with_streaming_response.generate(**asked(text)) as response:
                return await _pieces_async(response.iter_bytes(), leave, first_piece)

    return speak_async if asynchronous else speak


POLLY = {"VoiceId": "Amy", "LanguageCode": "en-GB", "Engine": "neural", "OutputFormat": "pcm", "SampleRate": "16000"}


def polly(url: str, text: str, leave: bool = False, patience: float = 30) -> bytes:
    """``synthesize_speech`` of boto3's client, and its ``AudioStream``."""
    client = import_module("boto3").client(
        "polly", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="none", aws_secret_access_key="none",
        config=import_module("botocore.config").Config(read_timeout=patience, retries={"total_max_attempts": 1}),
    )  # fmt: skip
    with closing(client.synthesize_speech(Text=text, **POLLY)["AudioStream"]) as stream:
        return bytes(stream.read(1000) if leave else b"".join(stream.iter_chunks(4096)))


def aiobotocore_client(url: str, session: str, **config: Any) -> Any:
    """A block with an asynchronous client of Polly, over ``aiohttp`` or ``httpx``."""
    kind = import_module(f"aiobotocore.{'httpx' if session == 'httpx' else 'http'}session")
    config["http_session_cls"] = kind.HttpxSession if session == "httpx" else kind.AIOHTTPSession
    return import_module("aiobotocore.session").get_session().create_client(
        "polly", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="none", aws_secret_access_key="none",
        config=import_module("aiobotocore.config").AioConfig(**config),
    )  # fmt: skip


def polly_async(session: str) -> Any:
    """``synthesize_speech`` of aiobotocore's client, and its ``AudioStream``."""

    async def speak(url: str, text: str, leave: bool = False, patience: float = 30, first_piece: Any = None) -> bytes:
        retries = {"total_max_attempts": 1}
        async with (
            aiobotocore_client(url, session, read_timeout=patience, retries=retries) as client,
            (await client.synthesize_speech(Text=text, **POLLY))["AudioStream"] as stream,
        ):
            return await _pieces_async(stream.iter_chunks(4096), leave, first_piece)

    return speak


def google_rest(url: str, text: str, leave: bool = False, patience: float = 30) -> bytes:
    """``synthesize_speech`` over HTTP."""
    credentials = import_module("google.auth.credentials").AnonymousCredentials()
    credentials.refresh = lambda request: None  # so that a 401 is one
    texttospeech = import_module("google.cloud.texttospeech")
    client = texttospeech.TextToSpeechClient(transport="rest", credentials=credentials, client_options={"api_endpoint": url})
    voice = {"language_code": "en-US", "name": "en-US-Neural2-C"}
    audio = {"audio_encoding": "LINEAR16", "sample_rate_hertz": 16000}
    answer = client.synthesize_speech(input={"text": text}, voice=voice, audio_config=audio, retry=None, timeout=patience)
    return bytes(answer.audio_content)


@dataclass(frozen=True)
class Sdk:
    """One way of using one SDK."""

    instrumentor: type[Instrumentor]
    speak: Callable[..., Any]
    path: str
    """Of the vendor's protocol at the ovos server."""
    provider: str
    model: str
    asked: dict[str, str]
    """Voice and language as attributes."""
    stream: bool = True
    format: str = "wav"
    """What the ovos server answers with: of some vendors, a WAV whatever it is asked for."""
    rate: int = 22050

    def run(self, *arguments: Any, **options: Any) -> bytes:
        """Speak, to the end of an event loop of its own where it is asynchronous."""
        answer = self.speak(*arguments, **options)
        return bytes(asyncio.run(answer) if inspect.iscoroutine(answer) else answer)

    @property
    def asynchronous(self) -> bool:
        """Whether it is."""
        return inspect.iscoroutinefunction(self.speak)


_KINDS = {"sync": False, "async": True}

SDKS: dict[str, Sdk] = {
    **{
        f"elevenlabs {method} {kind}": Sdk(
            ElevenLabsInstrumentor, elevenlabs(method, asynchronous), "/elevenlabs", "elevenlabs", "eleven_flash_v2_5",
            {"tts.voice": "rachel"}, format="pcm16", rate=16000,
        )
        for method in ("convert", "stream") for kind, asynchronous in _KINDS.items()
    },
    **{
        f"deepgram {kind}": Sdk(
            DeepgramInstrumentor, deepgram(asynchronous), "/deepgram", "deepgram", "aura-2-thalia-en", {"tts.voice": "aura-2-thalia-en"}
        )
        for kind, asynchronous in _KINDS.items()
    },
    **{
        f"cartesia {how} {kind}": Sdk(
            CartesiaInstrumentor, cartesia(how, asynchronous), "/cartesia", "cartesia", "sonic-3",
            {"tts.voice": "katie", "tts.language": "en"}, stream=how == "stream",
        )
        for how in ("stream", "whole") for kind, asynchronous in _KINDS.items()
    },
    "polly": Sdk(PollyInstrumentor, polly, "/amazon-polly", "aws.polly", "neural", {"tts.voice": "Amy", "tts.language": "en-GB"}),
    "google rest": Sdk(
        GoogleInstrumentor, google_rest, "/google-tts", "gcp.texttospeech", "Neural2",
        {"tts.voice": "en-US-Neural2-C", "tts.language": "en-US"}, stream=False,
    ),
}  # fmt: skip

if find_spec("aiobotocore"):  # in an environment of its own, see `test_aiobotocore.py`
    SDKS |= {
        f"aiobotocore {session}": replace(SDKS["polly"], instrumentor=AiobotocoreInstrumentor, speak=polly_async(session))
        for session in ("aiohttp", "httpx")
    }
