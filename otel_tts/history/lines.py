"""Where in local metrics files the line of a moment stands, so that only the lines needed are read and decoded."""

from __future__ import annotations

import re
import threading
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_tts import files
from otel_tts.files import Partition
from otel_tts.history.partitions import is_readable, readable
from otel_tts.settings import EVERYWHERE, Selection

_TIME = re.compile(rb'"timeUnixNano"\s*:\s*"(\d{1,19})"')  # that of the first point; all points of a line have the same
_MOST_SERIES = 100_000
"""Decoded series that stay in memory: some 100 MB of histograms."""
_REQUEST = b'{"resourceMetrics"'


@dataclass(slots=True)
class _File:
    """The index of a file: when its lines were written (seconds since the Unix epoch), where they begin, and where it ends."""

    times: array[float] = field(default_factory=lambda: array("d"))
    begins: array[int] = field(default_factory=lambda: array("Q"))
    read: int = 0


class Decoded:
    """What was decoded of lines last, for whoever asks again: of thousands of short processes, each has a line at each end of a window."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._series = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """What was kept by this key; None without.

        Args:
            key: of the line and of what was asked for.
        """
        return self._kept.get(key)

    def keep(self, key: Hashable, series: Sized) -> None:
        """Keep the series of a line, and forget those that came first where there are too many.

        Args:
            key: of the line and of what was asked for.
            series: what was decoded.
        """
        with self._lock:
            if key not in self._kept:
                self._kept[key] = series
                self._series += len(series)
            while len(self._kept) > 1 and self._series > _MOST_SERIES:
                _, first = self._kept.popitem(last=False)
                self._series -= len(first)


class Lines:
    """The lines of metrics files. Each is read once; lines that were added are read at the next call."""

    def __init__(self, selection: Selection = EVERYWHERE) -> None:
        """``selection``: whose series are decoded."""
        self.selection = selection
        self.decoded = Decoded()
        self._files: dict[Path, _File] = {}
        self._lock = threading.Lock()
        self._spoilt = 0
        self._denied: set[Path] = set()
        self._faults: dict[int, int] = {}

    @property
    def spoilt(self) -> int:
        """The number of unreadable lines, files, and fields of other lines."""
        return self._spoilt + len(self._denied) + sum(self._faults.values())

    def note(self, line: bytes, faults: int) -> None:
        """Note the number of unreadable fields of a line. A line that is noted twice counts once.

        Args:
            line: of a file of an export.
            faults: how many fields, spans or lines of it cannot be read.
        """
        if faults:
            self._faults[zlib.crc32(line)] = faults

    def backwards(self, written: Sequence[Partition], until: float) -> Iterator[tuple[float, bytes]]:
        """The lines of one writer up to a moment, newest first, each with its time.

        Args:
            written: the files.
            until: up to when, in seconds since the Unix epoch.
        """
        for partition in reversed(written):
            if partition.start > until:
                continue
            file = self._read_on(partition.path)
            for number in range(bisect_right(file.times, until) - 1, -1, -1):
                for _, line in readable(partition.path, file.begins[number]):
                    yield file.times[number], line
                    break

    def newest(self, written: Sequence[Partition]) -> float | None:
        """The time of the newest line of some files; None without any.

        Args:
            written: the files.
        """
        return max((file.times[-1] for partition in written if (file := self._read_on(partition.path)).times), default=None)

    def _read_on(self, path: Path) -> _File:
        with self._lock:
            file = self._files.setdefault(path, _File())
            if not file.read and not is_readable(path):
                self._denied.add(path)
            for offset, line in readable(path, file.read):
                if time := _TIME.search(line, line.rfind(_REQUEST)):  # what a crash left may stand in front
                    file.times.append(int(time[1]) / 1e9)
                    file.begins.append(file.read)
                elif files.parse(line) is None or b'"dataPoints"' in line:
                    self._spoilt += 1
                file.read = offset
            return file
