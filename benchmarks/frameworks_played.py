"""One agent of a framework's that speaks three replies, the last of which is interrupted; `benchmarks.frameworks` runs it.

    python -m benchmarks.frameworks_played {livekit,pipecat} URL

It runs in an environment that has the framework. Its last line is JSON: for each reply what the framework reports, what a listener that
knows nothing of telemetry recorded, and what otel-tts recorded.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any

REPLIES = (
    "Hello my friend. This is a whole answer.",
    "And this is another one.",
    "This one is so long that you interrupt it. Long before its end.",
)
RATE = 24_000


class Listener:
    """What reaches the listener, with times of its own."""

    def __init__(self) -> None:
        self.replies: list[dict[str, Any]] = []
        self.first = asyncio.Event()

    def begin(self) -> None:
        """A reply begins."""
        self.replies.append({"seconds": 0.0})
        self.first.clear()

    def token(self) -> None:
        """The language model has given its first token."""
        self.replies[-1].setdefault("token", time.monotonic())

    def interrupt(self) -> None:
        """The listener talks."""
        self.replies[-1]["interruption"] = time.monotonic()

    def audio(self, seconds: float) -> None:
        """Audio reaches the listener."""
        if self.replies:
            self.replies[-1].setdefault("first", time.monotonic())
            self.replies[-1]["last"] = time.monotonic()
            self.replies[-1]["seconds"] += seconds
        self.first.set()

    def record(self) -> list[dict[str, Any]]:
        """Seconds from the first token to the first and the last audio, of audio, and of silence after the interruption."""
        rows = []
        for reply in self.replies:
            row = {
                "ttfb": reply["first"] - reply["token"],
                "duration": reply["last"] - reply["token"],
                "seconds": reply["seconds"],
            }
            if "interruption" in reply:
                row["silent"] = max(0.0, reply["last"] - reply["interruption"])
            if "heard" in reply:
                row["heard"] = reply["heard"]
            rows.append({key: round(value, 3) for key, value in row.items()})
        return rows


async def livekit(url: str, listener: Listener) -> list[dict[str, Any]]:
    """LiveKit's AgentSession without a room, with its Cartesia plugin."""
    import aiohttp
    from livekit.agents import Agent, AgentSession
    from livekit.agents.voice import io
    from livekit.plugins import cartesia

    from tests.instrumentation.livekit_agent import Player, Script

    class Loudspeaker(Player):
        """Plays in real time, up to its end or an interruption."""

        timer: asyncio.TimerHandle | None = None

        async def capture_frame(self, frame: Any) -> None:
            await super().capture_frame(frame)
            listener.audio(frame.duration)

        def flush(self) -> None:
            io.AudioOutput.flush(self)
            rest = self._seconds - (time.time() - self._began)
            self.timer = asyncio.get_running_loop().call_later(
                max(0.0, rest), lambda: self._finish(self._seconds, interrupted=False)
            )

        def _finish(self, position: float, *, interrupted: bool) -> None:
            if self.timer is not None:
                self.timer.cancel()
            if self._seconds:
                listener.replies[-1]["heard"] = position
            super()._finish(position, interrupted=interrupted)

    class Words(Script):
        def chat(self, **options: Any) -> Any:
            stream = super().chat(**options)
            listener.token()
            return stream

    metrics: list[list[dict[str, Any]]] = []

    def collected(event: Any) -> None:
        kept = ("ttfb", "duration", "audio_duration", "characters_count", "cancelled", "connection_reused")
        metrics[-1].append({key: getattr(event, key) for key in kept})

    async with aiohttp.ClientSession() as http:
        voice = cartesia.TTS(api_key="none", base_url=url.replace("ws", "http", 1), voice="katie", http_session=http)
        voice.on("metrics_collected", collected)
        model = Words([])
        session: Any = AgentSession(llm=model, tts=voice)
        session.output.audio = Loudspeaker()
        await session.start(Agent(instructions="Answer."))
        for text in REPLIES:
            model.words = [f"{word} " for word in text.split()]
            metrics.append([])
            listener.begin()
            reply = session.generate_reply(user_input="Go on.")
            if text == REPLIES[-1]:
                await _interrupted(listener)
                reply.interrupt()
                await asyncio.sleep(0.3)
            await reply
            await asyncio.sleep(0.2)
        await session.aclose()
    return [{"metrics_collected": events} for events in metrics]


async def pipecat(url: str, listener: Listener) -> list[dict[str, Any]]:
    """A pipeline of Pipecat's with its Cartesia service; metrics are on."""
    frames = importlib.import_module("pipecat.frames.frames")
    pipelines, workers = importlib.import_module("pipecat.pipeline.pipeline"), importlib.import_module("pipecat.pipeline.worker")
    runners = importlib.import_module("pipecat.workers.runner")

    from tests.instrumentation.programs import pipecat_agent

    metrics: list[dict[str, Any]] = []

    class Sink(pipecat_agent.Sink):
        async def process_frame(self, frame: Any, direction: Any) -> None:
            if isinstance(frame, frames.TTSAudioRawFrame):
                listener.audio(len(frame.audio) / 2 / RATE)
            elif isinstance(frame, frames.MetricsFrame) and metrics:
                for data in frame.data:
                    value = {key: item for key, item in data.model_dump().items() if key not in ("processor", "model")}
                    if value.get("value", 1) and "TTS" in data.processor:
                        metrics[-1].setdefault(type(data).__name__, []).append(value.get("value", value))
            await super().process_frame(frame, direction)

    speaking, sink, connected = pipecat_agent.service("cartesia", url), Sink(), asyncio.Event()
    speaking.event_handler("on_connected")(pipecat_agent.setting(connected))
    worker = workers.PipelineWorker(
        pipelines.Pipeline([speaking, sink]),
        params=workers.PipelineParams(audio_out_sample_rate=RATE, enable_metrics=True, enable_usage_metrics=True),
        cancel_on_idle_timeout=False, enable_rtvi=False,
    )  # fmt: skip
    runner = runners.WorkerRunner()
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await pipecat_agent.within(connected, 15)
    for text in REPLIES:
        metrics.append({})
        listener.begin()
        sink.stopped.clear()
        listener.token()
        await pipecat_agent.turn(worker, tuple(f"{word} " for word in text.split()))
        if text == REPLIES[-1]:
            await _interrupted(listener)
            await worker.queue_frame(frames.InterruptionFrame())
            await asyncio.sleep(0.5)
        else:
            await pipecat_agent.within(sink.stopped)
            await asyncio.sleep(0.5)
    await worker.queue_frame(frames.EndFrame())
    await asyncio.wait_for(running, 20)
    return metrics


async def _interrupted(listener: Listener) -> None:
    """Wait until some audio has reached the listener, who then talks."""
    await asyncio.wait_for(listener.first.wait(), 20)
    await asyncio.sleep(0.3)
    listener.interrupt()


FRAMEWORKS = {"livekit": livekit, "pipecat": pipecat}


async def main(framework: str, url: str) -> dict[str, Any]:
    """The run."""
    listener = Listener()
    return {"framework": await FRAMEWORKS[framework](url, listener), "listener": listener.record()}


if __name__ == "__main__":
    import otel_tts
    from otel_tts.history import open_history
    from otel_tts.history.requests import RequestFilter
    from otel_tts.instrumentation.sockets.websockets import WebSocketsInstrumentor

    name = sys.argv[1]
    pipeline = otel_tts.configure(service_name="agent", local=True)
    kind = {"livekit": "LiveKitInstrumentor", "pipecat": "PipecatInstrumentor"}[name]
    getattr(importlib.import_module(f"otel_tts.instrumentation.{name}"), kind)().instrument()
    WebSocketsInstrumentor().instrument()
    result = asyncio.run(main(name, sys.argv[2]))
    pipeline.shutdown()
    kept = (
        "outcome", "cancel_reason", "ttfb", "ttfa", "duration", "rtf", "characters", "audio_duration", "delivered", "heard",
        "interrupted", "silent", "cost",
    )  # fmt: skip
    requests = sorted(open_history().requests(RequestFilter()), key=lambda request: request.start)
    result["otel_tts"] = [{key: getattr(request, key) for key in kept} for request in requests]
    result["version"] = importlib.import_module("importlib.metadata").version(
        {"livekit": "livekit-agents", "pipecat": "pipecat-ai"}[name]
    )
    print(json.dumps(result))
