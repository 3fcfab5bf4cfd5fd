"""What a request costs whose text is spoken by several attempts: each character once for each provider that was given it, else unknown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import pytest

from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, rpc

TEXT = "ten chars."
PRICES = {"a": {"*": 10.0, "x": 30.0}, "b": 20.0, "local": 0.0}
PRICE = {("a", None): 1e-5, ("a", "x"): 3e-5, ("b", None): 2e-5, ("local", None): 0.0}
Maker = tuple[str, str | None]


def bill(capture: Capture) -> tuple[Any, float, float]:
    """The cost on the span and in the metric, and how many requests have none."""
    return capture.synthesis()["tts.usage.cost"], capture.total("tts.usage.cost"), capture.total("tts.usage.unpriced")


def speak(synthesis: Any, maker: Maker, *, breaks: bool = False, **arguments: Any) -> None:
    """Speak in one attempt; it breaks off after its first audio if that is wanted."""

    def engine() -> Any:
        yield HALF
        if breaks:
            raise ConnectionError
        yield HALF

    try:
        with synthesis.attempt(*maker, **arguments) as attempt:
            list(attempt.stream(engine(), FORMAT))
    except ConnectionError:
        pass


@pytest.mark.parametrize("sentences", range(1, 7))
def test_sentence_by_sentence(capture_tts: Capture, sentences: int) -> None:
    """However many good attempts speak a text: it is charged once."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        for _ in range(sentences):
            speak(s, ("a", None))
    assert bill(capture_tts) == (pytest.approx(1e-4), pytest.approx(1e-4), 0)
    assert capture_tts.total("tts.usage.cost_wasted") == 0


@pytest.mark.parametrize("makers", list(product(PRICE, repeat=2)))
def test_parts_by_several_providers(capture_tts: Capture, caplog: pytest.LogCaptureFixture, makers: Sequence[Maker]) -> None:
    """Who spoke how much is not known: unpriced, unless none of them takes money, and a line says once what to do."""
    tts = capture_tts.telemetry(prices=PRICES)
    with caplog.at_level(logging.WARNING, "otel_tts"):
        for _ in range(2):
            with tts.synthesis(TEXT, stream=True) as s:
                for maker in makers:
                    speak(s, maker)
    lines = [record.getMessage() for record in caplog.records]
    first, second = makers
    if first == second:
        assert capture_tts.total("tts.usage.cost") == pytest.approx(2 * 10 * PRICE[first])
        assert (capture_tts.total("tts.usage.unpriced"), lines) == (0, [])
    else:
        assert [view["tts.usage.cost"] for view in capture_tts.syntheses()] == [None, None]
        assert (capture_tts.total("tts.usage.cost"), capture_tts.total("tts.usage.unpriced")) == (0, 2)
        assert len(lines) == 1
        assert "attempt(provider, model, text=sentence)" in lines[0]


@pytest.mark.parametrize("makers", list(pairwise(PRICE)))
@pytest.mark.parametrize("breaks", [False, True])
def test_attempts_that_know_their_text(capture_tts: Capture, makers: Sequence[Maker], *, breaks: bool) -> None:
    """Each is charged for its own text, whoever speaks it and however it ends; the text itself is nowhere."""
    own = ("First.", "Second..")
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        for maker, text in zip(makers, own, strict=True):
            speak(s, maker, breaks=breaks and text is own[1], text=text)
    cost = sum(PRICE[maker] * len(text) for maker, text in zip(makers, own, strict=True))
    assert bill(capture_tts) == (pytest.approx(cost), pytest.approx(cost), 0)
    assert not any(text in str(dict(span.attributes or {})) for span in capture_tts.spans for text in own)


def test_some_know_their_text(capture_tts: Capture) -> None:
    """The others spoke the rest of it, all together."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        speak(s, ("b", None), text="ten")
        speak(s, ("a", None))
        speak(s, ("a", None))
    assert bill(capture_tts) == (pytest.approx(3 * 2e-5 + 7e-5), pytest.approx(3 * 2e-5 + 7e-5), 0)


def test_more_than_the_text_was_given(capture_tts: Capture) -> None:
    """Then nobody knows what was left for the others."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        speak(s, ("a", None), text="ten chars., and more")
        speak(s, ("a", None))
    assert bill(capture_tts) == (None, pytest.approx(2e-4), 1)


def test_a_part_that_fails(capture_tts: Capture) -> None:
    """What the failed attempt was given of the text is not known, nor, then, what the others were given."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        speak(s, ("a", None))
        speak(s, ("a", None), breaks=True)
        speak(s, ("a", None))
    assert bill(capture_tts) == (None, 0, 1)


def test_a_part_that_fails_before_any_audio(capture_tts: Capture) -> None:
    """It costs nothing, and its repetition is no further part."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        for error in (None, TimeoutError(), None):
            with s.attempt("a") as attempt:
                attempt.fail(error) if error else attempt.audio(HALF, FORMAT)
    assert bill(capture_tts) == (pytest.approx(1e-4), pytest.approx(1e-4), 0)


@pytest.mark.parametrize("skipped", [False, True])
def test_repetitions_of_the_whole(capture_tts: Capture, *, skipped: bool) -> None:
    """A retry and a fallback are given what the failed one was given: each that made audio costs the text."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        if skipped:
            s.skipped("other")
        speak(s, ("a", None), breaks=True)
        speak(s, ("a", None), breaks=True)
        speak(s, ("b", None))
    assert bill(capture_tts) == (pytest.approx(4e-4), pytest.approx(4e-4), 0)


def test_a_skipped_provider_in_the_middle(capture_tts: Capture) -> None:
    """The next sentence is another part, though its attempt is a fallback."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        speak(s, ("a", None))
        s.skipped("other")
        speak(s, ("a", None))
    assert bill(capture_tts) == (pytest.approx(1e-4), pytest.approx(1e-4), 0)


@pytest.mark.parametrize(("texts", "cost"), [(("First", "tail."), 1e-4), ((None, None), None)])
def test_cut_off_between_parts(capture_tts: Capture, texts: Sequence[str | None], cost: float | None) -> None:
    """Not all of the text was given to the engine: known only of attempts that know their text; what was not heard is wasted once."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        for text in texts:
            speak(s, ("a", None), text=text)
        s.interrupt(heard=1.0)
    expected = None if cost is None else pytest.approx(cost)
    assert bill(capture_tts) == (expected, pytest.approx(cost or 0), 1 if cost is None else 0)
    assert capture_tts.total("tts.usage.cost_wasted") == pytest.approx((cost or 0) / 2)


@pytest.mark.parametrize(("text", "cost", "unpriced"), [(None, 0.0, 1), ("tail.", 5e-5, 0)])
def test_a_part_that_ends_after_its_rpc(capture_tts: Capture, text: str | None, cost: float, unpriced: int) -> None:
    """It is charged for its text, if that is known, else its request is unpriced: never a second time for all the text."""
    with rpc(capture_tts.clock) as call, capture_tts.telemetry(prices=PRICES).synthesis(TEXT, stream=True) as s:
        speak(s, ("a", None), text="First")
        late = s.attempt("a", text=text).__enter__()
        call.end("OK")
        before = capture_tts.total("tts.usage.cost")
        late.audio(HALF, FORMAT)
        late.__exit__(None, None, None)
    assert before == pytest.approx(5e-5)
    assert capture_tts.total("tts.usage.cost") - before == pytest.approx(cost)
    assert capture_tts.total("tts.usage.unpriced") == unpriced


def test_from_a_cache(capture_tts: Capture) -> None:
    """What was avoided is the text once, as before."""
    with capture_tts.telemetry(prices=PRICES).synthesis(TEXT) as s, s.lookup("memory") as lookup:
        lookup.found(HALF, "a", audio=FORMAT)
    assert capture_tts.total("tts.usage.cost_avoided") == pytest.approx(1e-4)


@pytest.mark.parametrize("sentences", [1, 2])
@pytest.mark.parametrize("maker", PRICE)
def test_text_that_nobody_states(capture_tts: Capture, caplog: pytest.LogCaptureFixture, maker: Maker, sentences: int) -> None:
    """Its length is unknown, and so is its cost, unless the provider takes no money; a line says once what to do."""
    tts = capture_tts.telemetry(prices=PRICES)
    with caplog.at_level(logging.WARNING, "otel_tts"), tts.synthesis(stream=True) as s:
        for _ in range(sentences):
            speak(s, maker)
    view, free = capture_tts.synthesis(outcome="ok"), PRICE[maker] == 0
    assert (view["tts.text.length"], view["tts.usage.cost"]) == (None, 0.0 if free else None)
    assert (capture_tts.total("tts.usage.cost"), capture_tts.total("tts.usage.unpriced")) == (0, int(not free))
    assert ["nobody states its text" in record.getMessage() for record in caplog.records] == [True] * (not free)


def test_text_of_a_cached_answer_that_nobody_states(capture_tts: Capture) -> None:
    """What the cache saved is not known, so it is not counted."""
    for text in (None, TEXT):
        with capture_tts.telemetry(prices=PRICES).synthesis(text) as s, s.lookup("memory") as lookup:
            lookup.found(HALF, "a")
    assert [view["tts.text.length"] for view in capture_tts.syntheses()] == [None, len(TEXT)]
    assert [point.value for point in capture_tts.points("tts.usage.cost_avoided")] == [pytest.approx(1e-4)]


def test_a_stated_text_without_characters(capture_tts: Capture) -> None:
    """An empty text is known: its length is 0."""
    with capture_tts.telemetry().synthesis("") as s:
        speak(s, ("a", None))
    assert capture_tts.synthesis()["tts.text.length"] == 0


@pytest.mark.parametrize("states", ["nothing", "an empty text", "a flush"])
def test_a_text_that_is_flushed_empty(capture_tts: Capture, states: str) -> None:
    """A flush without any text states none, until a call makes audio: what it was given is then unknown. An empty text is stated."""
    with capture_tts.telemetry(prices=PRICES).synthesis("" if states == "an empty text" else None, stream=True) as s:
        if states == "a flush":
            s.flush()
        speak(s, ("a", None))
    assert capture_tts.synthesis()["tts.text.length"] == (0 if states == "an empty text" else None)
    assert capture_tts.total("tts.usage.unpriced") == (0 if states == "an empty text" else 1)


@pytest.mark.parametrize("calls", [["Hello ", "there. "], ["Hello "], []])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("pieces", [["Dear ", "friend."], ["Dear friend."]])
def test_a_text_that_is_stated_late(capture_tts: Capture, calls: list[str], pieces: list[str], *, own: bool) -> None:
    """The application's own statement is the text, however much calls had brought before it; a moment later it begins nothing anew."""
    clock = capture_tts.clock
    with capture_tts.telemetry().synthesis(stream=True) as s:
        for text in calls:
            speak(s, ("a", None), text=text if own else None)
            clock.advance(1)
        for piece in pieces:
            s.add_text(piece)
        speak(s, ("a", None), text=pieces[-1])
    view = capture_tts.synthesis(outcome="ok")
    assert view["tts.text.length"] == len("Dear friend.")
    assert view["tts.time_to_first_byte"] == 0
    (point,) = capture_tts.points("tts.synthesis.duration")
    assert point.sum == len(calls)  # type: ignore[union-attr]
    assert capture_tts.total("tts.synthesis.characters") == len("Dear friend.")


def test_a_longer_text_of_a_retry(capture_tts: Capture) -> None:
    """Of a part that is tried again, the text of the first call counts; each call costs its own."""
    with capture_tts.telemetry(prices=PRICES).synthesis(stream=True) as s:
        speak(s, ("a", None), breaks=True, text="Hello")
        speak(s, ("a", None), text="<speak>Hello</speak>")
    assert capture_tts.synthesis()["tts.text.length"] == 5
    assert capture_tts.total("tts.usage.cost") == pytest.approx(25e-5)
