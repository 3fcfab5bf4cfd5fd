"""Servicer contexts of grpc, extended: the trace id is added to trailing metadata, and missing methods are provided."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple

from otel_tts.grpc.requests import read
from otel_tts.grpc.rpc import TRACE_RESPONSE, Rpc


def answer_with(trace_response: str, context: Any) -> None:
    """Add our entry to the trailing metadata that the handler sets.

    grpc's own context object is changed, not replaced by a wrapper: handlers may rely on its type.

    Args:
        trace_response: the value of our entry.
        context: grpc's servicer context.
    """
    if not trace_response:
        return
    own = ((TRACE_RESPONSE, trace_response),)
    set_trailing_metadata = _weak(context.set_trailing_metadata)
    context.set_trailing_metadata = lambda metadata: set_trailing_metadata()((*(metadata or ()), *own))
    context.set_trailing_metadata(context.trailing_metadata())  # outer interceptors may have set some
    if hasattr(context, "abort_with_status"):
        abort_with_status = _weak(context.abort_with_status)
        context.abort_with_status = lambda status: abort_with_status()(_Status(status, own))


def _weak(method: Any) -> Callable[[], Any]:
    """Return a weak reference to a method.

    The wrapper is stored on the object of the method. With a strong reference, that is a circle, and the context and its RPC would stay
    in memory until the next garbage collection.
    """
    return weakref.WeakMethod(method) if inspect.ismethod(method) else lambda: method


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
            context.set_trailing_metadata((*context.trailing_metadata(), *self._own))  # outer interceptors may have set some

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._context.set_trailing_metadata((*metadata, *self._own))

    async def read(self) -> Any:
        return await read(self._context, self._rpc)

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        await self._context.abort(code, details, (*trailing_metadata, *self._own) if trailing_metadata else ())

    async def abort_with_status(self, status: Any) -> None:
        await self._context.abort_with_status(_Status(status, self._own))


class Thread(NamedTuple):
    """The context and task of an RPC whose synchronous handler runs in threads of an asynchronous server, which do not have them."""

    context: Context
    task: asyncio.Task[Any] | None


class ThreadContext:
    """Wrapper of the context that such a handler gets. It notes status and metadata, because grpc's has no methods to read them.

    Args:
        context: grpc's servicer context.
        task: in which the handler's call was received; None: unknown.
    """

    def __init__(self, context: Any, task: asyncio.Task[Any] | None) -> None:
        self._context = context
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

    def is_active(self) -> bool:
        return self._task is None or not self._task.done()

    def trailing_metadata(self) -> Any:
        return self._metadata

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._metadata = metadata
        self._context.set_trailing_metadata(metadata)

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        self._code = code
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        self._context.abort(code, details)
