"""Whoever judges or draws latency against its reference takes it of the same requests: panel, alert, live dashboard, the process itself."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData, PeriodicExportingMetricReader

from otel_tts import semconv
from otel_tts.conditions import BY_NAME, Condition
from otel_tts.conditions.speech import FIRST_AUDIO_SLOW, SYNTHESIS_SLOW
from otel_tts.distribution import Distribution
from otel_tts.history.local import LocalHistory
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.judgement import Judge
from otel_tts.live.view import Period
from otel_tts.monitor.measured import ExportReader
from otel_tts.promql import QUERIES, Scope, bucket_series, count_series, label
from otel_tts.sdk.store import Store
from otel_tts.semconv import CacheResult, Metric, Outcome
from otel_tts.settings import LiveSettings
from tests.grafana.test_queries import program

PIPER = {"gen_ai.provider.name": "piper"}
SERVICE = 'service_name="unknown_service:python"'
JUDGED: Mapping[str, tuple[Condition, Metric, str, str]] = {
    "first audio": (FIRST_AUDIO_SLOW, semconv.SYNTHESIS_FIRST_AUDIO, "first_audio_made_p95", "judged_first_audio_p95"),
    "duration": (SYNTHESIS_SLOW, semconv.SYNTHESIS_DURATION, "duration_made_p95", "judged_duration_p95"),
}


def speak(directory: Path, seed: int) -> MetricsData:
    """Requests of every kind, each kind as slow as no other: what they recorded, which is also written to local files."""
    memory = InMemoryMetricReader()
    written = PeriodicExportingMetricReader(
        Store(directory, max_age_s=1e9, max_bytes=2**30).metric_exporter(), export_interval_millis=math.inf
    )
    meter = MeterProvider([memory, written], shutdown_on_exit=False).get_meter(semconv.SCOPE)
    first_audio, duration = (
        meter.create_histogram(metric.name, explicit_bucket_boundaries_advisory=metric.buckets)
        for metric in (semconv.SYNTHESIS_FIRST_AUDIO, semconv.SYNTHESIS_DURATION)
    )
    chance = random.Random(seed)
    for outcome, cache, stream in itertools.product(Outcome, CacheResult, (True, False)):
        seconds = chance.uniform(0.05, 8)
        labels = {**PIPER, "tts.outcome": outcome.value, "tts.cache.result": cache.value}
        for _ in range(chance.randint(20, 60)):
            duration.record(seconds, {**labels, "gen_ai.request.stream": stream})
            if stream:
                first_audio.record(seconds, labels)
    written.force_flush()
    data = memory.get_metrics_data()
    assert data is not None
    return data


def points(data: MetricsData, metric: Metric) -> list[Any]:
    """The points of a histogram."""
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return [point for each in metrics if each.name == metric.name for point in each.data.data_points]


def input_series(data: MetricsData, metric: Metric) -> dict[str, str]:
    """The same in Prometheus: what each series gains every minute."""
    gains: dict[str, int] = {}
    for point in points(data, metric):
        attributes = {
            semconv_label(key): str(value).lower() if isinstance(value, bool) else value
            for key, value in point.attributes.items()
        }
        labels = ", ".join([SERVICE, *(f'{key}="{value}"' for key, value in attributes.items())])
        gains[f"{count_series(metric)}{{{labels}}}"] = point.count
        for bound, below in zip([*point.explicit_bounds, math.inf], itertools.accumulate(point.bucket_counts), strict=True):
            le = "+Inf" if bound == math.inf else f"{bound:g}"
            gains[f'{bucket_series(metric)}{{{labels}, le="{le}"}}'] = below
    return {series: f"0+{gain}x10" for series, gain in gains.items()}


def semconv_label(key: str) -> str:
    """What Prometheus calls an attribute."""
    return key.replace(".", "_")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", JUDGED)
def test_all_take_it_of_the_same_requests(name: str, seed: int, tmp_path: Path) -> None:
    """Also of interrupted streams, whose listeners waited as others do; of no request of the cache, and of no duration of a failure."""
    condition, metric, panel, alert = JUDGED[name]
    data = speak(tmp_path / "data", seed)
    chosen = [point for point in points(data, metric) if counts(name, point.attributes)]
    summed = [sum(each) for each in zip(*(point.bucket_counts for point in chosen), strict=True)]
    p95 = Distribution.from_otlp(chosen[0].explicit_bounds, summed).quantile(0.95)
    assert p95 is not None

    measured = ExportReader().increment(data)
    latency = (measured.first_audio if metric is semconv.SYNTHESIS_FIRST_AUDIO else measured.duration)["piper"]
    assert (latency.count, latency.p95()) == (sum(summed), pytest.approx(p95))

    now = time.time()
    settings = LiveSettings.load({}, data_dir=tmp_path / "data", reference_latency_p95=1.0)
    judge = Judge(CachedHistory(LocalHistory(tmp_path / "data", interval=1.0)), Period(now - 900, now - 20, now, 30.0), settings)
    (live,) = judge.holding(replace(condition, threshold=0.0, minimum_traffic=0))
    assert (live.traffic, live.value) == (sum(summed), pytest.approx(p95))

    scope = Scope(matchers=(SERVICE,), window="5m")
    tests = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in input_series(data, metric).items()],
        "promql_expr_test": [
            {
                "expr": f"round({QUERIES[query](scope)}, 1e-3)",
                "eval_time": "10m",
                "exp_samples": [{"labels": f"{{{labels}}}", "value": round(p95, 3)}],
            }
            for query, labels in (
                (panel, f'{label(semconv.PROVIDER)}="piper"'),
                (alert, f'{label(semconv.PROVIDER)}="piper"'),
            )
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [tests]}))
    run = subprocess.run([program("promtool"), "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def counts(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether a value counts, as the runbook says it: not served by the cache; and a duration only of a successful unary request."""
    made = attributes["tts.cache.result"] in ("miss", "bypass")
    return made and (name == "first audio" or (attributes["tts.outcome"] == "ok" and not attributes["gen_ai.request.stream"]))


def test_the_runbooks_say_it() -> None:
    """What counts stands where the reader of an alert looks."""
    assert "streams that were heard and not served by the cache" in BY_NAME["TTSFirstAudioSlow"].figure.description
    assert "successful unary requests not served by the cache" in BY_NAME["TTSSynthesisSlow"].figure.description
