"""The direct path's histograms: every reader sees what the SDK would have shown it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram as HistogramClass
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_tts import semconv
from otel_tts.sdk.direct.meter import Cells
from otel_tts.sdk.direct.meter import MeterProvider as DirectMeterProvider
from otel_tts.sdk.direct.path import path_of_histograms
from otel_tts.sdk.exporters import destinations
from otel_tts.settings import Settings

RESOURCE = Resource({"service.name": "test"}, "https://example.com/schema")
BOUNDS = [0.1, 1.0, 5.0]
CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA


class Reader(InMemoryMetricReader):
    """A reader in memory that looks into cells."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        super().__init__(preferred_temporality={HistogramClass: temporality})
        self.histogram_temporality = temporality
        self.cells: Cells | None = None

    def get(self) -> MetricsData | None:
        data = self.get_metrics_data()
        return data if self.cells is None else self.cells.merge(self, data)


def points(data: MetricsData | None) -> dict[str, list[HistogramDataPoint]]:
    """The points of all histograms, by name, in the order of their attributes."""
    return {
        metric.name: sorted(metric.data.data_points, key=lambda p: sorted((p.attributes or {}).items()))
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if isinstance(metric.data, Histogram)
    }


def timeless(data: MetricsData | None) -> MetricsData:
    """The same without moments, everything in the order of its names."""
    resources = []
    for resource in data.resource_metrics if data is not None else ():
        scopes = []
        for scope in resource.scope_metrics:
            series = []
            for metric in scope.metrics:
                kept = [
                    replace(
                        point,
                        attributes=dict(sorted((point.attributes or {}).items())),
                        start_time_unix_nano=0,
                        time_unix_nano=0,
                        exemplars=[replace(e, time_unix_nano=0) for e in point.exemplars],
                    )
                    for point in points(data)[metric.name]
                ]
                series.append(replace(metric, data=replace(metric.data, data_points=kept)))
            scopes.append(replace(scope, metrics=sorted(series, key=lambda m: m.name)))
        resources.append(replace(resource, scope_metrics=scopes))
    return MetricsData(resources)


def context(number: int) -> trace.Context:
    """A context: without a span, with one that is not sampled, or with one that is."""
    if not number:
        return trace.Context()
    span = SpanContext(number, number + 1, False, TraceFlags(number % 2))
    return trace.set_span_in_context(NonRecordingSpan(span), trace.Context())


values = st.one_of(st.floats(0, 1e6), st.integers(0, 10), st.sampled_from([0.0, 0.1, 1.0, 5.0, -1.0, float("nan"), float("inf")]))
attribute_sets = st.fixed_dictionaries({}, optional={"voice": st.sampled_from(["a", "b", "é"]), "stream": st.booleans()})
records = st.tuples(st.just("record"), st.sampled_from(["one", "two"]), values, attribute_sets, st.integers(0, 5))
collects = st.tuples(st.just("collect"), st.integers(0, 2))
late = st.tuples(st.just("late"))


@settings(max_examples=100)
@given(st.lists(st.one_of(records, records, records, collects, late), max_size=30))
def test_random_measurements_are_the_same_on_both_paths(steps: list[Any]) -> None:
    """However values are recorded and readers collect, come and go, each gets what the SDK's aggregation gives, exemplars included."""
    logging.disable(logging.ERROR)
    try:
        readers = [[Reader(CUMULATIVE), Reader(DELTA)] for _ in range(2)]
        providers: list[Any] = [
            DirectMeterProvider(readers[0], RESOURCE),
            MeterProvider(readers[1], RESOURCE, shutdown_on_exit=False),
        ]
        instruments = [
            {
                name: provider.get_meter(semconv.SCOPE, "1").create_histogram(
                    name, "s", f"histogram {name}", explicit_bucket_boundaries_advisory=BOUNDS
                )
                for name in ("one", "two")
            }
            for provider in providers
        ]
        for step in [*steps, ("collect", 0), ("collect", 1), ("collect", 2)]:
            if step[0] == "record":
                _, name, value, attributes, number = step
                for histograms in instruments:
                    histograms[name].record(value, attributes, context(number))
            elif step[0] == "late":
                for mine, provider in zip(readers, providers, strict=True):
                    if len(mine) == 3:
                        provider.remove_metric_reader(mine.pop())
                    else:
                        mine.append(Reader(CUMULATIVE))
                        provider.add_metric_reader(mine[2])
            elif step[1] < len(readers[0]):
                ours, theirs = (mine[step[1]].get() for mine in readers)
                assert encode_metrics(timeless(ours)) == encode_metrics(timeless(theirs))
                assert ours is None or all(
                    0 < p.start_time_unix_nano <= p.time_unix_nano
                    and all(e.time_unix_nano <= p.time_unix_nano for e in p.exemplars)
                    for series in points(ours).values()
                    for p in series
                )
    finally:
        logging.disable(logging.NOTSET)


def make(*temporalities: AggregationTemporality) -> tuple[DirectMeterProvider, list[Reader], Any]:
    """A provider of the direct path, its readers and a histogram."""
    readers = [Reader(temporality) for temporality in temporalities]
    provider = DirectMeterProvider(readers, RESOURCE)
    histogram = provider.get_meter(semconv.SCOPE).create_histogram("h", explicit_bucket_boundaries_advisory=BOUNDS)
    return provider, readers, histogram


def test_cumulative_points_keep_their_start_and_delta_points_adjoin() -> None:
    """What a backend takes for a restart is none: a cumulative point starts where it did, a delta point where the last one ended."""
    _, (cumulative, delta), histogram = make(CUMULATIVE, DELTA)
    histogram.record(1)
    first = [points(reader.get())["h"][0] for reader in (cumulative, delta)]
    histogram.record(2)
    second = [points(reader.get())["h"][0] for reader in (cumulative, delta)]
    assert second[0].start_time_unix_nano == first[0].start_time_unix_nano
    assert second[1].start_time_unix_nano == first[1].time_unix_nano
    assert [point.count for point in second] == [2, 1]
    assert points(delta.get()) == {}


def test_threads_lose_nothing_and_wait_for_nobody() -> None:
    """Eight threads recording while a reader collects: every value is counted once."""
    _, (reader,), histogram = make(DELTA)
    record = histogram.bind({"voice": "a"})
    stop, seen = threading.Event(), []

    def collect() -> None:
        while not stop.is_set():
            seen.append(reader.get())

    def work() -> None:
        for _ in range(2000):
            record(1.0, None)

    threads = [threading.Thread(target=work) for _ in range(8)]
    collector = threading.Thread(target=collect)
    for thread in (collector, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    collector.join()
    seen.append(reader.get())
    assert sum(point.count for data in seen for series in points(data).values() for point in series) == 16_000
    assert sum(point.sum for data in seen for series in points(data).values() for point in series) == 16_000


def test_what_nobody_collects_takes_no_memory() -> None:
    """Values are added to the sums every few: where no reader comes, they do not pile up, and none is missing when one does."""
    _, (reader,), histogram = make(CUMULATIVE)
    (cell,) = [histogram.bind({}).__self__]
    for _ in range(1000):
        cell.record(1.0, None)
    assert len(cell._waiting) < 16
    assert points(reader.get())["h"][0].count == 1000


def test_who_records_in_the_middle_of_a_record_does_not_hang() -> None:
    """A signal handler that interrupts a record, and records itself, neither waits for ever nor is lost."""
    _, (reader,), histogram = make(CUMULATIVE)
    (cell,) = [histogram.bind({}).__self__]
    with cell._lock:  # as in the middle of a record
        cell.record(2.0, None)
    cell.record(3.0, None)
    assert points(reader.get())["h"][0].sum == 5


def test_a_reader_of_the_host_gets_everything_from_the_sdk() -> None:
    """A reader that knows nothing of cells, added later, sees each value from then on once; ours go on without a gap."""
    provider, (reader,), histogram = make(CUMULATIVE)
    histogram.record(1, {"voice": "a"})
    foreign = InMemoryMetricReader()
    provider.add_metric_reader(foreign)
    histogram.record(2, {"voice": "a"})
    histogram.record(3, {"voice": "b"})
    bound = histogram.bind({"voice": "a"})
    bound(4, context(1))
    assert {p.attributes["voice"]: p.sum for p in points(foreign.get_metrics_data())["h"]} == {"a": 6, "b": 3}
    assert {p.attributes["voice"]: p.sum for p in points(reader.get())["h"]} == {"a": 7, "b": 3}


def test_other_instruments_and_meters_stay_the_sdks() -> None:
    """Counters, gauges, histograms without advice on buckets, and other libraries' meters, stand beside ours in one picture."""
    provider, (reader,), histogram = make(CUMULATIVE)
    histogram.record(1)
    ours = provider.get_meter(semconv.SCOPE)
    ours.create_counter("counter").add(1)
    ours.create_up_down_counter("updown").add(1)
    ours.create_gauge("gauge").set(1)
    for kind in ("counter", "up_down_counter", "gauge"):
        getattr(ours, f"create_observable_{kind}")(f"observable_{kind}", [lambda _: [metrics.Observation(1)]])
    ours.create_histogram("plain").record(1)
    provider.get_meter("requests").create_histogram("theirs", explicit_bucket_boundaries_advisory=[1]).record(1)
    data = reader.get()
    assert data is not None
    assert {scope.scope.name: {m.name for m in scope.metrics} for r in data.resource_metrics for scope in r.scope_metrics} == {
        semconv.SCOPE: {
            "h",
            "counter",
            "updown",
            "gauge",
            "observable_counter",
            "observable_up_down_counter",
            "observable_gauge",
            "plain",
        },
        "requests": {"theirs"},
    }


@pytest.mark.parametrize("first", ["telemetry", "configure"])
def test_a_telemetry_made_before_or_after_configure_counts_the_same(first: str) -> None:
    """Local files and the pull endpoint show the same histograms of one request, whatever was made first."""
    program = f"""
import otel_tts, urllib.request
make = [lambda: otel_tts.Telemetry(), lambda: otel_tts.configure(local=True, prometheus_port=0)]
tts, pipeline = [f() for f in make] if {first!r} == "telemetry" else [f() for f in reversed(make)][::-1]
with tts.synthesis("text", "voice"):
    pass
page = urllib.request.urlopen(f"http://127.0.0.1:{{pipeline.prometheus_port}}/metrics").read().decode()
print([line for line in page.splitlines() if line.startswith("tts_synthesis_duration_seconds_count")])
pipeline.shutdown()
from otel_tts import files
last = [r for p in files.partitions(pipeline.data_dir, "metrics") for _, r in files.read(p.path)][-1]
print([p["count"] for r in last["resourceMetrics"] for s in r["scopeMetrics"] for m in s["metrics"]
       if m["name"] == "tts.synthesis.duration" for p in m["histogram"]["dataPoints"]])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    pulled, written = done.stdout.splitlines()
    assert pulled.count("tts_synthesis_duration_seconds_count{") == 1
    assert pulled.endswith(" 1.0']")
    assert int(written.strip("[]'")) == 1


def test_a_scrape_shows_histograms_where_there_is_nothing_else() -> None:
    """RPCs that speak nothing leave only a histogram, and a scrape has it."""
    program = """
import otel_tts, urllib.request
from otel_tts import semconv
from otel_tts.core.instruments import instruments_of
pipeline = otel_tts.configure(local=False, prometheus_port=0)
instruments_of(pipeline.meter_provider).rpc_duration.record(0.1, ("grpc", "m", "OK", None), None)
for _ in range(2):
    page = urllib.request.urlopen(f"http://127.0.0.1:{pipeline.prometheus_port}/metrics").read().decode()
    print([line.split()[-1] for line in page.splitlines() if line.startswith("rpc_server_call_duration_seconds_count")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["['1.0']", "['1.0']"]


def test_a_forked_child_starts_from_nothing() -> None:
    """What the parent recorded and had not exported is not counted by its child as well."""
    provider, (reader,), histogram = make(CUMULATIVE)
    histogram.record(1)
    provider.cells.after_fork_in_child()
    assert points(reader.get()) == {}
    histogram.record(2)
    assert points(reader.get())["h"][0].sum == 2


OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, ""),
        (OTLP, ""),
        (OTLP | {"OTEL_TTS_DIRECT": "no"}, "OTEL_TTS_DIRECT is false"),
        (OTLP | {"OTEL_METRICS_EXEMPLAR_FILTER": "always_on"}, "OTEL_METRICS_EXEMPLAR_FILTER is always_on"),
        (OTLP | {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true"}, "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED is true"),
        ({"OTEL_METRICS_EXPORTER": "console"}, "console is an exporter of its own"),
        (OTLP | {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}, ""),
    ],
)
def test_the_path_of_histograms_has_a_reason(environ: dict[str, str], reason: str) -> None:
    """Where exporters, readers or variables want what cells do not give, the SDK keeps histograms, and people can be told why."""
    loaded = Settings.load(environ)
    assert path_of_histograms(destinations("metrics", loaded, local=True, environ=environ), loaded, environ).reason == reason
