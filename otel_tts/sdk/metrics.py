"""Metric readers: pushed every interval, or pulled by Prometheus; both keep working after a fork.

After a fork, the SDK's readers continue with the totals of the parent, which would be counted twice, and wait for ever for a lock that
was held at that moment. These readers make sure that no collection runs while the process forks, and start again at zero in the child.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from prometheus_client import CollectorRegistry

from otel_tts.core.guard import guard
from otel_tts.monitor import Monitor
from otel_tts.sdk import encodable
from otel_tts.sdk.direct.meter import Cells, temporality_of_histograms
from otel_tts.sdk.exporters import ForkedMetricExporter
from otel_tts.sdk.pull import PullServer
from otel_tts.sdk.starts import Starts
from otel_tts.sdk.workers import announce

if TYPE_CHECKING:
    from prometheus_client import Metric

_logger = logging.getLogger(__name__)

_HOLD = 0.5
"""The longest time that a fork waits for a collection to end, in seconds; it takes milliseconds, unless a callback of the host hangs."""


class _ForkHold(threading.local):
    by_this = False
    """Whether the thread holds the reader for a fork: several may fork at once, and each releases only what it has taken itself."""


class Holdable(MetricReader):
    """A reader whose collections can be stopped during a fork.

    Args:
        args: as the SDK's reader takes them.
        kwargs: as the SDK's reader takes them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._collecting = threading.RLock()
        self._process = os.getpid()
        self._held = _ForkHold()
        self.histogram_temporality = AggregationTemporality.CUMULATIVE
        self.cells: Cells | None = None
        """The histograms of the direct path, which the SDK does not have; None without the direct path."""

    def hold(self) -> None:
        """Wait before a fork until a running collection has ended, and let none start."""
        self._held.by_this = not self._collecting._is_owned()  # type: ignore[attr-defined]  # noqa: SLF001 - a callback may fork
        if self._held.by_this:
            self._collecting.acquire(timeout=_HOLD)

    def release(self) -> None:
        """Let collections start again, after a fork, in the parent."""
        if self._held.by_this:
            with suppress(RuntimeError):  # it could not be taken, or a signal handler raised before
                self._collecting.release()
            self._held.by_this = False

    def _merged(self, collected: MetricsData | None) -> MetricsData | None:
        """Add the histograms of the direct path to what the SDK collected."""
        return collected if self.cells is None else self.cells.merge(self, collected)

    @abstractmethod
    def renew(self, provider: MeterProvider) -> None:
        """Start again, after a fork, in the child: without the totals and locks of the parent.

        Args:
            provider: of the process that was forked.
        """

    def is_inherited(self) -> bool:
        """Return whether this is a forked child in which the reader has not started again.

        The process id shows it, not the fork registry: a child that C code has forked runs no fork hooks of Python, and must not export
        what its parent counted either.
        """
        return self._process != os.getpid()


class Push(Holdable):
    """Reader that exports metrics every ``interval_s`` seconds, and once more at shutdown. A monitor judges what is exported.

    Args:
        exporter: gets the metrics.
        interval_s: between two exports, in seconds.
        monitor: judges what is exported; None: nothing is judged.
    """

    def __init__(self, exporter: ForkedMetricExporter, interval_s: float, monitor: Monitor | None = None) -> None:
        super().__init__(preferred_temporality=exporter.temporality, preferred_aggregation=exporter.aggregation)
        self.histogram_temporality = temporality_of_histograms(exporter.temporality)
        self._exporter = exporter
        self._interval_s = interval_s
        self._monitor = monitor
        self._collected: MetricsData | None = None
        self._start()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect and export now."""
        with self._collecting:
            began = time.time_ns()
            self.collect(timeout_millis)
            collected, self._collected = self._starts.correct(self._merged(self._collected), began), None
            messages = self._monitor.judge(collected) if self._monitor and collected else []
        if self._monitor:
            resources = collected.resource_metrics if collected is not None else ()
            self._monitor.tell(messages, resources[0].resource.attributes if resources else {})
        if collected is not None:
            with self._exporting, suppress_instrumentation():
                self._exporter.export(collected, timeout_millis=timeout_millis)
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Export for the last time."""
        if not (self.is_inherited() or self._stopped.is_set()):
            self._stopped.set()
            self.force_flush(timeout_millis)
            self._exporter.shutdown(timeout_millis)

    def renew(self, provider: MeterProvider) -> None:
        """Start again at zero, after a fork, in the child."""
        provider.remove_metric_reader(self)
        if self._monitor:
            self._monitor.renew()
        self._collecting = threading.RLock()
        self._process = os.getpid()
        provider.add_metric_reader(self)
        if not self._stopped.is_set():
            self._start()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self._collected = metrics_data

    def _start(self) -> None:
        self._starts = Starts()
        self._exporting = threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._run, args=(self._stopped,), name="otel-tts-metrics", daemon=True).start()

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._interval_s):
            try:
                self.force_flush()
            except Exception as error:  # an exporter or a callback of the host's may raise anything; the next time may go well
                is_new = guard.is_new("Push", error)
                _logger.warning("Metrics could not be exported (%s).", type(error).__name__, exc_info=is_new)


class Pull(Holdable, PrometheusMetricReader):
    """Reader of the endpoint that Prometheus scrapes. It belongs to the process that opened it, not to forked children.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        allowed_hosts: further names that a `Host` header may have.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, allowed_hosts: Sequence[str] = ()) -> None:
        self._open = True
        registry = _Registry(self)
        # Prometheus's OTLP ingestion makes no labels from the scope either: so series have the same labels, pushed or pulled.
        super().__init__(scope_info_enabled=False, registry=registry)
        self._server = PullServer(host, port, registry, allowed_hosts)
        self.port: int = self._server.server_port
        self.address = f"http://{host}:{self.port}/metrics"

    def scrape(self, collect: Callable[[], Iterable[Metric]]) -> list[Metric]:
        """Return the metrics for one scrape.

        Args:
            collect: gives the metrics, at each scrape.
        """
        with self._collecting:
            self._received = False
            metrics = list(collect())
            if (
                not self._received and (ours := self._merged(None)) is not None
            ):  # the SDK had no metrics, and so did not call `_receive_metrics`
                super()._receive_metrics(encodable.metrics(ours))
                metrics = list(collect())
            return metrics

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._received = True
        super()._receive_metrics(encodable.metrics(self._merged(metrics_data) or metrics_data), timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Do nothing: Prometheus pulls the metrics."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Free the port."""
        if self._open:
            self._open = False
            if not self.is_inherited():
                self._server.shutdown()
            self._server.server_close()

    def renew(self, provider: MeterProvider) -> None:
        """Leave the port to the parent, after a fork, in the child. The parent is informed as soon as this process counts something."""
        provider.remove_metric_reader(self)
        announce(self.port, forked=True)


class _Registry(CollectorRegistry):
    def __init__(self, pull: Pull) -> None:
        super().__init__()
        self._pull = pull

    def collect(self) -> Iterable[Metric]:
        return self._pull.scrape(super().collect)
