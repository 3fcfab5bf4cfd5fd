"""Pipeline: flush and shutdown of all signals at the same time, within a time limit, also at exit, on SIGTERM and after forks."""

from __future__ import annotations

import atexit
import gc
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider

from otel_tts.core import fork
from otel_tts.core.deferred import run_deferred
from otel_tts.core.guard import guard
from otel_tts.core.underway import UNDER_WAY
from otel_tts.sdk.ending import Ending
from otel_tts.sdk.killed import Children
from otel_tts.sdk.locks import renew_all_locks, renew_locks
from otel_tts.sdk.losses import LOSSES
from otel_tts.settings import Settings

if TYPE_CHECKING:
    from otel_tts.sdk.metrics import Holdable

_logger = logging.getLogger(__name__)
_LOST = (
    "What was left at the end of this process did not leave in time and is lost: %s. See whether the receiver is up; `otel-tts doctor` "
    "says which hop is broken."
)
_ENDING_S = 0.5  # for RPCs that are about to end when the pipeline shuts down


class Lane:
    """A daemon thread for the flush and shutdown of one signal, so that an endpoint that hangs delays neither the others nor the exit.

    It is started in advance: some Python releases (3.12) cannot start a thread while ``atexit`` functions run.

    Args:
        name: of its thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.start()

    def start(self) -> None:
        """Start the thread; in a forked child, start it again."""
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], LaneCall]] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(self._calls,), name=f"otel-tts-{self._name}", daemon=True).start()

    def submit(self, function: Callable[[], object]) -> LaneCall:
        """Call ``function`` in the thread."""
        call = LaneCall()
        self._calls.put((function, call))
        return call

    def _run(self, calls: queue.SimpleQueue[tuple[Callable[[], object], LaneCall]]) -> None:
        while True:
            function, call = calls.get()
            try:
                call.succeeded = function() is not False
            except Exception as error:  # an exporter may raise anything
                is_new = guard.is_new(f"Lane {self._name}", error)
                _logger.warning("Telemetry (%s) could not be flushed (%s).", self._name, type(error).__name__, exc_info=is_new)
            call.done.set()


@dataclass(slots=True)
class LaneCall:
    """The result of a call in a lane."""

    done: threading.Event = field(default_factory=threading.Event)
    succeeded: bool = False

    def wait(self, deadline: float) -> bool:
        """Return whether it succeeded before ``deadline``, a reading of ``time.monotonic()``."""
        return self.done.wait(max(0.0, deadline - time.monotonic())) and self.succeeded


@dataclass(frozen=True, slots=True)
class SignalExport:
    """The export of one signal: how to flush it and, unless the provider is the host's own, how to stop it."""

    signal: str
    description: str
    flush: Callable[[], object] = lambda: True
    stop: Callable[[], object] | None = None

    @property
    def described(self) -> str:
        """What is sent, and where, for people."""
        return f"{self.signal} to {self.description}"


class Pipeline(fork.ForkAware):
    """The pipeline that :func:`otel_tts.configure` has set up.

    Args:
        exports: of the signals.
        readers: of the meter provider.
        off: why there are no exports.

    Attributes:
        tracer_provider: the tracer provider in use: ours, or the host's own.
        meter_provider: the meter provider in use.
        logger_provider: the logger provider in use.
        settings: the settings in use.
        data_dir: the directory of the local files; None without local files.
        prometheus_port: the port of the pull endpoint; None without one.
    """

    def __init__(
        self,
        settings: Settings,
        tracer_provider: trace.TracerProvider,
        meter_provider: metrics.MeterProvider,
        logger_provider: _logs.LoggerProvider,
        exports: Sequence[SignalExport] = (),
        *,
        readers: Sequence[Holdable] = (),
        data_dir: Path | None = None,
        prometheus_port: int | None = None,
        off: str = "",
    ) -> None:
        self.settings = settings
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.logger_provider = logger_provider
        self.data_dir = data_dir
        self.prometheus_port = prometheus_port
        self._exports = [(export, Lane(export.signal)) for export in exports]
        self._readers = readers
        self._off = off
        self._collector: Lane | None = None
        self._result: bool | None = None
        # Reentrant: a signal handler of the host may call shutdown in the middle of it, in the same thread, and would wait for ever.
        self._lock = threading.RLock()
        self._ending: Ending | None = None
        self._children: Children | None = None
        if exports:
            self._children = Children()
            self._collector = Lane("collector")
            atexit.register(self.shutdown)
            fork.register(self)
            self._ending = Ending(self._end, self.flush)

    @property
    def has_ended(self) -> bool:
        """Whether it was shut down."""
        return self._result is not None

    def describe(self) -> list[str]:
        """Return where each signal goes, as one line each, for people."""
        return [f"{export.signal}: {export.description}" for export, _ in self._exports] or [f"everything: {self._off}"]

    def flush(self, timeout: float | None = None) -> bool:
        """Export what has been recorded so far, including the host's own providers.

        Args:
            timeout: the time limit in seconds; by default ``settings.shutdown_timeout``.

        Returns:
            Whether it was done in time, and nothing was dropped since the last call: local files that could not take it, or a receiver
            that refused it or could not be reached. The log says which.
        """
        deadline = self._deadline(timeout)
        run_deferred()
        return _exported([lane.submit(export.flush) for export, lane in self._exports], deadline)

    def shutdown(self, timeout: float | None = None) -> bool:
        """End open requests, export what has been recorded, and stop. The host's own providers go on. A second call does nothing.

        RPCs and requests that are still open count as stopped by the service, with the error type ``shutdown``; those whose response
        was sent, or whose server is stopping, get a short time to end by themselves.

        Args:
            timeout: the time limit in seconds; by default ``settings.shutdown_timeout``.

        Returns:
            Whether it was done in time, and nothing was dropped since the last call: local files that could not take it, or a receiver
            that refused it or could not be reached. The log says which.
        """
        with self._lock:
            if self._result is None:
                self._result = False
                deadline = self._deadline(timeout)
                if self._children is not None:
                    self._children.look_at_end()  # before the export, which takes along what it logs
                quarter_s = (deadline - time.monotonic()) / 4
                self._find_dropped(quarter_s)  # as long as it takes: what is not found is not counted
                UNDER_WAY.stop(min(_ENDING_S, quarter_s))
                run_deferred()
                stops = [(export, lane.submit(export.stop)) for export, lane in self._exports if export.stop]
                self._result = _exported([stop for _, stop in stops], deadline)
                if late := [export.described for export, stop in stops if not (stop.done.is_set() and stop.succeeded)]:
                    _logger.warning(_LOST, "; ".join(late))
                if self._children is not None:
                    self._children.end()
                atexit.unregister(self.shutdown)  # last: so the exit waits here for another thread that shuts down
            return self._result

    def _find_dropped(self, timeout_s: float) -> None:
        """Find requests that were dropped in a circle of references: they are not open, only not collected yet.

        In a thread of ours: the caller may be a signal handler, which interrupted code that a finaliser would wait for.
        """
        run_deferred()
        if self._collector is not None and UNDER_WAY.items():
            self._collector.submit(gc.collect).wait(time.monotonic() + timeout_s)

    def handle_sigterm(self) -> None:
        """Flush if SIGTERM would end the process at once. Handlers of the host are not changed: see `Ending`.

        Raises:
            ValueError: called in another thread than the main one, where Python allows no signal handlers.
        """
        if self._ending is not None:
            self._ending.take_sigterm()

    def _end(self) -> None:
        """Flush and stop, since the process ends now. The host's own providers are flushed, too: no ``atexit`` function will do it."""
        UNDER_WAY.end()
        deadline = self._deadline(None)
        jobs = [lane.submit(export.flush) for export, lane in self._exports if not export.stop]
        self.shutdown()
        _all(jobs, deadline)

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.settings.shutdown_timeout if timeout is None else timeout)

    def before_fork(self) -> None:
        """Stop collections during the fork: a lock that one holds would stay held in the child."""
        for reader in self._readers:
            reader.hold()

    def after_fork_in_parent(self) -> None:
        """Let collections start again."""
        for reader in self._readers:
            reader.release()

    def after_fork_in_child(self) -> None:
        """Start our threads, locks and readers again; the SDK does the same for its export threads and the resource.

        The order matters: readers can register only with new locks, and the locks of the series exist only after that.
        """
        self._lock = threading.RLock()
        for lane in (*(lane for _, lane in self._exports), self._collector):
            if lane is not None:
                lane.start()
        if isinstance(self.meter_provider, MeterProvider):
            renew_locks(self.meter_provider)
            for reader in self._readers:
                reader.renew(self.meter_provider)
            renew_all_locks(self.meter_provider)


def without_exports(
    reason: str,
    settings: Settings,
    tracer_provider: trace.TracerProvider | None,
    meter_provider: metrics.MeterProvider | None,
    logger_provider: _logs.LoggerProvider | None,
) -> Pipeline:
    """Return a pipeline that exports nothing and starts nothing.

    Args:
        reason: why, for people.
        settings: the settings in use.
        tracer_provider: the host's; None: the global one.
        meter_provider: likewise.
        logger_provider: likewise.
    """
    return Pipeline(
        settings,
        tracer_provider or trace.get_tracer_provider(),
        meter_provider or metrics.get_meter_provider(),
        logger_provider or _logs.get_logger_provider(),
        off=reason,
    )


def _exported(calls: Sequence[LaneCall], deadline: float) -> bool:
    in_time = _all(calls, deadline)
    return not LOSSES.take() and in_time


def _all(calls: Sequence[LaneCall], deadline: float) -> bool:
    results = [call.wait(deadline) for call in calls]
    return all(results)
