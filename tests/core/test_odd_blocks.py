"""Blocks and streams that a host enters, leaves and uses in an order that is none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from otel_tts import PCM16, Telemetry, semconv
from otel_tts.core.guard import guard
from otel_tts.testing.capture import Capture

SPEECH = PCM16(16_000)
AUDIO = bytes(3_200)
ERRORS = [None, ValueError("the host's"), GeneratorExit()]
BLOCKS: dict[str, Callable[[Telemetry], Any]] = {
    "synthesis": lambda tts: tts.synthesis("Hello."),
    "attempt": lambda tts: tts.synthesis("Hello.").attempt("piper"),
    "lookup": lambda tts: tts.synthesis("Hello.").lookup("memory"),
    "cache_write": lambda tts: tts.synthesis("Hello.").cache_write("memory"),
    "connection": lambda tts: tts.connection("openai"),
    "conversation": lambda tts: tts.conversation("call-1"),
    "probe": lambda tts: tts.probe("piper"),
}
"""One of each kind of block."""


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_may_be_left_that_was_never_entered(capture_tts: Capture, kind: str, error: BaseException | None) -> None:
    """A host's `ExitStack.push` does so: nothing is raised, also in strict mode, and nothing stays open."""
    tts = capture_tts.telemetry()
    block = BLOCKS[kind](tts)
    block.__exit__(type(error) if error else None, error, None)
    del block
    assert capture_tts.total(semconv.SYNTHESIS_ACTIVE) == 0


@pytest.mark.parametrize("fails", [False, True])
def test_a_pushed_block_ends_what_it_stands_for(capture_tts: Capture, fails: bool) -> None:
    """A request and an attempt whose blocks are only left end there, as others do."""
    tts = capture_tts.telemetry()
    with pytest.raises(KeyError) if fails else ExitStack(), ExitStack() as stack:
        s = tts.synthesis("Hello.")
        stack.push(s)
        attempt = s.attempt("piper")
        stack.push(attempt)
        attempt.audio(AUDIO, SPEECH)
        if fails:
            raise KeyError("the host's")
    view = capture_tts.synthesis()
    assert (view.outcome, view.attempts[0].outcome) == (("error", "error") if fails else ("ok", "ok"))


@pytest.mark.parametrize("kind", ["cache_write", "connection"])
def test_a_block_with_a_span_is_used_once(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Used again, it counts nothing twice, and one line says where and what to do."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    block = BLOCKS[kind](capture_tts.telemetry())
    for _ in range(2):
        with block:
            pass
    spans = [span for span in capture_tts.spans if span.name in (semconv.CACHE_WRITE_SPAN.name, semconv.CONNECT_SPAN.name)]
    assert len(spans) == 1
    assert capture_tts.total(semconv.CONNECT_DURATION) == (1 if kind == "connection" else 0)
    (line,) = caplog.messages
    assert f"{kind}=a block that has ended at" in line
    assert "test_odd_blocks.py:" in line
    assert f"call {kind}() for each" in line


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_a_stream_of_a_request_that_has_ended_keeps_nothing_active(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stream: bool, times: int
) -> None:
    """It is said, and no request stays under way, though nobody ends it again."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    with capture_tts.telemetry().synthesis("Hello.", stream=stream) as s, s.attempt("piper") as attempt:
        attempt.audio(AUDIO, SPEECH)
    for _ in range(times):
        assert list(s.stream([AUDIO], "hibari", audio=SPEECH)) == [AUDIO]
    assert capture_tts.total(semconv.SYNTHESIS_ACTIVE) == 0
    assert [view.outcome for view in capture_tts.syntheses()] == ["ok"]
    assert len(caplog.messages) == 1
    assert "synthesis=a request that has ended at" in caplog.messages[0]


class _Undecided:
    """A value whose truth cannot be asked, as `pandas.NA` and arrays."""

    def __bool__(self) -> bool:
        raise TypeError("truth is ambiguous")

    def __str__(self) -> str:
        return "undecided"


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("argument", ["voice", "language"])
def test_a_name_whose_truth_cannot_be_asked_is_a_name(capture_tts: Capture, argument: str, inside: bool) -> None:
    """The request counts, inside another one's block, too."""
    tts = capture_tts.telemetry()
    with ExitStack() as stack:
        if inside:
            stack.enter_context(tts.synthesis("Hello."))
        s = stack.enter_context(tts.synthesis("Hello.", **{argument: _Undecided()}))
        stack.enter_context(s.attempt("piper")).audio(AUDIO, SPEECH)
    (view,) = capture_tts.syntheses()
    assert (view.outcome, view[f"tts.{argument}"]) == ("ok", "undecided")
