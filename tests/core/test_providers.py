"""The state of providers: what is told of them, and from what."""

from __future__ import annotations

import gc
import itertools
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_tts import PCM16, Telemetry
from otel_tts.testing.capture import Capture


def state(capture: Capture) -> dict[str, tuple[float | None, float | None]]:
    """By provider: available or not, and the seconds since it was last known to be good."""
    values: dict[str, list[float | None]] = {}
    for column, name in enumerate(("tts.provider.available", "tts.provider.health.age")):
        for attributes, value in capture.metrics().get(name, []):
            values.setdefault(attributes["gen_ai.provider.name"], [None, None])[column] = value
    return {name: (columns[0], columns[1]) for name, columns in values.items()}


def ask(tts: Telemetry, provider: str, **failure: Any) -> None:
    """One attempt at a provider."""
    with tts.probe(provider) as attempt:
        attempt.audio(b".." * 100, PCM16(16000))
        if failure:
            attempt.fail(**failure)


def fail(tts: Telemetry, provider: str, outcome: str = "error") -> None:
    """As many failed attempts in a row as make a provider not available."""
    for _ in range(3):
        ask(tts, provider, outcome=outcome)


def test_a_provider_that_was_never_tried_has_no_point(capture_tts: Capture) -> None:
    """Not to know is neither 0 nor 1."""
    tts = capture_tts.telemetry()
    tts.provider("piper")
    assert state(capture_tts) == {}


def test_attempts_tell_the_state(capture_tts: Capture) -> None:
    """A good attempt makes a provider available, failed ones in a row not; the time since the last good one grows."""
    tts = capture_tts.telemetry()
    ask(tts, "piper")
    capture_tts.clock.advance(2)
    fail(tts, "openai")
    assert state(capture_tts) == {"piper": (1, 2), "openai": (0, None)}
    fail(tts, "piper")
    capture_tts.clock.advance(1)
    assert state(capture_tts) == {"piper": (0, 3), "openai": (0, None)}
    ask(tts, "openai")
    assert state(capture_tts) == {"piper": (0, 3), "openai": (1, 0)}


@given(st.lists(st.sampled_from(["ok", "error", "partial", "empty", "rejected", "cancelled", "deadline"]), max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_failed_attempt_is_not_an_outage(capture_tts: Capture, outcomes: list[str]) -> None:
    """A provider is down after three failed attempts in a row, until its next good one; what is no news in between resets nothing."""
    tts = capture_tts.telemetry()
    available, failed = None, 0
    for outcome in outcomes:
        ask(tts, "piper", **({} if outcome == "ok" else {"outcome": outcome}))
        if outcome == "ok":
            available, failed = 1, 0
        elif outcome in ("error", "partial", "empty"):
            failed += 1
            available = 0 if failed >= 3 else available
        assert state(capture_tts).get("piper", (None, None))[0] == available
    del tts
    gc.collect()


@pytest.mark.parametrize("outcome", ["rejected", "cancelled", "deadline"])
def test_what_says_nothing_of_a_provider(capture_tts: Capture, outcome: str) -> None:
    """A refused text and a caller who went away are no news of a provider's health."""
    tts = capture_tts.telemetry()
    fail(tts, "piper", outcome)
    assert state(capture_tts) == {}


@pytest.mark.parametrize("outcome", ["error", "partial", "empty"])
def test_what_speaks_against_a_provider(capture_tts: Capture, outcome: str) -> None:
    """Errors, broken audio and no audio."""
    tts = capture_tts.telemetry()
    fail(tts, "piper", outcome)
    assert state(capture_tts) == {"piper": (0, None)}


def test_reports_go_before_attempts(capture_tts: Capture) -> None:
    """Once an application reports a provider's state, say from its circuit breaker, attempts do not change it."""
    tts = capture_tts.telemetry()
    tts.provider("piper").available(True)
    fail(tts, "piper")
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


class Half:
    """A Telemetry with a provider and a cache of its own beside one that both have."""

    def __init__(self, capture: Capture, name: str, entries: int, *, available: bool) -> None:
        self.tts = capture.telemetry()
        self.name, self.entries, self.available = name, entries, available
        self.tts.provider(name).available(available)
        self.tts.provider("shared").available(available)
        self.tts.observe_cache("memory", entries=lambda: entries)


def exported(capture: Capture) -> tuple[dict[str, float | None], float | None]:
    """Which providers can be used, and the entries of the tier that is observed."""
    entries = capture.points("tts.cache.entry.count", {"tts.cache.tier": "memory"})
    return {name: available for name, (available, _) in state(capture).items()}, entries[0].value if entries else None


@pytest.mark.parametrize("created", list(itertools.permutations("ab")))
@pytest.mark.parametrize("ended", list(itertools.permutations("ab")))
def test_two_telemetries_on_one_meter_provider(capture_tts: Capture, created: tuple[str, ...], ended: tuple[str, ...]) -> None:
    """Neither overwrites what the other one tells, and the end of one takes its own away and nothing else, in whatever order."""
    sizes, states = {"a": 2, "b": 5}, {"a": True, "b": False}
    halves = {name: Half(capture_tts, name, sizes[name], available=states[name]) for name in created}
    shared = float(states[created[-1]])  # one provider has one state: what was reported last
    assert exported(capture_tts) == ({"a": 1, "b": 0, "shared": shared}, 7)
    gone, stays = ended
    del halves[gone]
    gc.collect()
    assert exported(capture_tts) == ({stays: float(states[stays]), "shared": shared}, sizes[stays])
    halves[gone] = Half(capture_tts, gone, 11, available=True)
    assert exported(capture_tts) == ({gone: 1, stays: float(states[stays]), "shared": 1}, sizes[stays] + 11)
    halves.clear()
    gc.collect()
    assert exported(capture_tts) == ({}, None)


def test_a_state_that_several_use_is_one(capture_tts: Capture) -> None:
    """A report through one Telemetry goes before the attempts through another."""
    first, second = capture_tts.telemetry(), capture_tts.telemetry()
    fail(first, "piper")
    second.provider("piper").available(True)
    fail(first, "piper")
    assert state(capture_tts) == {"piper": (1, 0)}


def test_a_cache_that_cannot_be_read_leaves_the_sum_unknown(capture_tts: Capture) -> None:
    """Of two caches in a tier one gives no number: there is no point, and not the other's number."""
    first, second = capture_tts.telemetry(), capture_tts.telemetry()
    first.observe_cache("memory", entries=lambda: 3)
    second.observe_cache("memory", entries=lambda: None)  # type: ignore[arg-type,return-value]  # as hosts do
    assert exported(capture_tts) == ({}, None)
    second.observe_cache("memory", entries=lambda: 4)
    assert exported(capture_tts) == ({}, 7)


def test_a_telemetry_that_ended_leaves_no_thread(capture_tts: Capture) -> None:
    """The threads that asked its functions end."""
    before = set(threading.enumerate())
    tts = capture_tts.telemetry()
    tts.observe_cache("memory", entries=lambda: 3, size=lambda: 4)
    own = set(threading.enumerate()) - before
    assert {thread.name for thread in own} == {"otel-tts-callback"}
    del tts
    gc.collect()
    assert capture_tts.points("tts.cache.size") == []
    for thread in own:
        thread.join(30)
        assert not thread.is_alive()
