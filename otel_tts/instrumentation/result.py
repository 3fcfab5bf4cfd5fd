"""Results of calls: how their audio is extracted and measured. The host gets the same object, or one that behaves like it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import wrapt

from otel_tts.core.audio import Encoded
from otel_tts.core.container import declared_format
from otel_tts.core.outcome import OK
from otel_tts.core.streams import MeasuredAsyncIterator, MeasuredIterator, Payload
from otel_tts.instrumentation.compression import is_read, reading
from otel_tts.instrumentation.utterance import Utterance

Extractor = Callable[[Any, Utterance], Any]
"""A function that measures the audio in a result, now or while the host pulls it, and returns the result for the host."""


def whole(payload: Payload) -> Extractor:
    """Return the extractor of a result that contains all the audio; ``payload`` returns the audio of it."""

    def extract(result: Any, utterance: Utterance) -> Any:
        utterance.whole(payload(result))
        return result

    return extract


def chunks(payload: Payload | None = None) -> Extractor:
    """Return the extractor of an iterator of audio, synchronous or not; ``payload`` returns the audio of a chunk that is not bytes."""

    def extract(result: Any, utterance: Utterance) -> Any:
        measured = _AsyncPieces if hasattr(result, "__aiter__") else _Pieces
        return measured(result, utterance, payload)

    return extract


def body(response_of: Callable[[Any], Any]) -> Extractor:
    """Return the extractor of the body of an HTTP response of httpx, read already or not; ``response_of`` returns the response.

    The stream of the response is measured, which all ways of reading use.
    """

    def extract(result: Any, utterance: Utterance) -> Any:
        response = response_of(result)
        utterance.audio = declared_format(response.headers.get("content-type", ""), utterance.audio)
        if response.is_stream_consumed:
            utterance.whole(response.content)
            return result
        if not is_read(response.headers):
            utterance.audio = Encoded(utterance.audio.name)  # the HTTP body is compressed, so its bytes are not the audio
        response.stream = chunks(reading(response.headers, utterance.broken))(response.stream, utterance)
        return result

    return extract


def file(owner_of: Callable[[Any], Any], attribute: str) -> Extractor:
    """Return the extractor of audio in a file, which is an ``attribute`` of the object that ``owner_of`` returns."""

    def extract(result: Any, utterance: Utterance) -> Any:
        owner = owner_of(result)
        setattr(owner, attribute, _Reads(getattr(owner, attribute), utterance))
        return result

    return extract


class _MeasuredResult(wrapt.ObjectProxy):  # type: ignore[type-arg]  # older releases of wrapt do not accept type arguments
    """Proxy of the host's object, with measured reading. If it is closed before its end, the caller has gone away."""

    def __init__(self, wrapped: Any, utterance: Utterance, payload: Payload | None = None) -> None:
        super().__init__(wrapped)
        self._self_utterance = utterance
        self._self_payload = payload
        self._self_iterator: Any = None

    def __getattr__(self, name: str) -> Any:
        attribute = super().__getattr__(name)
        return self._self_closing(attribute) if name in ("close", "aclose", "cancel") else attribute

    def _self_closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(close):

            @functools.wraps(close)
            async def aclosed(*args: Any, **kwargs: Any) -> Any:
                try:
                    return await close(*args, **kwargs)
                finally:
                    self._self_left()

            return aclosed

        @functools.wraps(close)
        def closed(*args: Any, **kwargs: Any) -> Any:
            try:
                return close(*args, **kwargs)
            finally:
                self._self_left()

        return closed

    def _self_left(self) -> None:
        self._self_utterance.finished(None, None, self._self_utterance.monotonic())


class _Pieces(_MeasuredResult):
    def __iter__(self) -> Iterator[Any]:
        if self._self_iterator is None:
            self._self_iterator = MeasuredIterator(self.__wrapped__, self._self_utterance, self._self_payload)
        return self._self_iterator  # type: ignore[no-any-return]  # made above

    def __next__(self) -> Any:
        return next(iter(self))


class _AsyncPieces(_MeasuredResult):
    def __aiter__(self) -> AsyncIterator[Any]:
        if self._self_iterator is None:
            self._self_iterator = MeasuredAsyncIterator(self.__wrapped__, self._self_utterance, self._self_payload)
        return self._self_iterator  # type: ignore[no-any-return]  # made above

    async def __anext__(self) -> Any:
        return await anext(aiter(self))


class _Reads(_MeasuredResult):
    """A binary file, which ends with an empty read."""

    def read(self, size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        if size == 0:
            return self.__wrapped__.read(size, *args, **kwargs)
        self._self_read = functools.partial(self.__wrapped__.read, size, *args, **kwargs)
        if self._self_iterator is None:
            reads = iter(lambda: self._self_read(), b"")  # noqa: PLW0108 - each read is another one
            self._self_iterator = MeasuredIterator(reads, self._self_utterance)
        data = next(self._self_iterator, b"")
        if size is None or size < 0:
            self._self_utterance.finished(OK, None)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
