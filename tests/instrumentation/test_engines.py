"""Engines that run in the process: Piper and Hibari, the real ones."""

from __future__ import annotations

import asyncio
import inspect
import io
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import hibari
import numpy as np
import pytest
from opentelemetry.trace import get_tracer
from piper.config import SynthesisConfig
from piper.voice import PiperVoice

from otel_tts import PCM16, Telemetry
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.instrumentor import telemetry_of
from otel_tts.instrumentation.piper import PiperInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe, bill
from tests.instrumentation.pictures import PLAYED, QUALITY, audio, counts, tree

TEXT = "Hello there. How are you?"
JOE = "en_US-joe-medium"
OF_PIPER = {"tts.voice": JOE, "tts.language": "en-us"}
OF_HIBARI = {"tts.voice": "heart", "tts.language": "en-US"}
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}


@pytest.fixture(scope="session")
def heart() -> hibari.Hibari:
    """Hibari with the voice that it brings."""
    return hibari.Hibari(threads=1)


def test_piper_is_measured_to_its_last_sample(
    capture_tts: Capture, observe: Observe, voice: PiperVoice, steady: SynthesisConfig
) -> None:
    """Who spoke what how long, when it was heard, how it sounds; all of it once."""
    observe(PiperInstrumentor)
    chunks = list(voice.synthesize(TEXT, steady))
    seconds = sum(len(chunk.audio_float_array) for chunk in chunks) / 22050
    spoken = audio(seconds, 22050, "pcm_f32") | {"tts.stream.chunk.count": 2}
    delivered = {"tts.audio.delivered_duration": pytest.approx(seconds)}
    assert capture_tts.tree() == [
        tree(
            "piper", JOE, characters=25, stream=True, of_both=spoken, of_synthesis=OF_PIPER | QUALITY | PLAYED | delivered
        )
    ]  # fmt: skip
    assert counts(capture_tts) == ONE
    of_state = ("tts.provider.available", "tts.provider.health.age")  # these know of every provider that an earlier test asked
    recorded = {metric: [labels for labels, _ in points] for metric, points in capture_tts.metrics().items()}
    assert all({"gen_ai.provider.name": "piper"} in recorded.pop(metric) for metric in of_state)
    assert recorded == {
        "gen_ai.client.operation.duration": [by() | {"gen_ai.operation.name": "text_to_speech"}],
        "gen_ai.client.operation.time_to_first_chunk": [by() | {"gen_ai.operation.name": "text_to_speech"}],
        "tts.attempt.duration": [by(tts_outcome="ok", tts_attempt_reason="initial")],
        "tts.attempt.real_time_factor": [by()],
        **{
            f"gen_ai.client.operation.{name}": [by() | {"gen_ai.operation.name": "text_to_speech"}]
            for name in ("duration", "time_to_first_chunk")
        },
        "tts.audio.clipping_ratio": [HEARD],
        "tts.audio.loudness": [HEARD],
        "tts.audio.silence_ratio": [HEARD],
        "tts.audio.speaking_rate": [HEARD],
        "tts.audio.trailing_silence": [HEARD],
        "tts.stream.underrun": [
            by(tts_cache_result="bypass", tts_underrun_cause=cause) for cause in ("provider", "consumer")
        ],
        "tts.synthesis.audio": [
            by(tts_audio_state=state, tts_audio_source="provider") for state in ("generated", "delivered")
        ],
        "tts.synthesis.characters": [by(tts_characters_state="synthesized")],
        "tts.synthesis.duration": [by(tts_cache_result="bypass", tts_outcome="ok") | {"gen_ai.request.stream": True}],
        "tts.synthesis.requests": [OF_PIPER | {"tts.outcome": "ok"}],
        "tts.synthesis.time_to_first_audio": [by(tts_cache_result="bypass", tts_outcome="ok")],
        "tts.synthesis.time_to_first_byte": [by(tts_cache_result="bypass")],
        "tts.usage.unpriced": [by()],
    }  # fmt: skip


NOTHING = {"tts.audio.delivered_duration": 0.0}
HEARD = {"gen_ai.provider.name": "piper", **OF_PIPER}


def by(**more: str) -> dict[str, Any]:
    """The labels of who made the audio, and ``more``."""
    maker = {"gen_ai.provider.name": "piper", "gen_ai.request.model": JOE}
    return maker | {key.replace("_", "."): value for key, value in more.items()}


@pytest.mark.parametrize("stream", [True, False])
def test_hibari_is_measured(capture_tts: Capture, observe: Observe, heart: hibari.Hibari, stream: bool) -> None:
    """Its stream, and what it returns as a whole, which calls that stream and is still one attempt."""
    observe(HibariInstrumentor)
    samples = np.concatenate(list(heart.stream(TEXT, seed=0))) if stream else heart(TEXT, seed=0)
    seconds = len(samples) / 24000
    spoken = audio(seconds, 24000, "pcm_f32") | ({"tts.stream.chunk.count": 2} if stream else {})
    of_synthesis = OF_HIBARI | QUALITY | {"tts.audio.delivered_duration": pytest.approx(seconds)} | (PLAYED if stream else {})
    assert capture_tts.tree() == [
        tree("hibari", "hibari-heart", characters=25, stream=stream, of_both=spoken, of_synthesis=of_synthesis)
    ]
    assert counts(capture_tts) == ONE


def test_the_host_sees_what_it_saw(observe: Observe, voice: PiperVoice, heart: hibari.Hibari, steady: SynthesisConfig) -> None:
    """The same signatures, kinds and samples; and once it is not observed any more, the very same functions."""

    def seen() -> list[Any]:
        functions = [PiperVoice.synthesize, hibari.Hibari.stream, hibari.Hibari.__call__]
        return [
            [(inspect.isgeneratorfunction(f), inspect.signature(f), f.__name__, f.__doc__, f.__module__) for f in functions],
            [type(voice.synthesize(TEXT)), type(heart.stream(TEXT)), type(heart("No.", seed=0))],
            [chunk.audio_int16_bytes for chunk in voice.synthesize(TEXT, steady)],
            heart(TEXT, seed=0).tobytes(),
        ]

    before, original = seen(), (PiperVoice.synthesize, hibari.Hibari.stream, hibari.Hibari.__call__)
    observe(PiperInstrumentor, HibariInstrumentor)
    assert PiperVoice.synthesize is not original[0]
    assert seen() == before
    PiperInstrumentor().uninstrument()
    HibariInstrumentor().uninstrument()
    assert (PiperVoice.synthesize, hibari.Hibari.stream, hibari.Hibari.__call__) == original
    assert all(a is b for a, b in zip((PiperVoice.synthesize, hibari.Hibari.stream), original, strict=False))
    PiperInstrumentor().instrument()  # what the fixture takes back
    HibariInstrumentor().instrument()


def test_a_generator_that_is_never_pulled_is_no_request(capture_tts: Capture, observe: Observe, voice: PiperVoice) -> None:
    """Lazy it was, lazy it stays: Piper has not been asked yet."""
    observe(PiperInstrumentor)
    voice.synthesize(TEXT)
    assert capture_tts.tree() == []
    assert counts(capture_tts) == {}


@pytest.mark.parametrize("how", ["close", "drop"])
@pytest.mark.parametrize("engine", ["piper", "hibari"])
def test_an_abandoned_stream_is_cancelled(
    capture_tts: Capture, observe: Observe, voice: PiperVoice, heart: hibari.Hibari, engine: str, how: str
) -> None:
    """With the audio that was delivered until then."""
    observe(PiperInstrumentor, HibariInstrumentor)
    chunks: Any = voice.synthesize(TEXT) if engine == "piper" else heart.stream(TEXT)
    first = next(chunks)
    if how == "close":
        chunks.close()
    del chunks
    seconds = len(first.audio_float_array) / 22050 if engine == "piper" else len(first) / 24000
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert [(a.provider, a.outcome) for a in synthesis.attempts] == [(engine, "cancelled")]
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds)
    assert counts(capture_tts) == ONE


@pytest.mark.parametrize("how", ["timeout", "cancel"])
@pytest.mark.parametrize("engine", ["piper", "hibari"])
async def test_a_task_that_waits_no_longer(
    capture_tts: Capture, observe: Observe, voice: PiperVoice, heart: hibari.Hibari, engine: str, how: str
) -> None:
    """The request is cancelled; the engine has no timeout and goes on in its thread, and is still part of that one request."""
    observe(PiperInstrumentor, HibariInstrumentor, ThreadsInstrumentor)
    begun, over, ended = Event(), Event(), Event()

    def speak() -> None:
        chunks = iter(voice.synthesize(TEXT) if engine == "piper" else heart.stream(TEXT))
        next(chunks)
        begun.set()
        over.wait(10)
        list(chunks)
        ended.set()

    async def request() -> None:
        async with Telemetry().synthesis(TEXT, stream=True):
            await asyncio.get_running_loop().run_in_executor(None, speak)

    task = asyncio.create_task(asyncio.wait_for(request(), 0.5) if how == "timeout" else request())
    assert await asyncio.to_thread(begun.wait, 10)
    if how == "cancel":
        task.cancel()
    with pytest.raises(TimeoutError if how == "timeout" else asyncio.CancelledError):
        await task
    over.set()
    assert await asyncio.to_thread(ended.wait, 10)
    assert [[s.outcome, *(a.provider for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", engine]]
    assert counts(capture_tts) == ONE


def test_what_is_thrown_into_a_stream_ends_it(capture_tts: Capture, observe: Observe, voice: PiperVoice) -> None:
    """And reaches whoever threw it, as the same exception."""
    observe(PiperInstrumentor)
    chunks: Any = voice.synthesize(TEXT)
    next(chunks)
    error = RuntimeError("no more of this")
    with pytest.raises(RuntimeError) as raised:
        chunks.throw(error)
    assert raised.value is error
    assert capture_tts.synthesis().outcome == "cancelled"


def test_an_engine_that_fails(capture_tts: Capture, observe: Observe, voice: PiperVoice) -> None:
    """Piper's own exception reaches the host; the span has its class, never its message."""
    observe(PiperInstrumentor)
    with pytest.raises(ValueError, match="null character"):
        list(voice.synthesize("\0"))
    assert capture_tts.tree() == [
        tree("piper", JOE, characters=1, stream=True, outcome="error", error="_OTHER", of_synthesis=OF_PIPER | NOTHING)
    ]
    assert counts(capture_tts) == ONE | {"tts.synthesis.failures": 1}
    (event,) = capture_tts.synthesis().attempts[0].span.events
    assert set(event.attributes or ()) == {"exception.type", "exception.stacktrace"}


@pytest.mark.parametrize("stream", [True, False])
def test_hibari_fails(capture_tts: Capture, observe: Observe, heart: hibari.Hibari, stream: bool) -> None:
    """As above: its own exception, and one failure."""
    observe(HibariInstrumentor)
    speed: Any = "fast"
    with pytest.raises(ValueError, match="fast"):
        list(heart.stream(TEXT, speed)) if stream else heart(TEXT, speed)
    assert [(s.outcome, s["error.type"], [a.outcome for a in s.attempts]) for s in capture_tts.syntheses()] == [
        ("error", "_OTHER", ["error"])
    ]
    assert counts(capture_tts) == ONE | {"tts.synthesis.failures": 1}


class Refusing:
    """A speed that raises this when it is looked at."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __float__(self) -> float:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_raised_is_the_same_object(observe: Observe, heart: hibari.Hibari, stream: bool, error: BaseException) -> None:
    """Not a copy, not wrapped, without a cause of ours."""
    observe(HibariInstrumentor)
    speed: Any = Refusing(error)
    with pytest.raises(type(error)) as raised:
        list(heart.stream(TEXT, speed)) if stream else heart(TEXT, speed)
    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("stream", [True, False])
def test_success_without_a_sample_is_empty(capture_tts: Capture, observe: Observe, heart: hibari.Hibari, stream: bool) -> None:
    """What Hibari makes of a script that it cannot read."""
    observe(HibariInstrumentor)
    list(heart.stream("你好")) if stream else heart("你好")
    nothing = {"tts.audio.duration": None, "tts.audio.format": "pcm_f32", "tts.audio.sample_rate": 24000}
    synthesis = capture_tts.synthesis()
    assert (synthesis.outcome, synthesis["error.type"], [a.outcome for a in synthesis.attempts]) == (
        "empty",
        "no_audio",
        ["empty"],
    )
    assert {key: synthesis.attempts[0][key] for key in nothing} == nothing


def test_what_writes_a_file_is_one_synthesis(capture_tts: Capture, observe: Observe, voice: PiperVoice) -> None:
    """``synthesize_wav`` pulls the stream itself."""
    observe(PiperInstrumentor)
    with wave.open(io.BytesIO(), "wb") as file:
        voice.synthesize_wav(TEXT, file)
    assert capture_tts.synthesis(outcome="ok")["tts.text.length"] == 25
    assert counts(capture_tts) == ONE


# --- inside what the service tells by itself -----------------------------------------------------------------------------------


def _block(tts: Telemetry, speak: Callable[[], bytes]) -> None:
    with tts.synthesis(TEXT, voice="joe", language="en"):
        speak()


def _attempt(tts: Telemetry, speak: Callable[[], bytes]) -> None:
    with tts.synthesis(TEXT, voice="joe", language="en") as s, s.attempt("piper", JOE) as attempt:
        attempt.audio(speak(), PCM16(22050))


def _other_attempt(tts: Telemetry, speak: Callable[[], bytes]) -> None:
    with tts.synthesis(TEXT, voice="joe", language="en") as s, s.attempt("house", JOE) as attempt:
        attempt.audio(speak(), PCM16(22050))


def _executor(tts: Telemetry, speak: Callable[[], bytes]) -> None:
    with tts.synthesis(TEXT, voice="joe", language="en"), ThreadPoolExecutor(1) as pool:
        pool.submit(speak).result()


def _pool(tts: Telemetry, speak: Callable[[], bytes]) -> None:
    with tts.synthesis(TEXT, voice="joe", language="en"), ThreadPool(1) as pool:
        pool.apply(speak)


def _thread(tts: Telemetry, speak: Callable[[], bytes]) -> None:
    with tts.synthesis(TEXT, voice="joe", language="en"):
        thread = Thread(target=speak)
        thread.start()
        thread.join()


def _loop(tts: Telemetry, speak: Callable[[], bytes]) -> None:
    async def request() -> None:
        async with tts.synthesis(TEXT, voice="joe", language="en"):
            await asyncio.get_running_loop().run_in_executor(None, speak)

    asyncio.run(request())


@pytest.mark.parametrize("service", [_block, _attempt, _other_attempt, _executor, _pool, _thread, _loop])
def test_one_request_is_counted_once(
    capture_tts: Capture, observe: Observe, voice: PiperVoice, service: Callable[..., None]
) -> None:
    """However much of it the service tells by itself, and wherever the engine runs: one synthesis, one attempt."""
    observe(PiperInstrumentor, ThreadsInstrumentor)
    tts = Telemetry()
    service(tts, lambda: b"".join(chunk.audio_int16_bytes for chunk in voice.synthesize(TEXT)))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert [a.outcome for a in synthesis.attempts] == ["ok"]
    assert [synthesis[key] for key in ("tts.voice", "tts.language", "tts.text.length")] == ["joe", "en", 25]
    assert counts(capture_tts) == ONE
    assert capture_tts.total("tts.synthesis.characters") == 25


def test_a_stream_that_the_service_measures(capture_tts: Capture, observe: Observe, voice: PiperVoice) -> None:
    """Its generator is made before the attempt begins, and still is part of it."""
    observe(PiperInstrumentor)
    s = Telemetry().synthesis(TEXT, voice="joe", stream=True)
    chunks = voice.synthesize(TEXT)
    list(s.stream(chunks, "piper", JOE, audio=PCM16(22050), payload=lambda chunk: chunk.audio_int16_bytes))
    assert [a.outcome for a in capture_tts.synthesis(outcome="ok").attempts] == ["ok"]
    assert counts(capture_tts) == ONE


def test_a_second_engine_is_a_fallback(capture_tts: Capture, observe: Observe, voice: PiperVoice, heart: hibari.Hibari) -> None:
    """A service that falls back without saying so is seen to: two attempts, the second for that reason."""
    observe(PiperInstrumentor, HibariInstrumentor)
    with Telemetry().synthesis(TEXT) as s:
        assert heart("你好").size == 0
        list(voice.synthesize(TEXT))
    synthesis = capture_tts.synthesis(outcome="ok")
    assert [(a.provider, a.reason, a.outcome) for a in synthesis.attempts] == [
        ("hibari", "initial", "empty"),
        ("piper", "fallback", "ok"),
    ]
    assert s.outcome == "ok"
    assert capture_tts.total("tts.provider.fallbacks", {"tts.fallback.from": "hibari", "tts.fallback.to": "piper"}) == 1


def test_requests_stay_apart(capture_tts: Capture, observe: Observe, voice: PiperVoice) -> None:
    """Two streams that are pulled in turn, and one that follows a request: none becomes part of another."""
    observe(PiperInstrumentor)
    for pair in zip(voice.synthesize(TEXT), voice.synthesize(TEXT), strict=True):
        assert len(pair) == 2
    with Telemetry().synthesis(TEXT):
        pass
    list(voice.synthesize(TEXT))
    assert [len(s.attempts) for s in capture_tts.syntheses()] == [1, 1, 0, 1]


def test_a_worker_thread_is_no_one_request_s(capture_tts: Capture, observe: Observe, voice: PiperVoice) -> None:
    """A pool's thread that one request started speaks for the next one, and then for none."""
    observe(PiperInstrumentor, ThreadsInstrumentor)
    tts = Telemetry()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            with tts.synthesis(TEXT):
                pool.submit(lambda: list(voice.synthesize(TEXT))).result()
        pool.submit(lambda: list(voice.synthesize(TEXT))).result()
    assert [len(s.attempts) for s in capture_tts.syntheses(outcome="ok")] == [1, 1, 1]
    assert [s["tts.voice"] for s in capture_tts.syntheses()] == [JOE] * 3


def test_what_a_thread_takes_from_a_queue(capture_tts: Capture, observe: Observe, heart: hibari.Hibari) -> None:
    """Is a request by itself, in the trace in which the thread was started, unless the context is handed over with the work."""
    observe(HibariInstrumentor, ThreadsInstrumentor)
    tts, work, done = Telemetry(), SimpleQueue[Callable[[], object] | None](), SimpleQueue[object]()

    def serve() -> None:
        while (task := work.get()) is not None:
            done.put(task())

    def speak() -> None:
        heart("No.", seed=0)

    worker = Thread(target=serve)
    with get_tracer(__name__).start_as_current_span("starter") as starter:
        worker.start()
    with tts.synthesis("No."):
        work.put(tts.carry(speak))
        done.get()
    work.put(speak)
    done.get()
    work.put(None)
    worker.join()
    first, second = capture_tts.syntheses(outcome="ok")
    assert [len(each.attempts) for each in (first, second)] == [1, 1]
    assert first.span.parent is None
    assert second.span.parent == starter.get_span_context()


@pytest.mark.parametrize("engine", ["piper", "hibari"])
def test_prices_that_the_user_gave(
    capture_tts: Capture, observe: Observe, price: Callable[[str], None], voice: PiperVoice, heart: hibari.Hibari, engine: str
) -> None:
    """A file in ``OTEL_TTS_PRICES``; without it nothing has a price."""
    price(engine)
    observe(PiperInstrumentor, HibariInstrumentor)
    list(voice.synthesize(TEXT)) if engine == "piper" else heart(TEXT)
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


def test_text_is_kept_where_that_was_asked_for(
    capture_tts: Capture, observe: Observe, voice: PiperVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the synthesis, with ``OTEL_TTS_CAPTURE_TEXT``; nowhere without it."""
    observe(PiperInstrumentor)
    list(voice.synthesize(TEXT))
    assert TEXT not in str(capture_tts.tree())
    PiperInstrumentor().uninstrument()
    telemetry_of.cache_clear()
    monkeypatch.setenv("OTEL_TTS_CAPTURE_TEXT", "true")
    PiperInstrumentor().instrument()
    list(voice.synthesize(TEXT))
    assert [s["tts.text"] for s in capture_tts.syntheses()] == [None, TEXT]


class Stopped:
    """A clock that stands still, far from the machine's."""

    def monotonic(self) -> int:
        """One second."""
        return 10**9

    def wall(self) -> int:
        """One hour after the epoch."""
        return 3600 * 10**9


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_has_one_clock(capture_tts: Capture, observe: Observe, heart: hibari.Hibari, stream: bool) -> None:
    """That of the Telemetry which began it, whatever the instrumentation's own is."""
    observe(HibariInstrumentor)
    with Telemetry(clock=Stopped()).synthesis(TEXT, stream=stream):
        list(heart.stream(TEXT)) if stream else heart(TEXT)
    synthesis = capture_tts.synthesis(outcome="ok")
    assert synthesis["tts.real_time_factor"] == 0.0
    assert synthesis["tts.time_to_first_byte"] == (0.0 if stream else None)
    assert {(span.start_time, span.end_time) for span in capture_tts.spans} == {(3600 * 10**9, 3600 * 10**9)}
