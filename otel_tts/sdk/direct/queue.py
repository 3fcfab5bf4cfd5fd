"""Queue of finished spans: bounded, exported in batches by a thread of its own, with an exact count of dropped spans.

A span may end anywhere: in a finaliser, in a signal handler, in a thread that is about to fork. So putting a span into the queue never
waits for a lock: the code that was interrupted may hold it, and would never release it.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import accumulate, islice
from typing import Generic, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_tts.core.alone import run_alone
from otel_tts.core.fork import ForkAware, register
from otel_tts.core.guard import guard

_logger = logging.getLogger(__name__)
T = TypeVar("T")

MOST_SPANS = 65_536
"""The most spans in the queue, unless ``OTEL_BSP_MAX_QUEUE_SIZE`` is set: those of 20 seconds at 1,000 requests per second."""
BYTES = 64 << 20
"""The most bytes in the queue: 65,536 spans of usual size take 46 MB."""
_BATCH, _DELAY_MS = 512, 5_000.0  # the specification's defaults
_BATCH_BYTES = 900_000
"""The most bytes of the spans of a batch, which is one request then, unless its resource is large (`otel_tts.sdk.parts`)."""
_LONGEST_WAIT_S = 5.0  # between attempts to export a batch whose receiver is not available


class Queue(ForkAware, Generic[T]):
    """Finished spans, in the order in which they ended.

    Args:
        export: exports a batch. It returns None when the batch is done, exported or rejected for good. Else the receiver is not available
            now, and it returns the seconds to wait before the next attempt; 0: no minimum. It may take out of the batch what was exported.
        most_spans: the most spans in the queue. If it is full, a new span is dropped, as in the specification of OpenTelemetry: so the
            spans in the queue are in order, and traces that have started stay complete.
        batch: the most spans of one export.
        delay_s: the longest time that a span waits for a full batch, seconds.
        bytes_of: returns the size of a span in bytes.
        most_bytes: the most bytes in the queue.
    """

    def __init__(
        self,
        export: Callable[[list[T]], float | None],
        *,
        most_spans: int,
        batch: int,
        delay_s: float,
        bytes_of: Callable[[T], int] = lambda _: 0,
        most_bytes: int = BYTES,
    ) -> None:
        self._export = export
        self._most_spans = most_spans
        self._bytes_of = bytes_of
        self._most_bytes = most_bytes
        self._batch = batch
        self._delay_s = delay_s
        self._begin()
        register(self)

    @classmethod
    def from_environ(
        cls, export: Callable[[list[T]], float | None], environ: Mapping[str, str], bytes_of: Callable[[T], int] = lambda _: 0
    ) -> Queue[T]:
        """Create a queue with the values of the standard environment variables.

        Args:
            export: exports a batch: see `Queue`.
            environ: the environment variables.
            bytes_of: returns the size of a span in bytes.
        """
        most_spans = round(_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", MOST_SPANS))
        batch = min(most_spans, round(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH)))
        delay_s = _number(environ, "OTEL_BSP_SCHEDULE_DELAY", _DELAY_MS) / 1e3
        return cls(export, most_spans=most_spans, batch=batch, delay_s=delay_s, bytes_of=bytes_of)

    def after_fork_in_child(self) -> None:
        """Start with an empty queue and a new thread: the parent exports what it has recorded."""
        self._begin()

    def _begin(self) -> None:
        self._items: deque[T] = deque()
        self._pending: list[T] = []  # of a batch that could not be exported yet
        self._bytes = 0  # in the queue
        # Held for no call that could run other code: so nobody waits, and `_bytes` fits `_items` whatever a signal handler raises.
        self._counting = threading.RLock()
        self._wait_s = 0.0  # until it is tried again
        self._lost: deque[bool] = deque()  # of each dropped span: whether it ended after the last export
        self._dropped = 0
        self._closed = self._ended = False
        self._deadline = 0.0
        self._exporting = threading.RLock()
        # Held until the thread is to be woken. Releasing it never waits; setting an Event takes a lock, which a signal handler or
        # finaliser might wait for in its own thread, for ever.
        self._due = threading.Lock()
        self._due.acquire()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otel-tts-spans", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many spans were dropped in this process: the queue was full or closed, or the receiver was not available at the end."""
        return self._dropped + len(self._lost) + (len(self._items) if self._ended else 0)

    def put(self, item: T, size_bytes: int | None = None) -> None:
        """Put a span into the queue; drop it, if the queue is full.

        Args:
            item: the span.
            size_bytes: its size, in bytes; None: unknown.
        """
        items = self._items
        waiting = len(items)
        if waiting >= self._most_spans or self._bytes >= self._most_bytes or self._closed:
            self._lost.append(self._closed)
            return
        size = self._bytes_of(item) if size_bytes is None else size_bytes
        with self._counting:
            self._bytes += size
            items.append(item)
        if waiting + 1 >= self._batch:
            self._wake()

    def flush(self, timeout_s: float) -> bool:
        """Export all spans that are in the queue now, and return whether that was done in time.

        Args:
            timeout_s: the time limit, in seconds.
        """
        deadline = time.monotonic() + timeout_s
        left = 1

        def export_all() -> None:
            nonlocal left
            left = len(self._items) + len(self._pending)
            while left > 0:
                done = self._next()
                left -= done
                if not done or time.monotonic() > deadline:
                    return

        return run_alone(self._exporting, export_all, max(0.0, timeout_s)) and left <= 0

    def close(self, timeout_s: float) -> None:
        """Export the spans in the queue, with attempts until the time is over, and stop.

        Args:
            timeout_s: the time limit, in seconds.
        """
        if self._closed:
            return
        self._deadline = time.monotonic() + timeout_s
        self._closed = True
        self._stopping.set()
        self._wake()
        self._thread.join(timeout_s)
        with suppress(IndexError):  # what could not be exported
            while True:
                self._items.popleft()
                self._lost.append(False)
        self._lost.extend([False] * len(self._pending))
        self._pending = []
        self._ended = True
        self._say()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it is released already: the thread is being woken
            self._due.release()

    def _run(self) -> None:
        due, stopping = self._due, self._stopping
        while not stopping.is_set():
            woken = due.acquire(timeout=self._delay_s)
            with self._exporting:
                self._cycle(all_of_them=not woken)
            self._say()
            if self._pending:
                stopping.wait(self._wait_s)
        with self._exporting:
            while self._items or self._pending:
                if self._next():
                    continue
                if time.monotonic() + self._wait_s > self._deadline:
                    break
                time.sleep(self._wait_s)

    def _cycle(self, *, all_of_them: bool) -> None:
        """Export full batches and, when the delay has passed, also the rest of what is in the queue now."""
        rest = len(self._items) if all_of_them else 0
        while not self._stopping.is_set() and (rest > 0 or len(self._items) >= self._batch or self._pending):
            done = self._next()
            if not done:
                return
            rest -= done

    def _next(self) -> int:
        """Export one batch, and return its number of spans; 0 if it could not be exported now."""
        batch = self._pending
        if not batch:
            batch = self._taken()
            if not batch:
                return 0
        self._pending, count = batch, len(batch)
        try:
            with suppress_instrumentation():
                again_s = self._export(batch)
                if again_s is None:  # at once: it would be exported again after what a signal handler raises
                    self._pending = []
        except Exception as error:  # an exporter may raise anything; what it raises at one batch it may not at the next
            guard.pass_on(error)
            is_new = guard.is_new(type(self).__qualname__, error)
            _logger.warning("Spans that could not be exported: %d (%s).", len(batch), type(error).__name__, exc_info=is_new)
            again_s = None
        if again_s is not None:
            self._wait_s = max(again_s, min(_LONGEST_WAIT_S, 2 * self._wait_s or 0.5))
            return 0
        self._pending, self._wait_s = [], 0.0
        return count

    def _taken(self) -> list[T]:
        """Take the next batch from the queue."""
        items = self._items
        most = min(self._batch, len(items))
        if not most:
            return []
        totals = list(accumulate(map(self._bytes_of, map(items.__getitem__, range(most)))))
        count = max(1, bisect_right(totals, _BATCH_BYTES))
        batch: list[T] = []
        self._pending = batch
        with suppress(IndexError):  # none is left
            batch.extend(islice(iter(items.popleft, None), count))  # one call: what a signal handler raises loses none
        with self._counting:
            self._bytes = self._bytes - totals[count - 1] if items else 0
        return batch

    def _say(self) -> None:
        """Log the number of dropped spans; here, since logging must not happen in the thread that ended a span."""
        lost = late = 0
        with suppress(IndexError):
            while True:
                late += self._lost.popleft()
                lost += 1
        self._dropped += lost
        if late:
            _logger.warning(
                "Dropped spans: %d (%d in all): they ended after the last export. If Pipeline.shutdown() is called while requests run, "
                "stop these first, or leave the call out: see docs/shutdown.md.",
                late,
                self._dropped,
            )
        if lost > late:
            _logger.warning(
                "Dropped spans: %d (%d in all): more came than could be exported. The queue takes %d, see OTEL_BSP_MAX_QUEUE_SIZE, "
                "and %d MiB.",
                lost - late,
                self._dropped,
                self._most_spans,
                self._most_bytes >> 20,
            )


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    value = environ.get(name, "").strip()
    if not value:
        return default
    with suppress(ValueError):
        if float(value) > 0:
            return float(value)
    _logger.warning("%s=%r is not allowed: it takes a number above 0. It is taken as %g.", name, value, default)
    return default
