"""Results of calls that are a block: the call opens a response, and the audio is read inside the block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any

from otel_tts.core.container import declared_format
from otel_tts.core.guard import guard
from otel_tts.core.outcome import SHUTDOWN, from_exception
from otel_tts.instrumentation.result import Extractor
from otel_tts.instrumentation.utterance import Utterance

Begin = Callable[[], Utterance | None]


def managed(manager: Any, begin: Begin, extract: Extractor) -> Any:
    """Return a context manager that behaves like the host's, and observes the utterance in its block.

    The utterance begins where the block is entered, and ends at the latest where it is left.

    Args:
        manager: the context manager, synchronous or not.
        begin: begins the utterance; returns None inside an open attempt, which the call is part of.
        extract: the extractor of what the block is entered with.
    """
    return (_async_block if hasattr(manager, "__aenter__") else _block)(manager, begin, extract)


@contextmanager
def _block(manager: Any, begin: Begin, extract: Extractor) -> Iterator[Any]:
    utterance = begin()
    if utterance is None:
        with manager as result:
            yield result
        return
    with _Left(utterance), ExitStack() as stack:
        with utterance:
            result = stack.enter_context(manager)
        yield _extracted(result, utterance, extract)


@asynccontextmanager
async def _async_block(manager: Any, begin: Begin, extract: Extractor) -> AsyncIterator[Any]:
    utterance = begin()
    if utterance is None:
        async with manager as result:
            yield result
        return
    with _Left(utterance):
        async with AsyncExitStack() as stack:
            with utterance:
                result = await stack.enter_async_context(manager)
            yield _extracted(result, utterance, extract)


def _extracted(result: Any, utterance: Utterance, extract: Extractor) -> Any:
    try:
        return extract(result, utterance)
    except Exception as error:  # noqa: BLE001 - the boundary: the result goes to the host, measured or not
        guard.caught("measuring a result", error)
        return result


class _Left:
    """A block after which the utterance has ended: if its audio has not, the host has left it."""

    def __init__(self, utterance: Utterance) -> None:
        self._utterance = utterance

    def __enter__(self) -> None:
        """Nothing has ended yet."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is GeneratorExit:  # perhaps from the garbage collector, where no lock may be taken
            self._utterance.dropped()
        else:
            stopped = error if error is not None and from_exception(error) == SHUTDOWN else None
            self._utterance.finished(None, stopped, self._utterance.monotonic())


def raw_response(extract: Extractor, *, declared: bool = False) -> Extractor:
    """Return the extractor of a raw response: an object with the headers, and the result itself as ``data``.

    Args:
        extract: the extractor of the result.
        declared: whether the body is the audio itself, so that its ``Content-Type`` says which.
    """

    def extract_response(response: Any, utterance: Utterance) -> Any:
        if declared:
            utterance.audio = declared_format(response.headers.get("content-type", ""), utterance.audio)
        response._data = extract(response.data, utterance)  # noqa: SLF001 - `data` is a property without a setter
        return response

    return extract_response
