"""The text that was sent stands nowhere, unless it is switched on."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from otel_tts import PCM16, Settings, Telemetry
from otel_tts.core.privacy import class_name, stacktrace
from otel_tts.testing.capture import Capture

TEXT = " ".join(["the", "canary", "sings"])  # put together here: the lines of this file stand in stack traces
CAPTURED = Settings.load(environ={"OTEL_TTS_CAPTURE_TEXT": "true"})


class EngineError(Exception):
    """An engine's, that says what it was given."""


def fail(text: str, how: str) -> None:  # noqa: C901 - a case each
    """What an engine does that puts the text into its exceptions, one way or another."""
    error = EngineError(f"cannot speak {text!r}", {"input": text})
    error.add_note(f"while speaking {text}")
    if how == "plain":
        raise error
    if how == "explicit cause":
        raise RuntimeError("failed") from error
    if how == "in the middle of another":
        try:
            raise error
        except EngineError:
            raise RuntimeError("failed")  # noqa: B904 - an engine's way
    if how == "suppressed":
        try:
            raise error
        except EngineError:
            raise RuntimeError(text) from None
    if how == "group":
        raise ExceptionGroup(f"several, for {text}", [error, ExceptionGroup(text, [ValueError(text), RuntimeError(text)])])
    if how == "group with causes":
        try:
            raise ValueError(text) from error  # noqa: TRY301 - an engine's way
        except ValueError as cause:
            raise ExceptionGroup(text, [cause]) from cause
    if how == "key":
        dict[str, str]()[text]
    if how == "syntax":
        compile(text, text, "eval")
    if how == "loop":
        error.__cause__ = RuntimeError(text)
        error.__cause__.__cause__ = error
        raise error
    raise AssertionError(how)


WAYS = (
    "plain", "explicit cause", "in the middle of another", "suppressed", "group", "group with causes", "key", "syntax", "loop",
)  # fmt: skip


def speak(tts: Telemetry, how: str) -> None:
    """Requests that fail in every place where an exception can pass."""
    with tts.synthesis(TEXT, stream=True) as s:
        s.add_text(TEXT)
        for block in (s.lookup("redis"), s.attempt("piper", "joe"), s.cache_write("redis")):
            with pytest.raises(Exception), block:  # noqa: B017, PT011 - whatever it is
                fail(TEXT, how)
        try:
            fail(TEXT, how)
        except Exception as error:  # noqa: BLE001
            with s.attempt("hibari") as attempt:
                attempt.fail(error)

        def engine() -> Any:
            yield b".." * 800
            fail(TEXT, how)

        with pytest.raises(Exception):  # noqa: B017, PT011
            list(s.attempt("openai").stream(engine(), PCM16(16000)))
    with pytest.raises(Exception), tts.synthesis(TEXT):  # noqa: B017, PT011
        fail(TEXT, how)


def emitted(capture: Capture) -> str:
    """All that leaves the process: spans with their events, statuses and attributes, and points."""
    return "\n".join([span.to_json() for span in capture.spans] + [repr(capture.metrics())])


@pytest.mark.parametrize("how", WAYS)
def test_the_text_stands_nowhere(capture_tts: Capture, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """With capture off, the text is in no span, event, status, point or log line, however an engine hides it."""
    caplog.set_level(logging.DEBUG)
    speak(capture_tts.telemetry(), how)
    assert [event.name for span in capture_tts.spans for event in span.events].count("exception") == 5
    for leaked in (TEXT, "canary", "sings"):
        assert leaked not in emitted(capture_tts)
        assert leaked not in caplog.text
    lengths = [view["tts.text.length"] for view in capture_tts.syntheses()]
    assert lengths == [2 * len(TEXT), len(TEXT)]


@pytest.mark.parametrize("how", WAYS)
def test_frames_stay(capture_tts: Capture, how: str) -> None:
    """What remains of an exception is its class and where it came from."""
    with pytest.raises(Exception), capture_tts.telemetry().synthesis(TEXT):  # noqa: B017, PT011
        fail(TEXT, how)
    (event,) = capture_tts.synthesis().span.events
    attributes = dict(event.attributes or {})
    assert set(attributes) == {"exception.type", "exception.stacktrace"}
    assert "in fail\n" in str(attributes["exception.stacktrace"])


def test_chains_and_groups_are_told_by_class() -> None:
    """Each exception of a chain and of a group is named, causes first, as Python prints them."""
    try:
        fail(TEXT, "group with causes")
    except ExceptionGroup as error:
        lines = stacktrace(error).splitlines()
    name = f"{__name__}.EngineError"
    assert [line for line in lines if not line.startswith((" ", "Traceback"))] == [
        name, "", "(led to)", "", "ValueError", "", "(led to)", "", "ExceptionGroup",
    ]  # fmt: skip


def test_class_names() -> None:
    """Builtins without their module, as the OpenTelemetry SDK writes them."""
    assert class_name(ValueError()) == "ValueError"
    assert class_name(EngineError()) == f"{__name__}.EngineError"


def test_text_and_messages_where_they_are_asked_for(capture_tts: Capture) -> None:
    """With capture on, the text stands on the request's span, and the exception's message and full trace on its event."""
    tts = capture_tts.telemetry(settings=CAPTURED)
    with pytest.raises(RuntimeError) as raised, tts.synthesis(f"{TEXT}!"):
        fail(TEXT, "explicit cause")
    view = capture_tts.synthesis()
    assert view["tts.text"] == f"{TEXT}!"
    (event,) = view.span.events
    assert dict(event.attributes or {}) == {
        "exception.type": "RuntimeError",
        "exception.message": "failed",
        "exception.stacktrace": "".join(traceback.format_exception(raised.value)),
    }
    assert TEXT in emitted(capture_tts)
    assert TEXT not in repr(capture_tts.metrics())


def test_text_of_a_joined_request(capture_tts: Capture) -> None:
    """Text that only an inner layer knows is captured, or not, as any other."""
    for settings, expected in ((CAPTURED, TEXT), (None, None)):
        tts = capture_tts.telemetry(settings=settings)
        with tts.synthesis(voice="amy") as s, s.lookup("memory"), tts.synthesis(TEXT):
            pass
        assert capture_tts.syntheses()[-1]["tts.text"] == expected
