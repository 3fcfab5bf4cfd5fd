"""Counts, sums and quantiles from local metrics files."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_tts import files, semconv
from otel_tts.history.local import LocalHistory
from otel_tts.sdk.store import Store
from otel_tts.semconv import Instrument, Metric

NINE = 1795424400.0  # 2026-11-23T09:00Z

PIPER = {"gen_ai.provider.name": "piper", "gen_ai.request.model": "joe"}
HIBARI = {"gen_ai.provider.name": "hibari", "gen_ai.request.model": "haru"}
OK = {"gen_ai.request.stream": True, "tts.cache.result": "miss", "tts.outcome": "ok"}


class Service:
    """A service's instruments, of the real SDK, on local files."""

    def __init__(self, directory: Path) -> None:
        self._reader = PeriodicExportingMetricReader(
            Store(directory, max_age_s=1e9, max_bytes=2**30).metric_exporter(), export_interval_millis=math.inf
        )
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        meter = self._provider.get_meter(semconv.SCOPE)
        self._record = {}
        for metric in semconv.METRICS:
            if metric.instrument is Instrument.HISTOGRAM:
                histogram = meter.create_histogram(metric.name, metric.unit, explicit_bucket_boundaries_advisory=metric.buckets)
                self._record[metric] = histogram.record
            elif metric.instrument is Instrument.COUNTER:
                self._record[metric] = meter.create_counter(metric.name, metric.unit).add
        other = self._provider.get_meter("somebody else")
        self._record_elsewhere = other.create_histogram(semconv.SYNTHESIS_DURATION.name).record

    def record(self, metric: Metric, value: float, *attributes: Mapping[str, str | bool]) -> None:
        """Record one value."""
        self._record[metric](value, {key: v for given in attributes for key, v in given.items()})

    def record_elsewhere(self) -> None:
        """Record under the same name, but not by otel-tts."""
        self._record_elsewhere(1.0, {"tts.outcome": "ok"})

    def export(self) -> float:
        """Write a line; gives a moment right after."""
        self._reader.force_flush()
        return time.time()


def outcome(value: str) -> dict[str, str | bool]:
    """The attributes of a request that is no cache hit."""
    return OK | {"tts.outcome": value}


def test_a_line_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again for the same metrics gets the same figures, and no line is decoded for them: dashboards ask all the time."""
    decoded: list[int] = []
    decode = files.decode

    def counted(line: bytes, decoder: Any) -> Any:
        decoded.append(len(line))
        return decode(line, decoder)

    monkeypatch.setattr(files, "decode", counted)
    start = time.time()
    for _ in range(3):
        service = Service(tmp_path)
        service.record(semconv.SYNTHESIS_DURATION, 0.25, PIPER, OK)
        end = service.export() + 60
    history = LocalHistory(tmp_path)
    first = history.totals(start, end)
    assert first.request_count == 3
    assert len(decoded) == 3
    assert history.totals(start, end) == first
    assert len(decoded) == 3


def test_a_whole_row(tmp_path: Path) -> None:
    """Every column, from what a real service records."""
    service = Service(tmp_path)
    start = time.time()
    for seconds, end in ((0.25, "ok"), (0.25, "ok"), (0.45, "ok"), (4.0, "error"), (0.001, "rejected"), (0.1, "cancelled")):
        service.record(semconv.SYNTHESIS_DURATION, seconds, PIPER, outcome(end))
        service.record(semconv.SYNTHESIS_REQUESTS, 1, {"tts.language": "en-US", "tts.voice": "joe", "tts.outcome": end})
    service.record(semconv.SYNTHESIS_DURATION, 0.004, HIBARI, OK | {"tts.cache.result": "hit"})
    service.record(semconv.SYNTHESIS_DURATION, 0.2, HIBARI, OK | {"tts.cache.result": "coalesced"})
    service.record(semconv.SYNTHESIS_FIRST_AUDIO, 0.12, PIPER, {"tts.cache.result": "miss", "tts.outcome": "ok"})
    service.record(semconv.SYNTHESIS_CHARACTERS, 40, PIPER, {"tts.characters.state": "synthesized"})
    service.record(semconv.SYNTHESIS_CHARACTERS, 7, HIBARI, {"tts.characters.state": "cached"})
    service.record(semconv.SYNTHESIS_AUDIO, 3.5, PIPER, {"tts.audio.state": "generated", "tts.audio.source": "provider"})
    service.record(semconv.SYNTHESIS_AUDIO, 3.0, PIPER, {"tts.audio.state": "delivered", "tts.audio.source": "provider"})
    service.record(semconv.SYNTHESIS_AUDIO, 1.0, HIBARI, {"tts.audio.state": "delivered", "tts.audio.source": "cache"})
    for shortfall in (0.0, 0.0, 0.3, 0.0):
        service.record(semconv.STREAM_UNDERRUN, shortfall, PIPER, {"tts.cache.result": "miss", "tts.underrun.cause": "provider"})
    service.record(semconv.STREAM_UNDERRUN, 0.0, PIPER, {"tts.cache.result": "miss", "tts.underrun.cause": "consumer"})
    service.record(semconv.USAGE_COST, 0.002, PIPER)
    service.record(semconv.USAGE_UNPRICED, 1, HIBARI)
    for seconds, end, reason in (
        (0.25, "ok", "initial"),
        (4.0, "error", "initial"),
        (0.25, "ok", "fallback"),
        (9.0, "error", "probe"),
    ):
        service.record(semconv.ATTEMPT_DURATION, seconds, PIPER, {"tts.outcome": end, "tts.attempt.reason": reason})
    service.record(semconv.ATTEMPT_DURATION, 0.1, HIBARI, {"tts.outcome": "cancelled", "tts.attempt.reason": "initial"})
    service.record(semconv.ATTEMPT_REAL_TIME_FACTOR, 0.07, PIPER)
    service.record_elsewhere()
    end = service.export()

    history = LocalHistory(tmp_path, interval=0.0)
    assert {
        key: pytest.approx(value) if isinstance(value, float) else value
        for key, value in asdict(history.totals(start, end)).items()
    } == {
        "start": start,
        "end": end,
        "provider": None,
        "language": None,
        "request_count": 8,
        "request_ok": 5,
        "request_rejected": 1,
        "request_cancelled": 1,
        "request_deadline": 0,
        "request_partial": 0,
        "request_empty": 0,
        "request_error": 1,
        "request_success_rate": 5 / 6,
        "request_duration_p50": 0.25,
        "request_duration_p95": 4.625,
        "request_duration_p99": 4.925,
        "request_first_audio_p50": 0.125,
        "request_first_audio_p95": 0.1475,
        "request_first_audio_p99": 0.1495,
        "request_cache_hit": 1,
        "request_cache_miss": 6,
        "request_cache_bypass": 0,
        "request_cache_coalesced": 1,
        "request_hit_rate": 1 / 8,
        "request_characters_synthesized": 40,
        "request_characters_cached": 7,
        "request_characters_wasted": 0,
        "request_audio_generated": 3.5,
        "request_audio_delivered": 4.0,
        "request_underrun_provider": 0.25,
        "request_underrun_consumer": 0.0,
        "request_cost": 0.002,
        "request_cost_avoided": None,
        "request_unpriced": 1,
        "attempt_count": 4,
        "attempt_success_rate": 2 / 3,
        "attempt_duration_p50": 0.275,
        "attempt_duration_p95": 4.8125,
        "attempt_duration_p99": 4.9625,
        "attempt_rtf_p50": 0.075,
        "attempt_rtf_p95": 0.0975,
        "attempt_rtf_p99": 0.0995,
    }

    hibari, piper = history.aggregates(start, end, by=["provider"])
    assert (hibari.provider, hibari.request_count, hibari.request_cost, hibari.attempt_success_rate) == ("hibari", 2, None, None)
    assert (piper.provider, piper.request_count, piper.request_success_rate, piper.attempt_count) == ("piper", 6, 3 / 4, 3)

    [english] = history.aggregates(start, end, by=["language"])
    fields = {key: value for key, value in asdict(english).items() if value is not None}
    assert fields == {
        "start": start, "end": end, "language": "en-US", "request_count": 6, "request_ok": 3, "request_rejected": 1,
        "request_cancelled": 1, "request_deadline": 0, "request_partial": 0, "request_empty": 0, "request_error": 1,
        "request_success_rate": 3 / 4,
    }  # fmt: skip


def test_nothing_in_the_denominator_is_no_rate(tmp_path: Path) -> None:
    """Without a judged request there is no success rate, no quantile and no hit rate: not 100 %, not 0."""
    service = Service(tmp_path)
    start = time.time()
    service.record(semconv.SYNTHESIS_DURATION, 0.1, PIPER, OK | {"tts.outcome": "rejected", "tts.cache.result": "bypass"})
    row = LocalHistory(tmp_path, interval=0.0).totals(start, service.export())
    assert (row.request_count, row.request_rejected) == (1, 1)
    assert (row.request_success_rate, row.request_duration_p50, row.request_hit_rate, row.attempt_success_rate) == (None,) * 4


def test_windows_follow_each_other(tmp_path: Path) -> None:
    """What is counted in one window is not in the next, and the windows together are the whole."""
    service = Service(tmp_path)
    moments = [time.time()]
    for count in (3, 0, 5):
        for _ in range(count):
            service.record(semconv.SYNTHESIS_DURATION, 0.1, PIPER, OK)
        moments.append(service.export())
    history = LocalHistory(tmp_path, interval=0.0)
    assert [history.totals(*window).request_count for window in pairwise(moments)] == [3, 0, 5]
    assert history.totals(moments[0], moments[-1]).request_count == 8
    assert [row.provider for row in history.aggregates(moments[1], moments[2], by=["provider"])] == []


def test_unreasonable_questions_are_refused(tmp_path: Path) -> None:
    """Windows too short for two exports, and splits that no metric allows."""
    history = LocalHistory(tmp_path)
    with pytest.raises(
        ValueError, match=r"window of 19 s may not hold two exports of metrics, which come every 10 s: ask for 20 s"
    ):
        history.aggregates(NINE, NINE + 19)
    with pytest.raises(ValueError, match="window of 5 s"):
        history.aggregates(NINE, NINE + 3600, 5)
    with pytest.raises(ValueError, match="not by both"):
        history.aggregates(NINE, NINE + 60, by=["provider", "language"])
    with pytest.raises(ValueError, match="cannot be split by voice, only by provider or language"):
        history.aggregates(NINE, NINE + 60, by=["voice"])  # type: ignore[list-item]


def test_no_files_are_no_traffic(tmp_path: Path) -> None:
    """Before anything is written there is a row of zeros, and no error."""
    row = LocalHistory(tmp_path / "nowhere").totals(NINE, NINE + 60)
    assert (row.request_count, row.request_success_rate, row.request_cost) == (0, None, None)


class Process:
    """Writes lines as a process would that exports every ten seconds, at times of the test's choosing."""

    def __init__(self, directory: Path, writer: str) -> None:
        self._directory = directory
        self._writer = writer

    def write(self, moment: float, totals: Mapping[str, tuple[float, int]], tail: bytes = b"\n") -> None:
        """A line: for each provider, the moment since which it is counted, and how many requests."""
        points: Sequence[Mapping[str, Any]] = [
            {
                "attributes": [
                    {"key": "gen_ai.provider.name", "value": {"stringValue": provider}},
                    {"key": "tts.outcome", "value": {"stringValue": "ok"}},
                ],
                "startTimeUnixNano": str(int(since * 1e9)),
                "timeUnixNano": str(int(moment * 1e9)),
                "count": str(count),
                "bucketCounts": [str(count), "0"],
                "explicitBounds": [1.0],
            }
            for provider, (since, count) in totals.items()
        ]
        metric = {"name": semconv.SYNTHESIS_DURATION.name, "histogram": {"dataPoints": points, "aggregationTemporality": 2}}
        scope = {"scope": {"name": semconv.SCOPE}, "metrics": [metric]}
        line = {"resourceMetrics": [{"resource": {}, "scopeMetrics": [scope]}]}
        path = files.partition(self._directory, "metrics", moment, self._writer, 0).path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(json.dumps(line, separators=(",", ":")).encode() + tail)


def counts(directory: Path, *moments: float) -> list[int]:
    """The requests in each of the windows between the moments."""
    history = LocalHistory(directory)
    return [history.totals(*window).request_count for window in pairwise(moments)]


def test_a_restart_counts_from_zero(tmp_path: Path) -> None:
    """A new process is a new series, and the last word of the one before is not forgotten."""
    old, new = Process(tmp_path, "1-a"), Process(tmp_path, "1-b")
    old.write(NINE + 10, {"piper": (NINE, 5)})
    old.write(NINE + 17, {"piper": (NINE, 7)})
    new.write(NINE + 40, {"piper": (NINE + 30, 3)})
    new.write(NINE + 50, {"piper": (NINE + 30, 4)})
    assert counts(tmp_path, NINE, NINE + 20, NINE + 40, NINE + 60, NINE + 4000) == [7, 3, 1, 0]


def test_a_counter_that_begins_again_counts_from_zero(tmp_path: Path) -> None:
    """Within a process too: a new start time, or a value that has dropped."""
    process = Process(tmp_path, "1-a")
    process.write(NINE + 10, {"piper": (NINE, 9), "hibari": (NINE, 9)})
    process.write(NINE + 40, {"piper": (NINE + 30, 12), "hibari": (NINE, 2)})
    assert counts(tmp_path, NINE + 10, NINE + 40) == [14]


def test_what_retention_has_deleted_is_not_counted_again(tmp_path: Path) -> None:
    """A process older than its oldest line: what it counted before the window is not taken for the window's."""
    process = Process(tmp_path, "1-a")
    process.write(NINE + 3600, {"piper": (NINE - 86400, 1000), "new": (NINE + 3595, 2)})
    process.write(NINE + 3660, {"piper": (NINE - 86400, 1010), "new": (NINE + 3595, 3)})
    assert counts(tmp_path, NINE, NINE + 4000) == [13]
    assert counts(tmp_path, NINE - 90000, NINE + 4000) == [1013]


def test_the_state_before_the_window_is_found_in_earlier_hours(tmp_path: Path) -> None:
    """A process that slept for hours goes on from where it was."""
    process = Process(tmp_path, "1-a")
    process.write(NINE, {"piper": (NINE - 10, 5)})
    process.write(NINE + 5 * 3600, {"piper": (NINE - 10, 6)})
    assert counts(tmp_path, NINE + 4 * 3600, NINE + 6 * 3600) == [1]


def test_torn_lines_are_passed_over(tmp_path: Path) -> None:
    """A line torn by a crash, whichever it is, is replaced by the one before; the next one may stand right behind it."""
    process = Process(tmp_path, "1-a")
    path = files.partition(tmp_path, "metrics", NINE, "1-a", 0).path
    process.write(NINE + 10, {"piper": (NINE, 1)})
    process.write(NINE + 20, {"piper": (NINE, 2)})
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30)
    process.write(NINE + 30, {"piper": (NINE, 4)})
    process.write(NINE + 40, {"piper": (NINE, 8)}, tail=b"")
    assert counts(tmp_path, NINE, NINE + 25, NINE + 60) == [1, 3]


@st.composite
def processes(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """For each process, the tick of its first export and what it counted before each of its exports."""
    return draw(
        st.lists(st.tuples(st.integers(1, 400), st.lists(st.integers(0, 3), min_size=1, max_size=60)), min_size=1, max_size=4)
    )


@given(processes(), st.lists(st.integers(0, 420), min_size=2, max_size=5, unique=True))
def test_every_request_is_counted_in_its_window(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[int, list[int]]], ticks: list[int]
) -> None:
    """However processes come and go, over the hours: each window has what was counted in it, no more and no less."""
    directory = tmp_path_factory.mktemp("data")
    for number, (first, counted) in enumerate(lives):
        process = Process(directory, f"{number}-a")
        for tick, total in enumerate(accumulate(counted), first):
            process.write(NINE + 10 * tick, {"piper": (NINE + 10 * (first - 1), total)})
    ticks.sort()
    expected = [
        sum(sum(counted[max(0, start + 1 - first) : max(0, end + 1 - first)]) for first, counted in lives)
        for start, end in pairwise(ticks)
    ]
    history = LocalHistory(directory, interval=5.0)
    assert [history.totals(NINE + 10 * start, NINE + 10 * end).request_count for start, end in pairwise(ticks)] == expected


def test_windows_are_counted_back_from_the_end(tmp_path: Path) -> None:
    """A range that is no multiple of the step leaves out its beginning, never its end."""
    process = Process(tmp_path, "1-a")
    for tick in range(1, 13):
        process.write(NINE + 10 * tick, {"piper": (NINE, tick)})
    rows = LocalHistory(tmp_path).aggregates(NINE, NINE + 110, 50)
    assert [(row.start - NINE, row.end - NINE, row.request_count) for row in rows] == [(10, 60, 5), (60, 110, 5)]
