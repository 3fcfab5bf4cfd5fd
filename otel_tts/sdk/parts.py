"""Parts of an export: no request that leaves is larger than what the Collector takes, which refuses a larger one with all that is in it.

Each part is a whole request: it names the resource, the scope and the metric of what it has. An item is in one part only, so nothing is
counted twice, whichever of them arrive.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.trace import ReadableSpan

from otel_tts.core.guard import guard
from otel_tts.sdk import sizes
from otel_tts.sdk.losses import LOSSES

_logger = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
"""The most bytes of a request, before compression. The Collector takes 1 MiB: see docs/pipeline.md."""

T = TypeVar("T")
Header = tuple[Any, Callable[[Any], int]]
"""What stands once in each request above its items, and what returns its size in bytes: a resource, a scope, a metric."""

_dropped: Counter[str] = Counter()
"""How many items of a kind were too large for any request, in this process."""


class _Owned(NamedTuple):
    """A metric point, and what it is a point of."""

    resource_metrics: ResourceMetrics
    scope_metrics: ScopeMetrics
    metric: Metric
    point: Any


def of_spans(batch: Sequence[ReadableSpan], most_bytes: float = MOST_BYTES) -> Iterator[Sequence[ReadableSpan]]:
    """Split spans.

    Args:
        batch: the spans, in their order.
        most_bytes: of a part, in bytes.
    """
    return _split(batch, sizes.span, _headers, lambda span: f"a span of {_library(span)}", most_bytes)


def of_logs(batch: Sequence[ReadableLogRecord], most_bytes: float = MOST_BYTES) -> Iterator[Sequence[ReadableLogRecord]]:
    """Split log records.

    Args:
        batch: the log records, in their order.
        most_bytes: of a part, in bytes.
    """
    return _split(batch, sizes.log_record, _headers, lambda record: f"a log record of {_library(record)}", most_bytes)


def of_metrics(data: MetricsData, most_bytes: float = MOST_BYTES) -> Iterator[MetricsData]:
    """Split metrics.

    Args:
        data: the metrics.
        most_bytes: of a part, in bytes.
    """
    points = [
        _Owned(resource_metrics, scope_metrics, metric, point)
        for resource_metrics in data.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        for point in metric.data.data_points
    ]
    parts = _split(
        points,
        lambda item: sizes.point(item.point),
        lambda item: (
            (item.resource_metrics.resource, sizes.resource),
            (item.scope_metrics.scope, sizes.scope),
            (item.metric, sizes.metric),
        ),
        lambda item: f"a point of {item.metric.name}",
        most_bytes,
    )
    for part in parts:
        yield data if len(part) == len(points) else _metrics_of(part)


def drop(subject: str, size_bytes: int, most_bytes: float = MOST_BYTES) -> None:
    """Count an item that is too large for any request, and say so: the first time, the tenth, the hundredth, and so on.

    Args:
        subject: what it is, for people, such as ``a point of a.metric``.
        size_bytes: of a request with nothing else, in bytes.
        most_bytes: of a request, in bytes.
    """
    LOSSES.note()
    _dropped[subject] += 1
    count = _dropped[subject]
    if count == 10 ** round(math.log10(count)):
        _logger.error(
            "Dropped %s: alone it makes a request of %d B, and %d B are the most. Dropped in all: %d.",
            subject,
            size_bytes,
            most_bytes,
            count,
        )


def _split(
    items: Sequence[T],
    size_of: Callable[[T], int],
    headers_of: Callable[[T], Iterable[Header]],
    subject_of: Callable[[T], str],
    most_bytes: float,
) -> Iterator[Sequence[T]]:
    if math.isinf(most_bytes):
        yield items
        return
    header_sizes: dict[tuple[int, ...], int] = {}
    part: list[T] = []
    begun: set[tuple[int, ...]] = set()
    size = 0
    for item in items:
        headers: dict[tuple[int, ...], int] = {}
        key: tuple[int, ...] = ()
        for header, size_of_header in headers_of(item):
            key = (*key, id(header))
            if key not in header_sizes:
                header_sizes[key] = _guarded(size_of_header, header)
            headers[key] = header_sizes[key]
        own = _guarded(size_of, item)
        added = own + sum(headers[key] for key in headers if key not in begun)
        if part and size + added > most_bytes:
            yield part
            part, begun, size = [], set(), 0
            added = own + sum(headers.values())
        if added > most_bytes:
            drop(subject_of(item), added, most_bytes)
            continue
        part.append(item)
        begun.update(headers)
        size += added
    if part:
        yield part


def _guarded(size_of: Callable[[Any], int], value: Any) -> int:
    """Return a size, 0 for what cannot be read: the exporter decides about it."""
    try:
        return size_of(value)
    except Exception as error:  # noqa: BLE001 - the host may have put anything into its telemetry
        guard.pass_on(error)
        return 0


def _headers(item: ReadableSpan | ReadableLogRecord) -> tuple[Header, ...]:
    return (item.resource, sizes.resource), (item.instrumentation_scope, sizes.scope)


def _library(item: ReadableSpan | ReadableLogRecord) -> str:
    return item.instrumentation_scope.name if item.instrumentation_scope else "no library"


def _metrics_of(points: Sequence[_Owned]) -> MetricsData:
    return MetricsData(
        [
            replace(
                resource_metrics,
                scope_metrics=[
                    replace(
                        scope_metrics,
                        metrics=[
                            replace(metric, data=_with(metric.data, [item.point for item in of_metric]))
                            for metric, of_metric in _grouped(of_scope, lambda item: item.metric)
                        ],
                    )
                    for scope_metrics, of_scope in _grouped(of_resource, lambda item: item.scope_metrics)
                ],
            )
            for resource_metrics, of_resource in _grouped(points, lambda item: item.resource_metrics)
        ]
    )


def _with(data: Any, points: list[Any]) -> Any:
    """Return the data of a metric with other points, and the same temporality."""
    return replace(data, data_points=points)


def _grouped(points: Sequence[_Owned], owner_of: Callable[[_Owned], T]) -> Iterator[tuple[T, list[_Owned]]]:
    """Group points by their owner: they stand in the order of the owners."""
    for _, group in groupby(points, key=lambda item: id(owner_of(item))):
        members = list(group)
        yield owner_of(members[0]), members
