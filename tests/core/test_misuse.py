"""Wrong use of the library fails closed: it never makes a failure count as well, and one warning says where it is."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import PCM16
from otel_tts.core.guard import guard
from otel_tts.core.outcome import Cause
from otel_tts.semconv import CancelReason, ErrorType, Outcome
from otel_tts.testing.capture import Capture


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in production, where nothing has been warned of yet: the test kit is strict by itself."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())


def test_a_value_that_cannot_be_used_is_an_unknown_failure(
    capture_tts: Capture, lenient: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt outcome gives ``error`` and ``_OTHER``; the one warning names argument, value, and this very file and line."""
    tts = capture_tts.telemetry()
    outcome = "errror"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with tts.synthesis("hello") as s:
                s.fail(outcome=outcome, error_type="timeout")
    assert [(v.outcome, v["error.type"]) for v in capture_tts.syntheses()] == [("error", "_OTHER")] * 3
    (record,) = [r for r in caplog.records if r.name == guard.caught.__module__]
    assert f"outcome={outcome!r}" in record.getMessage()
    assert __file__ in record.getMessage()


def test_an_outcome_that_is_none_does_not_take_the_error_s(capture_tts: Capture, lenient: None) -> None:
    """Whatever the error beside it means, the failure is of unknown type: the caller meant something else, and nobody knows what."""
    with capture_tts.telemetry().synthesis("Hello") as s:
        s.fail(TimeoutError("late"), outcome="errror")
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"]) == ("error", "_OTHER")


@pytest.mark.parametrize("error_type", ["tiemout", "time out", "", "TIMEOUT", 5])
def test_an_error_type_that_is_none_is_unknown(capture_tts: Capture, lenient: None, error_type: object) -> None:
    """Of a request and of an attempt, without an outcome and with one; an error beside it does not give its own."""
    tts = capture_tts.telemetry()
    for error in (None, TimeoutError("late")):
        for outcome in (None, "error"):
            with tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
                attempt.fail(error, outcome=outcome, error_type=error_type)  # type: ignore[arg-type]
            with tts.synthesis("Hello") as s:
                s.fail(error, outcome=outcome, error_type=error_type)  # type: ignore[arg-type]
    views = capture_tts.syntheses()
    assert [(view.outcome, view["error.type"]) for view in views] == [("error", "_OTHER")] * 8
    assert [a.error_type for view in views for a in view.attempts] == ["_OTHER"] * 4


@pytest.mark.parametrize(
    ("argument", "allowed"),
    [("outcome", Outcome), ("error_type", ErrorType), ("reason", CancelReason)],
    ids=str,
)
def test_the_warning_says_what_is_allowed(
    capture_tts: Capture, lenient: None, caplog: pytest.LogCaptureFixture, argument: str, allowed: type[StrEnum]
) -> None:
    """One warning for each line, whatever values come there: it has the first of them, and every value that could be used."""
    tts = capture_tts.telemetry()
    with caplog.at_level(logging.WARNING):
        for value in ("whim", "whims", "whimsy"):
            with tts.synthesis("Hello") as s:
                if argument == "reason":
                    s.interrupt(value)
                elif argument == "outcome":
                    s.fail(outcome=value)
                else:
                    s.fail(error_type=value)
    (record,) = [r for r in caplog.records if r.name == guard.caught.__module__]
    assert f"{argument}='whim' at {__file__}:" in record.getMessage()
    assert f"use one of {', '.join(member.value for member in allowed)}." in record.getMessage()


def test_a_reason_that_is_none_is_an_interruption(capture_tts: Capture, lenient: None) -> None:
    """Whoever cut it off was not this service, which would be a failure."""
    with capture_tts.telemetry().synthesis("Hello") as s:
        s.interrupt("whim")
    view = capture_tts.synthesis()
    assert (view.outcome, view["tts.cancel.reason"]) == ("cancelled", "interrupted")


@pytest.mark.parametrize(("outcome", "error_type"), [("error", "no_audio"), ("error", "deadline"), ("partial", "no_audio")])
def test_an_error_type_of_another_outcome_is_unknown(capture_tts: Capture, outcome: str, error_type: str) -> None:
    """The outcome counts, and its type is none that was never said."""
    with capture_tts.telemetry().synthesis("Hello") as s:
        s.fail(outcome=outcome, error_type=error_type)
    view = capture_tts.synthesis()
    assert (view.outcome, view["error.type"]) == (outcome, "_OTHER")


def test_strict_mode_raises(capture_tts: Capture) -> None:
    """In strict mode it is the application's exception."""
    with capture_tts.telemetry().synthesis("hello") as s, pytest.raises(ValueError, match="error_type='tiemout'"):
        s.fail(error_type="tiemout")


@pytest.mark.parametrize(("value", "status"), [("true", 1), ("false", 0)])
def test_strict_mode_by_the_environment(value: str, status: int) -> None:
    """A program of its own, outside of any test suite: the variable decides whether wrong use ends it."""
    program = "import otel_tts\nwith otel_tts.Telemetry().synthesis('hello') as s: s.fail(outcome='errror')\n"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"OTEL_TTS_STRICT": value}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == status, ended.stderr
    assert ("ValueError: outcome='errror'" in ended.stderr) is bool(status)


@given(st.text() | st.integers() | st.none(), st.text() | st.integers() | st.none())
def test_whatever_is_declared_is_no_success(outcome: object, error_type: object) -> None:
    """Only the outcome ``ok`` itself makes a declared failure good."""
    strict, guard.strict = guard.strict, False
    try:
        cause = Cause.declared(None, outcome, error_type)  # type: ignore[arg-type]
    finally:
        guard.strict = strict
    assert cause.good is (outcome == "ok")
    assert cause.outcome in Outcome
    assert cause.error_type is None or cause.error_type in ErrorType


def test_a_skipped_provider_is_named(capture_tts: Capture) -> None:
    """A request that fails because no provider may be asked names the first of them, and its events say who and why."""
    with capture_tts.telemetry().synthesis("hello") as s:
        s.skipped("openai")
        s.skipped("piper", "not_found")
        s.fail(outcome="error", error_type="unavailable")
    synthesis = capture_tts.synthesis()
    events = [(e.name, dict(e.attributes or {})) for e in synthesis.span.events]
    assert events == [
        ("tts.provider.skipped", {"gen_ai.provider.name": "openai", "error.type": "unavailable"}),
        ("tts.provider.skipped", {"gen_ai.provider.name": "piper", "error.type": "not_found"}),
    ]
    assert synthesis["gen_ai.provider.name"] == "openai"
    assert capture_tts.total("tts.synthesis.failures", {"gen_ai.provider.name": "openai"}) == 1


def test_a_coalesced_request_links_to_its_leader(capture_tts: Capture) -> None:
    """The span of the request that shares another's audio links to that request's span, and its event says who makes the audio."""
    tts = capture_tts.telemetry()
    leader = tts.synthesis("hello")
    with tts.synthesis("hello") as s:
        s.coalesced("piper", "joe", leader=leader)
    synthesis = capture_tts.synthesis(cache_result="coalesced")
    (link,) = synthesis.span.links
    assert f"{link.context.trace_id:032x}" == leader.trace_id
    assert [(e.name, dict(e.attributes or {})) for e in synthesis.span.events] == [
        ("tts.coalesced", {"gen_ai.provider.name": "piper", "gen_ai.request.model": "joe"})
    ]


@pytest.mark.parametrize("report", ["interrupt", "heard"])
@pytest.mark.parametrize("value", [1e12, 99, 1.2, -1, -1e-9])
@pytest.mark.parametrize("delivery", ["stream", "whole", "none"])
def test_nobody_has_heard_more_than_was_handed_out(
    capture_tts: Capture, lenient: None, caplog: pytest.LogCaptureFixture, delivery: str, value: float, report: str
) -> None:
    """More than that, or less than nothing, is unknown on span and metric; one warning names the value, and this file and line."""
    tts = capture_tts.telemetry()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with tts.synthesis("hello", stream=delivery != "whole") as s, s.attempt("piper") as attempt:
                if delivery == "whole":
                    attempt.audio(bytes(48_000), PCM16(24_000))
                elif delivery == "stream":
                    list(attempt.stream([bytes(24_000)] * 2, PCM16(24_000)))
                line = sys._getframe().f_lineno + 1
                s.interrupt(heard=value) if report == "interrupt" else s.heard(value)
    assert [v["tts.audio.heard_duration"] for v in capture_tts.syntheses()] == [None] * 2
    assert capture_tts.total("tts.synthesis.audio", {"tts.audio.state": "heard"}) == 0
    (record,) = [r for r in caplog.records if r.name == guard.caught.__module__]
    assert f"={value:g} at {__file__}:{line} " in record.getMessage()


@pytest.mark.parametrize(("value", "heard_s"), [(0, 0.0), (0.4, 0.4), (1, 1.0), (1.02, 1.0)])
def test_what_a_player_pads_its_last_frame_with_is_no_audio(capture_tts: Capture, value: float, heard_s: float) -> None:
    """A value that is true stands, and the silence after the last sample is left out of it."""
    with capture_tts.telemetry().synthesis("hello", stream=True) as s:
        list(s.attempt("piper").stream([bytes(24_000)] * 2, PCM16(24_000)))
        s.heard(value)
    assert capture_tts.synthesis()["tts.audio.heard_duration"] == heard_s


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_request_that_is_used_twice_is_said(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asynchronous: bool
) -> None:
    """One handle is one request: what a second block does is not counted, which a warning says with the line of that block."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    handle = capture_tts.telemetry().synthesis("Hello.")

    async def use() -> None:
        async with handle as s, s.attempt("piper") as attempt:
            attempt.audio(bytes(200), PCM16(16_000))

    for _ in range(2):
        if asynchronous:
            asyncio.run(use())
        else:
            with handle as s, s.attempt("piper") as attempt:
                attempt.audio(bytes(200), PCM16(16_000))
    assert [view.outcome for view in capture_tts.syntheses()] == ["ok"]
    (line,) = caplog.messages
    assert "synthesis=a request that has ended at" in line
    assert "test_misuse.py:" in line
    assert "call synthesis() for each request" in line


@pytest.mark.parametrize("way", ["attempt", "stream", "probe"])
def test_a_provider_without_a_name_is_said(
    capture_tts: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """What is recorded is called None, and a warning says where the name is missing."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    tts, nobody = capture_tts.telemetry(), cast("str", None)
    if way == "probe":
        with tts.probe(nobody) as attempt:
            attempt.audio(bytes(200), PCM16(16_000))
    elif way == "stream":
        list(tts.synthesis("Hello.").stream([bytes(200)], nobody, audio=PCM16(16_000)))
    else:
        with tts.synthesis("Hello.") as s, s.attempt(nobody) as attempt:
            attempt.audio(bytes(200), PCM16(16_000))
    (line,) = caplog.messages
    assert "provider=None at" in line
    assert "test_misuse.py:" in line


@pytest.mark.parametrize("duration", [-1, -1e-9, float("nan"), float("inf"), "1"])
def test_a_cache_that_states_no_duration(
    capture_tts: Capture, lenient: None, caplog: pytest.LogCaptureFixture, duration: object
) -> None:
    """A duration that there cannot be is left out, with a warning that names the argument, the value and what is allowed."""
    with capture_tts.telemetry().synthesis("hello") as s, s.lookup("memory") as lookup:
        lookup.found(b"audio", "piper", duration=cast("float", duration))
    synthesis = capture_tts.synthesis(cache_result="hit")
    assert synthesis["tts.audio.duration"] is None
    assert capture_tts.points("tts.synthesis.audio") == []
    [record] = caplog.records
    assert "duration=" in record.getMessage()
    assert "use a number of seconds, 0 or more" in record.getMessage()


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), "3"])
def test_a_function_that_returns_what_there_cannot_be(
    capture_tts: Capture, lenient: None, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    """The number of entries of a cache tier that is negative, or none, is left out; the warning says of which tier."""
    tts = capture_tts.telemetry()
    tts.observe_cache("my-tier", entries=lambda: cast("float", value))
    assert capture_tts.points("tts.cache.entry.count") == []
    [record] = caplog.records
    assert "tts.cache.entry.count, which takes finite numbers of 0 or more" in record.getMessage()
    assert "returned by the function for tts.cache.tier=my-tier" in record.getMessage()


def test_a_number_in_place_of_a_function(capture_tts: Capture, lenient: None, caplog: pytest.LogCaptureFixture) -> None:
    """The warning says what was given, and that a function is wanted."""
    capture_tts.telemetry().observe_cache("my-tier", size=cast("Callable[[], float]", 5))
    [record] = caplog.records
    assert "is given by a function, not by int" in record.getMessage()
