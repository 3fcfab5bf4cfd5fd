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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np

from otel_tts import files, semconv
from otel_tts.files import Partition
from otel_tts.history.columns import Columns
from otel_tts.history.requests import SAID

_FORMAT = 1
_STATE = "state"
_WORTH_KEEPING = 1 << 20
"""New bytes of a traces file from which on its index is written anew."""
_MEMORY = 64 << 20
"""Bytes of columns that stay in memory; the rest is loaded again when it is asked for."""
_PROOF = 4096
"""Bytes before the end of what is known by which the file is known again."""
_SETTLED = 60.0
"""Seconds after its hour from which on nobody writes to a file any more."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a traces file: its requests up to a byte offset, and how many lines before it could not be read."""

    columns: Columns
    read: int = 0
    spoilt: int = 0
    kept: int = 0  # bytes of which the file in the index knows


class Index:
    """The requests of all traces files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / ".index"
        self._files: OrderedDict[str, _Known] = OrderedDict()
        self._spoilt: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def spoilt(self) -> int:
        """How many lines that could not be read there were in the files that were asked for."""
        return sum(self._spoilt.values())

    def of(self, partition: Partition) -> Columns:
        """The requests of a file, with what has come since the last time."""
        with self._lock:
            return self._of(partition)

    def _of(self, partition: Partition) -> Columns:
        name = partition.path.name
        known = self._files.pop(name, None) or self._loaded(partition) or _Known(Columns.of([]))
        with suppress(FileNotFoundError):
            if partition.path.stat().st_size > known.read:
                known = self._kept(partition, _more(partition.path, known))
        self._files[name] = known
        self._spoilt[name] = known.spoilt
        while len(self._files) > 1 and sum(other.columns.size for other in self._files.values()) > _MEMORY:
            self._files.popitem(last=False)
        return known.columns

    def tidy(self, partitions: Sequence[Partition]) -> None:
        """Delete what belongs to files that are no more; ``partitions`` are all that are left."""
        names = {partition.path.name for partition in partitions}
        for path in self._directory.glob("*.npz"):
            if path.name.removesuffix(".npz") not in names:
                with suppress(OSError):
                    path.unlink()

    def _loaded(self, partition: Partition) -> _Known | None:
        try:
            with self._path(partition).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                number, read, spoilt, proof = (int(value) for value in arrays[_STATE])
                if number == _FORMAT and proof == _proof(partition.path, read):
                    return _Known(Columns.load(arrays), read, spoilt, kept=read)
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error):
            pass  # there is none, or it is no use: the file is read again
        return None

    def _kept(self, partition: Partition, known: _Known) -> _Known:
        """The same, written into the index when that is worth it."""
        new = known.read - known.kept
        if new < _WORTH_KEEPING and not (new and partition.end + _SETTLED < time.time()):
            return known
        path = self._path(partition)
        written = path.with_name(f"{path.name}.{os.getpid()}")
        arrays: dict[str, Any] = dict(known.columns.arrays)
        arrays[_STATE] = np.array([_FORMAT, known.read, known.spoilt, _proof(partition.path, known.read)], dtype=np.int64)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with written.open("wb") as file:
                np.savez(file, **arrays)
            written.replace(path)
        except OSError:  # it may not be written, or the disk is full
            with suppress(OSError):
                written.unlink()
            return known
        return replace(known, kept=known.read)

    def _path(self, partition: Partition) -> Path:
        return self._directory / f"{partition.path.name}.npz"


def _proof(path: Path, read: int) -> int:
    """Of the bytes before an offset."""
    with path.open("rb") as file:
        file.seek(max(0, read - _PROOF))
        return zlib.crc32(file.read(min(read, _PROOF)))


def _more(path: Path, known: _Known) -> _Known:
    """What is known when the file has been read on to its end."""
    rows: list[Row] = []
    read, spoilt = known.read, known.spoilt
    for offset, line in files.lines(path, known.read):
        read = offset
        found = files.decode(line, _rows)
        if found is None:
            spoilt += 1
        else:
            rows += found
    columns = Columns.joined([known.columns, Columns.of(rows)]) if rows else known.columns
    return replace(known, columns=columns, read=read, spoilt=spoilt)


Row = tuple[Any, ...]
_VALUES = {"string": ("stringValue",), "boolean": ("boolValue",), "int": ("intValue",), "double": ("doubleValue", "intValue")}
_SAID = {attribute.key: (number, _VALUES[attribute.type]) for number, attribute in enumerate(SAID.values())}


class _Attribute(msgspec.Struct, gc=False):
    key: str
    value: dict[str, Any] = {}


class _Span(msgspec.Struct, gc=False):
    traceId: str  # noqa: N815 - OTLP/JSON's own names
    spanId: str  # noqa: N815
    startTimeUnixNano: int | str  # noqa: N815
    endTimeUnixNano: int | str  # noqa: N815
    name: str = ""
    attributes: msgspec.Raw = msgspec.Raw(b"[]")


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Process(msgspec.Struct):
    attributes: list[_Attribute] = []


class _Resource(msgspec.Struct):
    resource: _Process = msgspec.field(default_factory=_Process)
    scopeSpans: list[_Scope] = []  # noqa: N815


class _Export(msgspec.Struct):
    resourceSpans: list[_Resource] = []  # noqa: N815


_export = msgspec.json.Decoder(_Export)
_attributes = msgspec.json.Decoder(list[_Attribute])


def _rows(export: bytes) -> list[Row]:
    """The fields of each request of an export. Raises ValueError when it cannot be read.

    Only what requests need is decoded, which is many times faster than all.
    """
    return [
        _row(span, service, version)
        for resource in _export.decode(export).resourceSpans
        for service, version in [_service(resource.resource)]
        for scope in resource.scopeSpans
        for span in scope.spans
        if span.name == semconv.SYNTHESIS_SPAN.name
    ]


def _service(process: _Process) -> tuple[str, str]:
    said = {attribute.key: attribute.value.get("stringValue", "") for attribute in process.attributes}
    return said.get("service.name", ""), said.get("service.version", "")


def _row(span: _Span, service: str, version: str) -> Row:
    start, end = int(span.startTimeUnixNano), int(span.endTimeUnixNano)
    said: list[Any] = [None] * len(_SAID)
    for attribute in _attributes.decode(span.attributes):
        if (place := _SAID.get(attribute.key)) is not None:
            number, kinds = place
            for kind in kinds:
                if kind in attribute.value:
                    said[number] = int(value) if isinstance(value := attribute.value[kind], str) and kind == "intValue" else value
    return span.traceId, span.spanId, start / 1e9, (end - start) / 1e9, service, version, *said
