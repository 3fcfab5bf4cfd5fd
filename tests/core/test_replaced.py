"""Streams that their body leaves, by another way each, and what the next attempt is then: a fallback, or the next sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from otel_tts import Synthesis
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT
from tests.core.test_leaving import CHUNK, attempts_of, blamed, engine


def _raises(synthesis: Synthesis) -> None:
    with suppress(ValueError):
        for _ in synthesis.attempt("e").stream(iter([CHUNK] * 3), FORMAT):
            raise ValueError


def _breaks(synthesis: Synthesis) -> None:
    for _ in synthesis.attempt("e").stream(iter([CHUNK] * 3), FORMAT):
        break


def _closes(synthesis: Synthesis) -> None:
    stream = synthesis.attempt("e").stream(iter([CHUNK] * 3), FORMAT)
    next(stream)
    stream.close()


def _raises_in_a_coroutine(synthesis: Synthesis) -> None:
    async def speak() -> None:
        async for _ in synthesis.attempt("e").stream(engine(), FORMAT):
            raise ValueError

    with suppress(ValueError):
        asyncio.run(speak())


def _drops_a_generator(synthesis: Synthesis) -> None:
    def generator() -> Iterator[bytes]:
        yield from synthesis.attempt("e").stream(iter([CHUNK] * 3), FORMAT)

    next(generator())


def _drops_a_block_in_a_generator(synthesis: Synthesis) -> None:
    def generator() -> Iterator[bytes]:
        with synthesis.attempt("e") as attempt:
            yield from attempt.stream(iter([CHUNK] * 3), FORMAT)

    next(generator())


def _breaks_in_a_block(synthesis: Synthesis) -> None:
    with synthesis.attempt("e") as attempt:
        for _ in attempt.stream(iter([CHUNK] * 3), FORMAT):
            break


LEFT = (_raises, _breaks, _closes, _raises_in_a_coroutine, _drops_a_generator, _drops_a_block_in_a_generator, _breaks_in_a_block)
Leave = Callable[[Synthesis], None]


@pytest.mark.parametrize("leave", LEFT, ids=lambda leave: leave.__name__)
def test_a_stream_that_is_left_for_another_provider_is_followed_by_a_fallback(capture_tts: Capture, leave: Leave) -> None:
    """Why the body left it nobody knows, so it has not failed; but another provider was asked in its place."""
    with capture_tts.telemetry(prices={"e": 1.0, "f": 1.0}).synthesis(TEXT, stream=True) as synthesis:
        leave(synthesis)
        list(synthesis.attempt("f").stream(iter([CHUNK]), FORMAT))
    assert attempts_of(capture_tts) == [("e", "initial", "cancelled", None, "caller"), ("f", "fallback", "ok", None, None)]
    (fallback,) = capture_tts.points("tts.provider.fallbacks")
    assert (dict(fallback.attributes or {}), fallback.value) == ({"tts.fallback.from": "e", "tts.fallback.to": "f"}, 1)
    view = capture_tts.synthesis(outcome="ok")
    assert (view["tts.fallback.used"], view["tts.fallback.providers"]) == (True, ("e",))
    assert view["tts.usage.cost"] == pytest.approx(2 * len(TEXT) * 1e-6)
    assert not blamed(capture_tts)


@pytest.mark.parametrize("leave", LEFT, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize(("provider", "reason"), [("e", None), ("f", "initial")])
def test_a_stream_that_is_left_for_the_next_sentence_is_not(
    capture_tts: Capture, leave: Leave, provider: str, reason: str | None
) -> None:
    """The same provider speaks on, or the application says that the text is new: no retry, and no fallback, also of what follows."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
        leave(synthesis)
        list(synthesis.attempt(provider, reason=reason).stream(iter([CHUNK]), FORMAT))
        with synthesis.attempt("g") as attempt:
            attempt.audio(HALF, FORMAT)
    assert [attempt[:2] for attempt in attempts_of(capture_tts)] == [("e", "initial"), (provider, "initial"), ("g", "initial")]
    assert not capture_tts.points("tts.provider.fallbacks")


@pytest.mark.parametrize("leave", LEFT, ids=lambda leave: leave.__name__)
def test_a_stream_that_is_left_beside_another_one_is_not_replaced(capture_tts: Capture, leave: Leave) -> None:
    """Two providers speak at the same time, and one of them is left: the next call takes nobody's place."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
        beside = synthesis.attempt("f").stream(iter([CHUNK] * 2), FORMAT)
        next(beside)
        leave(synthesis)
        list(synthesis.attempt("g").stream(iter([CHUNK]), FORMAT))
        list(beside)
    assert sorted(attempt[:2] for attempt in attempts_of(capture_tts)) == [("e", "initial"), ("f", "initial"), ("g", "initial")]
    assert not capture_tts.points("tts.provider.fallbacks")


@pytest.mark.parametrize("leave", LEFT, ids=lambda leave: leave.__name__)
def test_after_an_interruption_nobody_is_replaced(capture_tts: Capture, leave: Leave) -> None:
    """What is asked of another provider after an interruption is no fallback: the listener wanted no more of the first."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
        leave(synthesis)
        synthesis.interrupt()
        list(synthesis.attempt("f").stream(iter([CHUNK]), FORMAT))
    assert {reason for _, reason, *_ in attempts_of(capture_tts)} == {"initial"}
    assert not capture_tts.points("tts.provider.fallbacks")


@pytest.mark.parametrize("leave", LEFT, ids=lambda leave: leave.__name__)
def test_a_stream_that_is_left_is_not_replaced_beside_the_next_sentence(capture_tts: Capture, leave: Leave) -> None:
    """The provider that was left speaks on already when another one is called."""
    with capture_tts.telemetry().synthesis(TEXT, stream=True) as synthesis:
        leave(synthesis)
        beside = synthesis.attempt("e").stream(iter([CHUNK] * 2), FORMAT)
        next(beside)
        list(synthesis.attempt("g").stream(iter([CHUNK]), FORMAT))
        list(beside)
    assert sorted(attempt[:2] for attempt in attempts_of(capture_tts)) == [("e", "initial"), ("e", "initial"), ("g", "initial")]
    assert not capture_tts.points("tts.provider.fallbacks")
