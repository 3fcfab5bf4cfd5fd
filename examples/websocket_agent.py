"""A WebSocket service with Starlette: text comes in pieces, audio goes out, and the listener may interrupt.

    python examples/websocket_agent.py --port 8080

A client connects to ws://127.0.0.1:8080/speech?conversation=call-42 and sends JSON messages:

    {"text": "It is"}          a piece of text, as a language model gives it; the first one begins an utterance
    {"end": true}              that was all of this utterance
    {"interrupt": 0.4}         the listener talks; 0.4 s of the utterance were heard, as the client's player knows

It gets PCM (16 bit, mono, 24 kHz) in binary messages as soon as a sentence is complete, and after each utterance
{"outcome": "ok", "trace": "..."}. Text that comes while an utterance is still being spoken, after its end, supersedes it.

One connection is one conversation, each utterance in it a request of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from uuid import uuid4

import hibari
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import otel_tts
from otel_tts import PCM16, Telemetry

FORMAT = PCM16(hibari.SAMPLE_RATE)
CHUNK = FORMAT.sample_rate // 10 * 2  # bytes of a tenth of a second
_SENTENCE = re.compile(r".+?[.!?](?=\s)\s*", re.DOTALL)
_WORD = re.compile(r"\w")
_SERVICE_RESTART = 1012  # the close code of a server that stops

Engine = Callable[[str], AsyncIterator[bytes]]


class Voice:
    """The engine: a small one, under Apache-2.0. Put yours in its place."""

    def __init__(self) -> None:
        self._hibari = hibari.Hibari(threads=1)

    async def __call__(self, text: str) -> AsyncIterator[bytes]:
        sentences = self._hibari.stream(text, seed=0)
        while (samples := await asyncio.to_thread(next, sentences, None)) is not None:
            yield (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


class Utterance:
    """One utterance: text is put into it, and a task of its own speaks it into the socket."""

    def __init__(self, tts: Telemetry, engine: Engine, socket: WebSocket, ahead: float, after: Utterance | None) -> None:
        self.complete = False
        """Whether all of its text has come."""
        self._engine = engine
        self._socket = socket
        self._ahead = ahead
        self._pieces: asyncio.Queue[str] = asyncio.Queue()
        self._cut_off = asyncio.Event()
        self._synthesis = tts.synthesis(voice="heart", language="en-US", stream=True)
        self._task = asyncio.create_task(self._speak(after))

    def add(self, piece: str) -> None:
        self._pieces.put_nowait(piece)

    def end(self) -> None:
        self.complete = True
        self._pieces.put_nowait("")

    def interrupt(self, reason: str, heard_s: float | None = None) -> None:
        """At most the chunk that is under way is sent. Nothing happens if it has ended."""
        self._synthesis.interrupt(reason, heard=heard_s)
        self._cut_off.set()
        self.end()

    async def over(self) -> None:
        await asyncio.wait([self._task])

    async def _speak(self, after: Utterance | None) -> None:
        if after is not None:
            await after.over()
        with suppress(WebSocketDisconnect):  # which ends the conversation, there
            async with self._synthesis as synthesis:
                sentences = self._sentences()
                first = await anext(sentences, "")
                if first:
                    async with synthesis.attempt("hibari", "heart") as attempt:
                        await self._send(attempt.stream(self._audio(first, sentences), FORMAT))
                elif not self._cut_off.is_set():
                    synthesis.fail(outcome="rejected", error_type="invalid_input")
            await self._socket.send_json({"outcome": synthesis.outcome, "trace": synthesis.trace_id})

    async def _send(self, chunks: AsyncIterator[bytes]) -> None:
        """Not far ahead of what is played, so that an interruption finds it under way."""
        played_until = time.monotonic()
        async for chunk in chunks:
            try:
                await self._socket.send_bytes(chunk)
            except WebSocketDisconnect:  # of which only the receiving side is told the reason
                await self._cut_off.wait()
                return
            now = time.monotonic()
            played_until = max(played_until, now) + len(chunk) / FORMAT.sample_rate / 2
            await asyncio.sleep(max(0.0, played_until - now - self._ahead))
            if self._cut_off.is_set():
                return

    async def _audio(self, first: str, sentences: AsyncIterator[str]) -> AsyncIterator[bytes]:
        sentence = first
        while sentence:
            self._synthesis.flush()  # the engine gets to work
            async for audio in self._engine(sentence):
                for start in range(0, len(audio), CHUNK):
                    yield audio[start : start + CHUNK]
            sentence = await anext(sentences, "")

    async def _sentences(self) -> AsyncIterator[str]:
        """Each as soon as it is complete."""
        text = ""
        async for piece in self._synthesis.text_from(self._text()):
            text += piece
            while sentence := _SENTENCE.match(text):
                text = text[sentence.end() :]
                if _WORD.search(sentence[0]):
                    yield sentence[0]
        if _WORD.search(text) and not self._cut_off.is_set():
            yield text

    async def _text(self) -> AsyncIterator[str]:
        while (piece := await self._pieces.get()) and not self._cut_off.is_set():
            yield piece


class Conversation:
    """One connection."""

    def __init__(self, tts: Telemetry, engine: Engine, socket: WebSocket, ahead: float) -> None:
        self._begin: Callable[[Utterance | None], Utterance] = lambda after: Utterance(tts, engine, socket, ahead, after)
        self._socket = socket
        self._utterance: Utterance | None = None

    async def run(self) -> None:
        reason = "caller"
        try:
            while True:
                self._take(await self._socket.receive_json())
        except WebSocketDisconnect as error:
            reason = "stopped" if error.code == _SERVICE_RESTART else "caller"
        except (KeyError, ValueError):
            await self._socket.close(1003, "Send text, end or interrupt, as JSON.")
        finally:
            if self._utterance is not None:
                self._utterance.interrupt(reason)
                await self._utterance.over()

    def _take(self, message: object) -> None:
        utterance = self._utterance
        match message:
            case {"text": str(piece)} if piece:
                if utterance is None or utterance.complete:
                    if utterance is not None:
                        utterance.interrupt("superseded")
                    utterance = self._utterance = self._begin(utterance)
                utterance.add(piece)
            case {"end": True}:
                if utterance is not None:
                    utterance.end()
            case {"interrupt": int() | float() as heard_s}:
                if utterance is not None:
                    utterance.interrupt("interrupted", heard_s)
            case _:
                raise ValueError(message)


def create_app(tts: Telemetry, engine: Engine, ahead: float = 0.5) -> Starlette:
    """The application; ``ahead``: by how many seconds audio is sent before it is played."""

    async def converse(socket: WebSocket) -> None:
        await socket.accept()
        with tts.conversation(socket.query_params.get("conversation", uuid4().hex)):
            await Conversation(tts, engine, socket, ahead).run()

    return Starlette(routes=[WebSocketRoute("/speech", converse)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    otel_tts.configure(service_name="websocket-agent", local=True, handle_sigterm=True)
    app = create_app(Telemetry(voices=["heart"], languages=["en-US"]), Voice())
    uvicorn.run(app, host="127.0.0.1", port=arguments.port)


if __name__ == "__main__":
    main()
