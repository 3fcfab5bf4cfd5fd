"""The ways in which people speak over WebSockets: the vendors' SDKs, sync and async, and the package ``websockets`` alone."""

from __future__ import annotations

import asyncio
import base64
import contextvars
import inspect
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from importlib import import_module
from typing import Any, ClassVar, Self

RATE = 24000


class Client(ABC):
    """A connection to a provider, and utterances over it, one at a time."""

    provider = ""
    model = ""
    voice = ""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    @abstractmethod
    def open(self) -> None:
        """Open the connection."""

    @abstractmethod
    def say(self, pieces: Sequence[str]) -> None:
        """Begin an utterance, and end its text."""

    @abstractmethod
    def take(self) -> bytes | None:
        """The next audio; None at its end."""

    def interrupt(self) -> None:
        """Have the provider stop, where its protocol has a message for it."""
        raise TypeError(f"{type(self).__name__} has no message for an interruption")

    def all(self) -> bytes:
        """All audio up to its end."""
        audio = b""
        while (piece := self.take()) is not None:
            audio += piece
        return audio


class ElevenLabsMulti(Client):
    """Contexts of ElevenLabs, for which its SDK has no client, over ``websockets``."""

    provider, model, voice = "elevenlabs", "eleven_flash_v2_5", "rachel"

    def open(self) -> None:
        connect = import_module("websockets.sync.client").connect
        path = f"/v1/text-to-speech/{self.voice}/multi-stream-input?model_id={self.model}&output_format=pcm_24000"
        self.socket = self.stack.enter_context(connect(self.url + path))

    def say(self, pieces: Sequence[str]) -> None:
        self.context = uuid.uuid4().hex
        self._send(text=" ", voice_settings={})
        for piece in pieces:
            self._send(text=piece)
        self._send(text="", flush=True)
        self._send(close_context=True)

    def _send(self, **message: Any) -> None:
        self.socket.send(json.dumps({**message, "context_id": self.context}))

    def take(self) -> bytes | None:
        message = json.loads(self.socket.recv())
        if message.get("error"):
            raise RuntimeError(message["error"])
        return None if message.get("isFinal") else base64.b64decode(message["audio"])


class ElevenLabsDialogue(Client):
    """Dialogues of ElevenLabs, of whose messages its SDK has the types and no client, over ``websockets``."""

    provider, model, voice = "elevenlabs", "eleven_v3_conversational", "rachel"

    def open(self) -> None:
        connect = import_module("websockets.sync.client").connect
        types = import_module("elevenlabs.types")
        self.sent_type, self.error_type = types.TextToDialogueWebsocketClientMessageMulti, types.TextToDialogueWebsocketError
        self.audio_type, self.final_type = types.TextToDialogueWebsocketAudioChunkMulti, types.TextToDialogueWebsocketFinalMulti
        path = f"/v1/text-to-dialogue/multi-stream-input?model_id={self.model}&output_format=pcm_24000"
        self.socket = self.stack.enter_context(connect(self.url + path))

    def say(self, pieces: Sequence[str]) -> None:
        self.context = uuid.uuid4().hex
        self._send(voices=[self.voice])
        for piece in pieces:
            self._send(inputs=[{"text": piece, "voice_id": self.voice}])
        self._send(flush=True)
        self._send(close_context=True)

    def _send(self, **message: Any) -> None:
        self.socket.send(json.dumps(self.sent_type(**message, context_id=self.context).dict(exclude_none=True)))

    def take(self) -> bytes | None:
        message = json.loads(self.socket.recv())
        if message.get("error"):
            raise RuntimeError(self.error_type(**message).error)
        if message.get("is_final"):
            assert self.final_type(**message).context_id == self.context
            return None
        return base64.b64decode(self.audio_type(**message).audio)


class Cartesia(Client):
    """The contexts of Cartesia's SDK."""

    provider, model, voice = "cartesia", "sonic-3", "katie"
    asked: ClassVar = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE}

    def open(self) -> None:
        client = import_module("cartesia").Cartesia(
            api_key="none", base_url=self.url.replace("ws", "http"), websocket_base_url=self.url
        )
        self.connection = self.stack.enter_context(client.tts.websocket_connect())

    def say(self, pieces: Sequence[str]) -> None:
        self.context = self.connection.context(model_id=self.model, voice=self.voice, output_format=self.asked, language="en")
        for piece in pieces:
            self.context.push(piece)
        self.context.no_more_inputs()
        self.events = self.context.receive()

    def take(self) -> bytes | None:
        return _cartesia_audio(next(self.events, None))

    def interrupt(self) -> None:
        self.context.cancel()


def _cartesia_audio(event: Any) -> bytes | None:
    if event is None or event.type == "done":
        return None
    if event.type == "error":
        raise RuntimeError(event)
    return bytes(event.audio)


class _Loop(Client):
    """A client that runs in an event loop of its own."""

    def __enter__(self) -> Self:
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.astack = AsyncExitStack()
        self.stack.callback(lambda: self.runner.run(self.astack.aclose()))
        return super().__enter__()

    def run(self, awaitable: Any) -> Any:
        """To its end."""

        async def awaited() -> Any:
            return await awaitable

        return self.runner.run(awaited(), context=contextvars.copy_context())


class CartesiaAsync(_Loop, Cartesia):
    """The same in an event loop."""

    def open(self) -> None:
        client = import_module("cartesia").AsyncCartesia(
            api_key="none", base_url=self.url.replace("ws", "http"), websocket_base_url=self.url
        )
        self.connection = self.run(self.astack.enter_async_context(client.tts.websocket_connect()))

    def say(self, pieces: Sequence[str]) -> None:
        async def say() -> None:
            self.context = self.connection.context(model_id=self.model, voice=self.voice, output_format=self.asked, language="en")
            for piece in pieces:
                await self.context.push(piece)
            await self.context.no_more_inputs()
            self.events = self.context.receive()

        self.run(say())

    def take(self) -> bytes | None:
        return _cartesia_audio(self.run(anext(self.events, None)))

    def interrupt(self) -> None:
        self.run(self.context.cancel())


class Deepgram(Client):
    """``speak.v1.connect`` of Deepgram's SDK."""

    provider, model, voice = "deepgram", "aura-2-thalia-en", "aura-2-thalia-en"
    kind = "DeepgramClient"

    def client(self) -> Any:
        """The SDK's client of this address."""
        deepgram, environments = import_module("deepgram"), import_module("deepgram.environment")
        names = list(inspect.signature(environments.DeepgramClientEnvironment.__init__).parameters)[1:]
        environment = environments.DeepgramClientEnvironment(**dict.fromkeys(names, self.url))
        return getattr(deepgram, self.kind)(api_key="none", environment=environment)

    def connecting(self) -> Any:
        """What opens the connection."""
        self.types = import_module("deepgram.speak.v1.types.speak_v1text")
        return self.client().speak.v1.connect(model=self.model, encoding="linear16", sample_rate=str(RATE))

    def open(self) -> None:
        self.connection = self.stack.enter_context(self.connecting())

    def say(self, pieces: Sequence[str]) -> None:
        for piece in pieces:
            self.connection.send_text(self.types.SpeakV1Text(text=piece))
        self.connection.send_flush()

    def take(self) -> bytes | None:
        return self._audio(self.connection.recv)

    def _audio(self, receive: Any) -> bytes | None:
        while True:
            message = receive()
            if isinstance(message, bytes):
                return message
            if message.type in ("Flushed", "Cleared"):
                return None

    def interrupt(self) -> None:
        self.connection.send_clear()


class DeepgramAsync(_Loop, Deepgram):
    """The same in an event loop."""

    kind = "AsyncDeepgramClient"

    def open(self) -> None:
        self.connection = self.run(self.astack.enter_async_context(self.connecting()))

    def say(self, pieces: Sequence[str]) -> None:
        async def say() -> None:
            for piece in pieces:
                await self.connection.send_text(self.types.SpeakV1Text(text=piece))
            await self.connection.send_flush()

        self.run(say())

    def take(self) -> bytes | None:
        return self._audio(lambda: self.run(self.connection.recv()))

    def interrupt(self) -> None:
        self.run(self.connection.send_clear())


class DeepgramFlux(Deepgram):
    """``speak.v2.connect`` of Deepgram's SDK."""

    model = voice = "flux-alexis-en"

    def connecting(self) -> Any:
        """What opens the connection."""
        self.types = import_module("deepgram.speak.v2.types")
        return self.client().speak.v2.connect(model=self.model, encoding="linear16", sample_rate=str(RATE))

    def say(self, pieces: Sequence[str]) -> None:
        for piece in pieces:
            self.connection.send_speak(self.types.SpeakV2Speak(text=piece))
        self.connection.send_flush()

    def _audio(self, receive: Any) -> bytes | None:
        while True:
            message = receive()
            if isinstance(message, bytes):
                return message
            if message.type == "Error":
                raise RuntimeError(message.description)
            if message.type in ("SpeechMetadata", "SpeechInterrupted"):
                return None

    def interrupt(self) -> None:
        self.connection.send_interrupt()


class DeepgramFluxAsync(DeepgramFlux, DeepgramAsync):
    """The same in an event loop."""

    def say(self, pieces: Sequence[str]) -> None:
        async def say() -> None:
            for piece in pieces:
                await self.connection.send_speak(self.types.SpeakV2Speak(text=piece))
            await self.connection.send_flush()

        self.run(say())

    def take(self) -> bytes | None:
        return DeepgramAsync.take(self)

    def interrupt(self) -> None:
        self.run(self.connection.send_interrupt())


CLIENTS: dict[str, type[Client]] = {
    "elevenlabs multi-context": ElevenLabsMulti,
    "cartesia": Cartesia,
    "cartesia async": CartesiaAsync,
    "deepgram": Deepgram,
    "deepgram async": DeepgramAsync,
    "deepgram flux": DeepgramFlux,
    "deepgram flux async": DeepgramFluxAsync,
    "elevenlabs dialogue": ElevenLabsDialogue,
}
