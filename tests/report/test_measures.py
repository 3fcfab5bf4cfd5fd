"""What a window's figures are to MLflow: numbers where they are known, and words where only a limit is."""

from __future__ import annotations

import math

from otel_tts import semconv
from otel_tts.distribution import Distribution
from otel_tts.history.rows import METRICS, Series, rows
from otel_tts.history.services import Service
from otel_tts.report.measures import Measures


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
