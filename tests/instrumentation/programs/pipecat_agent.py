"""A pipeline of Pipecat's: one service that speaks, and a sink that keeps what it hands out. Its last line says what the sink got, as JSON.

Arguments: the service, its address, and what happens: ``speak`` (two turns), ``interrupt``, ``break`` (in the middle), ``refused``,
``faults`` (a turn for each line of standard input, before which the server is told what to do wrong).
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

TURNS = (("Good morning. ", "How are ", "you today?"), ("This is ", "another one."))


def service(name: str, url: str) -> Any:
    """One of the services."""
    if name == "cartesia":
        from pipecat.services.cartesia.tts import CartesiaTTSService

        return CartesiaTTSService(
            api_key="none", url=f"{url}/tts/websocket", settings=CartesiaTTSService.Settings(voice="katie", model="sonic-3")
        )
    if name == "elevenlabs":
        from pipecat.services.elevenlabs.tts import ElevenLabsTTSService

        settings = ElevenLabsTTSService.Settings(voice="rachel", model="eleven_flash_v2_5")
        return ElevenLabsTTSService(api_key="none", url=url, settings=settings)
    if name == "elevenlabs dialogue":
        from pipecat.services.elevenlabs.dialogue.tts import ElevenLabsDialogueTTSService

        dialogue = ElevenLabsDialogueTTSService.Settings(voice="rachel", model="eleven_v4_turbo")
        return ElevenLabsDialogueTTSService(api_key="none", url=url, settings=dialogue)
    if name == "deepgram flux":
        from pipecat.services.deepgram.flux.tts import DeepgramFluxTTSService

        flux = DeepgramFluxTTSService.Settings(voice="flux-alexis-en")
        return DeepgramFluxTTSService(api_key="none", url=f"{url}/v2/speak", settings=flux)
    if name == "deepgram":
        from pipecat.services.deepgram.tts import DeepgramTTSService

        return DeepgramTTSService(api_key="none", base_url=url, settings=DeepgramTTSService.Settings(voice="aura-2-thalia-en"))
    from pipecat.services.openai.tts import OpenAITTSService

    settings = OpenAITTSService.Settings(voice="alloy", model="tts-1")
    return OpenAITTSService(api_key="none", base_url=url, settings=settings)


class Sink(FrameProcessor):
    """Keeps the audio of each context, and the errors."""

    def __init__(self) -> None:
        super().__init__()
        self.audio: dict[str, int] = {}
        self.got = asyncio.Event()
        self.stopped = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note it, and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            name = frame.context_id or ""
            self.audio[name] = self.audio.get(name, 0) + len(frame.audio)
            self.got.set()
        elif isinstance(frame, TTSStoppedFrame):
            self.stopped.set()
        await self.push_frame(frame, direction)


class Source(FrameProcessor):
    """Notes the errors that come up."""

    def __init__(self) -> None:
        super().__init__()
        self.errors = 0
        self.failed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note it, and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.errors += 1
            self.failed.set()
        await self.push_frame(frame, direction)


async def turn(worker: PipelineWorker, pieces: tuple[str, ...]) -> None:
    """What a language model says."""
    await worker.queue_frames(
        [LLMFullResponseStartFrame(), *(LLMTextFrame(text=piece) for piece in pieces), LLMFullResponseEndFrame()]
    )


def setting(event: asyncio.Event) -> Any:
    """A handler of events that sets this."""

    async def handler(*_: Any) -> None:
        event.set()

    return handler


async def within(event: asyncio.Event, seconds: float = 20) -> bool:
    """Whether it happens."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _turns(worker: PipelineWorker, source: Source, sink: Sink) -> None:
    while True:
        sys.stdout.write("next\n")
        sys.stdout.flush()
        if not (await asyncio.to_thread(sys.stdin.readline)).strip():
            return
        sink.stopped.clear()
        source.failed.clear()
        await turn(worker, TURNS[0])
        ends = [asyncio.create_task(event.wait()) for event in (sink.stopped, source.failed)]
        await asyncio.wait(ends, timeout=8, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.5)  # it connects again
        for end in ends:
            end.cancel()


async def main(name: str, url: str, what: str) -> dict[str, Any]:
    """The run; gives what the sink got."""
    source, sink = Source(), Sink()
    speaking = service(name, url)
    worker = PipelineWorker(
        Pipeline([source, speaking, sink]),
        params=PipelineParams(audio_out_sample_rate=24000),
        enable_tracing=True,
        conversation_id="call 7",
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    connected = asyncio.Event()
    if name != "openai":
        speaking.event_handler("on_connected")(setting(connected))
    runner = WorkerRunner()
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    if name == "openai" or what == "refused":
        await asyncio.sleep(1)
    else:
        await within(connected, 15)
    if what == "speak":
        for pieces in TURNS:
            sink.stopped.clear()
            await turn(worker, pieces)
            await within(sink.stopped)
    elif what == "faults":
        await _turns(worker, source, sink)
    elif what == "interrupt":
        await turn(worker, TURNS[0])
        await within(sink.got)
        await worker.queue_frame(InterruptionFrame())
        await asyncio.sleep(0.3)
        sys.stdout.write("interrupted\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)  # the server goes on
        sink.stopped.clear()
        await turn(worker, TURNS[1])
        await within(sink.stopped)
    else:
        await turn(worker, TURNS[0])
        await within(source.failed, 8)
        await asyncio.sleep(0.3)
    await worker.queue_frame(EndFrame())
    try:
        await asyncio.wait_for(running, 10)
    except TimeoutError:
        running.cancel()
    return {"audio": list(sink.audio.values()), "errors": source.errors}


if __name__ == "__main__":
    if sys.argv[4:] != ["plain"]:
        import otel_tts
        from otel_tts.instrumentation.openai import OpenAIInstrumentor
        from otel_tts.instrumentation.pipecat import PipecatInstrumentor
        from otel_tts.instrumentation.resends import ResendsInstrumentor
        from otel_tts.instrumentation.sockets.websockets import WebSocketsInstrumentor

        handle = otel_tts.configure()
        for kind in (PipecatInstrumentor, OpenAIInstrumentor, ResendsInstrumentor, WebSocketsInstrumentor):
            kind().instrument(raise_exception_on_conflict=True)
    got = asyncio.run(main(*sys.argv[1:4]))
    if sys.argv[4:] != ["plain"]:
        handle.shutdown()
    sys.stdout.write(json.dumps(got) + "\n")
