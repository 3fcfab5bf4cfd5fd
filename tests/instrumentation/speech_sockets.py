"""A local server of the WebSocket protocols of ElevenLabs, Cartesia and Deepgram, with Hibari behind it.

Paths: ``/v1/text-to-speech/VOICE/stream-input`` and ``.../multi-stream-input``, ``/v1/text-to-dialogue/...`` with the same two ends,
``/tts/websocket``, ``/v1/speak``, ``/v2/speak``. Audio is 16 bit PCM at 24 kHz, whatever is asked for.
Text is spoken sentence by sentence as it comes; what is left of it at a flush or at the end.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from threading import Event, Thread
from typing import Any

import hibari
import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

RATE = 24000
_PIECE = RATE // 4 * 2  # bytes of one message: a quarter of a second
_SENTENCE = re.compile(r"[^.!?]*[.!?]+\s*")
Send = Callable[[bytes], Awaitable[None]]


class SpeechSockets:
    """The server, and what it may do wrong. All its figures are what it saw itself."""

    def __init__(self) -> None:
        self.engine = hibari.Hibari(threads=1)
        list(self.engine.stream("Warm.", seed=0))  # the first time takes longest
        self.fault = ""
        """After the first audio of the next utterance: ``error``, ``lost`` (no more packets), ``closed`` (a clean close, no end marker)."""
        self.mute = False
        """Whether every text is spoken by no samples at all, with all else as it is."""
        self.refuse = False
        """Whether handshakes are answered with 401."""
        self.hold = Event()
        """Cleared: speech stops after its first message of audio until this is set."""
        self.hold.set()
        self.pace_s = 0.0
        """Pause after each message of audio."""
        self.connections = 0
        self.texts: list[str] = []
        """What was spoken, by sentence or flush."""
        self.audio: dict[str, bytes] = {}
        """What was sent, by context."""
        self.port = 0

    @property
    def url(self) -> str:
        """The address, for WebSockets."""
        return f"ws://127.0.0.1:{self.port}"

    def mend(self) -> None:
        """Do nothing wrong from now on, and forget what was sent."""
        self.fault, self.refuse, self.mute = "", False, False
        self.audio.clear()
        self.hold.set()

    @contextmanager
    def running(self) -> Iterator[SpeechSockets]:
        """Serve in a thread of its own."""
        loop, up, over = asyncio.new_event_loop(), Event(), asyncio.Event()

        async def run() -> None:
            async with serve(self._serve, "127.0.0.1", 0, process_request=self._admit) as server:
                self.port = next(iter(server.sockets)).getsockname()[1]
                up.set()
                await over.wait()

        thread = Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        up.wait(10)
        try:
            yield self
        finally:
            self.hold.set()
            loop.call_soon_threadsafe(over.set)
            thread.join(10)
            loop.close()

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no") if self.refuse else None

    async def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        path = socket.request.path.partition("?")[0]  # type: ignore[union-attr]  # it was accepted
        protocol = next(p for end, p in _PROTOCOLS.items() if path.endswith(end))
        with suppress(ConnectionClosed):
            await protocol(self, socket)

    async def spoken(self, text: str) -> bytes:
        """The engine's audio."""
        self.texts.append(text)
        if self.mute:
            return b""
        samples = await asyncio.to_thread(lambda: np.concatenate([*self.engine.stream(text, seed=0), np.zeros(0, np.float32)]))
        return (samples * 32767).astype("<i2").tobytes()


class Context:
    """One utterance: text in, audio out, in a task of its own."""

    def __init__(self, server: SpeechSockets, name: str, socket: ServerConnection, send: Send) -> None:
        self._server, self._name, self._socket, self._send = server, name, socket, send
        self._buffer = ""
        self._turns: asyncio.Queue[str | tuple[Callable[[], Awaitable[None]], str] | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())
        server.audio.setdefault(name, b"")

    def add(self, text: str) -> None:
        """More text; whole sentences are spoken at once."""
        self._buffer += text
        while match := _SENTENCE.match(self._buffer):
            self._turns.put_nowait(match[0])
            self._buffer = self._buffer[match.end() :]

    def flush(self) -> None:
        """Speak what is left."""
        if self._buffer.strip():
            self._turns.put_nowait(self._buffer)
        self._buffer = ""

    def then(self, do: Callable[[], Awaitable[None]], name: str) -> None:
        """When all before is sent, ``do``; what follows has the name ``name``."""
        self._turns.put_nowait((do, name))

    async def end(self) -> None:
        """Speak what is left, then no more; comes back when all is sent."""
        self.flush()
        self._turns.put_nowait(None)
        with suppress(asyncio.CancelledError):
            await self._task

    def cancel(self) -> None:
        """Stop at once."""
        self._task.cancel()

    async def _run(self) -> None:
        first = True
        while (turn := await self._turns.get()) is not None:
            if isinstance(turn, tuple):
                do, self._name = turn
                self._server.audio.setdefault(self._name, b"")
                first = True
                await do()
                continue
            audio = await self._server.spoken(turn)
            for start in range(0, len(audio), _PIECE):
                piece = audio[start : start + _PIECE]
                self._server.audio[self._name] += piece
                await self._send(piece)
                if first:
                    first = False
                    await self._break()
                await asyncio.sleep(self._server.pace_s)
                while not self._server.hold.is_set():  # noqa: ASYNC110 - it is set in another thread
                    await asyncio.sleep(0.005)

    async def _break(self) -> None:
        fault, self._server.fault = self._server.fault, ""
        if fault == "lost":
            self._socket.transport.abort()
        elif fault == "closed":
            await self._socket.close()
        elif fault == "error" and self._socket.request.path.startswith("/v1/speak"):  # type: ignore[union-attr]
            await self._socket.close(1011, "The engine failed.")
        elif fault == "error":
            raise RuntimeError(fault)
        if fault:
            raise asyncio.CancelledError


async def _ended(context: Context, failed: Callable[[], Awaitable[None]], over: Callable[[], Awaitable[None]]) -> None:
    with suppress(ConnectionClosed):
        try:
            await context.end()
        except RuntimeError:
            await failed()
        else:
            await over()


def _json(**message: Any) -> str:
    return json.dumps(message)


def _base64(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


async def _eleven(server: SpeechSockets, socket: ServerConnection) -> None:
    name = f"stream-input {server.connections}"
    context = Context(server, name, socket, lambda audio: socket.send(_json(audio=_base64(audio), isFinal=None)))
    async for message in socket:
        text = json.loads(message)["text"]
        if text:
            context.add(text)
            if json.loads(message).get("flush"):
                context.flush()
            continue
        await _ended(
            context,
            lambda: socket.send(_json(message="The engine failed.", error="internal", code=1011)),
            lambda: socket.send(_json(audio=None, isFinal=True)),
        )
        await socket.close()
    context.cancel()


async def _eleven_multi(server: SpeechSockets, socket: ServerConnection) -> None:
    contexts: dict[str, Context] = {}
    endings: set[asyncio.Task[None]] = set()
    async for raw in socket:
        message = json.loads(raw)
        name = message.get("context_id", "")
        if message.get("close_socket"):
            break
        if name not in contexts and "text" in message:

            def send(audio: bytes, name: str = name) -> Awaitable[None]:
                return socket.send(_json(audio=_base64(audio), contextId=name, isFinal=None))

            contexts[name] = Context(server, name, socket, send)
        if message.get("close_context"):
            context = contexts.pop(name)

            async def failed(name: str = name) -> None:
                await socket.send(_json(error="The engine failed.", contextId=name))

            async def over(name: str = name) -> None:
                await socket.send(_json(contextId=name, isFinal=True))

            endings.add(asyncio.create_task(_ended(context, failed, over)))
        elif name in contexts:
            contexts[name].add(message.get("text", ""))
            if message.get("flush"):
                contexts[name].flush()
    for context in contexts.values():
        context.cancel()


async def _cartesia(server: SpeechSockets, socket: ServerConnection) -> None:
    contexts: dict[str, Context] = {}
    endings: set[asyncio.Task[None]] = set()
    async for raw in socket:
        message = json.loads(raw)
        name = message["context_id"]
        if message.get("cancel"):
            if name in contexts:
                contexts.pop(name).cancel()
                await socket.send(_json(type="done", done=True, context_id=name, status_code=206))
            continue
        if name not in contexts:

            def send(audio: bytes, name: str = name) -> Awaitable[None]:
                return socket.send(
                    _json(type="chunk", data=_base64(audio), done=False, context_id=name, status_code=206, step_time=1.0)
                )

            contexts[name] = Context(server, name, socket, send)
        contexts[name].add(message["transcript"])
        if message.get("flush"):
            contexts[name].flush()
        if not message.get("continue"):
            context = contexts[name]

            async def failed(name: str = name) -> None:
                await socket.send(_json(type="error", error="The engine failed.", done=True, context_id=name, status_code=500))

            async def over(name: str = name) -> None:
                if contexts.pop(name, None) is not None:
                    await socket.send(_json(type="done", done=True, context_id=name, status_code=200))

            endings.add(asyncio.create_task(_ended(context, failed, over)))
    for context in contexts.values():
        context.cancel()


async def _deepgram(server: SpeechSockets, socket: ServerConnection) -> None:
    count = 0

    def begin() -> Context:
        return Context(server, f"speak {server.connections}.{count}", socket, socket.send)

    context = begin()
    await socket.send(_json(type="Metadata", request_id="local", model_name="hibari", model_version="0", model_uuid="0"))
    async for raw in socket:
        message = json.loads(raw)
        match message["type"]:
            case "Speak":
                context.add(message["text"])
            case "Flush":
                count += 1
                flushed = _json(type="Flushed", sequence_id=count)
                context.flush()
                context.then(lambda flushed=flushed: socket.send(flushed), f"speak {server.connections}.{count}")
            case "Clear":
                count += 1
                context.cancel()
                context = begin()
                await socket.send(_json(type="Cleared", sequence_id=count))
            case "Close":
                break
    context.cancel()


class Dialogue:
    """Dialogues: lines of several voices, in one context (whose name is empty) or in many."""

    def __init__(self, server: SpeechSockets, socket: ServerConnection) -> None:
        self._server, self._socket = server, socket
        self._contexts: dict[str, Context] = {}
        self._endings: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take messages to the end of the connection."""
        async for raw in self._socket:
            message = json.loads(raw)
            name = message.get("context_id", "")
            if name not in self._contexts and message.get("voices"):
                self._begin(name)
            for line in message.get("inputs", ()):
                self._add(name, line)
            if message.get("flush"):
                self._contexts[name].flush()
            if message.get("close_context"):
                self._endings.add(asyncio.create_task(self._end(name)))
            if message.get("close_socket"):
                await asyncio.gather(*map(self._end, list(self._contexts)), *self._endings)
                await self._socket.close()
        for context in self._contexts.values():
            context.cancel()

    async def _send(self, context: str, **fields: Any) -> None:
        await self._socket.send(_json(**fields, **({"context_id": context} if context else {})))

    def _begin(self, name: str) -> None:
        self._contexts[name] = Context(
            self._server, self._name(name), self._socket, lambda audio: self._send(name, audio=_base64(audio))
        )

    def _name(self, context: str) -> str:
        return f"dialogue {self._server.connections} {context}"

    def _add(self, name: str, line: dict[str, Any]) -> None:
        context = self._contexts[name]
        if line.get("new_turn"):
            context.flush()
            context.then(lambda: self._send(name, is_final_audio_for_turn=True), self._name(name))
        context.add(line["text"])

    async def _end(self, name: str) -> None:
        context = self._contexts.pop(name, None)
        if context is not None:  # else it was closed before
            await _ended(context, self._failed, lambda: self._send(name, is_final=True))

    async def _failed(self) -> None:
        await self._socket.send(_json(message="The engine failed.", error="internal", code=1011))
        await self._socket.close(1011)


async def _dialogue(server: SpeechSockets, socket: ServerConnection) -> None:
    await Dialogue(server, socket).run()


class Flux:
    """Turns of ``/v2/speak``: the provider works on one, the others wait."""

    def __init__(self, server: SpeechSockets, socket: ServerConnection) -> None:
        self._server, self._socket = server, socket
        self._turns: asyncio.Queue[asyncio.Queue[str | None]] = asyncio.Queue()
        self._open: asyncio.Queue[str | None] | None = None
        self._texts: asyncio.Queue[str | None] | None = None  # of the active turn
        self._active: Context | None = None
        self._cut = False
        self._made = False

    async def run(self) -> None:
        """Take messages to the end of the connection."""
        work = asyncio.create_task(self._work())
        await self._socket.send(_json(type="Connected", request_id="0", model_name="hibari", model_version="0", model_uuids=[]))
        async for raw in self._socket:
            message = json.loads(raw)
            match message["type"]:
                case "Speak":
                    if self._open is None:
                        self._open = asyncio.Queue()
                        self._turns.put_nowait(self._open)
                    self._open.put_nowait(message["text"])
                case "Flush" if self._open is not None:
                    self._end_text()
                case "Flush":
                    await self._warn("NO_ACTIVE_SPEECH")
                case "Interrupt":
                    await self._interrupt()
                case "Close":
                    self._end_text()
                    await self._drain(work)
        if self._active is not None:
            self._active.cancel()
        while not work.done():  # the end of an utterance takes a cancellation for its own
            work.cancel()
            await asyncio.wait([work], timeout=0.05)

    async def _drain(self, work: asyncio.Task[None]) -> None:
        """Speak what was asked for, unless the client has gone, and close."""
        rest = [asyncio.create_task(self._turns.join()), asyncio.create_task(self._socket.wait_closed())]
        await asyncio.wait([work, *rest], return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await self._socket.close()

    def _end_text(self) -> None:
        if self._open is not None:
            self._open.put_nowait(None)
        self._open = None

    async def _interrupt(self) -> None:
        if not self._made:
            await self._warn("NO_AUDIO_GENERATED")
        elif self._active is None or self._texts is None:
            await self._warn("NO_ACTIVE_SPEECH")
        else:
            self._cut = True
            self._active.cancel()
            if self._texts is self._open:
                self._end_text()

    async def _warn(self, code: str) -> None:
        await self._socket.send(_json(type="Warning", code=code, description=code))

    async def _work(self) -> None:
        count = 0
        while True:
            self._texts, count = await self._turns.get(), count + 1
            speech_id = f"dg_sp_{count:012x}"
            with suppress(ConnectionClosed):
                await self._socket.send(_json(type="SpeechStarted", speech_id=speech_id))
            self._cut = False
            self._active = context = Context(self._server, f"flux {self._server.connections}.{count}", self._socket, self._send)
            while (text := await self._texts.get()) is not None:
                context.add(text)
            context.flush()
            with suppress(ConnectionClosed):
                await self._socket.send(_json(type="Flushed", speech_id=speech_id))  # before the rest of the audio
            await _ended(context, self._failed, lambda speech_id=speech_id: self._over(speech_id))
            self._active = self._texts = None
            self._turns.task_done()

    async def _send(self, audio: bytes) -> None:
        self._made = True
        await self._socket.send(audio)

    async def _failed(self) -> None:
        await self._socket.send(_json(type="Error", code="NET-0000", description="The engine failed."))
        await self._socket.close(1011)

    async def _over(self, speech_id: str) -> None:
        applied = {"pronunciations_applied": 0, "breaks_applied": 0, "pronunciation_warnings": 0}
        figures = {
            "speech_id": speech_id, "audio_duration_ms": 0, "input_character_count": 0, "billable_character_count": 0,
            "controls_applied": applied,
        }  # fmt: skip
        if self._cut:
            await self._socket.send(_json(type="SpeechInterrupted", audio_played_ms=0, metadata=figures))
        else:
            await self._socket.send(_json(type="SpeechMetadata", **figures))


async def _flux(server: SpeechSockets, socket: ServerConnection) -> None:
    await Flux(server, socket).run()


_PROTOCOLS = {
    "/text-to-dialogue/multi-stream-input": _dialogue,
    "/text-to-dialogue/stream-input": _dialogue,
    "/multi-stream-input": _eleven_multi,
    "/stream-input": _eleven,
    "/tts/websocket": _cartesia,
    "/v1/speak": _deepgram,
    "/v2/speak": _flux,
}
