"""Server interceptors for ``grpc`` and ``grpc.aio``: for every RPC of every kind one span, one metric point and one outcome.

An interceptor sees an RPC when its method is looked up, and so from its arrival, also when it then waits for a thread. RPCs that grpc
answers without asking a handler (a request that cannot be decoded, too many concurrent RPCs) are not seen.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc
import grpc.aio
from opentelemetry.context import attach

from otel_tts.clock import Timeline
from otel_tts.emitter import Emitter
from otel_tts.guard import guard, guarded
from otel_tts.labels import Labels
from otel_tts.rpc import TRACE_RESPONSE, Metadata, Rpc
from otel_tts.semconv import OTHER, RPC_METHOD
from otel_tts.streams import Current
from otel_tts.telemetry import Telemetry

__all__ = ["TRACE_RESPONSE", "aio_server_interceptor", "server_interceptor"]

EXCLUDED = ("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Services that are asked by machines, all the time, and are no synthesis."""

_METHODS = 256
_BY_NUMBER = {code.value[0]: code.name for code in grpc.StatusCode}

Handler = Any  # grpc.RpcMethodHandler: a structure with one callable of four kinds; grpc's own types leave it open
T = TypeVar("T")


def server_interceptor(telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED) -> grpc.ServerInterceptor:
    """An interceptor for ``grpc.server(…, interceptors=[…])``.

    excluded: fully qualified services that are left alone.
    """
    return _ServerInterceptor(telemetry.emitter, excluded)


def aio_server_interceptor(telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED) -> grpc.aio.ServerInterceptor:
    """An interceptor for ``grpc.aio.server(interceptors=[…])``; see :func:`server_interceptor`."""
    return _AioServerInterceptor(telemetry.emitter, excluded)


class _Interceptor:
    """What both kinds share: which RPCs are observed, and the handlers that observe them."""

    def __init__(self, emitter: Emitter, excluded: Iterable[str]) -> None:
        self._emitter = emitter
        self._excluded = tuple(f"/{service}/" for service in excluded)
        self._methods = Labels(RPC_METHOD)
        self._observed: dict[str, tuple[Handler, Handler]] = {}
        self._arrival: ContextVar[tuple[Timeline, Metadata] | None] = ContextVar("arrival", default=None)

    def _intercept(self, handler: Handler | None, details: grpc.HandlerCallDetails) -> Handler | None:
        method: str = details.method
        if method.startswith(self._excluded):
            return handler
        try:
            timeline = Timeline(self._emitter.clock)
            metadata = details.invocation_metadata or ()
            if handler is None:
                Rpc(self._emitter, OTHER, metadata, timeline, lambda: None).end("UNIMPLEMENTED")
                return None
            self._arrival.set((timeline, metadata))
            known = self._observed.get(method)
            if known is None or known[0] is not handler:
                if len(self._observed) >= _METHODS:  # a generic handler may answer any method
                    self._observed.clear()
                known = self._observed[method] = (handler, self._observe(handler, self._methods.bound(method.lstrip("/"))))
            return known[1]
        except Exception as error:  # the boundary: the RPC goes on unobserved
            guard.caught("intercepting an RPC", error)
            return handler

    def _observe(self, handler: Handler, method: str) -> Handler:
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            behavior = getattr(handler, kind)
            if behavior is not None:
                break
        else:
            return handler
        observed = self._behavior(behavior, method, streaming=handler.response_streaming)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(observed, handler.request_deserializer, handler.response_serializer)

    def _behavior(self, behavior: Any, method: str, *, streaming: bool) -> Any:
        raise NotImplementedError

    def _synchronous(self, behavior: Any, method: str, *, streaming: bool, adapt: Any = None) -> Any:
        @functools.wraps(behavior)
        def observed(request: Any, context: Any) -> Any:
            if adapt is not None:
                context = adapt(context)
            rpc = self._begin(method, context)
            if rpc is None:
                return behavior(request, context)
            end = _SyncEnd(rpc, context)
            try:
                with Current(rpc.context):
                    response = behavior(request, context)
            except BaseException as error:
                end.raised(error)
                raise
            if streaming:
                return _Responses(response, rpc, end)
            end.returned()
            return response

        return observed

    def _begin(self, method: str, context: Any) -> Rpc | None:
        try:
            timeline, metadata = self._arrival.get() or (Timeline(self._emitter.clock), context.invocation_metadata() or ())
            return Rpc(self._emitter, method, metadata, timeline, context.time_remaining)
        except Exception as error:  # the boundary: the RPC goes on unobserved
            guard.caught("beginning an RPC", error)
            return None


def _code(context: Any, default: str) -> str:
    """The status code by name that the handler set, which may be a number too."""
    code = context.code()
    return default if code is None else getattr(code, "name", None) or _BY_NUMBER.get(code, "UNKNOWN")


def _failure(context: Any) -> str:
    """The status of an RPC that an exception ended: what the handler set before, else UNKNOWN."""
    code = _code(context, "UNKNOWN")
    return "UNKNOWN" if code == "OK" else code


class _ServerInterceptor(_Interceptor, grpc.ServerInterceptor):
    """Each RPC has a thread of the pool, and a context of its own there."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return self._intercept(continuation(handler_call_details), handler_call_details)

    def _behavior(self, behavior: Any, method: str, *, streaming: bool) -> Any:
        if getattr(behavior, "experimental_non_blocking", False):
            return behavior  # it answers through a callback, after its return
        return self._synchronous(behavior, method, streaming=streaming)


class _SyncEnd:
    """How a synchronous RPC ends: by its handler, or by grpc's word that it is over while the handler is still at it."""

    def __init__(self, rpc: Rpc, context: Any) -> None:
        self._rpc = rpc
        self._context = context
        self._prepare()

    @guarded
    def _prepare(self) -> None:
        _answer_with(self._rpc.trace_response, self._context)
        if not self._context.add_callback(self._rpc.interrupted):
            self._rpc.interrupted()

    @guarded
    def returned(self) -> None:
        if self._context.is_active():
            self._rpc.end(_code(self._context, "OK"))
        else:
            self._rpc.interrupted()

    @guarded
    def raised(self, error: BaseException) -> None:
        if not self._context.is_active():
            self._rpc.interrupted()
        elif isinstance(error, grpc.aio.AbortError) or (type(error) is Exception and not error.args and self._context.code()):
            self._rpc.end(_code(self._context, "UNKNOWN"))  # a bare Exception is all that `abort` raises
        else:
            self._rpc.end(_failure(self._context), error=error)


def _answer_with(trace_response: str, context: Any) -> None:
    """Add our entry to whatever trailing metadata the handler sets. The context is grpc's own object: handlers may rely on that."""
    if not trace_response:
        return
    own = ((TRACE_RESPONSE, trace_response),)
    set_trailing_metadata = context.set_trailing_metadata
    set_trailing_metadata(own)
    context.set_trailing_metadata = lambda metadata: set_trailing_metadata((*(metadata or ()), *own))
    abort_with_status = getattr(context, "abort_with_status", None)
    if abort_with_status is not None:
        context.abort_with_status = lambda status: abort_with_status(_Status(status, own))


class _Status:
    """A ``grpc.Status`` with more trailing metadata."""

    def __init__(self, status: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self.code = status.code
        self.details = status.details
        self.trailing_metadata = (*(status.trailing_metadata or ()), *metadata)


class _Responses(Iterator[T]):
    """The responses of a streaming handler; the RPC's context is current only while it makes one."""

    def __init__(self, responses: Iterable[T], rpc: Rpc, end: _SyncEnd) -> None:
        self._responses = responses
        self._iterator: Iterator[T] | None = None
        self._rpc = rpc
        self._end = end

    def __next__(self) -> T:
        try:
            with Current(self._rpc.context):
                if self._iterator is None:
                    self._iterator = iter(self._responses)
                return next(self._iterator)
        except StopIteration:
            self._end.returned()
            raise
        except BaseException as error:
            self._end.raised(error)
            raise


class _AioServerInterceptor(_Interceptor, grpc.aio.ServerInterceptor):
    """Each RPC has a task of its own, so its context is set there once and never restored."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return self._intercept(await continuation(handler_call_details), handler_call_details)

    def _behavior(self, behavior: Any, method: str, *, streaming: bool) -> Any:
        if inspect.isasyncgenfunction(behavior):
            return self._generator(behavior, method)
        if inspect.iscoroutinefunction(behavior):
            return self._coroutine(behavior, method)
        # A synchronous handler, which grpc runs in a thread and tells nothing of a cancellation.
        return self._synchronous(behavior, method, streaming=streaming, adapt=_ThreadContext)

    def _coroutine(self, behavior: Any, method: str) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> Any:
            rpc = self._begin(method, context)
            if rpc is None:
                return await behavior(request, context)
            attach(rpc.context)
            try:
                response = await behavior(request, _AioContext(context, rpc))
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            rpc.end(_code(context, "OK"))
            return response

        return observed

    def _generator(self, behavior: Any, method: str) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> AsyncIterator[Any]:
            rpc = self._begin(method, context)
            if rpc is None:
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response
                return
            attach(rpc.context)
            # While a response is being sent this generator is suspended, and a cancellation does not reach it.
            context.add_done_callback(lambda _: rpc.interrupted())
            try:
                async with aclosing(behavior(request, _AioContext(context, rpc))) as responses:
                    async for response in responses:
                        yield response
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            rpc.end(_code(context, "OK"))

        return observed


def _aio_raised(rpc: Rpc, context: Any, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        rpc.interrupted()
    elif isinstance(error, grpc.aio.AbortError):
        rpc.end(_code(context, "UNKNOWN"))
    else:
        rpc.end(_failure(context), error=error)


class _AioContext:
    """grpc's context, with our entry in whatever trailing metadata the handler sets. Everything else is the context's own."""

    __slots__ = ("_context", "_own")

    def __init__(self, context: Any, rpc: Rpc) -> None:
        self._context = context
        self._own = ((TRACE_RESPONSE, rpc.trace_response),) if rpc.trace_response else ()
        if self._own:
            context.set_trailing_metadata(self._own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._context.set_trailing_metadata((*metadata, *self._own))

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        await self._context.abort(code, details, (*trailing_metadata, *self._own) if trailing_metadata else ())

    async def abort_with_status(self, status: Any) -> None:
        await self._context.abort_with_status(_Status(status, self._own))


class _ThreadContext:
    """The context of a synchronous handler in an asynchronous server, which cannot be asked for its status: so it is noted."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._noted: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def code(self) -> Any:
        return self._noted

    def is_active(self) -> bool:
        return True

    def add_callback(self, callback: Any) -> bool:
        self._context.add_callback(callback)
        return True

    def set_code(self, code: Any) -> None:
        self._noted = code
        self._context.set_code(code)

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        self._noted = code
        self._context.abort(code, details, trailing_metadata)
