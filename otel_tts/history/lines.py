"""Where in local metrics files the line of a moment stands, so that only the lines needed are read and decoded."""

from __future__ import annotations

import re
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otel_tts import files
from otel_tts.files import Partition

_TIME = re.compile(rb'"timeUnixNano":"(\d+)"')  # that of the first point; all points of a line have the same
_REQUEST = b'{"resourceMetrics":'


@dataclass(slots=True)
class _File:
    """What is known of a file: when its lines were written (seconds since the Unix epoch), where they begin, and where it ends."""

    times: array[float] = field(default_factory=lambda: array("d"))
    begins: array[int] = field(default_factory=lambda: array("Q"))
    read: int = 0


class Lines:
    """The lines of metrics files. Each is looked at once, and what has come since is found the next time."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}
        self._lock = threading.Lock()
        self.spoilt = 0
        """How many lines turned out to be unreadable."""

    def backwards(self, written: Sequence[Partition], until: float) -> Iterator[tuple[float, bytes]]:
        """The lines of one writer up to a moment, the last first, each with its time."""
        for partition in reversed(written):
            if partition.start > until:
                continue
            known = self._known(partition.path)
            for number in range(bisect_right(known.times, until) - 1, -1, -1):
                with partition.path.open("rb") as file:
                    file.seek(known.begins[number])
                    yield known.times[number], file.readline()

    def _known(self, path: Path) -> _File:
        with self._lock:
            known = self._files.setdefault(path, _File())
            for offset, line in files.lines(path, known.read):
                if time := _TIME.search(line, line.rfind(_REQUEST)):  # what a crash left may stand in front
                    known.times.append(int(time[1]) / 1e9)
                    known.begins.append(known.read)
                elif files.parse(line) is None:
                    self.spoilt += 1
                known.read = offset
            return known
