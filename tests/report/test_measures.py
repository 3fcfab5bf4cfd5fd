"""What a window's figures are to MLflow: numbers where they are known, and words where only a limit is."""

from __future__ import annotations

import math

import pytest

from otel_tts import semconv
from otel_tts.distribution import Distribution
from otel_tts.history.rows import METRICS, Series, rows
from otel_tts.history.services import Service
from otel_tts.report.measures import Measures, listed


def test_a_quantile_beyond_the_last_bucket_is_no_metric() -> None:
    """It is listed with its limit, by the name that the metric would have; those within are metrics and not listed."""
    bounds = semconv.SYNTHESIS_DURATION.buckets
    attributes = {semconv.PROVIDER.key: "piper", semconv.OUTCOME.key: "ok", semconv.CACHE_RESULT.key: "miss"}
    slow = Distribution({**dict.fromkeys(bounds, 90), math.inf: 100})
    growth = {metric.name: [] for metric in METRICS} | {semconv.SYNTHESIS_DURATION.name: [Series(attributes, slow)]}
    [overall], providers = rows(growth, 0, 60, None), rows(growth, 0, 60, "provider")
    service = Service(name="tts", versions={"": 100}, voices={}, languages={}, providers={}, errors={}, attempts={}, scores={})
    measures = Measures(service, overall, tuple(providers), ())
    limits = measures.limits()
    names = {f"{prefix}duration_{name}" for prefix in ("request/", "provider/piper/request_") for name in ("p95", "p99")}
    assert limits.keys() == names
    assert {str(limit) for limit in limits.values()} == {f"at least {bounds[-1]:g}"}
    assert measures.figures().keys() & names == set()
    assert {"request/duration_p50", "provider/piper/request_duration_p50"} <= measures.figures().keys()
    assert "request_duration_p95" not in measures.headline()


@pytest.mark.parametrize("attribute", [semconv.PROVIDER, semconv.LANGUAGE])
def test_what_is_not_stated_has_words(attribute: semconv.Attribute) -> None:
    """MLflow lists metrics by name for people: no name has the label value that stands for none."""
    metric = semconv.SYNTHESIS_REQUESTS if attribute is semconv.LANGUAGE else semconv.SYNTHESIS_DURATION
    ended = {semconv.OUTCOME.key: "ok"}
    amount: float | Distribution = 3.0 if attribute is semconv.LANGUAGE else Distribution({math.inf: 3})
    growth = {each.name: [] for each in METRICS} | {
        metric.name: [Series({attribute.key: value, **ended}, amount) for value in (semconv.NONE, "ada")]
    }
    by = "language" if attribute is semconv.LANGUAGE else "provider"
    [overall], split = rows(growth, 0, 60, None), rows(growth, 0, 60, by)
    service = Service(name="tts", versions={"": 6}, voices={}, languages={}, providers={}, errors={}, attempts={}, scores={})
    figures = Measures(service, overall, *((tuple(split), ()) if by == "provider" else ((), tuple(split)))).figures()
    assert {f"{by}/not stated/request_count", f"{by}/ada/request_count"} <= figures.keys()
    assert not any(semconv.NONE in name for name in figures)


def test_tags_have_words_for_what_has_no_name() -> None:
    """Voices and providers of a run are for people: neither the value that stands for none nor the one for all further ones is shown."""
    assert listed(["ada", semconv.NONE, semconv.OTHER, ""]) == "ada, not stated, others"
