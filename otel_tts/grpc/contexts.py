"""Servicer contexts of grpc, extended: the trace id is added to trailing metadata, and missing methods are provided."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from typing import Any, NamedTuple

import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from otel_tts.core.guard import guarded
from otel_tts.grpc.internals import Internals
from otel_tts.grpc.requests import read
from otel_tts.grpc.rpc import TRACE_RESPONSE, Rpc
from otel_tts.grpc.status import code_of

_KEY = re.compile("[0-9a-z_.-]+")
_VALUE = re.compile("[ -~]*")


def answer_with(rpc: Rpc, context: Any) -> None:
    """Add our entry to the trailing metadata that the handler sets.

    grpc's own context object is changed, not replaced by a wrapper: handlers may rely on its type.

    Args:
        rpc: the RPC.
        context: grpc's servicer context.
    """
    if not rpc.trace_response:
        return
    own = ((TRACE_RESPONSE, rpc.trace_response),)
    metadata = context.trailing_metadata() or ()  # outer interceptors may have set some
    if own[0] in metadata:  # one of them calls the handler once more
        return
    context.set_trailing_metadata((*metadata, *own))
    set_trailing_metadata = _weak(context.set_trailing_metadata)

    def add(metadata: Any) -> None:
        _check(rpc, metadata)
        set_trailing_metadata()((*(metadata or ()), *own))

    context.set_trailing_metadata = add
    if type(context) is type(rpc.internals.context):  # of `grpc`, which says nothing of initial metadata that it does not send
        context.send_initial_metadata = functools.partial(_send_initial_metadata, rpc.internals)
    if hasattr(context, "abort_with_status"):
        abort_with_status = _weak(context.abort_with_status)
        context.abort_with_status = lambda status: abort_with_status()(_Status(status, own))


def _send_initial_metadata(internals: Internals, initial_metadata: Any) -> None:
    """Send it, and note what grpc does not send. ``internals`` has another object of the same context: no circle of references."""
    internals.context.send_initial_metadata(initial_metadata)
    with suppress(AttributeError, TypeError, ValueError):
        internals.illegal = not all(_is_legal(key, value) for key, value in initial_metadata or ())


def _weak(method: Any) -> Callable[[], Any]:
    """Return a weak reference to a method.

    The wrapper is stored on the object of the method. With a strong reference, that is a circle, and the context and its RPC would stay
    in memory until the next garbage collection.
    """
    return weakref.WeakMethod(method) if inspect.ismethod(method) else lambda: method


def _check(rpc: Rpc, metadata: Any) -> None:
    """Note metadata that grpc does not send. What is no metadata at all, its own methods refuse."""
    try:
        rpc.unencodable = not _encodable(value for _, value in metadata or () if isinstance(value, str))
        rpc.unsendable = not (rpc.unencodable or all(_is_legal(key, value) for key, value in metadata or ()))
    except (AttributeError, TypeError, ValueError):
        pass


def _note_code(rpc: Rpc, code: Any) -> None:
    """Note whether a handler of ``grpc.aio`` has set None as its code, which is read as if it had set none, and sent as UNKNOWN."""
    if rpc.internals.context is not None:
        rpc.internals.none_set = code is None


def _is_legal(key: str, value: str | bytes) -> bool:
    text = value if isinstance(value, str) else value.decode("latin-1")
    return _KEY.fullmatch(key) is not None and (key.endswith("-bin") or _VALUE.fullmatch(text) is not None)


def _encodable(texts: Iterable[str]) -> bool:
    """Return whether texts can be sent: without half a surrogate pair."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Abort:
    """The block in which a handler of ``grpc.aio`` aborts: the status is sent at once, whatever the handler sets or raises later."""

    def __init__(self, rpc: Rpc, details: Any, metadata: Any) -> None:
        self._rpc = rpc
        self._details = details
        self._metadata = metadata

    def __enter__(self) -> None:
        """Nothing is sent yet."""

    @guarded
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        rpc = self._rpc
        internals = rpc.internals
        context = internals.context
        if context is None or not context.done():  # unknown, or its arguments were refused
            return
        internals.unsent = kind is cygrpc.ExecuteBatchError
        _check(rpc, self._metadata or context.trailing_metadata())
        code = code_of(context, "UNKNOWN", numbers=True)
        rpc.unencodable |= code == "OK" or not _encodable((self._details,))
        rpc.answer(code, by_grpc=True)


class _Status:
    """A ``grpc.Status`` with more trailing metadata."""

    def __init__(self, status: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self.code = status.code
        self.details = status.details
        self.trailing_metadata = (*(status.trailing_metadata or ()), *metadata)


class AioContext:
    """Wrapper of grpc's context that adds our entry to the trailing metadata. Everything else is passed on to the context.

    Args:
        context: grpc's servicer context.
        rpc: the RPC.
    """

    __slots__ = ("_context", "_own", "_rpc")

    def __init__(self, context: Any, rpc: Rpc) -> None:
        self._context = context
        self._rpc = rpc
        self._own = ((TRACE_RESPONSE, rpc.trace_response),) if rpc.trace_response else ()
        if self._own:
            metadata = context.trailing_metadata()  # outer interceptors may have set some
            if self._own[0] not in metadata:  # or call the handler once more
                context.set_trailing_metadata((*metadata, *self._own))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._context.set_trailing_metadata((*metadata, *self._own))
        _check(self._rpc, metadata)

    async def send_initial_metadata(self, metadata: Any) -> None:
        try:
            await self._context.send_initial_metadata(metadata)
        except cygrpc.ExecuteBatchError:
            _check(self._rpc, metadata)
            raise

    def set_code(self, code: Any) -> None:
        self._context.set_code(code)
        _note_code(self._rpc, code)

    def set_details(self, details: str) -> None:
        self._context.set_details(details)
        self._rpc.unencodable |= not _encodable((details,))

    async def read(self) -> Any:
        return await read(self._context, self._rpc)

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        with _Abort(self._rpc, details, trailing_metadata):
            await self._context.abort(code, details, (*trailing_metadata, *self._own) if trailing_metadata else ())

    async def abort_with_status(self, status: Any) -> None:
        with _Abort(self._rpc, status.details, status.trailing_metadata):
            await self._context.abort_with_status(_Status(status, self._own))


class Thread(NamedTuple):
    """The context and task of an RPC whose synchronous handler runs in threads of an asynchronous server, which do not have them."""

    context: Context
    task: asyncio.Task[Any] | None


class ThreadContext:
    """Wrapper of the context that such a handler gets. It notes status and metadata, because grpc's has no methods to read them.

    Args:
        context: grpc's servicer context.
        rpc: the RPC.
        task: in which the handler's call was received; None: unknown.
    """

    def __init__(self, context: Any, rpc: Rpc, task: asyncio.Task[Any] | None) -> None:
        self._context = context
        self._rpc = rpc
        self._task = task
        self._code: Any = None
        self._metadata: Any = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def code(self) -> Any:
        return self._code

    def set_code(self, code: Any) -> None:
        self._code = code
        self._context.set_code(code)
        _note_code(self._rpc, code)

    def is_active(self) -> bool:
        return self._task is None or not self._task.done()

    def trailing_metadata(self) -> Any:
        return self._metadata

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._context.set_trailing_metadata(metadata)
        self._metadata = metadata
        _check(self._rpc, metadata)

    def send_initial_metadata(self, metadata: Any) -> None:
        try:
            self._context.send_initial_metadata(metadata)
        except cygrpc.ExecuteBatchError:
            _check(self._rpc, metadata)
            raise

    def set_details(self, details: str) -> None:
        self._context.set_details(details)
        self._rpc.unencodable |= not _encodable((details,))

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        with _Abort(self._rpc, details, ()):
            try:
                self._context.abort(code, details)
            except grpc.aio.AbortError:
                self._code = code
                raise
