"""A signal handler of the host may raise anywhere in our code: no lock stays taken, nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

from otel_tts.core import fork
from otel_tts.core.alone import run_alone
from otel_tts.sdk.direct.cells import Cell
from otel_tts.sdk.direct.queue import Queue
from otel_tts.sdk.metrics import Holdable
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
def test_the_queue_of_spans_keeps_each_span_and_its_bytes(sizes: list[int]) -> None:
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

        cut_off = interrupt(point, work)
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
    assert point > 10


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


@pytest.mark.parametrize("where", ["outside", "in a collection"])
def test_a_fork_lets_every_reader_go_on(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork, cut off at each point, also one that a callback of a collection starts: other threads can collect afterwards."""
    monkeypatch.setattr(fork, "_owners", {})
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # Python ignores what is raised while it forks
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
