"""Conditions: one shape, judged in one way, complete."""

from __future__ import annotations

import math

import pytest

from otel_tts.conditions import BY_NAME, CONDITIONS, Comparison, Condition, Objectives, Severity
from otel_tts.conditions.speech import FIRST_AUDIO_SLOW, PROVIDER_DOWN, REQUESTS_FAILING, SPEECH_INTERRUPTED
from otel_tts.distribution import AtLeast
from otel_tts.promql import QUERIES
from otel_tts.semconv import PROVIDER, SYNTHESIS_DURATION, SYNTHESIS_FIRST_AUDIO
from otel_tts.settings import MonitorSettings, SettingError
from tools.documentation import runbooks


@pytest.mark.parametrize(
    ("condition", "value", "traffic", "holds"),
    [
        (REQUESTS_FAILING, None, 100, None),
        (REQUESTS_FAILING, 0.0, 0, None),
        (REQUESTS_FAILING, 0.0, 4, None),
        (REQUESTS_FAILING, 0.0, 5, True),
        (REQUESTS_FAILING, 0.949, 100, True),
        (REQUESTS_FAILING, 0.95, 100, False),
        (REQUESTS_FAILING, 0.9, 40, False),  # four failures are too few to wake anybody
        (REQUESTS_FAILING, 0.9, 50, True),
        (SPEECH_INTERRUPTED, 0.06, 100, True),
        (SPEECH_INTERRUPTED, 0.05, 100, False),
        (SPEECH_INTERRUPTED, 0.06, 50, False),
        (PROVIDER_DOWN, 0.0, None, True),
        (PROVIDER_DOWN, 1.0, None, False),
        (FIRST_AUDIO_SLOW, 1.6, 19, None),
        (FIRST_AUDIO_SLOW, 1.6, 20, True),
        (FIRST_AUDIO_SLOW, 1.5, 20, False),
    ],
)
def test_when_a_condition_holds(condition: Condition, value: float | None, traffic: float | None, holds: bool | None) -> None:
    """Beyond its threshold, with enough traffic and enough that went wrong; without traffic there is no judgement."""
    assert condition.holds(value, traffic) is holds


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_a_threshold_itself_is_not_beyond(condition: Condition) -> None:
    """At equality nothing holds; just beyond on the bad side it does, on the other not. At least so much holds only where it is certain."""
    above = condition.comparison is Comparison.ABOVE
    lower, at, higher = (math.nextafter(condition.threshold, to) for to in (-math.inf, condition.threshold, math.inf))
    plenty = 1e9 if condition.figure.traffic else None
    assert [condition.holds(value, plenty) for value in (lower, at, higher)] == [not above, False, above]
    at_least = [condition.holds(AtLeast(value), plenty) for value in (lower, at, higher)]
    assert at_least == ([None, None, True] if above else [None, False, False])


def test_a_condition_speaks_plainly() -> None:
    """With the figure, and with what it is about."""
    assert REQUESTS_FAILING.sentence(0.9123) == "Only 91.2% of requests succeed"
    assert (
        FIRST_AUDIO_SLOW.sentence(1.7, {PROVIDER.key: "piper"})
        == "piper: First audio takes about 1.7x its reference at the 95th percentile"
    )
    slow = FIRST_AUDIO_SLOW.sentence(AtLeast(16.0), {PROVIDER.key: "piper"})
    assert slow == "piper: First audio takes at least 16x its reference at the 95th percentile"


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_a_condition_is_complete(condition: Condition) -> None:
    """Whoever is told finds what it means and what to do; its queries exist; every share has a minimum of traffic."""
    assert condition.name.startswith("TTS")
    assert condition.meaning.endswith(".")
    assert condition.steps
    assert all(cause in BY_NAME and cause != condition.name for cause in condition.causes)
    wanted = {condition.query, f"{condition.query}_traffic" if condition.minimum_traffic else condition.query} - {""}
    assert wanted - {"_traffic"} <= QUERIES.keys()
    assert bool(condition.figure.traffic) == (condition.minimum_traffic > 0)
    assert f"\n## {condition.name}\n" in runbooks.render()


def test_names_are_unique() -> None:
    """An alert's name is its identity."""
    assert len(BY_NAME) == len(CONDITIONS)


def test_nothing_below_a_page_hides_one() -> None:
    """What leaves a page unsaid must itself page."""
    for condition in CONDITIONS:
        if condition.severity is Severity.PAGE:
            assert {BY_NAME[cause].severity for cause in condition.causes} <= {Severity.PAGE}


def test_thresholds_lie_on_bucket_bounds() -> None:
    """A limit inside a bucket could not be judged: the default references, 1.5 times each, and first audio's objective."""
    settings = MonitorSettings.load({})
    limits = {settings.reference_latency_mean, settings.reference_latency_p95}
    limits |= {round(limit * settings.monitor_latency_factor, 6) for limit in limits}
    assert limits <= {*SYNTHESIS_DURATION.buckets} & {*SYNTHESIS_FIRST_AUDIO.buckets}
    assert Objectives().first_audio_seconds in SYNTHESIS_FIRST_AUDIO.buckets


def test_objectives_come_from_the_environment() -> None:
    """And the defaults are the same wherever they stand; one that no bucket ends at is refused."""
    assert Objectives.from_settings(MonitorSettings.load({})) == Objectives()
    environ = {"OTEL_TTS_SLO_SUCCESS": "0.999", "OTEL_TTS_SLO_FIRST_AUDIO_SECONDS": "1", "OTEL_TTS_REFERENCE_LATENCY_P95": "2.5"}
    expected = Objectives(success=0.999, first_audio_seconds=1.0, reference=2.5, reference_is_set=True)
    assert Objectives.from_settings(MonitorSettings.load(environ)) == expected
    with pytest.raises(SettingError, match="OTEL_TTS_SLO_FIRST_AUDIO_SECONDS"):
        MonitorSettings.load({"OTEL_TTS_SLO_FIRST_AUDIO_SECONDS": "0.7"})
