"""The format of the local files: their names, and how to read them while others write.

``<directory>/<signal>/<UTC hour>.<writer>.<segment>.jsonl``, for example ``traces/2026-11-23T09.4711-9f86d081.0.jsonl``. The hour is
that of writing; a writer is one run of a process; the segment counts up when a file grows too large within its hour. Each line is
one OTLP/JSON export request (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/).

A line is complete when its newline is there. A line that a crash has cut off is skipped, and lines after it are still read.
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
"""The most bytes of a line; a longer one is not an export request of ours, and is not kept in memory."""

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
        """The time from which it was written, in seconds since the Unix epoch."""
        return self.hour.timestamp()

    @property
    def end(self) -> float:
        """The time after which it was no longer written, in seconds since the Unix epoch."""
        return self.start + HOUR


def partition(directory: Path, signal: Signal, moment: float, writer: str, segment: int) -> Partition:
    """Return the file into which ``writer`` writes at ``moment``, in seconds since the Unix epoch.

    Args:
        directory: of local files.
        signal: traces, metrics or logs.
        moment: in seconds since the Unix epoch.
        writer: the name of the process that writes.
        segment: the number of the file of this writer, from 0.
    """
    hour = datetime.fromtimestamp(moment // HOUR * HOUR, UTC)
    return Partition(hour, writer, segment, directory / signal / f"{hour.strftime(_HOUR)}.{writer}.{segment}.jsonl")


def partitions(directory: Path, signal: Signal, since: float | None = None, until: float | None = None) -> list[Partition]:
    """Return the files of ``signal`` written between two times (seconds since the Unix epoch), oldest first.

    A missing directory gives none; files with other names are not ours.

    Args:
        directory: of local files.
        signal: traces, metrics or logs.
        since: from when on, in seconds since the Unix epoch; None: from the beginning.
        until: up to when, in seconds since the Unix epoch; None: up to now.

    Raises:
        PermissionError: the directory may not be read.
    """
    written = []
    for path in _regular(directory / signal):
        if name := _NAME.fullmatch(path.name):
            with suppress(ValueError):  # a number that is not an hour, or has far too many digits
                # strptime has a lock, which a fork in the middle of it would leave locked in the child, for the host's calls too.
                hour = datetime.fromisoformat(name["hour"]).replace(tzinfo=UTC)
                written.append(Partition(hour, name["writer"], int(name["segment"]), path))
    first = datetime.fromtimestamp(since, UTC) - timedelta(hours=1) if since is not None else None
    last = datetime.fromtimestamp(until, UTC) if until is not None else None
    return sorted(p for p in written if (first is None or p.hour > first) and (last is None or p.hour <= last))


def _regular(directory: Path) -> Iterator[Path]:
    """Yield the regular files in a directory: reading a pipe or a device might never end."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                with suppress(OSError):  # a link that leads in a circle, or where this user may not look
                    if entry.is_file():
                        yield Path(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return


def lines(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines from a byte offset on, each with the offset after it, from which a later call continues.

    A file that was deleted in the meantime has none. A line longer than `LONGEST_LINE` comes as an empty line.

    Args:
        path: the file.
        offset: in bytes.
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
                return  # being written, or cut off by a crash
            offset += size
            yield offset, whole


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the export request on a line; None without one.

    Args:
        line: of a file of an export, JSON.
    """
    return decode(line, json.loads)


def decode(line: bytes, decoder: Callable[[bytes], T]) -> T | None:
    """Decode the export request on a line; None if there is none. ``decoder`` raises ValueError for invalid input.

    After a crash in the middle of a line, its beginning stands before the next line, which is found all the same.

    Args:
        line: of a file of an export, JSON.
        decoder: raises ValueError for invalid input.
    """
    for start in _REQUEST.finditer(line):
        with suppress(ValueError, RecursionError):  # RecursionError: nested too deeply
            return decoder(line[start.start() :])
    return None


def read(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the export requests of a file from a byte offset on, each with the offset from which a later call continues.

    Args:
        path: the file.
        offset: in bytes.
    """
    for after, line in lines(path, offset):
        if (request := parse(line)) is not None:
            yield after, request
