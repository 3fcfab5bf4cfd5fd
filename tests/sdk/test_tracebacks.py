"""Tracebacks that are text: whatever an exception in the chain says, also if it looks like frames, nothing of it is left."""

from __future__ import annotations

import linecache
import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts.sdk import foreign
from otel_tts.sdk.tracebacks import without_messages
from tests.sdk.test_foreign import spans_of
from tests.sdk.test_log_records import Emitted

SECRET = "quokka" + str(4711 * 4711)  # a word and digits that stand in no source file
DIGITS = SECRET.removeprefix("quokka")

LINES = st.sampled_from(
    [
        "Traceback (most recent call last):",
        "  + Exception Group Traceback (most recent call last):",
        f'  File "{SECRET}.py", line 3, in speak',
        f'  File "{__file__}", line {DIGITS}, in {SECRET}',
        f'  File "{__file__}", line 1, in {SECRET}',
        f'  | File "{__file__}", line 1, in <module>',
        f'  |   File "{__file__}", line 1, in test_the_frames_stay',
        f'  File "<string>", line {DIGITS}, in <module>',
        f'  File "/dev/zero", line 1, in {SECRET}',
        "  File \"\"\"x\", line 1, in x",
        f"    {SECRET}",
        f"    say({SECRET})",
        "    ~~~^^^",
        f"  | +---------------- {SECRET} ----------------",
        f"  [Previous line repeated {DIGITS} more times]",
        SECRET,
        f"{SECRET}: x",
        f"{SECRET}.Error",
        f"ValueError: {SECRET}",
        "During handling of the above exception, another exception occurred:",
        "(led to)",
        "",
    ]
)  # fmt: skip
MESSAGES = st.lists(LINES, min_size=1, max_size=8).map("\n".join)
ENDS = st.sampled_from(["", "\n", "\r\n", "\x0b", "\u2028"])


class SayError(Exception):
    """An exception of the host's own."""


@st.composite
def errors(draw: st.DrawFn, depth: int = 0) -> BaseException:
    """Exceptions with such messages and notes, raised; each with a cause, a context or members of a group of the same kind."""
    message = draw(MESSAGES) + draw(ENDS) + draw(MESSAGES)
    further = st.none() if depth > 2 else st.none() | errors(depth + 1)
    error: BaseException = draw(st.sampled_from([ValueError, SayError, KeyError]))(message)
    if depth < 2 and draw(st.booleans()):
        error = ExceptionGroup(message, [SayError(draw(MESSAGES)), OSError(1, draw(MESSAGES))])
    for note in draw(st.lists(MESSAGES, max_size=2)):
        error.add_note(note)
    return raised(error, draw(further), draw(further))


def raised(error: BaseException, cause: BaseException | None, context: BaseException | None) -> BaseException:
    """The exception with frames of its own, and what was chained to it."""
    try:
        try:
            if context is not None:
                raise context
        finally:
            raise error from cause if cause is not None else error.__cause__
    except BaseException as caught:  # noqa: BLE001 - all of them
        return caught


@given(error=errors())
def test_what_looks_like_frames_does_not_stay(error: BaseException) -> None:
    """No word and no number of any message in the chain is left on spans or logs of others; the frames and classes of this file are."""
    written = "".join(traceback.format_exception(error))
    masked = without_messages(written)
    assert SECRET not in masked
    assert DIGITS not in masked
    assert f'File "{__file__}", line ' in masked
    assert "in raised" in masked
    assert without_messages(masked) == masked
    for span in spans_of(error):  # type: ignore[arg-type]  # what it does takes any
        left = foreign.span(span).to_json()
        assert SECRET not in left
        assert DIGITS not in left
    emitted = Emitted()
    emitted.emit(body="It failed.", attributes={"exception.message": str(error), "exception.stacktrace": written})
    [record] = emitted.left()
    assert SECRET not in str(dict(record.attributes))
    assert DIGITS not in str(dict(record.attributes))


def test_the_frames_stay() -> None:
    """Of a chain without forgeries every frame, line of source and class is left; a class that no longer exists is not named."""

    def again(depth: int) -> None:
        if depth:
            again(depth - 1)
        raise SayError

    try:
        try:
            again(20)
        except SayError as error:
            raise ExceptionGroup("x", [KeyError("y")]) from error
    except ExceptionGroup as error:
        written = traceback.format_exception(error)
    masked = without_messages("".join(written))
    shown = [line for line in "".join(written).splitlines() if line.lstrip(" |").startswith("File ")]
    assert [line for line in masked.splitlines() if line.lstrip(" |").startswith("File ")] == shown
    assert "    raise SayError\n" in masked
    assert f"{__name__}.SayError\n" in masked
    assert "ExceptionGroup\n" in masked
    assert "[Previous line repeated]" in masked


def test_no_file_is_opened_that_is_not_a_module(tmp_path: Path) -> None:
    """A message that names a pipe does not make the process wait for it, and one that names a file does not show it."""
    pipe, file = tmp_path / "pipe", tmp_path / "text.txt"
    os.mkfifo(pipe)
    file.write_text(f"say {SECRET}\n")
    for path in (file, pipe):
        text = f'Traceback (most recent call last):\n  File "{path}", line 1, in say\n    say {SECRET}\nValueError: x\n'
        assert without_messages(text) == 'Traceback (most recent call last):\n  File "...", in ...\nValueError\n'
        assert str(path) not in linecache.cache


@pytest.mark.parametrize("name", [SECRET, f"{SECRET}.ValueError", "os.path", "ValueErro"])
def test_a_class_that_is_none_is_not_named(name: str) -> None:
    """What stands where a class would is left only if there is such a class."""
    assert without_messages(f"Traceback (most recent call last):\n{name}: x\n") == "Traceback (most recent call last):\n...\n"
