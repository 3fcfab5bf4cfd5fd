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


def chained(links: int) -> BaseException:
    """What a loop raises in the end that tries again inside its handlers."""
    newest: BaseException = EngineError("the oldest")
    for number in range(links):
        try:
            raise newest  # noqa: TRY301
        except Exception as earlier:  # noqa: BLE001
            newest = ConnectionError(f"{TEXT} {number}")
            newest.__context__ = earlier
    return newest


def grouped(depth: int) -> BaseException:
    """A group in a group, and so on."""
    error: Exception = EngineError(TEXT)
    for _ in range(depth):
        error = ExceptionGroup(TEXT, [error])
    return error


class OddError(Exception):
    """Says that it is false, and refuses all that is asked of it."""

    __module__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        raise RuntimeError("no cause")

    @property
    def __context__(self) -> BaseException:  # type: ignore[override]
        raise RuntimeError("no context")


def odd_cause() -> BaseException:
    """Raised from an exception that is false."""
    error = ValueError(TEXT)
    vars(BaseException)["__cause__"].__set__(error, OddError())
    return error


STRANGE = {
    "a chain of 1,500": lambda: chained(1500), "groups, 500 deep": lambda: grouped(500), "odd": OddError, "an odd cause": odd_cause,
}  # fmt: skip


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("strange", STRANGE)
def test_any_exception_is_described(capture_tts: Capture, caplog: pytest.LogCaptureFixture, strange: str, captured: bool) -> None:
    """However long its chain, deep its group or odd its class is, both spans have failed, and name its class and where it was raised."""
    tts = capture_tts.telemetry(settings=CAPTURED if captured else None)
    error = STRANGE[strange]()
    reached = []
    try:  # pytest asks the truth of an exception
        with tts.synthesis("hello") as s, s.attempt("piper"):
            raise error
    except type(error) as raised:
        reached.append(id(raised))
    try:
        with tts.synthesis("hello"):
            raise error
    except type(error) as raised:
        reached.append(id(raised))
    assert reached == [id(error)] * 2
    first, second = capture_tts.syntheses()
    failed = [first.attempts[0].span, second.span]
    assert [span.status.status_code.name for span in failed] == ["ERROR", "ERROR"]
    for span in failed:
        (event,) = [event for event in span.events if event.name == "exception"]
        trace = str((event.attributes or {})["exception.stacktrace"])
        assert f"{class_name(error)}" in trace
        assert "in test_any_exception_is_described\n" in trace
        assert len(trace) < 40_000


def test_of_a_long_chain_the_newest_is_described() -> None:
    """The exception that reached us stands last and whole, and what is left out is said; its cost is bounded."""
    lines = stacktrace(chained(5_000)).splitlines()
    assert lines[0] == "(earlier ones are left out)"
    assert lines[-1] == "ConnectionError"
    assert lines.count("(led to)") == 32
    assert class_name(EngineError()) not in lines


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
