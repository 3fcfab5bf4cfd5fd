"""Views of a host's own meter provider count for our metrics: they may leave metrics or attributes out, and have fewer buckets."""

from __future__ import annotations

import json

import pytest

from tests.sdk.test_configure import run

PROGRAM = """
import json
import os
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, ExplicitBucketHistogramAggregation, View

reader = InMemoryMetricReader()
views = [
    View(instrument_name="tts.attempt.real*", aggregation=DropAggregation()),
    View(instrument_name="tts.synthesis.requests", attribute_keys={"tts.outcome"}),
    View(instrument_name="tts.attempt.duration", aggregation=ExplicitBucketHistogramAggregation([0.5, 2.0])),
    View(instrument_name="gen_ai.client.*", aggregation=DropAggregation()),
]
metrics.set_meter_provider(MeterProvider([reader], views=views if os.environ["VIEWS"] == "yes" else []))

import otel_tts

pipeline = otel_tts.configure(handle_sigterm=False)
telemetry = otel_tts.Telemetry()
with telemetry.synthesis(text="Hello.", voice="a", language="en") as synthesis, synthesis.attempt("p") as attempt:
    attempt.audio(bytes(48000), otel_tts.PCM16(24_000))
pipeline.flush()
found = {}
for resource in reader.get_metrics_data().resource_metrics:
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            point = next(iter(metric.data.data_points))
            found[metric.name] = [sorted(point.attributes), list(getattr(point, "explicit_bounds", ()))]
pipeline.shutdown()
print(json.dumps(found))
"""


@pytest.mark.parametrize("direct", ["true", "false"])
def test_a_hosts_views_count(direct: str) -> None:
    """Whatever the variable of the direct path says: what a view drops is not there, and attributes and buckets are the view's."""
    metrics, without = (measured(direct, views) for views in ("yes", "no"))
    dropped = {name for name in without if name.startswith(("tts.attempt.real", "gen_ai.client."))}
    assert len(dropped) > 1
    assert metrics.keys() == without.keys() - dropped
    assert metrics["tts.synthesis.requests"] == [["tts.outcome"], []]
    assert without["tts.synthesis.requests"] == [["tts.language", "tts.outcome", "tts.voice"], []]
    assert metrics["tts.attempt.duration"][1] == [0.5, 2.0]
    assert metrics["tts.synthesis.duration"] == without["tts.synthesis.duration"]


def measured(direct: str, views: str) -> dict[str, list[list[object]]]:
    """The attributes and bounds of each metric that the host's provider has after a request."""
    result = run(PROGRAM, OTEL_TTS_DIRECT=direct, VIEWS=views)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))
