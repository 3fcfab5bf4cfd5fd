"""Kokoro, the real package with its real phonemizer; its weights cannot be had here, so the model is a tone of 0.1 s a phoneme."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import aclosing
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from otel_tts import Telemetry
from otel_tts.instrumentation.kokoro import KokoroInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe, bill
from tests.instrumentation.pictures import PLAYED, QUALITY, audio, counts, tree

kokoro_onnx = pytest.importorskip("kokoro_onnx", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

TEXT = "Hello there. How are you?"
LONG = "One sentence follows another one, and so it goes on. " * 30  # more than Kokoro speaks at once
OF_VOICE = {"tts.voice": "af_heart", "tts.language": "en-us"}
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
TONE = """
<ir_version: 8, opset_import: ["": 17]>
tone (int64[1, n] tokens, float[1, 256] style, float[1] speed) => (float[samples] audio) {
  shape = Shape(tokens)
  one = Constant <value_int = 1> ()
  count = Gather(shape, one)
  each = Constant <value_int = 2400> ()
  last = Mul(count, each)
  zero = Constant <value_int = 0> ()
  numbers = Range(zero, last, one)
  steps = Cast <to = 1> (numbers)
  step = Constant <value_float = 0.1> ()
  angles = Mul(steps, step)
  audio = Sin(angles)
}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The engine with that model and one voice."""
    directory = tmp_path_factory.mktemp("kokoro")
    model, voices = directory / "tone.onnx", directory / "voices.npz"
    onnx = import_module("onnx")
    onnx.save(import_module("onnx.parser").parse_model(TONE), str(model))
    np.savez(voices, af_heart=np.zeros((510, 1, 256), np.float32))
    return kokoro_onnx.Kokoro(str(model), str(voices))


@pytest.mark.parametrize("call", ["create", "create_timed"])
def test_what_is_made_as_a_whole(capture_tts: Capture, observe: Observe, engine: Any, call: str) -> None:
    """One attempt, although one of both calls the other; the model is named as its file is."""
    observe(KokoroInstrumentor)
    samples = getattr(engine, call)(TEXT, "af_heart")[0]
    seconds = len(samples) / 24000
    expected = OF_VOICE | QUALITY | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    spoken = audio(seconds, 24000, "pcm_f32")
    assert capture_tts.tree() == [tree("kokoro", "tone", characters=25, of_both=spoken, of_synthesis=expected)]
    assert counts(capture_tts) == ONE
    assert [span.kind.name for span in capture_tts.spans] == ["INTERNAL", "INTERNAL"]


async def test_a_stream(capture_tts: Capture, observe: Observe, engine: Any) -> None:
    """To its last sample, made in other threads; and still the asynchronous generator that it was."""
    observe(KokoroInstrumentor, ThreadsInstrumentor)
    stream = engine.create_stream(LONG, "af_heart")
    assert inspect.isasyncgen(stream)
    assert capture_tts.tree() == [], "nothing was asked for yet"
    pieces = [samples async for samples, _ in stream]
    seconds = sum(map(len, pieces)) / 24000
    assert len(pieces) > 2
    expected = OF_VOICE | QUALITY | PLAYED | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    spoken = audio(seconds, 24000, "pcm_f32") | {"tts.stream.chunk.count": len(pieces)}
    assert capture_tts.tree() == [
        tree("kokoro", "tone", characters=len(LONG), stream=True, of_both=spoken, of_synthesis=expected)
    ]
    assert counts(capture_tts) == ONE


async def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, engine: Any) -> None:
    """Cancelled, with what was delivered until then."""
    observe(KokoroInstrumentor)
    stream = engine.create_stream(LONG, "af_heart")
    samples, _ = await anext(stream)
    await stream.aclose()
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(len(samples) / 24000)
    assert counts(capture_tts) == ONE


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_task_that_is_cut_off(capture_tts: Capture, observe: Observe, engine: Any, how: str) -> None:
    """In the middle of a stream, by the host's timeout or its cancellation: the engine knows none of its own."""
    observe(KokoroInstrumentor)
    begun = asyncio.Event()

    async def speak() -> None:
        async with aclosing(engine.create_stream(LONG, "af_heart")) as stream:
            async for _ in stream:
                begun.set()
                await asyncio.sleep(30)

    limit = asyncio.timeout(None)

    async def limited() -> None:
        async with limit:
            await speak()

    task = asyncio.create_task(limited())
    await asyncio.wait_for(begun.wait(), 60)
    if how == "cancel":
        task.cancel()
    else:
        limit.reschedule(asyncio.get_running_loop().time())
    with pytest.raises(TimeoutError if how == "timeout" else asyncio.CancelledError):
        await task
    assert [[s.outcome, *(a.outcome for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "cancelled"]]
    assert counts(capture_tts) == ONE


@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_fails(capture_tts: Capture, observe: Observe, engine: Any, stream: bool) -> None:
    """Its own exception reaches the host; what it says, which may be the text, stands nowhere."""
    observe(KokoroInstrumentor)
    with pytest.raises(ValueError, match="nobody"):
        await anext(engine.create_stream(TEXT, "nobody")) if stream else engine.create(TEXT, "nobody")
    assert [(s.outcome, s["error.type"]) for s in capture_tts.syntheses()] == [("error", "_OTHER")]
    assert counts(capture_tts) == ONE | {"tts.synthesis.failures": 1}
    (event,) = capture_tts.synthesis().attempts[0].span.events
    assert set(event.attributes or ()) == {"exception.type", "exception.stacktrace"}


def test_inside_a_request_it_is_an_attempt(capture_tts: Capture, observe: Observe, engine: Any) -> None:
    """And inside an attempt it is that one."""
    observe(KokoroInstrumentor)
    tts = Telemetry()
    with tts.synthesis(TEXT):
        engine.create(TEXT, "af_heart")
    with tts.synthesis(TEXT) as s, s.attempt("kokoro", "tone"):
        engine.create(TEXT, "af_heart")
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses(outcome="ok")] == [["kokoro"]] * 2
    assert counts(capture_tts) == {name: 2 * count for name, count in ONE.items()}


def test_a_price(capture_tts: Capture, observe: Observe, price: Callable[[str], None], engine: Any) -> None:
    """A voice given as vectors has no name; what it costs is known all the same."""
    price("kokoro")
    observe(KokoroInstrumentor)
    engine.create(TEXT, engine.get_voice_style("af_heart"), lang="en-gb")
    synthesis = capture_tts.synthesis(outcome="ok")
    assert (synthesis["tts.voice"], synthesis["tts.language"]) == (None, "en-gb")
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


def test_the_functions_come_back(observe: Observe) -> None:
    """Of the same kinds in between, and then the very same."""
    kind, names = kokoro_onnx.Kokoro, ("create", "create_timed", "create_stream")
    before = [vars(kind)[name] for name in names]
    KokoroInstrumentor().instrument()
    try:
        for name, original in zip(names, before, strict=True):
            observed = getattr(kind, name)
            assert observed is not original
            assert inspect.signature(observed) == inspect.signature(original)
            assert inspect.isasyncgenfunction(observed) == inspect.isasyncgenfunction(original)
    finally:
        KokoroInstrumentor().uninstrument()
    assert [vars(kind)[name] for name in names] == before
