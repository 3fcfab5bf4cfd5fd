"""Exporters: those that the environment names, else local files, else none."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from importlib.metadata import entry_points
from typing import Any, TypeVar
from urllib.parse import urlsplit

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricReader, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_tts.files import Signal
from otel_tts.sdk import encodable, foreign, outages, parts
from otel_tts.sdk.losses import LOSSES
from otel_tts.sdk.outages import OutageLog
from otel_tts.sdk.per_process import PerProcess
from otel_tts.sdk.store import Store
from otel_tts.settings import SettingError, Settings
from otel_tts.settings.values import quoted

T = TypeVar("T")
R = TypeVar("R", bound=Enum)

PROMETHEUS = "prometheus"
"""The exporter that is not created here: the pull endpoint of `otel_tts.sdk.metrics`."""

FILES = "files"

_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_GRPC_LOGGER = "opentelemetry.exporter.otlp.proto.grpc.exporter"
_OTLP_PORTS = {4317: "grpc", 4318: "http/protobuf"}


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination of a signal: the function that builds its exporter (for metrics, also a reader), and a name for people."""

    build: Callable[[], Any]
    description: str
    exporter: str
    """The name of its entry point; ``files`` for local files."""

    @property
    def is_local(self) -> bool:
        """Whether it is a destination in local files."""
        return self.exporter == FILES

    @property
    def most_bytes(self) -> float:
        """The most bytes of a request: without a limit, unless it is sent by OTLP."""
        return parts.MOST_BYTES if self.exporter in _PROTOCOLS.values() else math.inf

    @property
    def is_reader(self) -> bool:
        """Whether it builds a metric reader, which collects by itself, in place of an exporter."""
        return isinstance(self.build, type) and issubclass(self.build, MetricReader)


def exporter_names(signal: Signal, environ: Mapping[str, str]) -> list[str] | None:
    """Return the exporters that the environment names for a signal: empty for ``none``; None if it names none.

    ``OTEL_<SIGNAL>_EXPORTER`` counts first. Without it, an OTLP endpoint for all signals or for this one means ``otlp``.

    Args:
        signal: traces, metrics or logs.
        environ: the environment variables.
    """
    if named := environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip():
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "none")]
    return ["otlp"] if _endpoint(signal, environ) else None


def destinations(signal: Signal, settings: Settings, *, local: bool, environ: Mapping[str, str]) -> list[Destination]:
    """Return the destinations of a signal, without the pull endpoint of metrics.

    Args:
        signal: traces, metrics or logs.
        settings: the settings.
        local: whether local files are written, too.
        environ: the environment variables.

    Raises:
        SettingError: the environment names an exporter or a protocol that does not exist.
    """
    names = exporter_names(signal, environ)
    if names is not None:
        return [_named(signal, name, environ) for name in names if (signal, name) != ("metrics", PROMETHEUS)]
    if not local:
        return []
    if not settings.data_dir.is_absolute() and settings.data_dir.parts[:1] == ("~",):  # the default, without a home directory
        raise SettingError(
            f"There is no home directory to keep telemetry in: set {Settings.variable('data_dir')}, or OTEL_EXPORTER_OTLP_ENDPOINT."
        )

    def build() -> Any:
        store = Store(settings.data_dir, max_age_s=settings.data_max_age, max_bytes=settings.data_max_size)
        return {"traces": store.span_exporter, "metrics": store.metric_exporter, "logs": store.log_exporter}[signal]()

    return [Destination(build, f"files in {settings.data_dir}", FILES)]


def endpoints(signal: Signal, ways: Sequence[Destination], environ: Mapping[str, str]) -> list[str]:
    """Return the OTLP endpoints among the destinations of a signal.

    Args:
        signal: traces, metrics or logs.
        ways: where a signal is exported to.
        environ: the environment variables.
    """
    return [_endpoint(signal, environ) or "http://localhost:4318" for way in ways if way.exporter in _PROTOCOLS.values()]


def _named(signal: Signal, name: str, environ: Mapping[str, str]) -> Destination:
    group = f"opentelemetry_{signal}_exporter"
    entry_point, description = name, name
    if name == "otlp":
        protocol = _protocol(signal, environ)
        endpoint = re.sub(r"//[^/]*@", "//", _endpoint(signal, environ))  # the description is logged: without user and password
        entry_point, description = _PROTOCOLS[protocol], f"OTLP {protocol} {endpoint}".rstrip()
    for exporter in entry_points(group=group, name=entry_point):
        return Destination(_checked(exporter.load(), entry_point, environ), description, entry_point)
    if name == "otlp":
        package = "opentelemetry-exporter-" + entry_point.replace("_", "-")
        raise SettingError(
            f"{signal.capitalize()} should go to {description}, but its exporter is not installed: install {package}."
        )
    allowed = ", ".join(sorted({"none", "otlp", *(exporter.name for exporter in entry_points(group=group))}))
    raise SettingError(f"OTEL_{signal.upper()}_EXPORTER={quoted(name)} is not allowed: it takes {allowed}.")


def _checked(exporter: Callable[..., Any], entry_point: str, environ: Mapping[str, str]) -> Callable[[], Any]:
    """Return a function that builds an exporter, whose outages are said once.

    Over HTTP, its session recognises a gRPC receiver, unless the environment names one.
    """
    if entry_point in _PROTOCOLS.values():
        outages.hold_back(logging.getLogger(_GRPC_LOGGER if entry_point == _PROTOCOLS["grpc"] else exporter.__module__))
    if entry_point != _PROTOCOLS["http/protobuf"] or any(name.endswith("_CREDENTIAL_PROVIDER") for name in environ):
        return exporter

    def build() -> Any:
        from otel_tts.sdk import receiver

        return exporter(session=receiver.CheckedSession())

    return build


def _endpoint(signal: Signal, environ: Mapping[str, str]) -> str:
    specific = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    return specific or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()


def _protocol(signal: Signal, environ: Mapping[str, str]) -> str:
    """Return the protocol of the environment; else that of the endpoint's registered port; else the specification's default."""
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if value := environ.get(variable, "").strip():
            if value not in _PROTOCOLS:
                raise SettingError(f"{variable}={quoted(value)} is not allowed: it takes {' or '.join(_PROTOCOLS)}.")
            return value
    try:
        port = urlsplit(_endpoint(signal, environ)).port
    except ValueError:
        port = None
    return _OTLP_PORTS.get(port or 0, "http/protobuf")


class ForkedSpanExporter(SpanExporter):
    """A span exporter that is built again in a forked child.

    Args:
        build: makes the exporter, in each process anew.
        destination: where spans are sent, for people.
        capture_text: whether texts and messages of exceptions may be exported.
        most_bytes: of a request, in bytes.
    """

    def __init__(
        self, build: Callable[[], SpanExporter], destination: str = "", *, capture_text: bool, most_bytes: float = math.inf
    ) -> None:
        self._own = PerProcess(build)
        self._outages = OutageLog("Spans", destination, "They are lost until it is reached again.")
        self._capture_text = capture_text
        self._most_bytes = most_bytes

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export through this process's exporter."""
        batch = encodable.spans(spans if self._capture_text else foreign.spans(spans))
        requests = parts.of_spans(batch, self._most_bytes)
        return _sent(requests, lambda spans: self._own().export(spans), self._outages, SpanExportResult.SUCCESS)

    def shutdown(self) -> None:
        """Shut this process's exporter down."""
        self._own().shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush this process's exporter."""
        return self._own().force_flush(timeout_millis)


class ForkedMetricExporter(MetricExporter):
    """A metric exporter that is built again in a forked child.

    Args:
        build: makes the exporter, in each process anew.
        destination: where metrics are sent, for people.
        most_bytes: of a request, in bytes.
    """

    def __init__(self, build: Callable[[], MetricExporter], destination: str = "", *, most_bytes: float = math.inf) -> None:
        self._own = PerProcess(build)
        exporter = self._own()
        # The reader needs the exporter's preferences, and the SDK has no public name for them.
        self.temporality = exporter._preferred_temporality  # noqa: SLF001
        self.aggregation = exporter._preferred_aggregation  # noqa: SLF001
        super().__init__(self.temporality, self.aggregation)
        keeps_totals = AggregationTemporality.DELTA not in (self.temporality or {}).values()
        consequence = (
            "They are sent again at the next export, with the totals."
            if keeps_totals
            else "They are lost until it is reached again."
        )
        self._outages = OutageLog("Metrics", destination, consequence)
        self._most_bytes = most_bytes

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Export through this process's exporter."""
        batch = encodable.metrics(metrics_data)
        return _sent(
            parts.of_metrics(batch, self._most_bytes),
            lambda metrics: self._own().export(metrics, timeout_millis, **kwargs),
            self._outages,
            MetricExportResult.SUCCESS,
            all_of_them=False,  # the next export has the totals, or loses them as well
        )

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut this process's exporter down."""
        self._own().shutdown(timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush this process's exporter."""
        return self._own().force_flush(timeout_millis)


class ForkedLogExporter(LogRecordExporter):
    """A log exporter that is built again in a forked child.

    Args:
        build: makes the exporter, in each process anew.
        destination: where log records are sent, for people.
        most_bytes: of a request, in bytes.
    """

    def __init__(self, build: Callable[[], LogRecordExporter], destination: str = "", *, most_bytes: float = math.inf) -> None:
        self._own = PerProcess(build)
        self._outages = OutageLog("Log records", destination, "They are lost until it is reached again.")
        self._most_bytes = most_bytes

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export through this process's exporter."""
        records = encodable.logs(batch)
        requests = parts.of_logs(records, self._most_bytes)
        return _sent(requests, lambda part: self._own().export(part), self._outages, LogRecordExportResult.SUCCESS)

    def shutdown(self) -> None:
        """Shut this process's exporter down."""
        self._own().shutdown()  # type: ignore[no-untyped-call]  # the SDK declares no types there

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        """Flush this process's exporter."""
        return self._own().force_flush(timeout_millis)


def _sent(requests: Iterable[T], export: Callable[[T], R], log: OutageLog, success: R, *, all_of_them: bool = True) -> R:
    """Export the parts of one export, and return the result of the last one that failed.

    Args:
        requests: the parts.
        export: exports one.
        log: of the destination.
        success: the result of a part that arrived.
        all_of_them: whether the others are tried when the receiver cannot be reached for one.
    """
    result = success
    for request in requests:
        answer = log.watch(partial(export, request))
        if answer is not success:
            result = answer
            if all_of_them or log.is_reached:  # else the next totals of metrics have these, too
                LOSSES.note()
            if not (all_of_them or log.is_reached):
                break
    return result
