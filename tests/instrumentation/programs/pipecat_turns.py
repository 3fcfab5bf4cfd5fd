"""Turns of pipelines of Pipecat's that chance interrupts and breaks. Its last line says what was asked, handed out and recorded, as JSON.

Arguments: how many sessions, and how many of them at once, each in a conversation of its own. Each has one service: as those over HTTP,
which give audio inside the call, or as those over a WebSocket. Time passes at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.workers.runner import WorkerRunner

from otel_tts import Telemetry
from otel_tts.core.underway import UNDER_WAY
from otel_tts.instrumentation.pipecat import PipecatInstrumentor
from otel_tts.testing.capture import Capture, SessionProviders
from tests.instrumentation.virtual_time import VirtualLoop, set_clock

RATE = 24000
CHARACTER_S = 0.05
SILENCE_S = 5.0
"""Until a service gives up a provider that has fallen silent. Pipecat itself waits 3 s."""
SENTENCES = (
    "Hello there, my friend. ",
    "This is a sentence. ",
    "And one more of them, which is longer. ",
    "Yes. ",
    "The weather is fine today. ",
)
MOMENTS = ("never", "never", "early", "in the middle", "twice", "at any time", "at the end", "close", "cancel")


@dataclass
class Call:
    """What a service was asked for at once: a sentence, or over a WebSocket all text of a context."""

    text: str = ""
    made_s: float = 0.0
    error: str | None = None
    whole: bool = False


@dataclass
class Utterance:
    """An audio context, as the surroundings saw it."""

    calls: list[Call] = field(default_factory=list)
    frames: list[tuple[float, float]] = field(default_factory=list)
    """When each came to the sink, and its length, in seconds."""
    cut: bool = False
    """Whether the listener interrupted while it was open, or the pipeline ended."""


class Studio:
    """The provider, with the record of all utterances of a session."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.utterances: dict[str, Utterance] = {}

    def utterance(self, context_id: str) -> Utterance:
        """That of a context."""
        return self.utterances.setdefault(context_id, Utterance())

    def cut_off(self) -> None:
        """Note that all are."""
        for utterance in self.utterances.values():
            utterance.cut = True

    async def audio(self, text: str) -> AsyncIterator[bytes]:
        """The audio of a text, as fast and as well as chance has it."""
        chance = self.chance
        fault = chance.choice([""] * 6 + ["refused", "lost", "stalls", "hangs", "mute"])
        chunk_s, pace_s, last = chance.choice([0.02, 0.05, 0.25]), chance.choice([0.0, 0.01, 0.1]), chance.randrange(1, 6)
        if fault == "refused":
            raise ConnectionRefusedError
        await asyncio.sleep(chance.choice([0.02, 0.1, 0.4]))
        left = 0 if fault == "mute" else round(len(text) * CHARACTER_S * RATE)
        if fault == "hangs":
            await self._silence()
        while left:
            piece = min(left, round(chunk_s * RATE))
            yield b"\1\0" * piece
            left, last = left - piece, last - 1
            await asyncio.sleep(pace_s)
            if left and not last and fault == "lost":
                raise ConnectionResetError
            if left and not last and fault == "stalls":
                await self._silence()

    async def _silence(self) -> None:
        await asyncio.sleep(SILENCE_S)
        raise TimeoutError


def settings() -> TTSSettings:
    """Of both services."""
    return TTSSettings(model="m", voice="v", language=None)


class Inline(TTSService):
    """Gives its audio inside the call."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(push_start_frame=True, push_stop_frames=True, sample_rate=RATE, settings=settings())
        self.studio = studio

    async def run_tts(self, text: str, context_id: str) -> AsyncIterator[Frame | None]:
        """Speak a sentence."""
        call = Call(text)
        self.studio.utterance(context_id).calls.append(call)
        try:
            async for piece in self.studio.audio(text):
                call.made_s += len(piece) / 2 / RATE
                yield TTSAudioRawFrame(piece, RATE, 1, context_id=context_id)
            call.whole = True
        except (ConnectionError, TimeoutError) as error:
            call.error = type(error).__name__
            yield ErrorFrame(error="broken")


class Socket(TTSService):
    """Takes text in the call, and gives its audio from a task of each context."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(sample_rate=RATE, settings=settings())
        self.studio = studio
        self._texts: dict[str, asyncio.Queue[str | None]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}

    async def run_tts(self, text: str, context_id: str) -> AsyncIterator[Frame | None]:
        """Send a sentence."""
        if context_id not in self._texts:
            await self.create_audio_context(context_id)
            await self.append_to_audio_context(context_id, TTSStartedFrame(context_id=context_id))
            self._texts[context_id] = asyncio.Queue()
            self._working[context_id] = asyncio.create_task(self._work(context_id))
            self.studio.utterance(context_id).calls.append(Call())
        self.studio.utterance(context_id).calls[-1].text += text
        self._texts[context_id].put_nowait(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """No more text comes."""
        if context_id in self._texts:
            self._texts[context_id].put_nowait(None)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Have the provider stop."""
        if context_id in self._working:
            self._working[context_id].cancel()

    async def _work(self, context_id: str) -> None:
        texts, call = self._texts[context_id], None
        try:
            while (text := await texts.get()) is not None:
                call = self.studio.utterance(context_id).calls[-1]
                async for piece in self.studio.audio(text):
                    call.made_s += len(piece) / 2 / RATE
                    await self.append_to_audio_context(context_id, TTSAudioRawFrame(piece, RATE, 1, context_id=context_id))
            if call is not None:
                call.whole = True
            await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
            await self.remove_audio_context(context_id)
        except (ConnectionError, TimeoutError) as error:
            if call is not None:
                call.error = type(error).__name__
            await self.push_error(error_msg="broken")
        finally:
            self._texts.pop(context_id, None)
            self._working.pop(context_id, None)


class Sink(FrameProcessor):
    """Keeps what comes for each context."""

    def __init__(self, studio: Studio) -> None:
        super().__init__()
        self.studio = studio
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note it, and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            now_s = asyncio.get_running_loop().time()
            self.studio.utterance(frame.context_id or "").frames.append((now_s, len(frame.audio) / 2 / RATE))
            self.begun.set()
        elif isinstance(frame, TTSStoppedFrame):
            self.ended.set()
        await self.push_frame(frame, direction)


async def speak(worker: PipelineWorker, chance: Random, cut: asyncio.Event) -> None:
    """What a language model says, until it is interrupted; or a text at once."""
    sentences = chance.sample(SENTENCES, chance.randrange(1, 5))
    if chance.random() < 0.2:
        await worker.queue_frames([TTSSpeakFrame("".join(sentences))])
        return
    pause_s = chance.choice([0, 0, 0.01, 0.1, 0.5])
    await worker.queue_frames([LLMFullResponseStartFrame()])
    for word in "".join(sentences).split():
        await asyncio.sleep(pause_s)
        await worker.queue_frames([LLMTextFrame(text=f"{word} ")])
        if cut.is_set():  # so that a word comes after the interruption
            return
    await worker.queue_frames([LLMFullResponseEndFrame()])


async def interrupt(moment: str, worker: PipelineWorker, sink: Sink, cut: asyncio.Event) -> None:
    """Cut the turn off at this moment, or end the pipeline."""
    chance = sink.studio.chance
    if moment == "early":
        await asyncio.sleep(chance.choice([0, 0.01, 0.1, 0.3]))
    elif moment == "at any time":
        await asyncio.sleep(chance.random() * 6)
    elif moment == "at the end":
        await sink.ended.wait()
    else:
        await sink.begun.wait()
        await asyncio.sleep(chance.random())
    cut.set()
    sink.studio.cut_off()
    if moment == "close":
        await worker.queue_frame(EndFrame())
    elif moment == "cancel":
        await worker.cancel()
    else:
        for _ in range(2 if moment == "twice" else 1):
            await worker.queue_frame(InterruptionFrame())
            await asyncio.sleep(0.05)
            sink.studio.cut_off()  # those that began before the frame came


async def together(seeds: range, capture: Capture) -> list[dict[str, Any]]:
    """Sessions at once; gives what was asked and handed out, beside what was recorded."""

    async def conversation(seed: int) -> dict[str, Any]:
        with Telemetry.conversation(f"call {seed}", attributes={"app.session": seed}):
            return await session(seed, capture)

    records = await asyncio.gather(*(conversation(seed) for seed in seeds))
    left = list(UNDER_WAY.items())
    return [{**record, "left": len(left)} for record in records]


async def session(seed: int, capture: Capture) -> dict[str, Any]:
    """Some turns."""
    chance = Random(seed)
    studio = Studio(chance)
    sink = Sink(studio)
    service = chance.choice([Inline, Socket])(studio)
    worker = PipelineWorker(
        Pipeline([service, sink]),
        params=PipelineParams(audio_out_sample_rate=RATE),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await asyncio.sleep(1)
    moment = ""
    for _ in range(chance.randrange(1, 5)):
        if moment in ("close", "cancel"):
            break
        moment, cut = chance.choice(MOMENTS), asyncio.Event()
        sink.begun.clear()
        sink.ended.clear()
        tasks = [asyncio.create_task(speak(worker, chance, cut))]
        if moment != "never":
            tasks.append(asyncio.create_task(interrupt(moment, worker, sink, cut)))
        await asyncio.sleep(60)
        for task in tasks:
            task.cancel()
    if not running.done():
        ended = set(studio.utterances)
        await worker.queue_frame(EndFrame())
        await running
        for context_id in studio.utterances.keys() - ended:
            studio.utterances[context_id].cut = True  # words that were left are spoken when nothing is played any more
    return {
        "seed": seed,
        "service": type(service).__name__.lower(),
        "utterances": [asdict(utterance) for utterance in studio.utterances.values()],
        "requests": [
            {
                "outcome": view.outcome,
                "error": view["error.type"],
                "start": view.span.start_time,
                "characters": view["tts.text.length"],
                "made": view["tts.audio.duration"] or 0.0,
                "delivered": view["tts.audio.delivered_duration"] or 0.0,
                "underrun": view["tts.stream.underrun"] or 0.0,
                "attempts": [(attempt.reason, attempt.outcome, attempt["tts.audio.duration"]) for attempt in view.attempts],
                "cost": view["tts.usage.cost"] or 0.0,
                "conversations": sorted({str(part["gen_ai.conversation.id"]) for part in (view, *view.attempts)}),
            }
            for view in capture.syntheses()
            if view["app.session"] == seed
        ],
    }


def main(sessions: int, at_once: int) -> None:
    """Run them, and print the record."""
    logger.remove()
    loop = VirtualLoop()
    set_clock(setattr, loop)
    asyncio.set_event_loop(loop)
    with Capture(SessionProviders()) as capture:
        PipecatInstrumentor().instrument(raise_exception_on_conflict=True)
        records = []
        for first in range(0, sessions, at_once):
            seeds = range(first, min(first + at_once, sessions))
            records += loop.run_until_complete(asyncio.wait_for(together(seeds, capture), 3000))
        totals = {name: capture.total(name) for name in ("tts.synthesis.duration", "tts.attempt.duration", "tts.usage.cost")}
    sys.stdout.write(json.dumps({"sessions": records, "totals": totals}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
