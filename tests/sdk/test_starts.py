"""Since when sums count: a new series of an asynchronous one began at the collection before its first value, at the latest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData

from otel_tts.sdk.exporters import ForkedMetricExporter
from otel_tts.sdk.metrics import Push

NEVER = 3600.0


class Kept(MetricExporter):
    """Keeps each export's points as start, end and value, by metric and attributes."""

    def __init__(self, **preferred: Any) -> None:
        super().__init__(**preferred)
        self.exports: list[dict[tuple[str, str], tuple[int, int, float]]] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        """Keep them."""
        self.exports.append(
            {
                (metric.name, str((point.attributes or {})["kind"])): (
                    point.start_time_unix_nano,
                    point.time_unix_nano,
                    getattr(point, "value", None) or getattr(point, "count", 0),
                )
                for resource in metrics_data.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for point in metric.data.data_points
            }
        )
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing waits."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Nothing to close."""


class Program:
    """Something that counts, and is exported when the test says so."""

    def __init__(self, **preferred: Any) -> None:
        self.kept = Kept(**preferred)
        self.push = Push(ForkedMetricExporter(lambda: self.kept), NEVER)
        self.provider = MeterProvider([self.push], shutdown_on_exit=False)
        meter = self.provider.get_meter("test")
        self.asked: dict[str, int] = {}
        meter.create_observable_counter("asked", [self._observe])
        meter.create_observable_up_down_counter("held", [self._observe])
        self.histogram = meter.create_histogram("told")

    def collected(self) -> dict[tuple[str, str], tuple[int, int, float]]:
        """What one more collection exports."""
        self.kept.exports.clear()
        self.push.force_flush()
        return self.kept.exports[0] if self.kept.exports else {}

    def _observe(self, _: CallbackOptions) -> Iterator[Observation]:
        return (Observation(value, {"kind": kind}) for kind, value in self.asked.items())


@pytest.fixture
def program() -> Iterator[Program]:
    """One that exports totals."""
    program = Program()
    yield program
    program.provider.shutdown()


def test_a_new_series_began_at_the_collection_before(program: Program) -> None:
    """And no later than what it counts; from then on that stays its start, whatever other series begin."""
    program.asked["old"] = 1
    program.histogram.record(1, {"kind": "old"})
    first = program.collected()
    program.asked |= {"old": 2, "new": 1}
    program.histogram.record(1, {"kind": "new"})
    second = program.collected()
    program.asked["newest"] = 1
    third = program.collected()

    began, first_end, _ = first["asked", "old"]
    assert began < first["told", "old"][0] < first_end, "there is no collection before the first, but a beginning"
    assert [export["asked", "old"][0] for export in (second, third)] == [began, began]
    assert first_end > second["asked", "new"][0] > began
    assert second["asked", "new"][0] < second["told", "new"][0]
    assert third["asked", "new"][0] == second["asked", "new"][0]
    assert second["asked", "new"][1] > third["asked", "newest"][0] > first_end


def test_what_is_told_keeps_its_start(program: Program) -> None:
    """A histogram began at its first value, as the SDK says."""
    program.histogram.record(1, {"kind": "some"})
    first = program.collected()
    program.histogram.record(1, {"kind": "other"})
    second, third = program.collected(), program.collected()
    assert first["told", "some"][0] == second["told", "some"][0] == third["told", "some"][0]
    assert second["told", "other"][0] == third["told", "other"][0] > first["told", "some"][1]


def test_after_an_idle_time_a_series_did_not_begin_before_it(program: Program) -> None:
    """A collection that found nothing is one too. What goes up and down did not begin at 0, so its start is left alone."""
    assert program.collected() == {}
    idle = time.time_ns()
    assert program.collected() == {}
    program.asked["some"] = 7
    exported = program.collected()
    assert idle < exported["asked", "some"][0] < exported["held", "some"][0] <= exported["held", "some"][1]


def test_differences_follow_each_other() -> None:
    """Where a backend asks for differences, none overlaps the one before it."""
    program = Program(preferred_temporality={ObservableCounter: AggregationTemporality.DELTA})
    program.asked["some"] = 1
    points = [program.collected()["asked", "some"]]
    for value in (3, 6):
        program.asked["some"] = value
        points.append(program.collected()["asked", "some"])
    program.provider.shutdown()
    assert [value for _, _, value in points] == [1, 2, 3]
    assert all(start < end for start, end, _ in points)
    assert [start for start, _, _ in points[1:]] == [end for _, end, _ in points[:-1]]
