"""What the host gets in place of an object of ours that could not be made: everything passes through, nothing is measured."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any, Self

from opentelemetry.context import Context, get_current


class NoOp:
    """Stands in for a Synthesis, an Attempt or a Lookup. Its methods take whatever theirs take."""

    trace_id = ""
    sampled = False
    outcome = None

    @property
    def context(self) -> Context:
        """Nothing is changed: the current one."""
        return get_current()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        """``add_text``, ``fail``, ``score``, …: nothing to do. Blocks (``attempt``, ``lookup``, …) are this object again."""
        return lambda *args, **kwargs: self

    def audio(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """The data, as it is."""
        return data

    found = audio

    def deliver(self, audio: Any, *args: Any, **kwargs: Any) -> Any:
        """Bytes as they are, chunks as an iterator."""
        return audio if isinstance(audio, bytes | bytearray | memoryview) else self.stream(audio)

    def stream(self, chunks: Any, *args: Any, **kwargs: Any) -> Any:
        """The chunks, as an iterator."""
        return aiter(chunks) if isinstance(chunks, AsyncIterable) else iter(chunks)

    text_from = stream


NOOP: Any = NoOp()
