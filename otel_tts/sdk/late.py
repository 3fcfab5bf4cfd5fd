"""Providers that the host sets after ours. The API keeps the first ones, so the host's exporters and readers would get nothing.

Ours stay the global ones, and both are joined: the telemetry of each reaches the exporters and readers of both, each time with the
resource of the provider that exports it. An exporter with the same receiver as ours is left out: everything would arrive there twice.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import _logs, metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, ResourceMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from otel_tts.sdk.direct.meter import MeterProvider as DirectMeterProvider

_logger = logging.getLogger(__name__)

_JOINED = "A %s was set after otel-tts's, which stays the global one: telemetry of both reaches the exporters of both.%s"
_KNOWN_ALREADY = " Those to where otel-tts exports already get nothing twice; OTEL_SERVICE_NAME says of which service it is."
_REFUSED = (
    "A %s was set after otel-tts's and is not used: its exporters get nothing that is made through the OpenTelemetry API. "
    "Set it before otel_tts.configure(), or have otel-tts export to the same place: OTEL_EXPORTER_OTLP_ENDPOINT."
)
_PORTS = {4317: "OTLP", 4318: "OTLP"}  # the two ports of one receiver


def join_tracers(ours: TracerProvider, endpoints: Iterable[str]) -> None:
    """Join every tracer provider that is set from now on with ours, the global one.

    Args:
        ours: our provider.
        endpoints: to which ours exports.
    """
    places = {_place(endpoint) for endpoint in endpoints}

    def join(host: object) -> bool:
        if not isinstance(host, TracerProvider):
            return False
        passing = threading.local()
        ours.add_span_processor(Forward(ours, host, passing, places))
        host.add_span_processor(Forward(host, ours, passing, places, back=True))
        return True

    _on_setting(trace, "_set_tracer_provider", ours, join)


def join_meters(ours: MeterProvider, endpoints: Iterable[str]) -> list[MeterProvider]:
    """Join every meter provider that is set from now on with ours, the global one.

    Args:
        ours: the global one.
        endpoints: to which it exports.

    Returns:
        The list of joined providers, which grows with each one.
    """
    places = {_place(endpoint) for endpoint in endpoints}
    hosts: list[MeterProvider] = []

    def join(host: object) -> bool:
        if not isinstance(host, MeterProvider):
            return False
        add = host.add_metric_reader

        def add_metric_reader(metric_reader: MetricReader) -> None:
            add(metric_reader)
            _share(metric_reader, host, ours, places)

        host.add_metric_reader = add_metric_reader  # type: ignore[method-assign]
        theirs = list(_readers(host))
        for reader in theirs:
            _share(reader, host, ours, places)
        if not any(_goes_to(reader, places) for reader in theirs):
            for reader in list(_readers(ours)):
                if reader not in theirs:
                    _share(reader, ours, host, set())
        hosts.append(host)
        return True

    _on_setting(metrics._internal, "_set_meter_provider", ours, join)  # noqa: SLF001 - called also by what was imported before
    return hosts


def warn_of_loggers(ours: _logs.LoggerProvider) -> None:
    """Warn when a logger provider is set from now on: it gets the records of its own handler, but not those made through the API.

    Args:
        ours: our provider.
    """
    _on_setting(_logs._internal, "_set_logger_provider", ours, lambda host: False)  # noqa: SLF001 - as above


def _on_setting(module: Any, name: str, ours: object, join: Callable[[object], bool]) -> None:
    refuse = getattr(module, name)
    joined = {id(ours): ours}

    def set_provider(provider: object, log: bool) -> None:
        if id(provider) in joined:
            return
        joined[id(provider)] = provider
        kind = type(provider).__name__
        try:
            done = join(provider)
        except Exception:  # noqa: BLE001 - the host's provider, and private parts of the SDK's
            done = False
        if done:
            _logger.info(_JOINED, kind, _KNOWN_ALREADY)
        elif kind.startswith(("NoOp", "Proxy", "_Proxy")):
            refuse(provider, log)
        else:
            _logger.warning(_REFUSED, kind)

    setattr(module, name, set_provider)


class Forward(SpanProcessor):
    """Processor that passes the spans of one provider to the processors of another, except spans that came from there.

    Args:
        source: the provider of the spans.
        target: the provider that gets them.
        passing: whether this thread is passing a span on; both directions share it. Without it, a span would be passed back and forth
            without end.
        places: the receivers to which ours exports.
        back: whether ``target`` is ours.
    """

    def __init__(
        self, source: TracerProvider, target: TracerProvider, passing: threading.local, places: set[str], *, back: bool = False
    ) -> None:
        self._source, self._target, self._passing, self._places, self._back = source, target, passing, places, back

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass on the same span, not a copy: processors may add attributes."""
        for processor in self._processors():
            processor.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        for processor in self._processors():
            processor._on_ending(span)  # noqa: SLF001 - one of the SDK's hooks

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on a copy with the target's resource."""
        under_target: ReadableSpan | None = None
        for processor in self._processors():
            if under_target is None:
                under_target = copy.copy(span)
                under_target._resource = self._target.resource  # noqa: SLF001 - there is no other way to set it
            processor.on_end(under_target)

    def shutdown(self) -> None:
        """Flush the host's provider, but do not shut it down: it belongs to the host."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the host's provider with ours: at the end of the process, possibly only ours is notified."""
        return self._back or getattr(self._passing, "on", False) or self._target.force_flush(timeout_millis)

    def _processors(self) -> Iterator[SpanProcessor]:
        if getattr(self._passing, "on", False):
            return
        self._passing.on = True
        try:
            theirs = _processors(self._source if self._back else self._target)
            if self._back and not any(_goes_to(processor, self._places) for processor in theirs):
                yield from _processors(self._target)
            elif not self._back:
                yield from (processor for processor in theirs if not _goes_to(processor, self._places))
        finally:
            self._passing.on = False


def _processors(provider: TracerProvider) -> tuple[SpanProcessor, ...]:
    return provider._active_span_processor._span_processors  # noqa: SLF001 - there is no public name


def _readers(provider: MeterProvider) -> Iterable[MetricReader]:
    return list(provider._measurement_consumer._reader_storages)  # noqa: SLF001 - there is no public name


def _share(reader: MetricReader, own: MeterProvider, other: MeterProvider, places: set[str]) -> None:
    """Make a reader of one provider collect from another as well."""
    if _goes_to(reader, places):
        return
    first, second = own._measurement_consumer, other._measurement_consumer  # noqa: SLF001 - there is no public name
    second.add_metric_reader(reader)
    if isinstance(other, DirectMeterProvider):
        other.cells.forward()  # the reader cannot read cells

    def collect(metric_reader: MetricReader, timeout_millis: float = 10_000) -> MetricsData | None:
        collected = first.collect(metric_reader, timeout_millis)
        return _merged(collected, second.collect(metric_reader, timeout_millis), own._sdk_config.resource)  # noqa: SLF001

    reader._set_collect_callback(collect)  # type: ignore[arg-type]  # noqa: SLF001 - the SDK's own types are not those of its code


def _merged(own: MetricsData | None, other: MetricsData | None, resource: Resource) -> MetricsData | None:
    """Merge both under one resource. A metric that both have, of the same library, keeps its own resource, else its series would clash."""
    if own is None or other is None:
        return own if other is None else MetricsData([replace(item, resource=resource) for item in other.resource_metrics])
    taken = {(s.scope, m.name) for item in own.resource_metrics for s in item.scope_metrics for m in s.metrics}
    merged = list(own.resource_metrics)
    for item in other.resource_metrics:
        for under, clashes in ((resource, False), (item.resource, True)):
            scopes = [
                replace(scope, metrics=kept)
                for scope in item.scope_metrics
                if (kept := [m for m in scope.metrics if ((scope.scope, m.name) in taken) is clashes])
            ]
            if scopes and not clashes and merged:
                merged[0] = replace(merged[0], scope_metrics=[*merged[0].scope_metrics, *scopes])
            elif scopes:
                merged.append(ResourceMetrics(under, scopes, item.schema_url))
    return MetricsData(merged)


def _goes_to(way: object, places: set[str]) -> bool:
    """Return whether a processor or reader exports to one of these receivers."""
    return bool(places) and any(
        isinstance(endpoint := getattr(exporter, "_endpoint", None), str) and _place(endpoint) in places
        for exporter in _exporters(way)
    )


def _exporters(way: object) -> Iterator[object]:
    for name in ("span_exporter", "_exporter"):
        if (exporter := getattr(way, name, None)) is not None:
            yield exporter
    if (batch := getattr(way, "_batch_processor", None)) is not None:
        yield from _exporters(batch)


def _place(endpoint: str) -> str:
    """Return the receiver of an endpoint: its host and port, with one name for OTLP's two standard ports."""
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    try:
        port: object = parts.port
    except ValueError:
        port = None
    name = {"127.0.0.1": "localhost", "::1": "localhost"}.get(parts.hostname or "", parts.hostname)
    return f"{name}:{_PORTS.get(port, port)}"  # type: ignore[call-overload]
