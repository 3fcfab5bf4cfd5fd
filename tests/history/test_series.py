"""Timelines from local metrics files."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_tts import semconv
from otel_tts.history import Distribution, Timeline, open_history
from otel_tts.history.local import LocalHistory
from otel_tts.sdk.store import Store
from otel_tts.semconv import Metric
from otel_tts.settings import HistorySettings, SettingError


def values(timelines: list[Timeline]) -> dict[tuple[str | bool, ...], list[float | Distribution | None]]:
    """The values of each timeline, by those of its attributes."""
    return {tuple(t.attributes.values()): [point.value for point in t.points] for t in timelines}


class Process:
    """One process that exports when it is told to, and so writes a line."""

    def __init__(self, directory: Path) -> None:
        self._reader = PeriodicExportingMetricReader(
            Store(directory, max_age_s=1e9, max_bytes=2**30).metric_exporter(), export_interval_millis=float("inf")
        )
        self.meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter(semconv.SCOPE)

    def export(self) -> float:
        """Write a line; gives a moment right after."""
        self._reader.force_flush()
        return time.time()


PIPER = {"gen_ai.provider.name": "piper"}
HIBARI = {"gen_ai.provider.name": "hibari"}


def timelines(directory: Path, metric: Metric, moments: list[float], **asked: object) -> list[list[Timeline]]:
    """The timelines of one window each, between the moments."""
    history = LocalHistory(directory, interval=0.0)
    return [
        history.series(metric, start, end, end - start, **asked)  # type: ignore[arg-type]
        for start, end in pairwise(moments)
    ]


def test_each_instrument_says_its_own(tmp_path: Path) -> None:
    """Counters grow, histograms have values, levels are the last known: sums of up-down counters, the worst of gauges."""
    first, second = Process(tmp_path), Process(tmp_path)
    began = time.time()
    for process, good in ((first, 1), (second, 0)):
        process.meter.create_counter("tts.cache.lookups").add(
            3 + good, {"tts.cache.tier": "memory", "tts.cache.lookup.result": "hit"}
        )
        process.meter.create_up_down_counter("tts.synthesis.active").add(2, {"gen_ai.request.stream": True})
        process.meter.create_gauge("tts.provider.available").set(good, PIPER)
        process.meter.create_gauge("tts.provider.health.age").set(5.0 + good, PIPER)
        histogram = process.meter.create_histogram("tts.queue.wait", explicit_bucket_boundaries_advisory=[0.1, 1.0])
        histogram.record(0.5)
    first.meter.create_gauge("tts.provider.available").set(1, HIBARI)
    first.export()
    moments = [began, second.export()]
    first.meter.create_counter("tts.cache.lookups").add(2, {"tts.cache.tier": "memory", "tts.cache.lookup.result": "miss"})
    moments += [first.export(), time.time() + 1]

    def values_of(metric: Metric, **asked: object) -> list[dict[tuple[str | bool, ...], list[float | Distribution | None]]]:
        return [values(window) for window in timelines(tmp_path, metric, moments, **asked)]

    assert values_of(semconv.CACHE_LOOKUPS) == [{(): [7.0]}, {(): [2.0]}, {}]
    assert values_of(semconv.CACHE_LOOKUPS, by=[semconv.CACHE_LOOKUP_RESULT]) == [
        {("hit",): [7.0]},
        {("hit",): [0.0], ("miss",): [2.0]},
        {},
    ]
    assert values_of(semconv.CACHE_LOOKUPS, where={semconv.CACHE_LOOKUP_RESULT: ["miss"]}) == [{}, {(): [2.0]}, {}]
    assert values_of(semconv.SYNTHESIS_ACTIVE, by=[semconv.STREAM]) == [{(True,): [4.0]}, {(True,): [2.0]}, {}]
    assert values_of(semconv.PROVIDER_AVAILABLE, by=[semconv.PROVIDER]) == [
        {("piper",): [0.5], ("hibari",): [1.0]},
        {("piper",): [1.0], ("hibari",): [1.0]},
        {},
    ]
    assert values_of(semconv.PROVIDER_HEALTH_AGE) == [{(): [6.0]}, {(): [6.0]}, {}]
    assert values_of(semconv.QUEUE_WAITING) == [
        {(): [Distribution({0.1: 0, 1.0: 2, float("inf"): 2})]},
        {(): [Distribution({0.1: 0, 1.0: 0, float("inf"): 0})]},
        {},
    ]


def test_a_window_in_which_nothing_was_exported_has_no_value(tmp_path: Path) -> None:
    """A gap stays a gap, before the first export and after the last; windows are counted back from the end."""
    process = Process(tmp_path)
    process.meter.create_counter("tts.usage.unpriced").add(2, PIPER)
    now = process.export()
    [timeline] = LocalHistory(tmp_path, interval=10).series(semconv.USAGE_UNPRICED, now - 95, now + 50, 30)
    assert [(round(point.start - now), round(point.end - now), point.value) for point in timeline.points] == [
        (-70, -40, None),
        (-40, -10, None),
        (-10, 20, 2.0),
        (20, 50, None),
    ]


def test_attributes_are_named_by_their_keys_too(tmp_path: Path) -> None:
    """As telemetry.md names them, beside the objects of `semconv`; a single one needs no list."""
    process = Process(tmp_path)
    lookups = process.meter.create_counter(semconv.CACHE_LOOKUPS.name)
    for tier, result, count in (("memory", "hit", 3), ("memory", "miss", 2), ("disk", "miss", 1)):
        lookups.add(count, {semconv.CACHE_TIER.key: tier, semconv.CACHE_LOOKUP_RESULT.key: result})
    now, history = process.export(), LocalHistory(tmp_path, interval=10)
    for keys in ([], ["tts.cache.tier"], ["tts.cache.lookup.result", "tts.cache.tier"]):
        attributes = [{a.key: a for a in semconv.CACHE_LOOKUPS.attributes}[key] for key in keys]
        by_key = history.series(semconv.CACHE_LOOKUPS, now - 60, now + 60, 60, keys, where={"tts.cache.lookup.result": ["miss"]})
        by_object = history.series(
            semconv.CACHE_LOOKUPS, now - 60, now + 60, 60, attributes, where={semconv.CACHE_LOOKUP_RESULT: ["miss"]}
        )
        assert by_key == by_object
        assert by_key
    alone = history.series(semconv.CACHE_LOOKUPS, now - 60, now + 60, 120, "tts.cache.tier")
    assert values(alone) == {("disk",): [1.0], ("memory",): [5.0]}
    with pytest.raises(ValueError, match=r"tts.cache.lookups has no tts.outcome: it has tts.cache.tier, tts.cache.lookup.result"):
        history.series(semconv.CACHE_LOOKUPS, now - 60, now, 60, ["tts.outcome"])


def test_unreasonable_timelines_are_refused(tmp_path: Path) -> None:
    """An attribute that the metric lacks, and windows too short for two exports."""
    history = LocalHistory(tmp_path)
    with pytest.raises(ValueError, match=r"tts.cache.lookups has no tts.voice: it has tts.cache.tier, tts.cache.lookup.result"):
        history.series(semconv.CACHE_LOOKUPS, 0, 60, 60, [semconv.VOICE])
    own = r"tts.queue.wait has no app.tenant: it has no attributes. Attributes of your own are in what `requests\(\)` gives"
    with pytest.raises(ValueError, match=own):
        history.series(semconv.QUEUE_WAITING, 0, 60, 60, ["app.tenant"])
    with pytest.raises(ValueError, match=r"tts.queue.wait has no tts.voice: it has no attributes.$"):
        history.series(semconv.QUEUE_WAITING, 0, 60, 60, where={semconv.VOICE: ["joe"]})
    with pytest.raises(ValueError, match="window of 5 s may not hold two exports"):
        history.series(semconv.CACHE_LOOKUPS, 0, 60, 5)


def test_the_source_is_named(tmp_path: Path) -> None:
    """So that readers can say where their numbers come from, without anybody's password; and it must be an address."""
    assert open_history(HistorySettings.load({}, data_dir=tmp_path)).source == f"local files in {tmp_path}"
    both = {"OTEL_TTS_PROMETHEUS_URL": "https://me:secret@metrics.example/api/prom/", "OTEL_TTS_TEMPO_URL": "http://tempo:3200"}
    named = "Prometheus at https://metrics.example/api/prom and Tempo at http://tempo:3200"
    assert open_history(HistorySettings.load(both)).source == named
    one = open_history(HistorySettings.load({"OTEL_TTS_PROMETHEUS_URL": "http://there"})).source
    assert one == "Prometheus at http://there and no Jaeger (OTEL_TTS_JAEGER_URL is not set)"
    with pytest.raises(
        SettingError, match=r"OTEL_TTS_TEMPO_URL='tempo:3200' is not allowed: it takes an address that begins with"
    ):
        HistorySettings.load({"OTEL_TTS_TEMPO_URL": "tempo:3200"})


def test_of_two_trace_backends_none_is_chosen() -> None:
    """Which one is meant nobody knows, so both addresses at once are refused, by name."""
    both = {"OTEL_TTS_JAEGER_URL": "http://jaeger:16686", "OTEL_TTS_TEMPO_URL": "http://tempo:3200"}
    with pytest.raises(SettingError, match=r"^OTEL_TTS_JAEGER_URL and OTEL_TTS_TEMPO_URL are both set, .* unset the other\.$"):
        open_history(HistorySettings.load(both))
    for url, name in ((both["OTEL_TTS_JAEGER_URL"], "Jaeger"), (both["OTEL_TTS_TEMPO_URL"], "Tempo")):
        named = f"no Prometheus (OTEL_TTS_PROMETHEUS_URL is not set) and {name} at {url}"
        assert open_history(HistorySettings.load({f"OTEL_TTS_{name.upper()}_URL": url})).source == named
