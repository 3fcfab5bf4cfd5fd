"""A signal handler of the host may raise anywhere in our code: no lock stays taken, nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_tts.core import fork
from otel_tts.core.alone import run_alone
from otel_tts.sdk.direct.cells import Cell
from otel_tts.sdk.direct.queue import Queue
from otel_tts.sdk.direct.sinks import OTLPSink
from otel_tts.sdk.direct.span import Span
from otel_tts.sdk.direct.tracer import TracerProvider as DirectTracerProvider
from otel_tts.sdk.log_records import Masked
from otel_tts.sdk.logs import ExportHandler
from otel_tts.sdk.metrics import Holdable
from tests.core.test_guard import JobTimeoutError, interrupted, out_of_time
from tests.core.test_turn import interrupt

LONG = 60  # seconds that a thread of a test waits at most
DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE


def is_free(lock: Any) -> bool:
    """Return whether another thread can take a lock at once."""
    taken: list[bool] = []

    def take() -> None:
        taken.append(lock.acquire(False))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(LONG)
    return taken == [True]


@pytest.mark.parametrize("values", [1, 15, 16, 40])
def test_a_series_keeps_every_value(values: int) -> None:
    """Recording and collecting, cut off at each point: a reader that adds up gets each value that was recorded, once."""
    point, cut_off = 1, True
    while cut_off:
        steady, other = object(), object()
        cell = Cell({}, (1.0, 2.0), [steady])
        recorded = 0

        def work(cell: Cell = cell, other: object = other) -> None:
            nonlocal recorded
            for number in range(values):
                cell.record(number % 3, None)
                recorded += 1
            cell.open(other, 1)
            cell.collect(other, DELTA, 2, None)
            cell.close(other)

        cut_off = interrupt(point, work)
        assert is_free(cell._lock), f"taken since the signal at {point}"
        data = cell.collect(steady, CUMULATIVE, 3, None)
        count = 0 if data is None else data.count
        assert recorded <= count <= recorded + 1, f"recorded: {recorded}, counted: {count}, after the signal at {point}"
        assert count == 0 or (data is not None and sum(data.bucket_counts) == count)
        point += 1
    assert point > values


@pytest.mark.parametrize("sizes", [[1], [3, 4], [600_000, 600_000, 1, 2]], ids=str)
@pytest.mark.parametrize("within", ["otel_tts.", "opentelemetry."])
def test_the_queue_of_spans_keeps_each_span_and_its_bytes(sizes: list[int], within: str) -> None:
    """Putting and flushing, cut off at each point: each span is exported once, and the bytes are those of the spans in the queue."""
    point, cut_off = 1, True
    exported: list[int] = []
    spans: Queue[int] = Queue(lambda _: None, most_spans=100, batch=50, delay_s=3600, bytes_of=lambda number: sizes[number])
    while cut_off:
        exported.clear()
        put = 0

        def export(batch: list[int]) -> None:
            exported.extend(batch)

        spans._export = export

        def work() -> None:
            nonlocal put
            for number in range(len(sizes)):
                spans.put(number)
                put += 1
            spans.flush(LONG)

        cut_off = contextvars.copy_context().run(interrupt, point, work, within)
        assert is_free(spans._exporting), f"taken since the signal at {point}"
        assert is_free(spans._counting), f"taken since the signal at {point}"
        if not spans._pending:
            assert spans._bytes == sum(sizes[number] for number in spans._items), f"after the signal at {point}"
        assert spans.flush(LONG)
        assert exported in (list(range(put)), list(range(put + 1))), f"after the signal at {point}"
        spans.put(0)
        assert spans.flush(LONG)
        assert spans._bytes == 0, f"after the signal at {point}"
        point += 1
    spans.close(LONG)
    assert point > 5


def test_the_time_limit_of_a_job_passes_an_export_and_loses_no_span() -> None:
    """An exception of the host's handler, of any class, in the middle of an export reaches the host, and the spans stay."""
    exported: list[int] = []

    class TimeLimitError(Exception):
        """As RQ and Celery raise it."""

    def end_the_job(*_: object) -> None:
        raise TimeLimitError

    def export(batch: list[int]) -> None:
        if not exported and not cut_off:
            cut_off.append(True)
            signal.raise_signal(signal.SIGUSR1)
        exported.extend(batch)

    cut_off: list[bool] = []
    spans: Queue[int] = Queue(export, most_spans=100, batch=50, delay_s=3600)
    before = signal.signal(signal.SIGUSR1, end_the_job)
    try:
        spans.put(1)
        with pytest.raises(TimeLimitError):
            spans.flush(LONG)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert spans.flush(LONG)
    assert exported == [1]
    assert spans.dropped == 0
    spans.close(LONG)


class Reader(Holdable, InMemoryMetricReader):
    """A reader that a fork holds."""

    def renew(self, provider: object) -> None:
        """Do nothing: the child of this test ends at once."""


class Process(fork.ForkAware):
    """What holds its readers at a fork, as a pipeline does."""

    def __init__(self, readers: list[Reader]) -> None:
        self._readers = readers
        fork.register(self)

    def before_fork(self) -> None:
        for reader in self._readers:
            reader.hold()

    def after_fork_in_parent(self) -> None:
        for reader in self._readers:
            reader.release()

    def after_fork_in_child(self) -> None:
        pass


def fork_cut_off(where: str) -> None:
    """Fork with two readers, cut off at each point in turn. For a process of its own."""
    vars(fork)["_owners"] = {}
    sys.unraisablehook = lambda _: None  # Python ignores what is raised while it forks
    readers = [Reader(), Reader()]
    process = Process(readers)

    def work() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def collect() -> None:
        with readers[0]._collecting:
            work()

    point, cut_off = 1, True
    while cut_off:
        cut_off = interrupt(point, work if where == "outside" else collect)
        for reader in readers:
            assert is_free(reader._collecting), f"taken since the signal at {point}"
        point += 1
    assert point > 10
    assert fork.registered() == [process]


@pytest.mark.parametrize("where", ["outside", "in a collection"])
def test_a_fork_lets_every_reader_go_on(where: str) -> None:
    """A fork, cut off at each point, also one that a callback of a collection starts: other threads can collect afterwards."""
    # Beside other tests, gRPC would hold each fork up for seconds, and a child of the test would be one of all tests.
    script = f"from tests.sdk.test_interrupted import fork_cut_off; fork_cut_off({where!r})"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LONG, check=False)
    assert (child.returncode, child.stderr) == (0, "")


def test_whoever_waits_for_a_lock_goes_on() -> None:
    """A lock of another thread is waited for as long as asked, and one of this thread not at all: it would be for ever."""
    lock, taken, over = threading.RLock(), threading.Event(), threading.Event()
    runs: list[str] = []

    def hold() -> None:
        with lock:
            taken.set()
            over.wait(LONG)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(LONG)
    assert not run_alone(lock, lambda: runs.append("at once"))
    assert not run_alone(lock, lambda: runs.append("soon"), 0.01)
    threading.Timer(0.01, over.set).start()
    assert run_alone(lock, lambda: runs.append("then"), LONG)
    thread.join(LONG)
    assert run_alone(lock, lambda: runs.append(str(run_alone(lock, lambda: runs.append("inside"), LONG))))
    assert runs == ["then", "False"]
    assert is_free(lock)


def test_the_time_limit_of_a_job_reaches_the_host_from_our_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of the host's handler, wherever our SDK ends a span or exports a log record: the job ends by it, as without us."""

    class Sink:
        def send(self, *_: object) -> None:
            return None

        def close(self) -> None:
            """There is nothing to close."""

    lost: list[object] = []  # by Python, which ignores what is raised in a finaliser
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    records = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(Masked(SimpleLogRecordProcessor(records)))
    handler = ExportHandler(loggers, capture_text=False)
    sink = OTLPSink(Sink(), {}, capture_text=False)
    spans = [
        DirectTracerProvider(sink, Resource({})).get_tracer("ours"),
        TracerProvider(shutdown_on_exit=False).get_tracer("other"),
    ]
    error = ValueError("a message that is long enough")

    def end(span: Any) -> Callable[[], object]:
        span.set_attributes({"number": 1, "names": ["a", "b"]})
        span.record_exception(ValueError("no"))
        return span.end if isinstance(span, Span) else lambda: sink.take(span)

    class HostError(Exception):
        """Of the host, with a text of its own."""

        def __str__(self) -> str:
            return "a text of the host"

    def log_in_a_handler() -> None:
        try:
            raise HostError  # noqa: TRY301 - as a host does
        except HostError:
            handler.emit(logging.makeLogRecord({"msg": "failed: %s", "args": (1,), "name": "host", "levelno": logging.ERROR}))

    def log() -> None:
        values = {"msg": "%s: %s", "args": ("text", [error]), "exc_info": (type(error), error, None), "levelno": logging.ERROR}
        handler.emit(logging.makeLogRecord({**values, "name": "host", "extra": error}))

    works: list[Callable[[], Callable[[], object]]] = [
        *(lambda tracer=tracer: end(tracer.start_span("a span")) for tracer in spans),  # type: ignore[misc]  # of two libraries
        lambda: log,
        lambda: log_in_a_handler,
    ]

    before = signal.signal(signal.SIGUSR1, out_of_time)
    try:
        for number, make in enumerate(works):
            point = 0
            while True:
                point += 1
                work = make()
                try:
                    reached = contextvars.copy_context().run(interrupted, point, work, ("otel_tts.", "logging", __name__))
                except JobTimeoutError:
                    continue
                if not reached:
                    break
                assert lost, f"lost at {point} of {number}"
                lost.clear()
            assert point > 3
        assert len(records.get_finished_logs()) >= 2
    finally:
        signal.signal(signal.SIGUSR1, before)
        sink.close(LONG)
