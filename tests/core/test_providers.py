"""The state of providers: what is told of them, and from what."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from otel_tts import PCM16, Telemetry
from otel_tts.testing.capture import Capture


def state(capture: Capture) -> dict[str, tuple[float | None, float | None]]:
    """By provider: available or not, and the seconds since it was last known to be good."""
    found: dict[str, list[float | None]] = {}
    for column, name in enumerate(("tts.provider.available", "tts.provider.health.age")):
        for attributes, value in capture.metrics().get(name, []):
            found.setdefault(attributes["gen_ai.provider.name"], [None, None])[column] = value
    return {name: (columns[0], columns[1]) for name, columns in found.items()}


def ask(tts: Telemetry, provider: str, **failure: Any) -> None:
    """One attempt at a provider."""
    with tts.probe(provider) as attempt:
        attempt.audio(b".." * 100, PCM16(16000))
        if failure:
            attempt.fail(**failure)


def test_a_provider_that_was_never_tried_has_no_point(capture_tts: Capture) -> None:
    """Not to know is neither 0 nor 1."""
    tts = capture_tts.telemetry()
    tts.provider("piper")
    assert state(capture_tts) == {}


def test_attempts_tell_the_state(capture_tts: Capture) -> None:
    """A good attempt makes a provider available, a failed one not; the time since the last good one grows."""
    tts = capture_tts.telemetry()
    ask(tts, "piper")
    capture_tts.clock.advance(2)
    ask(tts, "openai", outcome="error")
    assert state(capture_tts) == {"piper": (1, 2), "openai": (0, None)}
    ask(tts, "piper", outcome="error")
    capture_tts.clock.advance(1)
    assert state(capture_tts) == {"piper": (0, 3), "openai": (0, None)}
    ask(tts, "openai")
    assert state(capture_tts) == {"piper": (0, 3), "openai": (1, 0)}


@pytest.mark.parametrize("outcome", ["rejected", "cancelled", "deadline"])
def test_what_says_nothing_of_a_provider(capture_tts: Capture, outcome: str) -> None:
    """A refused text and a caller who went away are no news of a provider's health."""
    tts = capture_tts.telemetry()
    ask(tts, "piper", outcome=outcome)
    assert state(capture_tts) == {}


@pytest.mark.parametrize("outcome", ["error", "partial", "empty"])
def test_what_speaks_against_a_provider(capture_tts: Capture, outcome: str) -> None:
    """Errors, broken audio and no audio."""
    tts = capture_tts.telemetry()
    ask(tts, "piper", outcome=outcome)
    assert state(capture_tts) == {"piper": (0, None)}


def test_reports_go_before_attempts(capture_tts: Capture) -> None:
    """Once an application reports a provider's state, say from its circuit breaker, attempts do not change it."""
    tts = capture_tts.telemetry()
    tts.provider("piper").available(True)
    ask(tts, "piper", outcome="error")
    assert state(capture_tts) == {"piper": (1, 0)}
    tts.provider("piper").available(False)
    capture_tts.clock.advance(5)
    assert state(capture_tts) == {"piper": (0, 5)}
    ask(tts, "piper")  # a probe that went well
    assert state(capture_tts) == {"piper": (0, 0)}


def test_providers_beyond_the_limit_have_no_state(capture_tts: Capture) -> None:
    """A provider that was not declared shares its label with others: nobody's state is told by it."""
    tts = capture_tts.telemetry(providers=["piper"])
    for provider in ("piper", "hibari", ""):
        tts.provider(provider).available(False)
    assert state(capture_tts) == {"piper": (0, None)}


def test_the_state_goes_with_its_telemetry(capture_tts: Capture) -> None:
    """What nobody reports any more is not exported any more; another Telemetry's report of the same provider takes its place."""
    first, second = capture_tts.telemetry(), capture_tts.telemetry()
    first.provider("piper").available(False)
    first.provider("hibari").available(False)
    second.provider("piper").available(True)
    assert {name: available for name, (available, _) in state(capture_tts).items()} == {"piper": 1, "hibari": 0}
    del first
    gc.collect()
    assert state(capture_tts) == {"piper": (1, 0)}
