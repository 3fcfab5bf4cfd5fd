"""Server interceptors for ``grpc`` and ``grpc.aio``: for every RPC of every kind one span, one metric point and one outcome.

An interceptor sees an RPC when its method is looked up, and so from its arrival, also when it then waits for a thread. RPCs that
grpc ends without asking a handler (a request that cannot be decoded, too many concurrent RPCs, a caller that went away while its
RPC waited for a thread) are not seen.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from contextvars import ContextVar, copy_context
from typing import Any, NamedTuple, Protocol, TypeVar

import grpc
import grpc.aio
from opentelemetry.context import attach

from otel_tts.core.clock import Timeline
from otel_tts.core.guard import guard, guarded
from otel_tts.core.labels import Labels
from otel_tts.core.telemetry import Telemetry
from otel_tts.grpc.contexts import AioContext, Thread, ThreadContext, answer_with
from otel_tts.grpc.rpc import TRACE_RESPONSE, Metadata, Rpc
from otel_tts.semconv import OTHER, RPC_METHOD

__all__ = ["TRACE_RESPONSE", "aio_server_interceptor", "server_interceptor"]

EXCLUDED = ("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Services that are asked by machines, all the time, and are no synthesis."""

_METHODS = 256
_BY_NUMBER = {code.value[0]: code.name for code in grpc.StatusCode}

Handler = Any  # grpc.RpcMethodHandler: a structure with one callable of four kinds; grpc's own types leave it open
TaskReference = Callable[[], asyncio.Task[Any] | None]
T = TypeVar("T")


class Mapping(Protocol):
    """Knows methods whose messages tell of syntheses; see ``otel_tts.instrumentation.protos.load``."""

    def observe(
        self, behavior: Any, method: str, telemetry: Telemetry, *, request_streaming: bool, response_streaming: bool
    ) -> Any:
        """What is to be called for ``behavior``, the handler's function: that itself for a method that is not known.

        request_streaming, response_streaming: whether requests and responses are streams.
        """


def server_interceptor(
    telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED, mapping: Mapping | None = None
) -> grpc.ServerInterceptor:
    """An interceptor for ``grpc.server(…, interceptors=[…])``.

    excluded: fully qualified services that are left alone. mapping: the methods whose messages tell of a synthesis, so that
    handlers without telemetry have one too; by default none.
    """
    return _ServerInterceptor(telemetry, excluded, mapping)


def aio_server_interceptor(
    telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED, mapping: Mapping | None = None
) -> grpc.aio.ServerInterceptor:
    """An interceptor for ``grpc.aio.server(interceptors=[…])``; see :func:`server_interceptor`."""
    return _AioServerInterceptor(telemetry, excluded, mapping)


class _Arrival(NamedTuple):
    """An RPC whose handler is yet to be called."""

    timeline: Timeline
    metadata: Metadata
    task: TaskReference
    """In an asynchronous server, the RPC's own; not kept, since it keeps this."""


class _Interceptor:
    """What both kinds share: which RPCs are observed, and the handlers that observe them."""

    def __init__(self, telemetry: Telemetry, excluded: Iterable[str], mapping: Mapping | None) -> None:
        self._telemetry = telemetry
        self._emitter = telemetry.emitter
        self._mapping = mapping
        self._excluded = tuple(f"/{service}/" for service in excluded)
        self._methods = Labels(RPC_METHOD)
        self._observed: dict[str, tuple[Handler, Callable[[], Handler]]] = {}
        self._arrival: ContextVar[_Arrival | None] = ContextVar("arrival", default=None)

    def _intercept(
        self, handler: Handler | None, details: grpc.HandlerCallDetails, task: TaskReference = lambda: None
    ) -> Handler | None:
        method: str = details.method
        if method.startswith(self._excluded):
            return handler
        try:
            timeline = Timeline(self._emitter.clock)
            metadata = details.invocation_metadata or ()
            if handler is None:
                Rpc(self._emitter, OTHER, metadata, timeline, lambda: None).end("UNIMPLEMENTED")
                return None
            self._arrival.set(_Arrival(timeline, metadata, task))
            known = self._observed.get(method)
            if known is None or known[0] is not handler:
                if len(self._observed) >= _METHODS:  # a generic handler may answer any method
                    self._observed.clear()
                known = self._observed[method] = (handler, self._observe(handler, method.lstrip("/")))
            return known[1]()
        except Exception as error:  # noqa: BLE001 - the boundary: the RPC goes on unobserved
            guard.caught("intercepting an RPC", error)
            return handler

    def _observe(self, handler: Handler, method: str) -> Callable[[], Handler]:
        """What gives the handler that observes: for all RPCs the same, where it can be."""
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            behavior = getattr(handler, kind)
            if behavior is not None:
                break
        else:
            return lambda: handler
        if self._mapping is not None:
            request_streaming, response_streaming = handler.request_streaming, handler.response_streaming
            behavior = self._mapping.observe(
                behavior, method, self._telemetry, request_streaming=request_streaming, response_streaming=response_streaming
            )
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        label = self._methods.bound(method)
        behave = functools.partial(self._behavior, behavior, label, streaming=handler.response_streaming)
        if self._threaded(behavior):
            return lambda: make(behave(), handler.request_deserializer, handler.response_serializer)
        observed = make(behave(), handler.request_deserializer, handler.response_serializer)
        return lambda: observed

    def _threaded(self, behavior: Any) -> bool:
        """Whether grpc runs it where the context of its RPC does not reach."""
        return False

    def _behavior(self, behavior: Any, method: str, *, streaming: bool) -> Any:
        raise NotImplementedError

    def _synchronous(self, behavior: Any, method: str, *, streaming: bool, thread: Thread | None = None) -> Any:
        """In a context that is the RPC's own: what is current in it stays so, and nothing has to be restored."""

        @functools.wraps(behavior)
        def observed(request: Any, context: Any) -> Any:
            if thread is not None:
                context = ThreadContext(context, thread.task)
            rpc = self._begin(method, context)
            if rpc is None:
                return behavior(request, context)
            end = _SyncEnd(rpc, context, context.add_callback if thread is None else thread.add_callback)
            attach(rpc.context)
            try:
                response = behavior(request, context)
            except BaseException as error:
                end.raised(error)
                raise
            if streaming:
                pull = functools.partial(next, response)
                return _Responses(pull if thread is None else functools.partial(thread.context.run, pull), end)
            end.returned()
            return response

        return observed

    def _begin(self, method: str, context: Any) -> Rpc | None:
        try:
            arrival = self._arrival.get()
            if arrival is None:  # an interceptor further out has changed the thread or context
                arrival = _Arrival(Timeline(self._emitter.clock), context.invocation_metadata() or (), lambda: None)
            return Rpc(self._emitter, method, arrival.metadata, arrival.timeline, context.time_remaining)
        except Exception as error:  # noqa: BLE001 - the boundary: the RPC goes on unobserved
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

    def __init__(self, rpc: Rpc, context: Any, add_callback: Callable[[Callable[[], None]], bool]) -> None:
        self._rpc = rpc
        self._context = context
        self._prepare(add_callback)

    @guarded
    def _prepare(self, add_callback: Callable[[Callable[[], None]], bool]) -> None:
        if not add_callback(self._rpc.interrupted):
            self._rpc.interrupted()
        answer_with(self._rpc.trace_response, self._context)

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


class _Responses(Iterator[T]):
    """The responses of a streaming handler. ``pull`` gives the next one."""

    def __init__(self, pull: Callable[[], T], end: _SyncEnd) -> None:
        self._pull = pull
        self._end = end

    def __next__(self) -> T:
        try:
            return self._pull()
        except StopIteration:
            self._end.returned()
            raise
        except BaseException as error:
            self._end.raised(error)
            raise


class _AioServerInterceptor(_Interceptor, grpc.aio.ServerInterceptor):
    """Each RPC has a task of its own, so its context is set there once and never restored."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        return self._intercept(handler, handler_call_details, weakref.ref(asyncio.current_task()))

    def _threaded(self, behavior: Any) -> bool:
        return not (inspect.isasyncgenfunction(behavior) or inspect.iscoroutinefunction(behavior))

    def _behavior(self, behavior: Any, method: str, *, streaming: bool) -> Any:
        if inspect.isasyncgenfunction(behavior):
            return self._generator(behavior, method)
        if inspect.iscoroutinefunction(behavior):
            return self._coroutine(behavior, method)
        thread = Thread(copy_context(), asyncio.current_task())
        return functools.partial(thread.context.run, self._synchronous(behavior, method, streaming=streaming, thread=thread))

    def _coroutine(self, behavior: Any, method: str) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> Any:
            rpc = self._begin(method, context)
            if rpc is None:
                return await behavior(request, context)
            attach(rpc.context)
            try:
                response = await behavior(request, AioContext(context, rpc))
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
            # While a response is being sent this generator is suspended: no cancellation reaches it, and no fault in sending.
            arrival = self._arrival.get()
            task = arrival.task() if arrival is not None else None
            (task or context).add_done_callback(lambda _: _aio_over(rpc, context))
            try:
                async with aclosing(behavior(request, AioContext(context, rpc))) as responses:
                    async for response in responses:
                        yield response
            except GeneratorExit:  # grpc drops it: why, is known when the RPC is over
                raise
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            rpc.end(_code(context, "OK"))

        return observed


@guarded
def _aio_over(rpc: Rpc, context: Any) -> None:
    if context.done():  # answered, perhaps without the handler's knowledge
        rpc.end(_failure(context))
    else:
        rpc.interrupted()


@guarded
def _aio_raised(rpc: Rpc, context: Any, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError | grpc.aio.InternalError):  # the second: nobody takes what is sent
        rpc.interrupted()
    elif isinstance(error, grpc.aio.AbortError):
        rpc.end(_code(context, "UNKNOWN"))
    else:
        rpc.end(_failure(context), error=error)
