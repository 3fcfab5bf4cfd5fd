"""Our histograms keep their buckets where the environment asks for exponential ones: thresholds are bounds of buckets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_tts import semconv
from tests.sdk.test_configure import Receiver, run

EXPONENTIAL = {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}
SPEAK = """
import otel_tts
from opentelemetry import metrics
pipeline = otel_tts.configure(handle_sigterm=False)
with otel_tts.Telemetry().synthesis(text="Hello.", voice="a") as synthesis, synthesis.attempt("p") as attempt:
    attempt.audio(bytes(4800), otel_tts.PCM16(24_000))
metrics.get_meter("host").create_histogram("host.duration").record(0.3)
pipeline.shutdown()
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An OTLP endpoint."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.parametrize("direct", ["true", "false"])
def test_ours_keep_their_buckets_and_the_hosts_do_not(direct: str, receiver: Receiver) -> None:
    """On both paths every histogram of the registry has its own bounds; what the host measures itself is as it asked."""
    result = run(SPEAK, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_TTS_DIRECT=direct, **EXPONENTIAL)
    assert (result.returncode, result.stderr) == (0, "")
    bounds = {metric.name: metric.buckets for metric in semconv.METRICS if metric.buckets}
    kinds = {}
    for request in receiver.metric_requests():
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if scope.scope.name == semconv.SCOPE and metric.name in bounds:
                        assert [tuple(point.explicit_bounds) for point in metric.histogram.data_points] == [bounds[metric.name]]
                    kinds[metric.name] = metric.WhichOneof("data")
    assert kinds["tts.synthesis.duration"] == "histogram"
    assert kinds["host.duration"] == "exponential_histogram"


def test_a_provider_of_the_hosts_is_warned_of(receiver: Receiver) -> None:
    """We do not change it; one line says what cannot be counted and what to do."""
    host = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
metrics.set_meter_provider(MeterProvider())
"""
    result = run(host + SPEAK, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, **EXPONENTIAL)
    [line] = [line for line in result.stderr.splitlines() if "exponential" in line]
    assert "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION makes exponential histograms" in line
    assert "docs/series.md" in line
    assert "exponential" not in run(host + SPEAK, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint).stderr
