"""An agent on the telephone: it has two engines, makes phrases ahead, and stops when it is interrupted."""

from __future__ import annotations

import asyncio
import io
import re
import time
import wave
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress

import httpx
import numpy as np
from hibari import SAMPLE_RATE, Hibari

from otel_tts import PCM16, Synthesis, Telemetry
from otel_tts.commands.demo.cloud import MODEL, VOICE
from otel_tts.commands.demo.listener import Listener, ListenerRecord
from otel_tts.commands.demo.script import AgentReply, Script, language_model

FORMAT = PCM16(SAMPLE_RATE)
BYTES_PER_S = SAMPLE_RATE * 2
LOCAL = "hibari"
CLOUD = "cloud"
_FRAME = BYTES_PER_S // 20
_SENTENCE = re.compile(r".+?[.!?](?=\s)\s*", re.DOTALL)

Engine = Callable[[str], AsyncIterator[bytes]]


def local_engine(voice: Hibari) -> Engine:
    """Speaks in this process, sentence by sentence.

    Args:
        voice: the engine.
    """

    async def speak(text: str) -> AsyncIterator[bytes]:
        sentences = voice.stream(text)
        while (samples := await asyncio.to_thread(next, sentences, None)) is not None:
            yield (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()

    return speak


def cloud_engine(client: httpx.AsyncClient, base_url: str) -> Engine:
    """Asks a server with OpenAI's speech API.

    Args:
        client: sends the requests.
        base_url: the address of the speech API.
    """

    async def speak(text: str) -> AsyncIterator[bytes]:
        asked = {"model": MODEL, "voice": VOICE, "input": text, "speed": 1.0}
        response = await client.post(f"{base_url}/audio/speech", json=asked)
        response.raise_for_status()
        with wave.open(io.BytesIO(response.content)) as audio:
            yield audio.readframes(audio.getnframes())

    return speak


class Agent:
    """Speaks in one conversation.

    Args:
        tts: the Telemetry that records.
        conversation: the id of the conversation.
        engines: ``cloud``, which is asked first, ``hibari``, and ``away``, which stands in for the first where that cannot be reached.
        speed: how much faster than in real time everything is played.
    """

    def __init__(self, tts: Telemetry, conversation: str, engines: Mapping[str, Engine], speed: float) -> None:
        self.records: list[ListenerRecord] = []
        """What its listener recorded, an entry for each utterance."""
        self._tts = tts
        self._conversation = conversation
        self._engines = engines
        self._speed = speed
        self._made: dict[str, bytes] = {}

    async def call(self, script: Script) -> None:
        """A whole call.

        Args:
            script: what the agent says, and when it is interrupted.
        """
        with self._tts.conversation(self._conversation, attributes={"app.agent": script.agent}):
            ahead = asyncio.create_task(self._prefetch(script.phrases))
            for turn in script.turns:
                if isinstance(turn, str):
                    await ahead
                    await self._phrase(turn)
                else:
                    await self._reply(turn)
                    await asyncio.sleep(turn.pause_s / self._speed)

    async def _prefetch(self, phrases: Sequence[str]) -> None:
        """Make ahead what will be needed, perhaps. Nobody waits for it."""
        for text in phrases:
            synthesis = self._tts.synthesis(text, LOCAL, "en-US", kind="prefetch")
            async with synthesis, synthesis.attempt(LOCAL, LOCAL) as attempt:
                audio = b"".join([chunk async for chunk in self._engines[LOCAL](text)])
                self._made[text] = attempt.audio(audio, FORMAT)

    async def _phrase(self, text: str) -> None:
        """Say what was made ahead."""
        listener = self._listener()
        async with self._tts.synthesis(text, LOCAL, "en-US", stream=True) as synthesis:
            listener.text(text)
            with synthesis.lookup("memory") as lookup:
                audio = lookup.found(self._made[text], LOCAL, LOCAL, audio=FORMAT)
            await self._play(synthesis, listener, synthesis.deliver(_frames(_once(audio)), FORMAT), None)

    async def _reply(self, reply: AgentReply) -> None:
        """Say what the language model gives, sentence by sentence, until it is cut off."""
        listener = self._listener()
        async with self._tts.synthesis(voice=VOICE, language="en-US", stream=True) as synthesis:
            sentences = _sentences(_noted(synthesis.text_from(language_model(reply.text)), listener))
            first = await anext(sentences)  # no engine is waited for until there is something to speak
            synthesis.flush()
            for provider, engine in ((CLOUD, "away" if reply.away else CLOUD), (LOCAL, LOCAL)):
                listener.record.asked += (provider,)
                listener.record.engine_s = 0.0
                with suppress(httpx.TransportError):
                    async with synthesis.attempt(
                        provider, MODEL if provider == CLOUD else LOCAL, remote=provider == CLOUD
                    ) as attempt:
                        audio = _spoken(_timed(self._engines[engine], listener.record), first, sentences)
                        await self._play(synthesis, listener, attempt.stream(_frames(audio), FORMAT), reply)
                    return
            synthesis.fail(error_type="unavailable")

    async def _play(
        self, synthesis: Synthesis, listener: Listener, audio: AsyncIterator[bytes], reply: AgentReply | None
    ) -> None:
        async for frame in audio:
            await listener.play(frame)
            if reply is not None and reply.cut_off_s is not None and listener.played_s >= reply.cut_off_s:
                synthesis.interrupt(reply.reason, heard=listener.cut_off(reply.reason))
                return
        synthesis.heard(await listener.finish())
        listener.record.ended = True

    def _listener(self) -> Listener:
        self.records.append(ListenerRecord(self._conversation))
        return Listener(self.records[-1], BYTES_PER_S, self._speed)


async def _noted(pieces: AsyncIterator[str], listener: Listener) -> AsyncIterator[str]:
    async for piece in pieces:
        listener.text(piece)
        yield piece


async def _sentences(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Cut the text into sentences as it comes, for this demo's English.

    The package offers no such function: where a sentence ends depends on language and engine, agents' frameworks have their own, and
    what emits telemetry must not decide what is spoken.
    """
    text = ""
    async for piece in pieces:
        text += piece
        while sentence := _SENTENCE.match(text):
            text = text[sentence.end() :]
            yield sentence[0]
    if text.strip():
        yield text


def _timed(engine: Engine, record: ListenerRecord) -> Engine:
    """Return the engine with a stopwatch, which runs while the agent waits for it."""

    async def speak(text: str) -> AsyncIterator[bytes]:
        chunks = engine(text)
        while True:
            began = time.monotonic()
            try:
                chunk = await anext(chunks, None)
            finally:
                record.engine_s = (record.engine_s or 0.0) + time.monotonic() - began
            if chunk is None:
                return
            yield chunk

    return speak


async def _spoken(engine: Engine, first: str, sentences: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for chunk in engine(first):
        yield chunk
    async for sentence in sentences:
        async for chunk in engine(sentence):
            yield chunk


async def _frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        for start in range(0, len(chunk), _FRAME):
            yield chunk[start : start + _FRAME]


async def _once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk
