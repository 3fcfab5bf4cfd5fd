"""Server interceptors for ``grpc`` and ``grpc.aio``: for every RPC of every kind one span, one metric point and one outcome.

An interceptor sees an RPC when its method is looked up, and so from its arrival. It counts whatever becomes of it then: also when no
handler ever begins, because the request cannot be read, too many RPCs are under way, or the caller leaves while its RPC waits for a
thread. An RPC is over when grpc is done with it, and its status is the one that its caller saw.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from contextvars import ContextVar, copy_context
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from opentelemetry.context import attach

from otel_tts.core import outcome
from otel_tts.core.clock import RequestClock
from otel_tts.core.guard import guard, guarded
from otel_tts.core.labels import Labels
from otel_tts.core.outcome import Cause
from otel_tts.core.telemetry import Telemetry
from otel_tts.grpc.contexts import AioContext, Thread, ThreadContext, answer_with
from otel_tts.grpc.internals import Internals, of_aio_rpc, of_sync_rpc, on_failure
from otel_tts.grpc.rpc import TRACE_RESPONSE, Rpc
from otel_tts.semconv import OTHER, RPC_METHOD, ErrorType, Outcome

__all__ = ["TRACE_RESPONSE", "aio_server_interceptor", "server_interceptor"]

EXCLUDED = ("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Services that are asked by machines, all the time, and are no synthesis."""

_METHODS = 256
_BY_NUMBER = {code.value[0]: code.name for code in grpc.StatusCode}

Handler = Any  # grpc.RpcMethodHandler: a structure with one callable of four kinds; grpc's own types leave it open
T = TypeVar("T")


class Mapping(Protocol):
    """Knows methods whose messages tell of syntheses; see ``otel_tts.instrumentation.protos.load``."""

    def observe(
        self, behavior: Any, method: str, telemetry: Telemetry, *, request_streaming: bool, response_streaming: bool
    ) -> Any:
        """What is to be called for ``behavior``, the handler's function: that itself for a method that is not known.

        Args:
            behavior: the handler's function.
            method: the RPC's full name, such as ``acme.v1.Speech/Say``.
            telemetry: that of the service.
            request_streaming: whether requests are streams.
            response_streaming: whether responses are.
        """


def server_interceptor(
    telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED, mapping: Mapping | None = None
) -> grpc.ServerInterceptor:
    """An interceptor for ``grpc.server(…, interceptors=[…])``.

    Args:
        telemetry: that of the service.
        excluded: fully qualified names of services that are left alone.
        mapping: the methods whose messages tell of a synthesis, so that handlers without telemetry have one too; by default none.
    """
    return _ServerInterceptor(telemetry, excluded, mapping)


def aio_server_interceptor(
    telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED, mapping: Mapping | None = None
) -> grpc.aio.ServerInterceptor:
    """An interceptor for ``grpc.aio.server(interceptors=[…])``.

    Args:
        telemetry: that of the service.
        excluded: fully qualified names of services that are left alone.
        mapping: the methods whose messages tell of a synthesis, so that handlers without telemetry have one too; by default none.
    """
    return _AioServerInterceptor(telemetry, excluded, mapping)


class _Interceptor:
    """What both kinds share: which RPCs are observed, and the handlers that observe them."""

    def __init__(self, telemetry: Telemetry, excluded: Iterable[str], mapping: Mapping | None) -> None:
        self._telemetry = telemetry
        self._emitter = telemetry.emitter
        self._mapping = mapping
        self._excluded = tuple(f"/{service}/" for service in excluded)
        self._methods = Labels(RPC_METHOD)
        self._observed: dict[str, tuple[Handler, tuple[str, Callable[[Rpc], Handler]] | None]] = {}
        self._rpc: ContextVar[Rpc | None] = ContextVar("rpc", default=None)

    def _intercept(
        self, handler: Handler | None, details: grpc.HandlerCallDetails, internals: Callable[[], Internals]
    ) -> Handler | None:
        method: str = details.method
        if method.startswith(self._excluded):
            return handler
        try:
            timeline = RequestClock(self._emitter.clock)
            metadata = details.invocation_metadata or ()
            if handler is None:
                Rpc(self._emitter, OTHER, metadata, timeline, Internals()).over(sent=True, code="UNIMPLEMENTED")
                return None
            observed = self._observed.get(method)
            if observed is None or observed[0] is not handler:
                if len(self._observed) >= _METHODS:  # a generic handler may answer any method
                    self._observed.clear()
                observed = self._observed[method] = (handler, self._observe(handler, method.lstrip("/")))
            if observed[1] is None:
                return handler
            label, make = observed[1]
            rpc = Rpc(self._emitter, label, metadata, timeline, internals())
            self._rpc.set(rpc)
            self._arrived(rpc)
            return make(rpc)
        except Exception as error:  # noqa: BLE001 - the boundary: the RPC goes on unobserved
            guard.caught("intercepting an RPC", error)
            return handler

    def _arrived(self, rpc: Rpc) -> None:
        """Have grpc tell when it is done with the RPC."""
        raise NotImplementedError

    def _observe(self, handler: Handler, method: str) -> tuple[str, Callable[[Rpc], Handler]] | None:
        """The method's label, and what gives the handler that observes an RPC; None when it cannot be observed."""
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            behavior = getattr(handler, kind)
            if behavior is not None:
                break
        else:
            return None
        if getattr(behavior, "experimental_non_blocking", False):  # it answers through a callback, after its return
            return None
        if self._mapping is not None:
            request_streaming, response_streaming = handler.request_streaming, handler.response_streaming
            behavior = self._mapping.observe(
                behavior, method, self._telemetry, request_streaming=request_streaming, response_streaming=response_streaming
            )
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return self._methods.bound(method), self._maker(make, behavior, handler)

    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        """What gives the handler that observes an RPC. make: makes a handler of this kind."""
        raise NotImplementedError

    def _synchronous(self, behavior: Any, rpc: Rpc, *, streaming: bool, thread: Thread | None = None) -> Any:
        """In a context that is the RPC's own: what is current in it stays so, and nothing has to be restored."""

        @functools.wraps(behavior)
        def observed(request: Any, context: Any) -> Any:
            if thread is not None:
                context = ThreadContext(context, thread.task)
            _begin(rpc)
            handling = _Handling(rpc, context)
            attach(rpc.context)
            try:
                response = behavior(request, context)
            except BaseException as error:
                handling.raised(error)
                raise
            if streaming:
                pull = functools.partial(next, response)
                return _Responses(pull if thread is None else functools.partial(thread.context.run, pull), handling)
            handling.returned()
            return response

        return observed


@guarded
def _begin(rpc: Rpc) -> None:
    rpc.begin()


_OURS = Cause(Outcome.ERROR, ErrorType.OTHER)


def _name(code: Any) -> str:
    """A status code by name; handlers may give its number."""
    return getattr(code, "name", None) or _BY_NUMBER.get(code, "UNKNOWN")


def _code(context: Any, default: str) -> str:
    """The status code by name that the handler set."""
    code = context.code()
    return default if code is None else _name(code)


def _failure(context: Any, default: str = "UNKNOWN") -> str:
    """The status of an RPC that an exception ended under ``grpc.aio``: what the handler set before, else the default."""
    code = _code(context, default)
    return default if code == "OK" else code


class _ServerInterceptor(_Interceptor, grpc.ServerInterceptor):
    """Each RPC has a thread of the pool, and a context of its own there."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return self._intercept(continuation(handler_call_details), handler_call_details, of_sync_rpc)

    def _arrived(self, rpc: Rpc) -> None:
        if rpc.refused:
            rpc.over(sent=True, code="RESOURCE_EXHAUSTED")
        elif rpc.internals.context is not None:
            rpc.internals.context.add_callback(functools.partial(_sync_over, rpc))

    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        deserialize, serialize, streaming = handler.request_deserializer, handler.response_serializer, handler.response_streaming

        def observed(rpc: Rpc) -> Handler:
            return make(
                self._synchronous(behavior, rpc, streaming=streaming),
                _reading(deserialize, rpc, "INTERNAL") if deserialize is not None else None,
                _writing(serialize, rpc, "INTERNAL"),
            )

        return observed


@guarded
def _sync_over(rpc: Rpc) -> None:
    internals = rpc.internals
    sent = internals.sent()
    code = internals.context.code() if internals.context is not None else None
    # A status that nobody gave is grpc's own: the caller sent no request where there must be one.
    rpc.over(sent=rpc.answered if sent is None else sent, code="UNIMPLEMENTED" if code is None else _name(code))


def _reading(deserialize: Any, rpc: Rpc, failure: str) -> Any:
    """``deserialize``, whose failure grpc answers with the status ``failure``."""

    def reading(raw: bytes) -> Any:
        try:
            request = deserialize(raw)
        except BaseException:
            rpc.answer(failure, by_grpc=True)
            raise
        if request is None and failure == "INTERNAL":  # `grpc` takes it for a failure
            rpc.answer(failure, by_grpc=True)
        return request

    return reading


def _writing(serialize: Any, rpc: Rpc, failure: str) -> Any:
    """``serialize``, whose failure grpc answers with the status ``failure``, unless the handler has set another."""

    def writing(message: Any) -> Any:
        try:
            raw = message if serialize is None else serialize(message)
        except BaseException as error:
            rpc.answer(_set_code(rpc, failure), error, _OURS, by_grpc=True)
            raise
        if isinstance(raw, bytes):
            rpc.largest_response = max(rpc.largest_response, len(raw))
        else:
            rpc.answer(_set_code(rpc, failure), None, _OURS, by_grpc=True)
        return raw

    return writing


def _fault(code: str, error: BaseException) -> Cause | None:
    """What an exception means that left a handler; None where the handler has said that by a status."""
    return outcome.by_itself(error) if code in ("UNKNOWN", "OK") else None


def _set_code(rpc: Rpc, default: str) -> str:
    """The status that the handler has set, if it is a failure."""
    context = rpc.internals.context
    return default if context is None else _failure(context, default)


class _Handling:
    """How a synchronous handler ends."""

    def __init__(self, rpc: Rpc, context: Any) -> None:
        self._rpc = rpc
        self._context = context
        self._prepare()

    @guarded
    def _prepare(self) -> None:
        answer_with(self._rpc.trace_response, self._context)

    @guarded
    def returned(self) -> None:
        if self._context.is_active():
            self._rpc.answer(_code(self._context, "OK"))

    @guarded
    def raised(self, error: BaseException) -> None:
        if not self._context.is_active():
            return
        if isinstance(error, grpc.aio.AbortError) or (type(error) is Exception and not error.args and self._context.code()):
            self._rpc.answer(_code(self._context, "UNKNOWN"))  # a bare Exception is all that `abort` raises
        else:
            # `grpc` sends what the handler has set, be it OK; `grpc.aio` sends no OK for an exception.
            code = (_failure if isinstance(self._context, ThreadContext) else _code)(self._context, "UNKNOWN")
            self._rpc.answer(code, error, _fault(code, error))


class _Responses(Iterator[T]):
    """The responses of a streaming handler. ``pull`` gives the next one."""

    def __init__(self, pull: Callable[[], T], handling: _Handling) -> None:
        self._pull = pull
        self._handling = handling

    def __next__(self) -> T:
        try:
            return self._pull()
        except StopIteration:
            self._handling.returned()
            raise
        except BaseException as error:
            self._handling.raised(error)
            raise


class _AioServerInterceptor(_Interceptor, grpc.aio.ServerInterceptor):
    """Each RPC has a task of its own, so its context is set there once and never restored."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        return self._intercept(handler, handler_call_details, of_aio_rpc)

    def _arrived(self, rpc: Rpc) -> None:
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(functools.partial(_aio_over, rpc))

    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        deserialize, serialize, streaming = handler.request_deserializer, handler.response_serializer, handler.response_streaming

        def reading(raw: bytes) -> Any:
            rpc = self._rpc.get()
            return (deserialize if rpc is None else _reading(deserialize, rpc, "UNKNOWN"))(raw)

        def writing(message: Any) -> Any:
            rpc = self._rpc.get()
            if rpc is None:
                return message if serialize is None else serialize(message)
            if not streaming:
                _watch(rpc)
            return _writing(serialize, rpc, "UNKNOWN")(message)

        def made(behavior: Any) -> Handler:
            return make(behavior, reading if deserialize is not None else None, writing)

        if inspect.isasyncgenfunction(behavior):
            shared = made(self._generator(behavior))
        elif inspect.iscoroutinefunction(behavior):
            shared = made(self._coroutine(behavior))
        else:
            shared = None

        def observed(rpc: Rpc) -> Handler:
            if not handler.request_streaming:  # grpc receives the request before the handler begins
                _watch(rpc, request=True)
            return made(self._in_threads(behavior, rpc, streaming=streaming)) if shared is None else shared

        return observed

    def _in_threads(self, behavior: Any, rpc: Rpc, *, streaming: bool) -> Any:
        thread = Thread(copy_context(), asyncio.current_task())
        return functools.partial(thread.context.run, self._synchronous(behavior, rpc, streaming=streaming, thread=thread))

    def _coroutine(self, behavior: Any) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> Any:
            rpc = self._rpc.get()
            if rpc is None:  # an interceptor further out has changed the context
                return await behavior(request, context)
            _begin(rpc)
            attach(rpc.context)
            try:
                response = await behavior(_requests(request, rpc), AioContext(context, rpc))
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            _aio_returned(rpc, context)
            return response

        return observed

    def _generator(self, behavior: Any) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> AsyncIterator[Any]:
            rpc = self._rpc.get()
            if rpc is None:
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response
                return
            _begin(rpc)
            attach(rpc.context)
            try:
                async with aclosing(behavior(_requests(request, rpc), AioContext(context, rpc))) as responses:
                    async for response in responses:
                        yield response
            except GeneratorExit:  # grpc drops it: why, is known when the RPC is over
                raise
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            _aio_returned(rpc, context)

        return observed


@guarded
def _aio_over(rpc: Rpc, _: object) -> None:
    internals = rpc.internals
    context = internals.context
    if context is None:
        rpc.over(sent=rpc.answered and not rpc.response_failed)
        return
    if isinstance(rpc.error, asyncio.CancelledError) and not context.done() and not internals.stopping():
        # The handler's own, to which grpc answers nothing: its caller waits for as long as it likes.
        rpc.abandon("UNKNOWN" if internals.remaining() is None else "DEADLINE_EXCEEDED")
        return
    sent = context.done() and not rpc.response_failed
    refused = context.code() is None and not rpc.has_begun and not rpc.answered and rpc.internals.limits_rpcs()
    rpc.over(sent=sent, code="RESOURCE_EXHAUSTED" if refused else _failure(context))


@guarded
def _aio_returned(rpc: Rpc, context: Any) -> None:
    rpc.answer(_code(context, "OK"))
    _watch(rpc)


@guarded
def _aio_raised(rpc: Rpc, context: Any, error: BaseException) -> None:
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError):
        if task is not None and not task.cancelling():  # nobody has cancelled it: grpc will send no status at all
            rpc.answer("UNKNOWN", error, _OURS)
        else:
            rpc.cancelled()
    elif isinstance(error, grpc.aio.AbortError):
        rpc.answer(_code(context, "UNKNOWN"))
    elif not isinstance(error, grpc.aio.InternalError):  # that is grpc's: nobody takes what is sent
        code = _failure(context)
        rpc.answer(code, error, _fault(code, error))


@guarded
def _watch(rpc: Rpc, *, request: bool = False) -> None:
    """Have the RPC know if what its task sends next, or receives, fails."""
    task = asyncio.current_task()
    if task is not None:
        on_failure(task, rpc.lose_request if request else rpc.lose_response)


def _requests(request: Any, rpc: Rpc) -> Any:
    """The requests of a streaming method, watched as they are received."""
    return _Requests(request, rpc) if hasattr(request, "__anext__") else request


class _Requests(AsyncIterator[T]):
    def __init__(self, requests: Any, rpc: Rpc) -> None:
        self._requests = requests
        self._rpc = rpc

    async def __anext__(self) -> T:
        _watch(self._rpc, request=True)
        request: T = await anext(self._requests)
        return request
