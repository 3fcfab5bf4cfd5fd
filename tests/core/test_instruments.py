"""Instruments: made once from the registry, exported whole, whoever asks for them and whenever."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_tts import PCM16, Telemetry
from otel_tts.core.guard import guard
from otel_tts.semconv import METRICS, Instrument
from otel_tts.testing.capture import Capture


def exported(reader: InMemoryMetricReader) -> dict[str, Any]:
    """All metrics of one export, by name."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {metric.name: metric for r in data.resource_metrics for s in r.scope_metrics for metric in s.metrics}


def environment() -> dict[str, str]:
    """For a process of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


def speak(tts: Telemetry) -> None:
    """One request of the plainest kind."""
    with tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
        attempt.audio(b".." * 800, PCM16(16000))


def values(metric: Any) -> list[Any]:
    """Values of sums, counts of histograms."""
    return [getattr(point, "value", getattr(point, "count", None)) for point in metric.data.data_points]


def test_what_is_exported_is_what_the_registry_says() -> None:
    """Name, unit, description, kind and bucket bounds of every exported metric are those of the registry; all in one scope."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    tts = Telemetry(meter_provider=provider)
    speak(tts)
    registry = {metric.name: metric for metric in METRICS}
    data = reader.get_metrics_data()
    assert data is not None
    scopes = [s for r in data.resource_metrics for s in r.scope_metrics]
    assert [s.scope.name for s in scopes] == ["otel_tts"]
    assert scopes[0].metrics
    for metric in scopes[0].metrics:
        entry = registry[metric.name]
        assert (metric.unit, metric.description) == (entry.unit, entry.description)
        kind = {"Histogram": Instrument.HISTOGRAM, "Gauge": Instrument.GAUGE}.get(type(metric.data).__name__)
        if kind is None:
            kind = Instrument.COUNTER if metric.data.is_monotonic else Instrument.UP_DOWN_COUNTER  # type: ignore[union-attr]
        assert kind is entry.instrument
        for point in metric.data.data_points:
            assert set(point.attributes or {}) <= set(entry.keys)
            if kind is Instrument.HISTOGRAM:
                assert tuple(point.explicit_bounds) == entry.buckets  # type: ignore[union-attr]
    provider.shutdown()


BEFORE_AND_AFTER = """
import json, logging
logging.basicConfig(level=logging.WARNING)
import otel_tts
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

before = otel_tts.Telemetry()
reader = InMemoryMetricReader()
provider = MeterProvider([reader])
metrics.set_meter_provider(provider)
after, explicit = otel_tts.Telemetry(), otel_tts.Telemetry(meter_provider=provider)
for tts in (before, after, explicit):
    with tts.synthesis("Hello"):
        pass
data = reader.get_metrics_data()
print(json.dumps({
    m.name: [getattr(p, "value", getattr(p, "count", None)) for p in m.data.data_points]
    for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
}))
"""


def test_before_and_after_the_provider_is_set() -> None:
    """A Telemetry made before the global provider is set shares its instruments with those made after: nothing is lost."""
    done = subprocess.run([sys.executable, "-c", BEFORE_AND_AFTER], capture_output=True, text=True, env=environment(), check=True)
    assert json.loads(done.stdout) == {
        "tts.synthesis.active": [0],
        "tts.synthesis.characters": [15],
        "tts.synthesis.duration": [3],
        "tts.synthesis.requests": [3],
    }
    assert done.stderr == ""


def test_several_telemetries_add_up(capture_tts: Capture) -> None:
    """Two services in one process export one set of sums."""
    for _ in range(2):
        with capture_tts.telemetry().synthesis("Hello"):
            pass
    assert capture_tts.total("tts.synthesis.requests") == 2


def test_two_providers_are_apart() -> None:
    """What is recorded for one meter provider is not exported by another."""
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    providers = [MeterProvider([reader], shutdown_on_exit=False) for reader in readers]
    first, _second = (Telemetry(meter_provider=provider) for provider in providers)
    speak(first)
    assert values(exported(readers[0])["tts.synthesis.requests"]) == [1]
    assert "tts.synthesis.requests" not in exported(readers[1])
    for provider in providers:
        provider.shutdown()


def test_two_readers_see_the_same() -> None:
    """Sums are read by every reader at its own time."""
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    tts = Telemetry(meter_provider=provider)
    speak(tts)
    assert [values(exported(reader)["tts.synthesis.requests"]) for reader in readers] == [[1], [1]]
    speak(tts)
    assert values(exported(readers[1])["tts.synthesis.requests"]) == [2]
    assert values(exported(readers[0])["tts.synthesis.requests"]) == [2]
    provider.shutdown()


def test_threads_count_exactly(capture_tts: Capture) -> None:
    """Concurrent requests lose no count, and share no place that is made at the same time."""
    tts = capture_tts.telemetry()
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for i in range(200):
            with tts.synthesis("Hello", voice=f"voice {i % 20}"):
                pass

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capture_tts.total("tts.synthesis.requests") == 1600
    assert {value for _, value in capture_tts.metrics()["tts.synthesis.requests"]} == {80}
    assert capture_tts.total("tts.synthesis.duration") == 1600
    assert capture_tts.total("tts.synthesis.active") == 0


def test_cache_state_is_read_at_export(capture_tts: Capture) -> None:
    """Entries and bytes are asked for at every export, evictions are counted by reason, from a closed set."""
    tts = capture_tts.telemetry()
    cache = {"a": b"12", "b": b"3"}
    tts.observe_cache("shelf", entries=lambda: len(cache), size=lambda: sum(map(len, cache.values())))
    tts.cache_evicted("shelf", "size")
    tts.cache_evicted("shelf", "expired", 2)
    tts.cache_evicted("shelf", "flooded")
    shelf = {"tts.cache.tier": "shelf"}
    assert (capture_tts.total("tts.cache.entry.count", shelf), capture_tts.total("tts.cache.size", shelf)) == (2, 3)
    del cache["a"]
    assert (capture_tts.total("tts.cache.entry.count", shelf), capture_tts.total("tts.cache.size", shelf)) == (1, 1)
    assert {
        attributes["tts.cache.eviction.reason"]: value for attributes, value in capture_tts.metrics()["tts.cache.evictions"]
    } == {"size": 1, "expired": 2, "_OTHER": 1}


def test_a_cache_that_cannot_be_read(
    capture_tts: Capture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adopter's function that raises costs its own point only, and is reported once."""
    monkeypatch.setattr(guard, "strict", False)
    monkeypatch.setattr(guard, "_warned", set())
    tts = capture_tts.telemetry()
    broken = True

    def entries() -> float:
        if broken:
            raise ConnectionError("redis://me:secret@host")
        return 0

    tts.observe_cache("ledge", entries=entries, size=lambda: 5)
    ledge = {"tts.cache.tier": "ledge"}
    with caplog.at_level(logging.DEBUG, "otel_tts"):
        for _ in range(2):
            assert capture_tts.points("tts.cache.entry.count", ledge) == []
            assert capture_tts.total("tts.cache.size", ledge) == 5
    broken = False
    levels = [(record.levelname, "ConnectionError" in record.message) for record in caplog.records]
    assert levels[0] == ("WARNING", True)
    assert set(levels[1:]) == {("DEBUG", True)}
    assert "secret" not in caplog.text


FORKING = """
import json, os
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
import otel_tts

reader = InMemoryMetricReader()
tts = otel_tts.Telemetry(meter_provider=MeterProvider([reader]))
tts.observe_cache("memory", entries=lambda: 7)
tts.provider("piper").available(True)

def speak():
    with tts.synthesis("Hello"):
        pass

def total(name):
    data = reader.get_metrics_data()
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    return sum(p.value for m in found for p in m.data.data_points)

def told(who):
    names = ("tts.synthesis.requests", "tts.synthesis.active", "tts.cache.entry.count", "tts.provider.available")
    print(json.dumps([who, *map(total, names)]), flush=True)

speak()
tts.synthesis("dropped in the parent")
speaking = tts.synthesis("under way in the parent")
child = os.fork()
if child == 0:
    speak()
    speak()
    told("child")
    os._exit(0)
os.waitpid(child, 0)
with speaking:
    pass
told("parent")
"""


def test_a_forked_child_counts_for_itself() -> None:
    """A child starts at nothing and finishes nothing of its parent's; what is read at export is still read."""
    warned = "-Wignore:This process:DeprecationWarning"  # Python 3.12 and later: of a fork while there are threads
    done = subprocess.run([sys.executable, warned, "-c", FORKING], capture_output=True, text=True, env=environment(), check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [["child", 2, 0, 7, 1], ["parent", 3, 0, 7, 1]]
    assert done.stderr == ""
