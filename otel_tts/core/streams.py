"""Measured streams: iterators that measure the chunks that pass through them, and change nothing."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextvars import Token
from types import FrameType, TracebackType
from typing import Any, Generic, Protocol, TypeVar

from opentelemetry.context import Context, attach, detach, get_current

from otel_tts.core import outcome
from otel_tts.core.blocks import REQUEST
from otel_tts.core.guard import guard, guarded, guarded_or
from otel_tts.core.outcome import Cause
from otel_tts.core.payload import UNREADABLE
from otel_tts.core.refused import is_refused

T = TypeVar("T")
Payload = Callable[[Any], Any]
"""A function that returns the audio bytes of what an engine yields."""


class Source(Protocol):
    """The receiver of a stream's events: the call of an engine, the cached audio or the request that its chunks belong to."""

    @property
    def context(self) -> Context:
        """The OpenTelemetry context in which the engine runs."""

    @property
    def monotonic(self) -> Callable[[], int]:
        """A function that returns the clock's reading, in nanoseconds."""

    @property
    def chunk(self) -> Callable[[Any, int, int], None]:
        """A function that takes a chunk, when it came, and how long it was waited for, in nanoseconds."""

    def waiting(self, waited_ns: int) -> None:
        """Count a pull that took this long and gave nothing.

        Args:
            waited_ns: how long it was waited for, in nanoseconds.
        """

    def finished(self, cause: Cause | None, error: BaseException | None) -> None:
        """Note the end of the stream. ``cause`` None and ``error`` None: it was closed before its end."""

    def dropped(self) -> None:
        """Note that the stream was dropped without being closed. A finaliser calls it: it must take no lock."""


class Current:
    """A block in which an OpenTelemetry context is current.

    A generator or coroutine that is closed by the garbage collector or the event loop, or goes on in another thread or task, leaves the
    block in another Python context than it entered it in. There the token is not valid and nothing needs to be restored: without this
    distinction, OpenTelemetry would log "Failed to detach context" for every such stream.

    Args:
        context: is made current while a chunk is pulled.
    """

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._token: Token[Context] | None = None  # a host may leave what it never entered

    def __enter__(self) -> None:
        self._token = enter(self._context)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        leave(self._token, self._context, error)

    def entered_here(self) -> bool:
        """Return whether it was entered in the current thread and task, not in one from which the context was copied."""
        token, here = self._token, get_current()
        try:
            if token is None:
                return False
            token.var.reset(token)  # there is no other way to know where a token is from
        except (ValueError, RuntimeError):
            return False
        self._token = attach(here)
        return True


def enter(context: Context) -> Token[Context] | None:
    """Make a context current, and return what :func:`leave` needs. No decorator, which would cost a call for each chunk.

    Args:
        context: the context.
    """
    try:
        return attach(context)
    except Exception as error:  # noqa: BLE001 - the boundary
        guard.caught("making a context current", error)
        return None


def leave(token: Token[Context] | None, context: Context, error: BaseException | None) -> None:
    """Make the context from before current again.

    Args:
        token: what :func:`enter` returned.
        context: that was made current.
        error: what ended the block; None without an exception.
    """
    if token is None:
        return
    try:
        if type(error) is not GeneratorExit:
            try:
                token.var.reset(token)  # as `detach` does, which logs an error where the context is another one
            except (ValueError, RuntimeError):
                pass
            else:
                return
        if get_current() is context:
            before = token.old_value
            attach(before if isinstance(before, Context) else Context())
    except Exception as fault:  # noqa: BLE001 - the boundary
        guard.caught("restoring a context", fault)


class _MeasuredStream(Generic[T]):
    __slots__ = ("_ended", "_iterable", "_iterator", "_last_ns", "_payload", "_source")

    def __init__(self, iterable: Iterable[T] | AsyncIterable[T], source: Source, payload: Payload | None = None) -> None:
        self._iterable: Any = iterable
        self._source = source
        self._payload = payload
        self._iterator: Any = (
            None  # created at the first pull: the host's generator must not start earlier than without telemetry
        )
        self._last_ns = (
            0  # when the last piece came: streams may be pulled by several threads or tasks at once, who wait together
        )
        self._ended = False

    def belongs_to(self, request: object) -> bool:
        """Return whether it is a stream of a request.

        Args:
            request: the reference to it that contexts of its work have.
        """
        return self._source.context.get(REQUEST) is request

    def belongs_to_no_layer(self) -> bool:
        """Return whether it is the stream of an attempt that is not inside another one."""
        return getattr(self._source, "around", self) is None and not self._ended

    def _before(self) -> tuple[Context, Token[Context] | None, int | None]:
        try:
            source = self._source
            context, began = source.context, source.monotonic()
        except Exception as error:  # noqa: BLE001 - the boundary: the host's pull goes on without us
            guard.caught("starting to measure a stream", error)
            context, began = get_current(), None
        try:  # as `enter` does, without another call for each chunk
            return context, attach(context), began
        except Exception as error:  # noqa: BLE001 - the boundary
            guard.caught("making a context current", error)
            return context, None, began

    def _pulled(self, chunk: T, token: Token[Context] | None, began: int | None) -> T:
        try:  # as `leave` does
            if token is not None:
                detach(token)
        except Exception as fault:  # noqa: BLE001 - the boundary
            guard.caught("restoring a context", fault)
        if began is None:
            return chunk
        try:
            source = self._source
            now = source.monotonic()
            if began < self._last_ns:
                began = self._last_ns
            self._last_ns = now
            source.chunk(chunk if self._payload is None else self._audio(chunk), now, now - began)
        except Exception as error:  # noqa: BLE001 - the boundary: the host gets the chunk whatever fails in our measurement
            guard.caught("measuring a stream", error)
        return chunk

    def _audio(self, chunk: T) -> Any:
        try:
            return self._payload(chunk) if self._payload is not None else chunk
        except Exception as error:  # noqa: BLE001 - the boundary: audio came, whatever it looks like
            guard.caught("taking the audio out of a chunk", error)
            return UNREADABLE

    def _end(self, cause: Cause | None, error: BaseException | None = None, began: int | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            if began is not None:
                self._source.waiting(self._source.monotonic() - max(began, self._last_ns))
            self._source.finished(cause, error)
        except Exception as fault:  # noqa: BLE001 - the boundary, as above
            guard.caught("ending a stream", fault)

    @guarded
    def __del__(self) -> None:
        if not self._ended:
            self._source.dropped()


class MeasuredIterator(_MeasuredStream[T], Iterator[T]):
    """A measured iterator.

    Args:
        iterable: gives the chunks.
        source: measures them.
        payload: takes the audio out of a chunk that is no bytes; None: chunks are bytes or arrays.
    """

    __slots__ = ()

    def __iter__(self) -> MeasuredIterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended:
            exhausted: Iterator[T] = self._iterator if self._iterator is not None else iter(())
            return next(exhausted)
        context, token, began = self._before()
        try:
            if self._iterator is None:
                iterator = iter(self._iterable)
                if self._iterator is None:  # else another thread was faster; no call between, so no other thread either
                    self._iterator = iterator
            chunk: T = next(self._iterator)
        except StopIteration as error:
            leave(token, context, error)
            self._end(outcome.OK, began=began)
            raise
        except BaseException as error:
            leave(token, context, error)
            if not is_refused(error, _OURS):
                self._end(None, error, began)
            raise
        return self._pulled(chunk, token, began)

    def close(self) -> None:
        """Close the host's iterator, if it can be closed."""
        try:
            close = getattr(self._iterator if self._iterator is not None else self._iterable, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            if not is_refused(error, _OURS):
                self._end(None)
            raise
        self._end(None)


class MeasuredAsyncIterator(_MeasuredStream[T], AsyncIterator[T]):
    """A measured asynchronous iterator.

    Args:
        iterable: gives the chunks.
        source: measures them.
        payload: takes the audio out of a chunk that is no bytes; None: chunks are bytes or arrays.
    """

    __slots__ = ()

    def __aiter__(self) -> MeasuredAsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._ended:
            if self._iterator is None:
                raise StopAsyncIteration
            following: T = await anext(self._iterator)
            return following
        context, token, began = self._before()
        try:
            if self._iterator is None:
                self._iterator = aiter(self._iterable)
            chunk: T = await anext(self._iterator)
        except StopAsyncIteration as error:
            leave(token, context, error)
            self._end(outcome.OK, began=began)
            raise
        except BaseException as error:
            leave(token, context, error)
            if not is_refused(error, _OURS):
                self._end(None, error, began)
            raise
        return self._pulled(chunk, token, began)

    async def aclose(self) -> None:
        """Close the host's iterator, if it can be closed."""
        try:
            close = getattr(self._iterator if self._iterator is not None else self._iterable, "aclose", None)
            if close is not None:
                await close()
        except BaseException as error:
            if not is_refused(error, _OURS):
                self._end(None)
            raise
        self._end(None)


class MeasuredEitherIterator(MeasuredIterator[T], MeasuredAsyncIterator[T]):
    """A measured iterator of what can be iterated over in both ways: the consumer decides by the first pull.

    Args:
        iterable: gives the chunks.
        source: measures them.
        payload: takes the audio out of a chunk that is no bytes; None: chunks are bytes or arrays.
    """

    __slots__ = ()


MEASURED = (MeasuredIterator, MeasuredAsyncIterator, MeasuredEitherIterator)
"""The classes of measured streams."""
_PULLS = (MeasuredIterator.__next__.__code__, MeasuredAsyncIterator.__anext__.__code__)
_OURS = frozenset((*_PULLS, MeasuredIterator.close.__code__, MeasuredAsyncIterator.aclose.__code__))


def is_pulled(request: object) -> bool:
    """Return whether the caller runs inside a pull of a stream of a request, in the same thread and task.

    Args:
        request: the reference to it that contexts of its work have.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - of Python, and documented
    while frame is not None:
        if frame.f_code in _PULLS and frame.f_locals["self"].belongs_to(request):
            return True
        frame = frame.f_back
    return False


@guarded
def check_unmeasured(chunks: object) -> None:
    """Say so where audio that is measured already, as that of an attempt that is not inside this one, is given to be measured once more.

    Args:
        chunks: what the application passes as the audio of an attempt.
    """
    if type(chunks) in MEASURED and chunks.belongs_to_no_layer():  # type: ignore[attr-defined]
        guard.misused(
            "chunks",
            "the stream of another attempt",
            "give the audio itself, or begin the other attempt inside this one, with a synthesis() of its own.",
            "This audio counts twice.",
        )


def measured(chunks: Any, source: Source, payload: Payload | None) -> MeasuredIterator[Any] | MeasuredAsyncIterator[Any]:
    """Return an iterator that measures chunks for their source; asynchronous if they are, and in both ways if they are both.

    Args:
        chunks: the audio as it comes.
        source: measures them.
        payload: takes the audio out of a chunk that is no bytes; None: chunks are bytes or arrays.
    """
    return _kind(chunks)(chunks, source, payload)


# An object that raises when its class is read is not asynchronous; the host sees the error when it pulls.
@guarded_or(lambda _: MeasuredIterator)
def _kind(chunks: Any) -> type[MeasuredIterator[Any] | MeasuredAsyncIterator[Any]]:
    if not isinstance(chunks, AsyncIterable):
        return MeasuredIterator
    return MeasuredEitherIterator if isinstance(chunks, Iterable) else MeasuredAsyncIterator
