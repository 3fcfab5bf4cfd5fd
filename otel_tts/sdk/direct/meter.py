"""The meter provider of the direct path: its meter for otel-tts keeps histograms in cells; all other instruments are the SDK's."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Protocol, runtime_checkable

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Histogram as SDKHistogram
from opentelemetry.sdk.metrics import MeterProvider as SDKMeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import Attributes

from otel_tts import semconv
from otel_tts.core.fork import ForkAware, register
from otel_tts.sdk.direct.cells import Cell

_logger = logging.getLogger(__name__)

BUCKETS = View(instrument_type=SDKHistogram, meter_name=semconv.SCOPE, aggregation=ExplicitBucketHistogramAggregation())
"""Keeps the buckets of otel-tts's histograms where an exporter prefers exponential ones: thresholds are bounds of buckets."""

Record = Callable[[float, Context | None], None]


@runtime_checkable
class CellReader(Protocol):
    """A metric reader that adds the histograms in cells to what it collects from the SDK."""

    histogram_temporality: AggregationTemporality
    cells: Cells | None
    """Set by the provider that it is registered with."""


class Cells(ForkAware):
    """All histograms in cells of one meter provider.

    Args:
        resource: of the process.
    """

    def __init__(self, resource: Resource) -> None:
        self.scope: InstrumentationScope | None = None
        # Used only to read the resource, which the SDK changes in a forked child: no other provider makes it readable.
        self._keeper = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._histograms: list[Histogram] = []
        self._readers: dict[CellReader, int | None] = {}
        """The readers of the cells, with the time of their last collection, nanoseconds since the Unix epoch."""
        self._forwarding = False
        register(self)

    @property
    def readers(self) -> list[CellReader]:
        """The readers of the cells."""
        return list(self._readers)

    def after_fork_in_child(self) -> None:
        """Empty all histograms: the parent exports what it has recorded."""
        for histogram in self._histograms:
            histogram.clear()
        self._readers = dict.fromkeys(self._readers)

    def add(self, histogram: Histogram) -> None:
        """Add a histogram that was created.

        Args:
            histogram: the instrument.
        """
        self._histograms.append(histogram)
        if self._forwarding:
            histogram.forward()

    def open(self, reader: CellReader) -> None:
        """Add a reader of the cells.

        Args:
            reader: the metric reader.
        """
        reader.cells = self
        self._readers[reader] = None
        now_ns = time.time_ns()
        for cell in self._cells():
            cell.open(reader, now_ns)

    def close(self, reader: CellReader) -> None:
        """Remove a reader of the cells.

        Args:
            reader: the metric reader.
        """
        reader.cells = None
        self._readers.pop(reader, None)
        for cell in self._cells():
            cell.close(reader)

    def forward(self) -> None:
        """Pass all values to the SDK as well, from now on, for a reader that cannot read cells."""
        self._forwarding = True
        for histogram in self._histograms:
            histogram.forward()

    def merge(self, reader: CellReader, data: MetricsData | None) -> MetricsData | None:
        """Return what a reader got from the SDK, with the histograms from the cells added; None if there is neither.

        Args:
            reader: the metric reader.
            data: of the SDK; None: it collected nothing.
        """
        now_ns = time.time_ns()
        since_ns, self._readers[reader] = self._readers.get(reader), now_ns
        collected = [metric for h in self._histograms if (metric := h.collect(reader, now_ns, since_ns)) is not None]
        if self.scope is None or (not collected and not self._forwarding):
            return data
        ours = {histogram.name for histogram in self._histograms}
        resource = self._keeper.resource
        first, *others = data.resource_metrics if data is not None else [ResourceMetrics(resource, [], resource.schema_url)]
        scopes = list(first.scope_metrics)
        index = next((i for i, scope in enumerate(scopes) if scope.scope == self.scope), None)
        if index is None:
            scopes.append(ScopeMetrics(self.scope, collected, self.scope.schema_url or ""))
        else:
            kept = [metric for metric in scopes[index].metrics if metric.name not in ours]
            scopes[index] = replace(scopes[index], metrics=[*collected, *kept])
        scopes = [scope for scope in scopes if scope.metrics]
        return MetricsData([replace(first, scope_metrics=scopes), *others]) if scopes or others else None

    def _cells(self) -> list[Cell]:
        return [cell for histogram in self._histograms for cell in histogram.cells()]


class Histogram(metrics.Histogram):
    """A histogram in cells. Its attributes are plain values, and the caller limits the number of attribute sets.

    Args:
        cells: the cells of all histograms.
        sdk: the SDK's instrument, which takes what ours cannot.
        name: of the instrument.
        unit: UCUM, of its values.
        description: of the instrument.
        bounds: upper bounds of the buckets, in the unit.
    """

    def __init__(
        self, cells: Cells, sdk: metrics.Histogram, name: str, unit: str, description: str, bounds: Sequence[float]
    ) -> None:
        self.name = name
        self._unit = unit
        self._description = description
        self._bounds = tuple(bounds)
        self._all = cells
        self._sdk = sdk
        self._forwarding = False
        self._creating = Lock()
        self._cells: dict[frozenset[tuple[str, str, Any]], Cell] = {}
        cells.add(self)

    def bind(self, attributes: Mapping[str, str | bool]) -> Record:
        """Return a function that records values with these attributes.

        Args:
            attributes: of all its points.
        """
        return self._cell(attributes).record

    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Record a value; see `opentelemetry.metrics.Histogram.record`."""
        if not (math.isfinite(amount) and amount >= 0):
            _logger.warning("%s takes numbers of 0 or more, not %s.", self.name, amount)
            return
        self._cell(attributes or {}).record(amount, context)

    def cells(self) -> list[Cell]:
        """Return all cells."""
        return list(self._cells.values())

    def clear(self) -> None:
        """Remove all cells and replace the lock, in a forked child."""
        self._creating = Lock()
        self._cells = {}

    def forward(self) -> None:
        """Pass all values to the SDK as well."""
        self._forwarding = True
        for cell in self.cells():
            self._forward(cell)

    def _forward(self, cell: Cell) -> None:
        cell.forward = lambda value, context: self._sdk.record(value, cell.attributes, context)

    def collect(self, reader: CellReader, now_ns: int, since_ns: int | None) -> Metric | None:
        """Return the metric for a reader; None without values.

        Args:
            reader: the metric reader.
            now_ns: the time of the export, in nanoseconds since the epoch.
            since_ns: the start of its points, in nanoseconds since the epoch; None: that of the instrument.
        """
        temporality = reader.histogram_temporality
        points = [p for cell in self.cells() if (p := cell.collect(reader, temporality, now_ns, since_ns)) is not None]
        if not points:
            return None
        return Metric(self.name, self._description, self._unit, HistogramData(points, temporality))

    def _cell(self, attributes: Mapping[str, Any]) -> Cell:
        key = frozenset((name, type(value).__name__, value) for name, value in attributes.items())
        cell = self._cells.get(key)
        if cell is None:
            with self._creating:
                cell = self._cells.get(key)
                if cell is None:
                    cell = Cell(dict(attributes), self._bounds, self._all.readers)
                    if self._forwarding:
                        self._forward(cell)
                    self._cells[key] = cell
        return cell


class Meter(metrics.Meter):
    """The SDK's meter, with histograms of our own.

    Args:
        sdk: the SDK's meter, which creates all other instruments.
        cells: the cells of all histograms.
    """

    def __init__(self, sdk: metrics.Meter, cells: Cells) -> None:
        super().__init__(sdk.name, sdk.version, sdk.schema_url)
        self._sdk = sdk
        self._cells = cells
        self._histograms: dict[str, Histogram] = {}

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        """Create a histogram in cells, if its bucket bounds are given; else the SDK's."""
        sdk = self._sdk.create_histogram(
            name, unit, description, explicit_bucket_boundaries_advisory=explicit_bucket_boundaries_advisory
        )
        if not explicit_bucket_boundaries_advisory:
            return sdk
        if name not in self._histograms:
            self._histograms[name] = Histogram(self._cells, sdk, name, unit, description, explicit_bucket_boundaries_advisory)
        return self._histograms[name]

    def create_counter(self, *args: Any, **kwargs: Any) -> metrics.Counter:
        """The SDK's."""
        return self._sdk.create_counter(*args, **kwargs)

    def create_up_down_counter(self, *args: Any, **kwargs: Any) -> metrics.UpDownCounter:
        """The SDK's."""
        return self._sdk.create_up_down_counter(*args, **kwargs)

    def create_gauge(self, *args: Any, **kwargs: Any) -> Any:
        """The SDK's."""
        return self._sdk.create_gauge(*args, **kwargs)

    def create_observable_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableCounter:
        """The SDK's."""
        return self._sdk.create_observable_counter(*args, **kwargs)

    def create_observable_up_down_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableUpDownCounter:
        """The SDK's."""
        return self._sdk.create_observable_up_down_counter(*args, **kwargs)

    def create_observable_gauge(self, *args: Any, **kwargs: Any) -> metrics.ObservableGauge:
        """The SDK's."""
        return self._sdk.create_observable_gauge(*args, **kwargs)


class MeterProvider(SDKMeterProvider):
    """The SDK's provider with cells. A reader that the host adds gets all values through the SDK, from then on.

    Args:
        readers: our readers, which read cells.
        resource: the resource of all metrics.
    """

    def __init__(self, readers: Sequence[MetricReader], resource: Resource) -> None:
        self.cells = Cells(resource)
        self._meter: Meter | None = None
        super().__init__(readers, resource, shutdown_on_exit=False, views=[BUCKETS])
        for reader in readers:
            self._adopt(reader)

    def add_metric_reader(self, metric_reader: MetricReader) -> None:
        """Register a reader."""
        super().add_metric_reader(metric_reader)
        self._adopt(metric_reader)

    def remove_metric_reader(self, metric_reader: MetricReader) -> None:
        """Unregister a reader."""
        super().remove_metric_reader(metric_reader)
        if isinstance(metric_reader, CellReader):
            self.cells.close(metric_reader)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> metrics.Meter:
        """Return the meter of a library: with cells for otel-tts, the SDK's for any other."""
        meter = super().get_meter(name, version, schema_url, attributes)
        if name != semconv.SCOPE or isinstance(meter, metrics.NoOpMeter):
            return meter
        scope = InstrumentationScope(name, version, schema_url, attributes)
        if self.cells.scope is None:
            self.cells.scope, self._meter = scope, Meter(meter, self.cells)
        return self._meter if self._meter is not None and scope == self.cells.scope else meter

    def _adopt(self, reader: MetricReader) -> None:
        if isinstance(reader, CellReader):
            self.cells.open(reader)
        else:
            _logger.info("Histograms are kept by the SDK as well from now on: %s was added.", type(reader).__name__)
            self.cells.forward()


def temporality_of_histograms(preferred: Mapping[type, AggregationTemporality] | None) -> AggregationTemporality:
    """Return the temporality that an exporter prefers for histograms.

    Args:
        preferred: temporality by kind of instrument.
    """
    return (preferred or {}).get(SDKHistogram, AggregationTemporality.CUMULATIVE)
