"""The writer of the local files: the official OTLP/JSON file exporters, on files that rotate and expire."""

from __future__ import annotations

import io
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from opentelemetry.exporter.otlp.json.file import FileMetricExporter, FileSpanExporter
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter  # the logs signal is not yet public there
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import Aggregation, ExplicitBucketHistogramAggregation

from otel_tts.files import SIGNALS, Partition, Signal, partition, partitions
from otel_tts.sdk.losses import LOSSES

_logger = logging.getLogger(__name__)

# Readers take differences of cumulative values and merge explicit buckets, whatever OTEL_EXPORTER_OTLP_METRICS_* asks of OTLP.
_INSTRUMENTS = (Counter, Histogram, ObservableCounter, ObservableGauge, ObservableUpDownCounter, UpDownCounter)
_TEMPORALITY: dict[type, AggregationTemporality] = dict.fromkeys(_INSTRUMENTS, AggregationTemporality.CUMULATIVE)
_AGGREGATION: dict[type, Aggregation] = {Histogram: ExplicitBucketHistogramAggregation()}
_SEGMENTS = 32
"""A file is closed within its hour at this fraction of the bytes allowed in total, so that there is something to delete."""
_EXPIRY_INTERVAL_S = 600
"""A process that begins leaves old files to others if one of them has deleted what had to go so recently: there may be many processes."""
_EXPIRY_MARK = ".expiry"
"""The file whose time of modification says when that was."""


class Store:
    """The local files of this process. Another process, a forked child included, needs a Store of its own.

    Args:
        directory: where the files are; it is created if it is missing, readable for its owner only.
        max_age_s: seconds after which a file is deleted.
        max_bytes: bytes of all files together beyond which the oldest are deleted.
        wall: returns the seconds since the Unix epoch.
    """

    def __init__(self, directory: Path, *, max_age_s: float, max_bytes: int, wall: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.wall = wall
        self.writer = (
            f"{os.getpid()}-{secrets.token_hex(4)}"  # a process id is used again later, and in containers it is always 1
        )
        self.segment_bytes = max_bytes // _SEGMENTS
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes

    def span_exporter(self) -> FileSpanExporter:
        """Return an exporter for spans."""
        return FileSpanExporter(stream=self._stream("traces"))

    def metric_exporter(self) -> FileMetricExporter:
        """Return an exporter for metrics: cumulative, with explicit buckets."""
        return FileMetricExporter(
            stream=self._stream("metrics"), preferred_temporality=_TEMPORALITY, preferred_aggregation=_AGGREGATION
        )

    def log_exporter(self) -> FileLogExporter:
        """Return an exporter for log records."""
        return FileLogExporter(stream=self._stream("logs"))

    def expire(self) -> None:
        """Delete files that are too old, or too large together, the oldest first; never one that a process may still be writing.

        Several processes may do this at once.
        """
        now = self.wall()
        self._mark_expiry(now)
        sizes = {}
        for file in sorted(file for signal in SIGNALS for file in partitions(self.directory, signal)):
            with suppress(OSError):
                sizes[file] = file.path.stat().st_size
        newest = {(file.hour, file.writer, file.path.parent): file for file in sizes}
        excess = sum(sizes.values()) - self._max_bytes
        for file, size in sizes.items():
            being_written = now < file.end and file is newest[file.hour, file.writer, file.path.parent]
            if not being_written and (excess > 0 or file.end < now - self._max_age_s):
                with suppress(OSError):
                    file.path.unlink()
                excess -= size

    def is_expiry_due(self) -> bool:
        """Return whether no process has deleted old files lately: it takes longer the more files there are."""
        try:
            age = self.wall() - (self.directory / _EXPIRY_MARK).stat().st_mtime
        except OSError:
            return True
        return not 0 <= age < _EXPIRY_INTERVAL_S

    def _mark_expiry(self, now: float) -> None:
        with suppress(OSError):
            mark = self.directory / _EXPIRY_MARK
            # Whatever has its name: a pipe without a reader would be waited for, a link would lead to a file of others.
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600))
            os.utime(mark, (now, now))

    def _stream(self, signal: Signal) -> IO[str]:
        # The exporters take any text stream that has write, flush and closed; typing.IO can only be subclassed in full.
        return cast("IO[str]", _Rotating(self, signal))


class _Rotating(io.TextIOBase):
    """A text stream that continues in another file when the hour changes or the file is full.

    It never raises: if the disk is full or the directory is not writable, telemetry is lost, which is logged once until it works again.
    """

    def __init__(self, store: Store, signal: Signal) -> None:
        self._store = store
        self._signal = signal
        self._file: Partition | None = None
        self._descriptor = -1
        self._failing = False
        self._dropped = 0  # exports since it began to fail
        self._torn = False

    def write(self, text: str) -> int:
        """Append a line."""
        data = text.encode()
        try:
            self._rotate()
            self._append(data)
        except OSError as error:
            LOSSES.note()
            if not self._failing:
                _logger.error(  # noqa: TRY400 - the reason says it all
                    "%s cannot be written to %s: %s. They are dropped until that is mended; then it is said how many.",
                    self._signal.capitalize(),
                    self._store.directory,
                    error.strerror,
                )
            self._failing = True
            self._dropped += 1
        else:
            if self._failing:
                _logger.warning(
                    "%s are written to %s again. Exports that were dropped: %d.",
                    self._signal.capitalize(),
                    self._store.directory,
                    self._dropped,
                )
            self._failing, self._dropped = False, 0
        return len(text)

    def close(self) -> None:
        """Close the file that is open; the next exporter starts with another stream."""
        if self._file is not None and not self.closed:
            os.close(self._descriptor)
        super().close()

    def _append(self, data: bytes) -> None:
        if self._torn:  # the last line was written in part: without a newline, this one would be lost with it
            data = b"\n" + data
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self._torn = True
            rest = rest[written:]
        self._torn = False

    def _rotate(self) -> None:
        now = self._store.wall()
        segment = 0
        if self._file is not None and now < self._file.end:
            status = os.fstat(self._descriptor)
            if status.st_size < self._store.segment_bytes and self._is_in_place(self._file.path, status):
                return
            now = max(now, self._file.start)  # the clock may have been set back
            segment = self._file.segment + 1  # it is full, or somebody deleted or moved it
        following = partition(self._store.directory, self._signal, now, self._store.writer, segment)
        for directory in (self._store.directory, following.path.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(following.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        begins = self._file is None
        if not begins:
            os.close(self._descriptor)
        self._file, self._descriptor, self._torn = following, descriptor, False
        if not begins or self._store.is_expiry_due():
            self._store.expire()

    @staticmethod
    def _is_in_place(path: Path, status: os.stat_result) -> bool:
        """Return whether the open file is still where readers look for it."""
        try:
            return os.path.samestat(path.stat(), status)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # nobody can tell now
            return status.st_nlink > 0
