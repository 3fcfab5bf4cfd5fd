"""Providers' standing and the conditions that hold, from what history says."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_tts import semconv
from otel_tts.history import HistoryUnavailableError, Point, Row, Timeline
from otel_tts.history.local import LocalHistory
from otel_tts.live import tiles
from otel_tts.live.cached_history import CachedHistory, SourceUnavailableError
from otel_tts.live.judgement import Judge
from otel_tts.live.standing import Standing, State, state
from otel_tts.live.view import Period
from otel_tts.sdk.store import Store
from otel_tts.semconv import Metric
from otel_tts.settings import LiveSettings

START = 1795424400.0


def available(*values: float | None) -> Timeline:
    """A provider's availability in windows of 30 s."""
    points = (Point(START + 30 * n, START + 30 * n + 30, value) for n, value in enumerate(values))
    return Timeline({"gen_ai.provider.name": "piper"}, tuple(points))


def test_since_when_a_provider_is_as_it_is() -> None:
    """The first window of the last unbroken run; silence ends a run, and silence now is said."""
    assert state(available(1.0, 1.0, 1.0)) == State(True, START, reported=True, before=True)
    assert state(available(1.0, 0.0, 0.0)) == State(False, START + 30, reported=True, before=False)
    assert state(available(None, 0.0, 1.0)) == State(True, START + 60, reported=True, before=False)
    assert state(available(0.0, 1.0, None)) == State(True, START + 30, reported=False, before=False)
    assert state(available(None, None)) is None


def test_a_card_says_it_in_words() -> None:
    """Never by colour alone, and names are no markup."""
    said = tiles.card(Standing("<b>", State(False, START, reported=True, before=True), None), START + 300, None)
    assert "not available since before" in said
    assert "more than 5 min" in said
    assert "&lt;b&gt;" in said
    assert "<b>" not in said
    assert "no availability reported yet" in tiles.card(Standing("piper", None, None), START, 0)


@dataclass
class Service:
    """A service's histograms and gauges, on local files."""

    directory: Path
    now: float = 0.0
    _reader: PeriodicExportingMetricReader = field(init=False)

    def __post_init__(self) -> None:
        store = Store(self.directory, max_age=1e9, max_size=2**30)
        self._reader = PeriodicExportingMetricReader(store.metric_exporter(), export_interval_millis=math.inf)
        self.meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter(semconv.SCOPE)

    def values(self, metric: Metric, number: int, value: float, **attributes: str | bool) -> None:
        """So many values of a histogram."""
        histogram = self.meter.create_histogram(metric.name, explicit_bucket_boundaries_advisory=metric.buckets)
        for _ in range(number):
            histogram.record(value, {_KEYS[name]: said for name, said in attributes.items()})

    def export(self) -> float:
        """Write a line; gives the moment after."""
        self._reader.force_flush()
        return time.time()


_KEYS = {
    "provider": "gen_ai.provider.name", "stream": "gen_ai.request.stream", "cache": "tts.cache.result", "outcome": "tts.outcome",
    "reason": "tts.attempt.reason",
}  # fmt: skip


def holding(directory: Path, now: float, **settings: float) -> Mapping[str, Sequence[str]]:
    """The conditions that hold, each with its sentences."""
    history = LocalHistory(directory, interval=1.0)
    period = Period(now - 900, now - 20, now, 30.0)
    judge = Judge(CachedHistory(history), period, LiveSettings.load({}, data_dir=directory, **settings))
    return {verdict.condition.name: list(verdict.sentences()) for verdict in judge.verdicts() if verdict.holds}


def test_conditions_that_hold_are_said_in_plain_words(tmp_path: Path) -> None:
    """Judged by the same thresholds as the alerts, with what explains them left out."""
    service = Service(tmp_path)
    request = {"provider": "piper", "stream": False, "cache": "miss"}
    service.values(semconv.SYNTHESIS_DURATION, 90, 0.1, outcome="ok", **request)
    service.values(semconv.SYNTHESIS_DURATION, 10, 0.1, outcome="error", **request)
    service.values(semconv.SYNTHESIS_DURATION, 50, 0.1, outcome="rejected", **request)
    service.values(semconv.ATTEMPT_DURATION, 50, 0.1, provider="piper", outcome="error", reason="initial")
    service.meter.create_gauge("tts.provider.available").set(0, {"gen_ai.provider.name": "piper"})
    found = holding(tmp_path, service.export())
    assert found["TTSRequestsFailing"] == ["Only 90% of requests succeed"]
    assert found["TTSProviderDown"] == ["piper: No replica can use the provider"]
    assert "TTSProviderFailing" not in found  # it is down: that explains it
    assert "TTSSynthesisSlow" not in found


def test_too_little_traffic_is_not_judged(tmp_path: Path) -> None:
    """Three failures of four requests are no condition yet; slowness is one beyond its reference only."""
    service = Service(tmp_path)
    service.values(semconv.SYNTHESIS_DURATION, 4, 4.9, provider="piper", stream=False, cache="miss", outcome="error")
    assert holding(tmp_path, service.export()) == {}
    service.values(semconv.SYNTHESIS_DURATION, 1000, 4.9, provider="piper", stream=False, cache="miss", outcome="ok")
    now = service.export()
    assert list(holding(tmp_path, now)) == ["TTSSynthesisSlow"]
    assert holding(tmp_path, now, reference_latency_p95=5.0) == {}


class Dying(LocalHistory):
    """A history that dies and comes back. asked: how often it was asked for rows."""

    dead = False
    asked = 0

    def aggregates(self, *args: Any, **options: Any) -> list[Row]:
        """Rows, while it lives."""
        self.asked += 1
        if self.dead:
            raise HistoryUnavailableError("Prometheus at http://there does not answer.")
        return super().aggregates(*args, **options)


def test_a_dead_source_has_been_so_since_it_was_first_seen_so(tmp_path: Path) -> None:
    """Not since the last try; and when it is back, that is forgotten."""
    history, now = Dying(tmp_path, interval=1.0), [1000.0]
    reading = CachedHistory(history, lambda: now[0])

    for moment, since in ((1000.0, None), (1001.0, 1001.0), (1002.0, 1001.0), (1003.0, None), (1004.0, 1004.0)):
        now[0], history.dead = moment, since is not None
        period = reading.period("15m", 1)
        if since is None:
            assert reading.total(period).request_count == 0
        else:
            with pytest.raises(SourceUnavailableError, match=r"^Prometheus at http://there does not answer\.$") as away:
                reading.total(period)
            assert away.value.since == since


def test_windows_that_are_over_are_read_once(tmp_path: Path) -> None:
    """A refresh asks for the window under way only; somebody else who looks at the same asks for nothing."""
    history, now = Dying(tmp_path, interval=1.0), [90_010.0]
    reading = CachedHistory(history, lambda: now[0])
    asked = []
    for moment in (90_010.0, 90_010.0, 90_015.0):
        now[0] = moment
        period, before = reading.period("1h", 5), history.asked
        reading.rows(period)
        asked.append(history.asked - before)
    assert asked == [2, 0, 1]
