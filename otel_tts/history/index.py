"""An index of the requests in local traces files, so that each file is read once.

It stands in ``<directory>/.index``, a file beside each traces file's name, and can be deleted at any time. A traces file only ever
grows: what the index knows of it holds for its beginning, and reading goes on where it ended. Where nothing may be written, the
index lives as long as the process.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from otel_tts import files, semconv
from otel_tts.files import Partition
from otel_tts.history.columns import Columns
from otel_tts.history.otlp import Unreadable
from otel_tts.history.partitions import is_readable, readable
from otel_tts.history.requests import Request
from otel_tts.history.table import Row, Table
from otel_tts.history.traces import spans
from otel_tts.settings import EVERYWHERE, Selection

_FORMAT = 2
_STATE = "state"
_WORTH_KEEPING = 1 << 20
"""New bytes of a traces file from which on its index is written anew."""
_SMALL = 64 << 10
"""Bytes of a traces file below which reading it is faster than loading its index, which therefore is not written."""
_MEMORY_BYTES = 64 << 20
"""Bytes of columns that stay in memory; the rest is loaded again when it is asked for."""
_PROOF = 4096
"""Bytes before the end of what is known by which the file is known again."""
_SETTLED = 60.0
"""Seconds after its hour from which on nobody writes to a file any more."""


@dataclass(frozen=True, slots=True)
class _IndexedFile:
    """The indexed part of a traces file: its requests up to a byte offset, and the number of unreadable lines before it."""

    columns: Columns
    read: int = 0
    spoilt: int = 0
    kept: int = 0  # bytes of which the file in the index knows


class Index:
    """The requests of all traces files of a directory.

    Args:
        directory: of local files.
    """

    def __init__(self, directory: Path, selection: Selection = EVERYWHERE) -> None:
        """``selection``: whose requests. What is on disk is of all processes: a part of them is read from the files."""
        self._selection = selection
        self._directory = directory / ".index"
        self._files: OrderedDict[str, _IndexedFile] = OrderedDict()
        self._bytes = 0  # of all columns in memory
        self._spoilt: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def spoilt(self) -> int:
        """The number of unreadable lines in the files that were read."""
        return sum(self._spoilt.values())

    def columns(self, partition: Partition) -> Columns:
        """Give the requests of a file, and read what was added since the last call.

        Args:
            partition: the file.
        """
        with self._lock:
            return self._columns_of_file(partition)

    def _columns_of_file(self, partition: Partition) -> Columns:
        name = partition.path.name
        file = self._files.pop(name, None)
        self._bytes -= file.columns.size if file else 0
        size = 0
        with suppress(OSError):  # it is gone
            size = partition.path.stat().st_size
        file = (
            file
            or (self._loaded(partition) if size >= _SMALL and not self._selection else None)
            or _IndexedFile(Columns.from_rows([]))
        )
        if size > file.read:
            with suppress(OSError):
                file = self._kept(partition, _more(partition.path, file, self._selection))
        self._files[name] = file
        self._bytes += file.columns.size
        self._spoilt[name] = file.spoilt
        while len(self._files) > 1 and self._bytes > _MEMORY_BYTES:
            _, oldest = self._files.popitem(last=False)
            self._bytes -= oldest.columns.size
        return file.columns

    def tidy(self, partitions: Sequence[Partition]) -> None:
        """Delete the entries of files that were deleted; ``partitions`` are all files that are left."""
        names = {partition.path.name for partition in partitions}
        for path in self._directory.glob("*.npz"):
            if path.name.removesuffix(".npz") not in names:
                with suppress(OSError):
                    path.unlink()

    def _loaded(self, partition: Partition) -> _IndexedFile | None:
        try:
            with self._path(partition).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                number, read, spoilt, proof = (int(value) for value in arrays[_STATE])
                if number == _FORMAT and proof == _proof(partition.path, read):
                    return _IndexedFile(Columns.load(arrays), read, spoilt, kept=read)
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error):
            pass  # there is none, or it is no use: the file is read again
        return None

    def _kept(self, partition: Partition, indexed: _IndexedFile) -> _IndexedFile:
        """Write the entry to the index if enough was added, and return it."""
        new = indexed.read - indexed.kept
        if (
            self._selection
            or indexed.read < _SMALL
            or (new < _WORTH_KEEPING and not (new and partition.end + _SETTLED < time.time()))
        ):
            return indexed
        path = self._path(partition)
        written = path.with_name(f"{path.name}.{os.getpid()}")
        arrays: dict[str, Any] = dict(indexed.columns.arrays)
        arrays[_STATE] = np.array([_FORMAT, indexed.read, indexed.spoilt, _proof(partition.path, indexed.read)], dtype=np.int64)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with written.open("wb") as file:
                np.savez(file, **arrays)
            written.replace(path)
        except OSError:  # it may not be written, or the disk is full
            with suppress(OSError):
                written.unlink()
            return indexed
        return replace(indexed, kept=indexed.read)

    def _path(self, partition: Partition) -> Path:
        return self._directory / f"{partition.path.name}.npz"


def _proof(path: Path, read: int) -> int:
    """A checksum of the bytes before an offset, which shows whether the file was replaced."""
    with path.open("rb") as file:
        file.seek(max(0, read - _PROOF))
        return zlib.crc32(file.read(min(read, _PROOF)))


def _more(path: Path, indexed: _IndexedFile, selection: Selection) -> _IndexedFile:
    """Read the file from where the index ends to the end of the file."""
    table = Table(selection)
    read, unreadable = indexed.read, Unreadable(indexed.spoilt)
    if not is_readable(path):
        return replace(indexed, spoilt=1)
    for offset, line in readable(path, indexed.read):
        read = offset
        if files.decode(line, table.add_export) is None:  # something in it is not as it should be: the rest may be
            table.add(_salvaged(line, unreadable, selection))
    columns = Columns.joined([indexed.columns, table.columns()]) if len(table) else indexed.columns
    return replace(indexed, columns=columns, read=read, spoilt=unreadable.count)


def _salvaged(line: bytes, unreadable: Unreadable, selection: Selection) -> list[Row]:
    """Decode the requests of a line field by field, more slowly, and keep what can be read."""
    if (export := files.parse(line)) is None:
        unreadable.count += 1
        return []
    return [astuple(Request.from_span(span)) for span in spans(export, unreadable, semconv.SYNTHESIS_SPAN.name, selection)]
