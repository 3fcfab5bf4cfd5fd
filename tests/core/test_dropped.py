"""Metrics that nobody wants cost nothing: they are not recorded, on either path, and spans keep what they say."""

from __future__ import annotations

import math

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tts import PCM16, Telemetry
from otel_tts.sdk.direct.meter import MeterProvider as DirectMeterProvider
from otel_tts.settings import SettingError, Settings
from tests.direct import CellReader

TONE = b"".join(int(8000 * math.sin(number / 9)).to_bytes(2, "little", signed=True) for number in range(24_000))


def recorded(dropped: str, *, direct: bool) -> tuple[set[str], set[str]]:
    """The names of the metrics of one request, and the keys of all attributes of its spans."""
    reader = CellReader() if direct else InMemoryMetricReader()
    provider = DirectMeterProvider([reader], Resource({})) if direct else MeterProvider([reader], shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    settings = Settings.load({"OTEL_TTS_METRICS_DROPPED": dropped})
    telemetry = Telemetry(meter_provider=provider, tracer_provider=tracers, settings=settings)
    with telemetry.synthesis(text="Hello.", voice="tone") as synthesis, synthesis.attempt("engine") as attempt:
        attempt.audio(TONE, PCM16(24_000))
    for _ in range(2):  # what the audio is like is worked out at the first
        data = reader.get_metrics_data()
    assert data is not None
    names = {metric.name for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics}
    return names, {key for span in exporter.get_finished_spans() for key in span.attributes or {}}


@pytest.mark.parametrize("direct", [True, False])
def test_dropped_metrics_are_not_recorded(direct: bool) -> None:
    """Histograms and counters alike, by name or by the beginning of one; all others are as without the setting."""
    everything, all_keys = recorded("", direct=direct)
    assert {"tts.audio.loudness", "tts.synthesis.characters", "tts.synthesis.duration"} <= everything
    kept, keys = recorded("tts.audio.*, tts.synthesis.characters", direct=direct)
    assert kept == {name for name in everything if not name.startswith("tts.audio.")} - {"tts.synthesis.characters"}
    assert keys == all_keys
    assert "tts.audio.loudness" in keys


def test_a_name_that_no_metric_has() -> None:
    """A slip of the pen would otherwise drop nothing, unnoticed."""
    with pytest.raises(SettingError, match=r"OTEL_TTS_METRICS_DROPPED.*tts\.audios\.\*.*docs/telemetry\.md"):
        Settings.load({"OTEL_TTS_METRICS_DROPPED": "tts.audios.*"})
