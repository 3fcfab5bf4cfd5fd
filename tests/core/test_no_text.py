"""Texts that are no text: their length and cost are unknown, never 0, and one warning says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from otel_tts import Telemetry
from otel_tts.core.guard import guard
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF, TEXT


class Speaks:
    """It has a text, which nobody asked for."""

    def __str__(self) -> str:
        return TEXT


NO_TEXTS = [[TEXT], (TEXT,), {TEXT: 1}, Speaks(), iter([TEXT]), 5, 0, 0.5, True, object, memoryview(TEXT.encode())]


def stated(tts: Telemetry, text: Any) -> None:
    """Of the request."""
    with tts.synthesis(text) as s, s.attempt("piper") as attempt:
        attempt.audio(HALF, FORMAT)


def of_an_attempt(tts: Telemetry, text: Any) -> None:
    """Of its attempt alone."""
    with tts.synthesis() as s, s.attempt("piper", text=text) as attempt:
        attempt.audio(HALF, FORMAT)


def of_a_stream(tts: Telemetry, text: Any) -> None:
    """Of a request that is one stream."""
    list(tts.synthesis(text, stream=True).stream([HALF], "piper", audio=FORMAT))


def in_pieces(tts: Telemetry, text: Any) -> None:
    """One piece of several."""
    with tts.synthesis() as s, s.attempt("piper") as attempt:
        s.add_text("One. ")
        s.add_text(text)
        s.add_text(" Three.")
        attempt.audio(HALF, FORMAT)


def pulled(tts: Telemetry, text: Any) -> None:
    """A piece that the engine pulls."""
    with tts.synthesis() as s, s.attempt("piper") as attempt:
        assert list(s.text_from(["One. ", text])) == ["One. ", text]
        attempt.audio(HALF, FORMAT)


WAYS = [stated, of_an_attempt, of_a_stream, in_pieces, pulled]


@pytest.mark.parametrize("text", NO_TEXTS, ids=lambda text: type(text).__name__)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_text(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: Callable[..., None], text: Any
) -> None:
    """The speech is counted; its characters and its cost are not known, and the warning names the type and the line."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    way(capture_tts.telemetry(prices={"piper": 10.0}), text)
    view = capture_tts.synthesis(outcome="ok")
    assert (view["tts.text.length"], view["tts.usage.cost"]) == (None, None)
    assert (capture_tts.total("tts.usage.cost"), capture_tts.total("tts.usage.unpriced")) == (0, 1)
    [message] = [m for m in caplog.messages if "A text is str" in m]
    assert f"A text is str, not {type(text).__name__}: its length, and what it costs, are unknown." in message
    assert "test_no_text.py" in message


@pytest.mark.parametrize("text", [TEXT, TEXT.encode(), bytearray(TEXT.encode()), type("Text", (str,), {})(TEXT)])
@pytest.mark.parametrize("way", [stated, of_an_attempt, of_a_stream])
def test_what_is_a_text(capture_tts: Capture, way: Callable[..., None], text: Any) -> None:
    """Bytes are UTF-8."""
    way(capture_tts.telemetry(prices={"piper": 10.0}), text)
    assert capture_tts.synthesis()["tts.usage.cost"] == pytest.approx(10e-6 * len(TEXT))
    assert capture_tts.total("tts.synthesis.characters") == len(TEXT)
