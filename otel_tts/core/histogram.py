"""Histograms: the SDK aggregates them, not this module."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import Meter

from otel_tts.core.attribute_sets import Attributes, AttributeSets, Value
from otel_tts.core.clean import LARGEST, Range
from otel_tts.core.labels import OwnLabels
from otel_tts.semconv import Metric

Record = Callable[[float, Context | None], None]
"""A function that records a value with attributes that were given before."""


class Histogram:
    """A histogram of the registry.

    Args:
        metric: the metric.
        meter: creates the instrument.
    """

    def __init__(self, metric: Metric, meter: Meter) -> None:
        histogram = meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=list(metric.buckets)
        )
        self._range = Range(metric)
        self._series: AttributeSets[Record] = AttributeSets(metric, _binding(histogram))

    def record(self, value: float, values: tuple[Value, ...], context: Context | None, own: OwnLabels = ()) -> float | None:
        """Record one value, with the span's context so that it can become an exemplar. Return what was recorded.

        Args:
            value: in the metric's unit.
            values: of the metric's attributes, in their order.
            context: the OpenTelemetry context; None: the current one.
            own: values of the application's own attributes.
        """
        accepted = value if type(value) is float and 0 <= value <= LARGEST else self._range.accept(value)
        if accepted is not None:
            (self._series.kept.get((values, own) if own else values) or self._series.at(values, own))(accepted, context)
        return accepted

    def at(self, values: tuple[Value, ...], own: OwnLabels = ()) -> Record:
        """Return the function that records, with these attribute values, numbers that are known to be finite and 0 or more.

        Args:
            values: of the metric's attributes, in their order.
            own: values of the application's own attributes.
        """
        return self._series.at(values, own)

    def release(self) -> None:
        """Free the places for label values."""
        self._series.release()

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._series.after_fork()


def _binding(histogram: metrics.Histogram) -> Callable[[Attributes], Record]:
    """Return a function that creates, for given attributes, the function that records.

    The OpenTelemetry API cannot bind an instrument to attributes, which would save most of the cost of a record; instruments of our own
    meter provider can.
    """
    bind: Callable[[Attributes], Record] | None = getattr(histogram, "bind", None)
    if bind is not None:
        return bind
    return lambda attributes: lambda value, context: histogram.record(value, attributes, context)
