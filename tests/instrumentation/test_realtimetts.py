"""RealtimeTTS, the real package, muted, since there is no sound card here; its engines are a host's own, with Hibari's voice."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import hibari
import numpy as np
import pytest

from otel_tts import Telemetry
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.realtimetts import RealtimeTTSInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import APART, Observe, bill, needs_apart
from tests.instrumentation.pictures import counts

pytestmark = [pytest.mark.vendors, needs_apart, pytest.mark.filterwarnings("ignore")]  # of what RealtimeTTS imports

TEXT = "Hello there, my friend. How are you today?"
FIRST, SECOND = "Hello there, my friend.", "How are you today?"
ONE = {"tts.synthesis.requests": 1, "tts.synthesis.duration": 1, "tts.attempt.duration": 1}
VOICE = hibari.Hibari(threads=1)


@pytest.fixture(scope="module", autouse=True)
def realtime() -> Iterator[Any]:
    """The package, on the path for these tests only: what it brings along is nothing that other tests should find."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "path", [*sys.path, str(APART)])
        warnings.simplefilter("ignore")
        import RealtimeTTS
        import RealtimeTTS.text_to_stream

        yield RealtimeTTS


@pytest.fixture(autouse=True)
def _quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """It prints what goes wrong, and logs to the root logger."""
    level = logging.root.level
    logging.root.setLevel(logging.CRITICAL + 1)
    yield
    logging.root.setLevel(level)


@pytest.fixture
def engine_of(realtime: Any) -> Callable[..., Any]:
    """Makes an engine: `fault` has it fail at the sentence that begins so, by `raises` or `refuses`."""
    import pyaudio

    class Engine(realtime.BaseEngine):  # type: ignore[misc, name-defined]  # the package has no types
        def __init__(self, name: str = "mine", fault: str = "", how: str = "") -> None:
            self.name, self.fault, self.how = name, fault, how
            self.given: list[str] = []
            self.put: list[bytes] = []
            self.hold = threading.Event()
            self.hold.set()
            self.first = threading.Event()

        def post_init(self) -> None:
            self.engine_name = self.name

        def get_stream_info(self) -> tuple[int, int, int]:
            return pyaudio.paInt16, 1, hibari.SAMPLE_RATE

        def synthesize(self, text: str, sentence_count: int = 0) -> bool:
            super().synthesize(text, sentence_count)
            self.given.append(text)
            if self.fault and text.startswith(self.fault):
                if self.how == "raises":
                    raise ConnectionError
                return False
            for samples in VOICE.stream(text, seed=0):
                pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
                self.put.append(pcm)
                self.queue.put(pcm)
                self.first.set()
                self.hold.wait(30)
            return True

    return Engine


def stream_of(realtime: Any, *engines: Any) -> Any:
    """A stream as a host makes it."""
    return realtime.TextToAudioStream(list(engines), muted=True, tokenizer="rule-based")


HOW = {
    "tokenizer": "rule-based",
    "minimum_sentence_length": 5,
    "fast_sentence_fragment": False,
    "fast_sentence_fragment_allsentences": False,
}


@pytest.mark.parametrize("how", ["text", "tokens", "async"])
def test_one_request_for_all_sentences(
    capture_tts: Capture, observe: Observe, realtime: Any, engine_of: Callable[..., Any], how: str
) -> None:
    """Given at once, or token by token; played here, or in a thread of its own. What the host's callback gets is what was delivered."""
    observe(RealtimeTTSInstrumentor, HibariInstrumentor, ThreadsInstrumentor)
    engine, got = engine_of(), list[bytes]()
    stream = stream_of(realtime, engine)
    stream.feed(iter(("Hello there, ", "my friend. ", "How are ", "you today?")) if how == "tokens" else TEXT)
    if how == "async":
        stream.play_async(on_audio_chunk=got.append, **HOW)
        stream.play_thread.join(60)
    else:
        stream.play(on_audio_chunk=got.append, **HOW)
    assert engine.given == [FIRST, SECOND]
    assert b"".join(got) == b"".join(engine.put)
    seconds = len(b"".join(got)) / 2 / hibari.SAMPLE_RATE
    [synthesis] = capture_tts.syntheses()
    assert (synthesis.outcome, synthesis["tts.text.length"]) == ("ok", len(TEXT))
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds)
    assert [(a.provider, a.outcome, a.span.attributes["tts.audio.duration"]) for a in synthesis.attempts] == [  # type: ignore[index]
        ("mine", "ok", pytest.approx(seconds))
    ]
    assert synthesis.attempts[0].span.attributes["tts.stream.chunk.count"] == len(engine.put)  # type: ignore[index]
    assert counts(capture_tts) == ONE


def test_two_plays_are_two_requests(capture_tts: Capture, observe: Observe, realtime: Any, engine_of: Callable[..., Any]) -> None:
    """And one without text is none."""
    observe(RealtimeTTSInstrumentor)
    stream = stream_of(realtime, engine_of())
    for text in ("One, please.", "Two, please."):
        stream.feed(text).play(**HOW)
    stream.play(**HOW)
    assert [s["tts.text.length"] for s in capture_tts.syntheses(outcome="ok")] == [12, 12]
    assert len(capture_tts.syntheses()) == 2


def test_an_interruption(capture_tts: Capture, observe: Observe, realtime: Any, engine_of: Callable[..., Any]) -> None:
    """`stop` in the middle: cancelled, interrupted, with what was made and what was handed out until then."""
    observe(RealtimeTTSInstrumentor)
    engine, got = engine_of(), list[bytes]()
    engine.hold.clear()
    stream = stream_of(realtime, engine)
    stream.feed(TEXT).play_async(on_audio_chunk=got.append, **HOW)
    assert engine.first.wait(60)
    threading.Timer(0.2, engine.hold.set).start()  # the engine notices late, as engines do
    stream.stop()
    synthesis = capture_tts.synthesis(outcome="cancelled")
    assert synthesis["tts.cancel.reason"] == "interrupted"
    assert engine.given == [FIRST], "the second sentence was never asked for"
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(len(b"".join(got)) / 2 / hibari.SAMPLE_RATE)
    assert [a.outcome for a in synthesis.attempts] == ["cancelled"]
    assert capture_tts.total("tts.synthesis.failures") == 0


@pytest.mark.parametrize("how", ["raises", "refuses"])
@pytest.mark.parametrize(("fault", "outcome"), [("Hello", "partial"), ("How", "partial"), ("H", "error")])
def test_an_engine_that_fails(
    capture_tts: Capture, observe: Observe, realtime: Any, engine_of: Callable[..., Any], how: str, fault: str, outcome: str
) -> None:
    """RealtimeTTS goes on with the next sentence and says nothing: the request lacks one, so it is partial; without any, an error."""
    observe(RealtimeTTSInstrumentor)
    engine = engine_of("mine", fault, how)
    stream_of(realtime, engine).feed(TEXT).play(**HOW)
    assert engine.given == [FIRST, SECOND]
    assert [s.outcome for s in capture_tts.syntheses()] == [outcome]
    assert capture_tts.total("tts.synthesis.failures") == 1


@pytest.mark.parametrize("fault", ["Hello", "How"])
def test_a_fallback(capture_tts: Capture, observe: Observe, realtime: Any, engine_of: Callable[..., Any], fault: str) -> None:
    """The next engine speaks the sentence again: one request, with both by their real names."""
    observe(RealtimeTTSInstrumentor)
    first, second = engine_of("first", fault, "raises"), engine_of("second")
    stream_of(realtime, first, second).feed(TEXT).play(**HOW)
    [synthesis] = capture_tts.syntheses()
    assert synthesis.outcome == "ok"
    assert [(a.provider, a.reason) for a in synthesis.attempts] == [("first", "initial"), ("second", "fallback")]
    seconds = len(b"".join([*first.put, *second.put])) / 2 / hibari.SAMPLE_RATE
    assert synthesis["tts.audio.delivered_duration"] == pytest.approx(seconds)
    assert synthesis["tts.text.length"] == len(TEXT)


def test_a_text_that_breaks(capture_tts: Capture, observe: Observe, realtime: Any, engine_of: Callable[..., Any]) -> None:
    """The host's own iterator raises, and RealtimeTTS catches it: not ok."""

    def tokens() -> Iterator[str]:
        yield "Hello there, my friend. How are"
        raise RuntimeError

    observe(RealtimeTTSInstrumentor)
    stream_of(realtime, engine_of()).feed(tokens()).play(**HOW)
    assert [s.outcome for s in capture_tts.syntheses()] in (["partial"], ["error"])


def test_inside_a_request_it_is_an_attempt(
    capture_tts: Capture, observe: Observe, realtime: Any, engine_of: Callable[..., Any]
) -> None:
    """Of the host's own, whose text is known."""
    observe(RealtimeTTSInstrumentor, HibariInstrumentor)
    with Telemetry().synthesis(TEXT, stream=True):
        stream_of(realtime, engine_of()).feed(TEXT).play(**HOW)
    [synthesis] = capture_tts.syntheses()
    assert [a.provider for a in synthesis.attempts] == ["mine"]
    assert synthesis["tts.text.length"] == len(TEXT)


def test_a_price(
    capture_tts: Capture, observe: Observe, price: Callable[[str], None], realtime: Any, engine_of: Callable[..., Any]
) -> None:
    """That the user gave."""
    price("mine")
    observe(RealtimeTTSInstrumentor)
    stream_of(realtime, engine_of()).feed("Hello there.").play(**HOW)
    assert bill(capture_tts) == {"span": pytest.approx(48e-6), "cost": pytest.approx(48e-6), "unpriced": 0}


def test_the_host_s_objects_are_its_own(observe: Observe, realtime: Any, engine_of: Callable[..., Any]) -> None:
    """Engines and their queues have nothing of ours after a `play`, and the class has its functions back."""
    kind, names = realtime.TextToAudioStream, ("play", "stop", "load_engine", "_on_character", "_on_audio_chunk")
    before = [vars(kind)[name] for name in names]
    RealtimeTTSInstrumentor().instrument()
    engine = engine_of()
    stream_of(realtime, engine).feed("Hello there.").play(**HOW)
    RealtimeTTSInstrumentor().uninstrument()
    assert "synthesize" not in vars(engine)
    assert "put" not in vars(engine.queue)
    assert [vars(kind)[name] for name in names] == before
