"""Figures of the service in an export: requests by outcome, latencies by provider, and which providers can be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from otel_tts import semconv
from otel_tts.conditions.figure import DURATION_MEAN, FIRST_AUDIO_MEAN
from otel_tts.distribution import growth
from otel_tts.monitor.latency import Latency
from otel_tts.semconv import FAILURES, Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData

_CUMULATIVE = 2  # AggregationTemporality's number on the wire


@dataclass(frozen=True, slots=True)
class Measured:
    """What was counted over some time.

    Latencies are those of audio that a provider made, by provider: first audio of streams, duration of successful unary requests.
    """

    succeeded: int = 0
    failed: int = 0
    first_audio: dict[str, Latency] = field(default_factory=dict)
    duration: dict[str, Latency] = field(default_factory=dict)

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            _merged(self.first_audio, other.first_audio),
            _merged(self.duration, other.duration),
        )

    @property
    def success_rate(self) -> float | None:
        """The share of requests that succeeded; None without any."""
        return self.succeeded / self.requests if self.requests else None

    @property
    def requests(self) -> int:
        """Requests that were neither cancelled nor rejected."""
        return self.succeeded + self.failed


def _merged(some: dict[str, Latency], others: dict[str, Latency]) -> dict[str, Latency]:
    return some | {name: some[name] + latency if name in some else latency for name, latency in others.items()}


class ExportReader:
    """Reads exports, one after the other."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, frozenset[Any]], tuple[int, Latency]] = {}

    def increment(self, data: MetricsData) -> Measured:
        """What was measured since the export before, whether the exporter asked for sums or for differences.

        Args:
            data: one export.
        """
        measured = Measured()
        for metric in _ours(data):
            if metric.name == semconv.SYNTHESIS_FIRST_AUDIO.name:
                for attributes, latency in self._since(metric):
                    if FIRST_AUDIO_MEAN.counts(attributes):
                        measured += Measured(first_audio={str(attributes[semconv.PROVIDER.key]): latency})
            elif metric.name == semconv.SYNTHESIS_DURATION.name:
                for attributes, latency in self._since(metric):
                    measured += _ended(attributes, latency)
        return measured

    @staticmethod
    def available(data: MetricsData) -> dict[str, float]:
        """By provider, 1 or 0: whether it can be used.

        Args:
            data: one export.
        """
        points = (p for m in _ours(data) if m.name == semconv.PROVIDER_AVAILABLE.name for p in m.data.data_points)
        return {str((point.attributes or {})[semconv.PROVIDER.key]): point.value for point in points if hasattr(point, "value")}

    def _since(self, metric: Metric) -> Iterator[tuple[dict[str, Any], Latency]]:
        for point in metric.data.data_points:
            attributes = dict(point.attributes or {})
            bounds = tuple(getattr(point, "explicit_bounds", ()))  # an exponential histogram has none
            counts = tuple(getattr(point, "bucket_counts", ())) if bounds else (getattr(point, "count", 0),)
            now = Latency(bounds, counts, getattr(point, "sum", 0.0))
            increment = now
            if getattr(metric.data, "aggregation_temporality", None) == _CUMULATIVE:
                key, start = (metric.name, frozenset(attributes.items())), point.start_time_unix_nano or 0
                began, before = self._before.get(key, (start, None))
                increment = growth(before, now, restarted=began != start)
                self._before[key] = start, now
            if increment.count:
                yield attributes, increment


def _ours(data: MetricsData) -> Iterator[Metric]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            if scope.scope.name == semconv.SCOPE:
                yield from scope.metrics


def _ended(attributes: dict[str, Any], latency: Latency) -> Measured:
    outcome = attributes[semconv.OUTCOME.key]
    if outcome in FAILURES:
        return Measured(failed=latency.count)
    if outcome != Outcome.OK:
        return Measured()
    judged = DURATION_MEAN.counts(attributes)
    return Measured(succeeded=latency.count, duration={str(attributes[semconv.PROVIDER.key]): latency} if judged else {})
