"""Building the parts of `configure`: the resource, the providers, and the export of each signal."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import PROCESS_EXECUTABLE_NAME, SERVICE_NAME, ProcessResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tts.files import SIGNALS, Signal
from otel_tts.monitor import Monitor
from otel_tts.sdk import refusals
from otel_tts.sdk.direct.meter import BUCKETS
from otel_tts.sdk.direct.meter import MeterProvider as DirectMeterProvider
from otel_tts.sdk.direct.path import path_of_histograms, path_of_spans, protocol_of
from otel_tts.sdk.direct.senders import sender
from otel_tts.sdk.direct.sinks import ExporterSink, OTLPSink
from otel_tts.sdk.direct.tracer import Sink
from otel_tts.sdk.direct.tracer import TracerProvider as DirectTracerProvider
from otel_tts.sdk.exporters import (
    PROMETHEUS,
    Destination,
    ForkedLogExporter,
    ForkedMetricExporter,
    ForkedSpanExporter,
    destinations,
    endpoints,
    exporter_names,
)
from otel_tts.sdk.late import join_meters, join_tracers, warn_of_loggers
from otel_tts.sdk.log_records import Masked
from otel_tts.sdk.logs import ExportHandler, attach, detach, is_attached
from otel_tts.sdk.metrics import Holdable, Pull, Push
from otel_tts.sdk.pipeline import Pipeline, SignalExport, without_exports
from otel_tts.sdk.workers import announce
from otel_tts.settings import MonitorSettings, SettingError, Settings

_logger = logging.getLogger(__name__)

_NOWHERE = "nowhere"
_PLACEHOLDERS = ("ProxyTracerProvider", "_ProxyMeterProvider", "ProxyLoggerProvider")  # the API's; not all of them are public

P = TypeVar("P")


def build(
    *,
    settings: Settings,
    service_name: str | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    logger_provider: _logs.LoggerProvider | None = None,
    prometheus_port: int | None = None,
    local: bool | None = None,
    logs: bool = True,
    handle_sigterm: bool | None = None,
    resource: Mapping[str, Any] | None = None,
    monitor: bool | None = None,
) -> Pipeline:
    """Build the pipeline of `otel_tts.configure`, with the same arguments. They are all checked before anything starts.

    Args:
        settings: the settings.
        service_name: as `configure` has it.
        tracer_provider: as `configure` has it.
        meter_provider: as `configure` has it.
        logger_provider: as `configure` has it.
        prometheus_port: as `configure` has it.
        local: as `configure` has it.
        logs: as `configure` has it.
        handle_sigterm: as `configure` has it.
        resource: as `configure` has it.
        monitor: as `configure` has it.

    Raises:
        ValueError: an argument or a setting cannot be used.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return without_exports("switched off by OTEL_SDK_DISABLED", settings, tracer_provider, meter_provider, logger_provider)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if handle_sigterm and not in_main_thread:
        raise ValueError("handle_sigterm=True works in the main thread only: call configure() there.")
    files = settings.keeps_files if local is None else local
    ways = {signal: destinations(signal, settings, local=files, environ=os.environ) for signal in SIGNALS}
    described = _resource(service_name, resource)
    judge = (
        Monitor.from_settings(MonitorSettings.load(), str(described.attributes[SERVICE_NAME]))
        if monitor or (monitor is None and settings.monitor)
        else None
    )

    # Metrics come first: the other providers report on themselves through the global one.
    meters, metrics_export, readers = _metrics(meter_provider, settings, prometheus_port, ways["metrics"], described, judge)
    tracers, traces_export = _traces(tracer_provider, settings, ways["traces"], described)
    loggers, logs_export = _log_records(logger_provider, settings, ways["logs"], described, enabled=logs)
    if judge and not any(isinstance(reader, Push) for reader in readers):
        _logger.warning(
            "The monitor is off: it judges metrics as they are pushed, and here they are not (metrics: %s).",
            metrics_export.description,
        )
    exports = [traces_export, metrics_export, logs_export]
    if {export.description for export in exports} <= {_NOWHERE} and not any(exporter_names(s, os.environ) == [] for s in SIGNALS):
        _logger.warning(
            "Telemetry goes nowhere. Set OTEL_EXPORTER_OTLP_ENDPOINT, or call configure(local=True) to keep it in files."
        )
    pipeline = Pipeline(
        settings,
        tracers,
        meters,
        loggers,
        exports,
        readers=readers,
        data_dir=settings.data_dir if any(way.is_local for kinds in ways.values() for way in kinds) else None,
        prometheus_port=next((reader.port for reader in readers if isinstance(reader, Pull)), None),
    )
    if handle_sigterm is None and not in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        _logger.warning(
            "SIGTERM will end this process without a flush: configure() was not called in the main thread. Call it there, or "
            "Pipeline.shutdown() before the end; see docs/shutdown.md."
        )
    elif handle_sigterm is not False and in_main_thread:
        pipeline.handle_sigterm()
    return pipeline


def _traces(
    given: trace.TracerProvider | None, settings: Settings, ways: Sequence[Destination], resource: Resource
) -> tuple[trace.TracerProvider, SignalExport]:
    if host := given or _host(trace.get_tracer_provider()):
        return host, _host_export("traces", host)
    if path_of_spans(ways, settings, os.environ).is_direct:
        provider: TracerProvider = DirectTracerProvider(_sink(ways[0], settings), resource)
    else:
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        for way in ways:
            provider.add_span_processor(BatchSpanProcessor(_span_exporter(way, settings)))
    trace.set_tracer_provider(provider)
    join_tracers(provider, endpoints("traces", ways, os.environ))
    return provider, SignalExport("traces", _listed(ways), provider.force_flush, provider.shutdown)


def _sink(way: Destination, settings: Settings) -> Sink:
    if way.is_local:
        return ExporterSink(_span_exporter(way, settings), os.environ)
    return OTLPSink(sender(protocol_of(way), os.environ), os.environ, capture_text=settings.capture_text)


def _span_exporter(way: Destination, settings: Settings) -> ForkedSpanExporter:
    return ForkedSpanExporter(way.build, way.description, capture_text=settings.capture_text, most_bytes=way.most_bytes)


def _metrics(
    given: metrics.MeterProvider | None,
    settings: Settings,
    prometheus_port: int | None,
    ways: Sequence[Destination],
    resource: Resource,
    monitor: Monitor | None,
) -> tuple[metrics.MeterProvider, SignalExport, Sequence[Holdable]]:
    if not settings.metrics_enabled:
        return metrics.NoOpMeterProvider(), SignalExport("metrics", "switched off by METRICS_ENABLED"), []
    if host := given or _host(metrics.get_meter_provider()):
        _warn_of_exponential_histograms(os.environ)
        return host, _host_export("metrics", host), []
    pull = _pull(settings, prometheus_port)
    readers: list[MetricReader] = []
    for way in ways:
        if way.is_reader:
            readers.append(way.build())
        else:
            exporter = ForkedMetricExporter(way.build, way.description, most_bytes=way.most_bytes)
            readers.append(Push(exporter, settings.export_interval, monitor))
            monitor = None  # one reader is enough
    if pull:
        readers.append(pull)
    if path_of_histograms(ways, settings, os.environ).is_direct:
        provider: MeterProvider = DirectMeterProvider(readers, resource)
    else:
        provider = MeterProvider(readers, resource, shutdown_on_exit=False, views=[BUCKETS])
    metrics.set_meter_provider(provider)
    hosts = join_meters(provider, endpoints("metrics", ways, os.environ))

    def with_the_hosts(last: Callable[[], object]) -> object:
        for host in hosts:
            with suppress(Exception):  # the host's readers may raise anything
                host.force_flush()
        return last()

    export = SignalExport(
        "metrics",
        _listed(ways, *([f"pulled from {pull.address}"] if pull else [])),
        lambda: with_the_hosts(provider.force_flush),
        lambda: with_the_hosts(provider.shutdown),
    )
    return provider, export, [reader for reader in readers if isinstance(reader, Holdable)]


def _warn_of_exponential_histograms(environ: Mapping[str, str]) -> None:
    """Log it where the environment gives the host's own provider histograms that our readers cannot count."""
    variable = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
    if environ.get(variable, "").strip().lower() == "base2_exponential_bucket_histogram":
        _logger.warning(
            "%s makes exponential histograms of otel-tts's metrics, too, since the meter provider is the host's own: rules, dashboards "
            "and readers cannot count them. Give the provider the view of docs/series.md, or unset the variable.",
            variable,
        )


def _log_records(
    given: _logs.LoggerProvider | None, settings: Settings, ways: Sequence[Destination], resource: Resource, *, enabled: bool
) -> tuple[_logs.LoggerProvider, SignalExport]:
    host = given or _host(_logs.get_logger_provider())
    if not enabled or not (host or ways):
        return host or _logs.NoOpLoggerProvider(), SignalExport("logs", _NOWHERE)
    if host:
        if not is_attached():  # a host with a provider usually has a handler, too: records would be exported twice
            attach(ExportHandler(host, capture_text=settings.capture_text))
        return host, _host_export("logs", host)
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    for way in ways:
        batches = BatchLogRecordProcessor(ForkedLogExporter(way.build, way.description, most_bytes=way.most_bytes))
        provider.add_log_record_processor(batches if settings.capture_text else Masked(batches))
    _logs.set_logger_provider(provider)
    warn_of_loggers(provider)
    handler = ExportHandler(provider, capture_text=settings.capture_text)
    attach(handler)

    def stop() -> None:
        detach(handler)
        provider.shutdown()

    return provider, SignalExport("logs", _listed(ways), provider.force_flush, stop)


def _host(provider: P) -> P | None:
    """Return the global provider, if the host has set one."""
    return None if type(provider).__name__ in _PLACEHOLDERS else provider


def _host_export(signal: Signal, provider: object) -> SignalExport:
    return SignalExport(signal, "the host's own provider", getattr(provider, "force_flush", lambda: True))


def _listed(ways: Sequence[Destination], *others: str) -> str:
    return "; ".join([*(way.description for way in ways), *others]) or _NOWHERE


class _HashedOnce(Resource):
    """A resource that computes its hash once: encoders group spans by resource, and the SDK's hash encodes it as JSON each time."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = hash(resource)

    def __hash__(self) -> int:
        return self._hash


def _resource(service_name: str | None, attributes: Mapping[str, Any] | None) -> Resource:
    named = {SERVICE_NAME: service_name} if service_name else {}
    # Of the process attributes, only those that stay true in a forked child, which inherits the resource except service.instance.id.
    process = ProcessResourceDetector().detect().attributes
    lasting = {
        key: value for key, value in process.items() if key.startswith("process.runtime.") or key == PROCESS_EXECUTABLE_NAME
    }
    return _HashedOnce(Resource(lasting).merge(Resource.create({**(attributes or {}), **named})))


def _pull(settings: Settings, argument: int | None) -> Pull | None:
    """Open the pull endpoint, if it is requested: by the argument, by our variable, or as a standard exporter."""
    host, number = settings.prometheus_host, settings.prometheus_port if argument is None else argument
    names = (refusals.HOST, refusals.PORT if argument is None else refusals.ARGUMENT)
    if argument is None and settings.source("prometheus_port") == "default":
        if PROMETHEUS not in (exporter_names("metrics", os.environ) or ()):
            return None
        host, number = settings.exporter_prometheus_host, settings.exporter_prometheus_port
        names = (refusals.STANDARD_HOST, refusals.STANDARD_PORT)
    try:
        return Pull(host, number, settings.prometheus_allowed_hosts)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"Metrics cannot be served on {host}:{number}: {reason}. {refusals.remedy(error, *names)}"
        if argument is not None:
            raise SettingError(problem) from None
        if getattr(error, "errno", None) == errno.EADDRINUSE:  # only then it has an owner
            announce(number, forked=False)
    _logger.error(problem)  # other processes may share the environment, such as more workers: they run on without the endpoint
    return None
