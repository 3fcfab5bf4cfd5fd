"""What the job tells of itself, through the real SDK."""

from __future__ import annotations

from dataclasses import replace

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tts.report.feedback import Feedback
from tests.report.conftest import MakeJob, Recording, of_range


def test_drift_is_emitted_as_metrics_and_the_job_as_a_trace(store: str, recording: Recording, make_job: MakeJob) -> None:
    """Scores and detections by provider and measure, traffic never detected, the reference's latency, and the job's steps."""
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    meters, tracers = MeterProvider([reader], shutdown_on_exit=False), TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    feedback = Feedback(meters.get_meter("test"), tracers.get_tracer("test"))
    [outcome] = replace(make_job(store, of_range(recording.healthy)), feedback=feedback).report([recording.faulty])

    data = reader.get_metrics_data()
    assert data is not None
    points = {
        (metric.name, *sorted(map(str, (point.attributes or {}).values()))): point.value  # type: ignore[union-attr,type-var]  # all are gauges
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    detected = {key[1:]: value for key, value in points.items() if key[0] == "tts.drift.detected"}
    assert outcome.judgement is not None
    drifted = {tuple(sorted((finding.provider, finding.measure))) for finding in outcome.judgement.drifted}
    assert {key for key, value in detected.items() if value == 1} == drifted
    assert len(detected) > len(drifted)
    assert not any("_NONE" in key for key in detected)
    assert points["tts.drift.score", "_NONE", "characters"] < 1
    assert points["tts.drift.score", "ada", "latency"] > 1
    latencies = {key[1:]: value for key, value in points.items() if key[0] == "tts.reference.latency"}
    assert latencies.keys() == {(stream, provider) for stream in ("False", "True") for provider in ("ada", "bob", "cleo")}
    assert all(0.001 < value < 2 for value in latencies.values())

    names = [span.name for span in spans.get_finished_spans()]
    assert names == ["tts.report.read", "tts.report.judge", "tts.report.write", "tts.report.service_window"]
