"""The format of the local files: what they are called, and how to read them while others write.

``<directory>/<signal>/<UTC hour>.<writer>.<segment>.jsonl``, say ``traces/2026-11-23T09.4711-9f86d081.0.jsonl``. The hour is
that of writing; a writer is one process's life; the segment counts up when a file grows too large within its hour. Each line is
one OTLP/JSON export request (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/).

A line counts when its newline is there. What a crash tore off is skipped, and what was appended behind it is not lost.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

T = TypeVar("T")
Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
HOUR = 3600

LONGEST_LINE = 32 << 20
"""Bytes of a line; a longer one is no export request of ours, and nobody holds it in memory."""

_NAME = re.compile(r"(?P<hour>\d{4}-\d\d-\d\dT\d\d)\.(?P<writer>[\w-]+)\.(?P<segment>\d+)\.jsonl", re.ASCII)
_HOUR = "%Y-%m-%dT%H"
_REQUEST = re.compile(rb'\{"resource(?:Spans|Metrics|Logs)":')  # how every OTLP/JSON export request begins


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One file. Partitions sort by time of writing."""

    hour: datetime
    writer: str
    segment: int
    path: Path

    @property
    def start(self) -> float:
        """The first moment in which it was written, in seconds since the Unix epoch."""
        return self.hour.timestamp()

    @property
    def end(self) -> float:
        """The moment after which it was no longer written."""
        return self.start + HOUR


def partition(directory: Path, signal: Signal, moment: float, writer: str, segment: int) -> Partition:
    """The file into which ``writer`` writes at ``moment``, in seconds since the Unix epoch."""
    hour = datetime.fromtimestamp(moment // HOUR * HOUR, UTC)
    return Partition(hour, writer, segment, directory / signal / f"{hour.strftime(_HOUR)}.{writer}.{segment}.jsonl")


def partitions(directory: Path, signal: Signal, since: float | None = None, until: float | None = None) -> list[Partition]:
    """The files of ``signal`` written between two moments (seconds since the Unix epoch), oldest first.

    A directory that is not there holds none; files that are named otherwise are not ours.

    Raises:
        PermissionError: the directory may not be read.
    """
    written = []
    for path in _regular(directory / signal):
        if name := _NAME.fullmatch(path.name):
            with suppress(ValueError):  # a number that is no hour, or far too long
                hour = datetime.strptime(name["hour"], _HOUR).replace(tzinfo=UTC)
                written.append(Partition(hour, name["writer"], int(name["segment"]), path))
    first = datetime.fromtimestamp(since, UTC) - timedelta(hours=1) if since is not None else None
    last = datetime.fromtimestamp(until, UTC) if until is not None else None
    return sorted(p for p in written if (first is None or p.hour > first) and (last is None or p.hour <= last))


def _regular(directory: Path) -> Iterator[Path]:
    """The files in a directory, without what would never end when it is read."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file():
                    yield Path(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return


def lines(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The complete lines from a byte offset on, each with the offset that follows it: where to read on another time.

    A file that retention has deleted meanwhile has none. Of a line longer than `LONGEST_LINE`, nothing comes but that it is there.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while line := file.readline(LONGEST_LINE):
            size, whole = len(line), line
            while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                whole, line = b"\n", file.readline(LONGEST_LINE)
                size += len(line)
            if not line.endswith(b"\n"):
                return  # being written, or torn
            offset += size
            yield offset, whole


def parse(line: bytes) -> dict[str, Any] | None:
    """The export request on a line; None when the line holds none."""
    return decode(line, json.loads)


def decode(line: bytes, decoder: Callable[[bytes], T]) -> T | None:
    """What a decoder, which raises ValueError where it cannot, makes of the export request on a line; None when there is none.

    A crash in the middle of a line leaves its beginning in front of the line written next: that one is found again.
    """
    for start in _REQUEST.finditer(line):
        with suppress(ValueError, RecursionError):  # the second: nested without end
            return decoder(line[start.start() :])
    return None


def read(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """The export requests of a file from a byte offset on, each with the offset to read on from another time."""
    for after, line in lines(path, offset):
        if (request := parse(line)) is not None:
            yield after, request
