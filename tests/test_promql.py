"""Prometheus names are those that the real exporter gives."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry

from otel_tts import promql, semconv
from otel_tts.semconv import Instrument, Metric


def record(meter: Meter, metric: Metric) -> None:
    """Give the metric one point with its full attribute set."""
    attributes = {attribute.key: "x" for attribute in metric.attributes}

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(1, attributes)]

    match metric.instrument:
        case Instrument.HISTOGRAM:
            meter.create_histogram(
                metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
            ).record(0.1, attributes)
        case Instrument.COUNTER:
            meter.create_observable_counter(metric.name, [observe], metric.unit, metric.description)
        case Instrument.UP_DOWN_COUNTER:
            meter.create_observable_up_down_counter(metric.name, [observe], metric.unit, metric.description)
        case Instrument.GAUGE:
            meter.create_observable_gauge(metric.name, [observe], metric.unit, metric.description)


@pytest.mark.parametrize("metric", semconv.METRICS, ids=lambda metric: metric.name)
def test_series_and_labels_are_those_of_the_exporter(metric: Metric) -> None:
    """Every metric of the registry comes out of the real exporter under exactly the names that we predict."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    record(provider.get_meter(semconv.SCOPE), metric)

    samples = [sample for family in registry.collect() for sample in family.samples]

    if metric.instrument is Instrument.HISTOGRAM:
        expected = {promql.bucket_series(metric), promql.count_series(metric), promql.sum_series(metric)}
        bounds = [sample.labels["le"] for sample in samples if sample.name == promql.bucket_series(metric)]
        assert bounds == [*map(str, metric.buckets), "+Inf"]
    else:
        expected = {promql.series(metric)}
    assert {sample.name for sample in samples} == expected
    assert {key for sample in samples for key in sample.labels} - {"le"} == {promql.label(a) for a in metric.attributes}
    provider.shutdown()


def test_names_as_they_stand_in_dashboards() -> None:
    """A few names spelled out: seconds, bytes, totals, bare annotations and rates."""
    assert promql.series(semconv.SYNTHESIS_AUDIO) == "tts_synthesis_audio_seconds_total"
    assert promql.series(semconv.CACHE_SIZE) == "tts_cache_size_bytes"
    assert promql.series(semconv.SYNTHESIS_ACTIVE) == "tts_synthesis_active"
    assert promql.series(semconv.USAGE_COST) == "tts_usage_cost_total"
    assert promql.bucket_series(semconv.QUALITY_SPEAKING_RATE) == "tts_audio_speaking_rate_per_second_bucket"
    assert promql.bucket_series(semconv.QUALITY_LOUDNESS) == "tts_audio_loudness_dB_bucket"
    assert promql.label(semconv.PROVIDER) == "gen_ai_provider_name"


def test_no_gauge_has_unit_1() -> None:
    """A gauge of unit 1 would have two names, one for each way into Prometheus."""
    gauges = (Instrument.GAUGE, Instrument.UP_DOWN_COUNTER)
    assert [metric.name for metric in semconv.METRICS if metric.unit == "1" and metric.instrument in gauges] == []


def test_only_histograms_have_buckets() -> None:
    """Asking a counter for its buckets is a mistake that is named."""
    with pytest.raises(ValueError, match=r"tts\.synthesis\.requests is a counter"):
        promql.bucket_series(semconv.SYNTHESIS_REQUESTS)
