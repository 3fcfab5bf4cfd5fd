"""An agent's loop: a language model gives tokens, an engine speaks them, a player plays the audio, and the listener may talk.

    python examples/agent_loop.py
    otel-tts requests --conversation call-7

The language model is scripted, and so is the listener: put yours in their places. Of four turns, the second is interrupted, in the
third the first engine fails and another one speaks, and the words of the fourth were made ahead, during the first. The player plays in
real time, so the program takes as long as the call: a quarter of a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

import hibari
import numpy as np

import otel_tts
from otel_tts import PCM16, Synthesis, Telemetry

FORMAT = PCM16(hibari.SAMPLE_RATE)
SECOND = FORMAT.sample_rate * 2
"""Bytes of audio."""
FRAME = SECOND // 10
_SENTENCE = re.compile(r".+?[.!?](?=\s)\s*", re.DOTALL)

Engine = Callable[[str], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the language model says in a turn, after how many seconds of it the listener talks, and which engine is asked first."""

    text: str
    barge_in: float | None = None
    engine: str = "hibari"


FAREWELL = "It was a pleasure. Goodbye!"
"""A phrase that is always the same, so it can be made ahead."""
CALL = (
    Reply("Good morning, this is the weather line. How can I help you?"),
    Reply("Tomorrow will be sunny, with light wind. In the evening clouds come up from the west.", barge_in=1.0),
    Reply("I am sorry. The day after will be rainy.", engine="cloud"),
    FAREWELL,
)


class Voice:
    """The engine: a small one, under Apache-2.0. Put yours in its place."""

    def __init__(self) -> None:
        self._hibari = hibari.Hibari(threads=1)

    async def __call__(self, text: str) -> AsyncIterator[bytes]:
        sentences = self._hibari.stream(text, seed=0)
        while (samples := await asyncio.to_thread(next, sentences, None)) is not None:
            yield (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


async def cloud(text: str) -> AsyncIterator[bytes]:
    """An engine that cannot be reached."""
    if text:
        raise ConnectionError("Nobody answers.")
    yield b""


async def language_model(text: str) -> AsyncIterator[str]:
    for token in re.findall(r"\S+\s*", text):
        await asyncio.sleep(0.02)
        yield token


async def sentences(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Each as soon as it is complete."""
    text = ""
    async for piece in pieces:
        text += piece
        while sentence := _SENTENCE.match(text):
            yield sentence[0]
            text = text[sentence.end() :]
    if text.strip():
        yield text


async def frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        for start in range(0, len(chunk), FRAME):
            yield chunk[start : start + FRAME]


class Player:
    """A loudspeaker: it takes half a second ahead of what is played, and knows how much was. ``speed``: 2 plays twice as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._begin = self._end = time.monotonic()  # of what plays without a gap
        self._before = 0.0  # seconds of audio played before that

    @property
    def played_s(self) -> float:
        """Seconds of audio."""
        return self._before + (min(time.monotonic(), self._end) - self._begin) * self._speed

    async def play(self, audio: bytes) -> None:
        """Returns when there is room for more."""
        now = time.monotonic()
        if now > self._end:  # it fell silent
            self._before += (self._end - self._begin) * self._speed
            self._begin = self._end = now
        self._end += len(audio) / SECOND / self._speed
        await asyncio.sleep(max(0.0, self._end - now - 0.5 / self._speed))

    async def finish(self) -> None:
        await asyncio.sleep(max(0.0, self._end - time.monotonic()))


class Agent:
    """Speaks in one conversation. ``engines``, by their names, are asked one after another until one answers."""

    def __init__(self, tts: Telemetry, engines: Mapping[str, Engine], speed: float = 1.0) -> None:
        self._tts = tts
        self._engines = engines
        self._speed = speed
        self._made: dict[str, bytes] = {}

    async def call(self, conversation: str, turns: Sequence[Reply | str]) -> None:
        with self._tts.conversation(conversation):
            ahead = asyncio.create_task(self.prefetch(FAREWELL))
            for turn in turns:
                if isinstance(turn, str):
                    await ahead
                    await self.phrase(turn)
                else:
                    await self.reply(turn)

    async def prefetch(self, text: str) -> None:
        """Make a phrase that will be needed later. Nobody waits for it."""
        async with (
            self._tts.synthesis(text, "heart", "en-US", kind="prefetch") as synthesis,
            synthesis.attempt("hibari", "heart") as attempt,
        ):
            audio = b"".join([chunk async for chunk in self._engines["hibari"](text)])
            self._made[text] = attempt.audio(audio, FORMAT)

    async def phrase(self, text: str) -> None:
        """Speak what was made ahead: a hit in the cache."""
        async with self._tts.synthesis(text, "heart", "en-US", stream=True) as synthesis:
            with synthesis.lookup("memory") as lookup:
                audio = lookup.found(self._made[text], "hibari", "heart", audio=FORMAT)
            await self._play(synthesis, synthesis.deliver(frames(once(audio)), FORMAT), None)

    async def reply(self, reply: Reply) -> None:
        """Speak what the language model gives, sentence by sentence, until the listener talks."""
        async with self._tts.synthesis(voice="heart", language="en-US", stream=True) as synthesis:
            parts = sentences(synthesis.text_from(language_model(reply.text)))
            first = await anext(parts)  # the language model is waited for, and no engine
            synthesis.flush()
            names = sorted(self._engines, key=lambda name: name != reply.engine)
            for name in names:
                try:
                    async with synthesis.attempt(name, "heart") as attempt:
                        audio = spoken(self._engines[name], first, parts)
                        await self._play(synthesis, attempt.stream(frames(audio), FORMAT), reply.barge_in)
                    return
                except ConnectionError:
                    if name == names[-1]:
                        raise

    async def _play(self, synthesis: Synthesis, audio: AsyncIterator[bytes], barge_in: float | None) -> None:
        player = Player(self._speed)
        async for frame in audio:
            await player.play(frame)
            if barge_in is not None and player.played_s >= barge_in:
                synthesis.interrupt(heard=player.played_s)
                return
        await player.finish()
        synthesis.heard(player.played_s)


async def spoken(engine: Engine, first: str, parts: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for chunk in engine(first):
        yield chunk
    async for sentence in parts:
        async for chunk in engine(sentence):
            yield chunk


async def once(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than real time the player plays")
    arguments = parser.parse_args()
    pipeline = otel_tts.configure(service_name="agent-loop", local=True)
    tts = Telemetry(voices=["heart"], languages=["en-US"])
    asyncio.run(Agent(tts, {"hibari": Voice(), "cloud": cloud}, arguments.speed).call("call-7", CALL))
    pipeline.shutdown()
    print("otel-tts requests --conversation call-7")


if __name__ == "__main__":
    main()
