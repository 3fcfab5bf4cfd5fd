"""One stream of speech, played to its end or interrupted, under one instrumentation; `benchmarks.peers_recorded` runs it.

    python benchmarks/peers_played.py PEER {complete,interrupted}

It needs nothing of this project but, for ``otel_tts``, itself: it runs in an environment of the peer's own. ``SPEECH_URL`` is the address
of the speech server; telemetry goes where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says. The last line says what the listener got, as JSON, with
what the peer reports to the program by other ways than OpenTelemetry.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

TEXT = "This answer is so long that its listener interrupts it before the end."
RATE = 24_000
CHUNK = 28_800  # bytes: 0.6 s
TAKEN = 8
"""Chunks after which the listener interrupts."""


def otel_provider() -> Any:
    """A tracer provider that exports, as OpenTelemetry's documentation sets one up."""
    trace = importlib.import_module("opentelemetry.trace")
    sdk = importlib.import_module("opentelemetry.sdk.trace")
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def otel_meter_provider() -> Any:
    """The same for metrics."""
    metrics = importlib.import_module("opentelemetry.metrics")
    sdk = importlib.import_module("opentelemetry.sdk.metrics")
    export = importlib.import_module("opentelemetry.sdk.metrics.export")
    otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.metric_exporter")
    provider = sdk.MeterProvider([export.PeriodicExportingMetricReader(otlp.OTLPMetricExporter())])
    metrics.set_meter_provider(provider)
    return provider


def _flushed(*providers: Any) -> Callable[[], None]:
    def flush() -> None:
        for provider in providers:
            provider.force_flush()

    return flush


def otel_tts() -> Callable[[], None]:
    """This project."""
    pipeline = importlib.import_module("otel_tts").configure()
    importlib.import_module("otel_tts.instrumentation.openai").OpenAIInstrumentor().instrument()
    return pipeline.flush  # type: ignore[no-any-return]


def httpx() -> Callable[[], None]:
    """Plain OpenTelemetry: its instrumentation of the HTTP client that OpenAI's SDK uses."""
    traces, metrics = otel_provider(), otel_meter_provider()
    module = importlib.import_module("opentelemetry.instrumentation.httpx")
    module.HTTPX2ClientInstrumentor().instrument()
    module.HTTPXClientInstrumentor().instrument()
    return _flushed(traces, metrics)


def openllmetry() -> Callable[[], None]:
    """OpenLLMetry's instrumentation of OpenAI's SDK."""
    traces, metrics = otel_provider(), otel_meter_provider()
    importlib.import_module("opentelemetry.instrumentation.openai").OpenAIInstrumentor().instrument()
    return _flushed(traces, metrics)


def openinference() -> Callable[[], None]:
    """OpenInference's."""
    traces = otel_provider()
    importlib.import_module("openinference.instrumentation.openai").OpenAIInstrumentor().instrument(tracer_provider=traces)
    return _flushed(traces)


def langfuse() -> Callable[[], None]:
    """Langfuse, whose module stands in for OpenAI's."""
    client = importlib.import_module("langfuse").get_client()
    importlib.import_module("langfuse.openai")
    return client.flush  # type: ignore[no-any-return]


def logfire() -> Callable[[], None]:
    """Logfire's instrumentation of OpenAI's SDK."""
    module = importlib.import_module("logfire")
    module.configure(send_to_logfire=False, console=False)
    module.instrument_openai()
    return lambda: module.force_flush() and None


SDK = {f.__name__: f for f in (otel_tts, httpx, openllmetry, openinference, langfuse, logfire)}


def through_sdk(peer: str, interrupted: bool) -> dict[str, Any]:
    """A program that speaks with OpenAI's SDK, and closes the stream when its listener interrupts."""
    flush = SDK[peer]()
    openai = importlib.import_module("openai")
    client = openai.OpenAI(api_key="none", base_url=os.environ["SPEECH_URL"], max_retries=0)
    size, first_byte_at = 0, 0.0
    speech = client.audio.speech.with_streaming_response
    rate = {"sample_rate": RATE}  # what is known of the audio of api.openai.com
    with speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="pcm", extra_body=rate) as response:
        for chunk in response.iter_bytes(CHUNK):
            first_byte_at = first_byte_at or time.monotonic()
            size += len(chunk)
            if interrupted and size >= TAKEN * CHUNK:
                break
    enough_at = time.monotonic()
    flush()
    return {"audio_s": size / 2 / RATE, "first_byte_at": first_byte_at, "enough_at": enough_at, "reported": []}


async def livekit(interrupted: bool) -> dict[str, Any]:
    """An agent of LiveKit's without a room, with OpenAI's plugin."""
    provider, meter_provider = otel_provider(), otel_meter_provider()
    agents = importlib.import_module("livekit.agents")
    io = importlib.import_module("livekit.agents.voice.io")
    plugin = importlib.import_module("livekit.plugins.openai")
    importlib.import_module("livekit.agents.telemetry").set_tracer_provider(provider)
    got: dict[str, Any] = {"audio_s": 0.0, "first_byte_at": 0.0, "enough_at": 0.0, "reported": []}
    enough = asyncio.Event()

    class Loudspeaker(io.AudioOutput):  # type: ignore[misc, name-defined]
        """Plays while audio comes."""

        began = 0.0

        async def capture_frame(self, frame: Any) -> None:
            await super().capture_frame(frame)
            if not got["audio_s"]:
                got["first_byte_at"] = time.monotonic()
                self.began = time.time()
                self.on_playback_started(created_at=self.began)
            got["audio_s"] += frame.duration
            if interrupted and got["audio_s"] >= TAKEN * CHUNK / 2 / RATE - 0.01:
                enough.set()

        def flush(self) -> None:
            super().flush()
            self.on_playback_finished(playback_position=got["audio_s"], interrupted=False)

        def clear_buffer(self) -> None:
            position = min(got["audio_s"], time.time() - self.began)
            self.on_playback_finished(playback_position=position, interrupted=True)

    voice = plugin.TTS(api_key="none", base_url=os.environ["SPEECH_URL"], voice="alloy", model="tts-1", response_format="pcm")
    session = agents.AgentSession(tts=voice)
    session.on("metrics_collected", lambda event: got["reported"].append(event.metrics.model_dump()))
    session.output.audio = Loudspeaker(
        label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE
    )
    await session.start(agents.Agent(instructions="Answer."))
    speech = session.say(TEXT)
    if interrupted:
        await enough.wait()
        got["enough_at"] = time.monotonic()
        await session.interrupt()
    await speech
    await session.aclose()
    _flushed(provider, meter_provider)()
    return got


async def pipecat(interrupted: bool) -> dict[str, Any]:
    """A bot of Pipecat's without a transport, with its service for OpenAI."""
    provider = otel_provider()
    frames = importlib.import_module("pipecat.frames.frames")
    processor = importlib.import_module("pipecat.processors.frame_processor")
    work = importlib.import_module("pipecat.pipeline.worker")
    service = importlib.import_module("pipecat.services.openai.tts").OpenAITTSService
    got: dict[str, Any] = {"audio_s": 0.0, "first_byte_at": 0.0, "enough_at": 0.0, "reported": []}
    enough, stopped = asyncio.Event(), asyncio.Event()

    class Loudspeaker(processor.FrameProcessor):  # type: ignore[misc, name-defined]
        """Plays while audio comes."""

        async def process_frame(self, frame: Any, direction: Any) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, frames.TTSAudioRawFrame):
                got["first_byte_at"] = got["first_byte_at"] or time.monotonic()
                got["audio_s"] += len(frame.audio) / 2 / RATE
                if interrupted and got["audio_s"] >= TAKEN * CHUNK / 2 / RATE - 0.01:
                    enough.set()
            elif isinstance(frame, frames.TTSStoppedFrame):
                stopped.set()
            elif isinstance(frame, frames.MetricsFrame):
                got["reported"] += [data.model_dump() for data in frame.data]
            await self.push_frame(frame, direction)

    speech = service(api_key="none", base_url=os.environ["SPEECH_URL"], settings=service.Settings(voice="alloy", model="tts-1"))
    worker = work.PipelineWorker(
        importlib.import_module("pipecat.pipeline.pipeline").Pipeline([speech, Loudspeaker()]),
        params=work.PipelineParams(audio_out_sample_rate=RATE, enable_metrics=True, enable_usage_metrics=True),
        enable_tracing=True,
    )
    runner = importlib.import_module("pipecat.workers.runner").WorkerRunner()
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await worker.queue_frames(
        [frames.LLMFullResponseStartFrame(), frames.LLMTextFrame(text=TEXT), frames.LLMFullResponseEndFrame()]
    )
    if interrupted:
        await enough.wait()
        got["enough_at"] = time.monotonic()
        await worker.queue_frame(frames.InterruptionFrame())
        await asyncio.sleep(0.2)
    else:
        await stopped.wait()
    await worker.queue_frame(frames.EndFrame())
    await running
    provider.force_flush()
    return got


def main() -> None:
    peer, interrupted = sys.argv[1], sys.argv[2] == "interrupted"
    frameworks = {"livekit": livekit, "pipecat": pipecat}
    got = through_sdk(peer, interrupted) if peer in SDK else asyncio.run(frameworks[peer](interrupted))
    print(json.dumps(got, default=str))


if __name__ == "__main__":
    main()
