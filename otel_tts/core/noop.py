"""NoOp: the object that the host gets if one of ours could not be created. All data passes through unchanged, nothing is measured."""

from __future__ import annotations

from typing import Any, Self

from opentelemetry.context import Context, get_current

from otel_tts.core.either import iterated


class NoOp:
    """Replacement of a Synthesis, an Attempt or a Lookup. Its methods accept the same arguments."""

    trace_id = ""
    sampled = False
    outcome = None

    @property
    def context(self) -> Context:
        """The current context, unchanged."""
        return get_current()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        """Return a function that does nothing (``add_text``, ``fail``, …) and returns this object as a block (``attempt``, ``lookup``)."""
        return lambda *args, **kwargs: self

    def audio(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the data unchanged.

        Args:
            data: the audio.
            args: are ignored.
            kwargs: are ignored.
        """
        return data

    found = audio

    def deliver(self, audio: Any, *args: Any, **kwargs: Any) -> Any:
        """Return bytes unchanged, chunks as an iterator.

        Args:
            audio: is returned as it is.
            args: are ignored.
            kwargs: are ignored.
        """
        return audio if isinstance(audio, bytes | bytearray | memoryview) else self.stream(audio)

    def stream(self, chunks: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the chunks as an iterator.

        Args:
            chunks: are returned as they are.
            args: are ignored.
            kwargs: are ignored.
        """
        return iterated(chunks, iter, aiter)

    text_from = stream


NOOP: Any = NoOp()
