"""Text that arrives in pieces, on its way to an engine: it is counted, and so is the time for which it was waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from threading import get_ident
from typing import Protocol

from otel_tts.core.guard import guarded, guarded_or

Place = tuple[int, int]
"""A thread, and the task that runs in it."""


def here() -> Place:
    """Where the caller runs."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        task = None
    return get_ident(), id(task) if task is not None else 0


class TextReader(Protocol):
    """The request that text is for."""

    def text_now(self) -> int:
        """The clock's reading, nanoseconds."""

    def text_piece(self, piece: str, since_ns: int) -> None:
        """A piece came, or nothing more, which is no text; it was waited for since then."""


class CountedText(Iterator[str]):
    """An iterator of pieces."""

    def __init__(self, pieces: Iterable[str], reader: TextReader) -> None:
        self._pieces = iter(pieces)
        self._reader = reader

    def __next__(self) -> str:
        since_ns = _now(self._reader)
        try:
            piece = next(self._pieces)
        except StopIteration:
            _came(self._reader, "", since_ns)
            raise
        _came(self._reader, piece, since_ns)
        return piece


class CountedAsyncText(AsyncIterator[str]):
    """An asynchronous iterator of pieces."""

    def __init__(self, pieces: AsyncIterable[str], reader: TextReader) -> None:
        self._pieces = aiter(pieces)
        self._reader = reader

    async def __anext__(self) -> str:
        since_ns = _now(self._reader)
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            _came(self._reader, "", since_ns)
            raise
        _came(self._reader, piece, since_ns)
        return piece


@guarded_or(lambda _: None)
def _now(reader: TextReader) -> int | None:
    return reader.text_now()


@guarded
def _came(reader: TextReader, piece: str, since_ns: int | None) -> None:
    if since_ns is not None:
        reader.text_piece(piece, since_ns)
