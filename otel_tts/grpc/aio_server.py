"""The interceptor of ``grpc.aio.server``."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import copy_context
from typing import Any

import grpc
import grpc.aio
from opentelemetry.context import attach

from otel_tts.core.guard import guard, guarded
from otel_tts.grpc import serialization
from otel_tts.grpc.contexts import AioContext, Thread
from otel_tts.grpc.interception import Handler, Interceptor
from otel_tts.grpc.internals import of_aio_rpc, on_failure
from otel_tts.grpc.requests import AsyncRequests
from otel_tts.grpc.rpc import Rpc
from otel_tts.grpc.status import OURS, code_of, failure_of, fault
from otel_tts.grpc.synchronous import begin, observe_synchronous


class AioServerInterceptor(Interceptor, grpc.aio.ServerInterceptor):
    """The interceptor of ``grpc.aio.server``. Each RPC has its own task, so its context is set there once and not restored."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Look up the handler, and observe it."""
        handler = await continuation(handler_call_details)
        return self._intercept(handler, handler_call_details, of_aio_rpc)

    def _arrived(self, rpc: Rpc) -> None:
        task = rpc.internals.task
        if task is not None:
            task.add_done_callback(functools.partial(_aio_over, rpc))

    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        deserialize, serialize, streaming = handler.request_deserializer, handler.response_serializer, handler.response_streaming

        def reading(raw: bytes) -> Any:
            rpc = self._rpc.get()
            return deserialize(raw) if rpc is None else serialization.read(deserialize, rpc, "UNKNOWN", raw)

        def writing(message: Any) -> Any:
            rpc = self._rpc.get()
            if rpc is None:
                return message if serialize is None else serialize(message)
            if not streaming:
                _watch(rpc)
            return serialization.write(serialize, rpc, "UNKNOWN", message)

        def made(behavior: Any) -> Handler:
            return make(behavior, reading if deserialize is not None else None, writing)

        if inspect.isasyncgenfunction(behavior):
            shared = made(self._generator(behavior))
        elif inspect.iscoroutinefunction(behavior):
            shared = made(self._coroutine(behavior, streaming=streaming))
        else:
            shared = None

        def observed(rpc: Rpc) -> Handler:
            if not handler.request_streaming:  # grpc receives the request before the handler starts
                _watch(rpc, request=True)
            return made(self._in_threads(behavior, rpc, handler)) if shared is None else shared

        return observed

    def _in_threads(self, behavior: Any, rpc: Rpc, handler: Handler) -> Any:
        thread = Thread(copy_context(), asyncio.current_task())
        observed = observe_synchronous(
            behavior, rpc, receives=handler.request_streaming, streaming=handler.response_streaming, thread=thread
        )
        return functools.partial(thread.context.run, observed)

    def _coroutine(self, behavior: Any, *, streaming: bool) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> Any:
            rpc = self._rpc.get()
            if rpc is None:  # an outer interceptor runs the handler in another context
                return await behavior(request, context)
            begin(rpc)
            attach(rpc.context)
            try:
                response = await behavior(_requests(request, rpc), AioContext(context, rpc))
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            _aio_returned(rpc, context, watch=streaming)
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
            begin(rpc)
            attach(rpc.context)
            try:
                async with aclosing(behavior(_requests(request, rpc), AioContext(context, rpc))) as responses:
                    async for response in responses:
                        yield response
            except GeneratorExit:  # grpc closes the generator: the reason is known only when the RPC is over
                raise
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            _aio_returned(rpc, context, watch=True)

        return observed


@guarded
def _aio_over(rpc: Rpc, task: asyncio.Task[Any]) -> None:
    internals = rpc.internals
    context = internals.context
    if context is None:
        rpc.over(sent=rpc.answered and not rpc.response_failed)
        return
    if isinstance(rpc.error, asyncio.CancelledError) and not context.done() and not internals.stopping():
        # The handler raised CancelledError by itself. grpc then sends no status, and the caller waits until its deadline.
        rpc.end_without_status("UNKNOWN" if internals.remaining_s() is None else "DEADLINE_EXCEEDED")
        return
    if task.cancelling() and not (context.done() or rpc.answered or rpc.request_failed) and _is_ending(task.get_loop()):
        rpc.stop()  # the event loop ends while the RPC is open: its caller loses the connection
        return
    sent = context.done() and not rpc.response_failed
    refused = context.code() is None and not rpc.has_begun and not rpc.answered and rpc.internals.limits_rpcs()
    rpc.over(sent=sent, code="RESOURCE_EXHAUSTED" if refused else failure_of(context))


def _is_ending(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether every remaining task is being cancelled, as at the end of ``asyncio.run``."""
    return all(task.cancelling() for task in asyncio.all_tasks(loop))


@guarded
def _aio_returned(rpc: Rpc, context: Any, *, watch: bool) -> None:
    rpc.answer(code_of(context, "OK"))
    if watch:  # the one response of other methods is serialized next, and watched from there on
        _watch(rpc)


@guarded
def _aio_raised(rpc: Rpc, context: Any, error: BaseException) -> None:
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError):
        if task is not None and not task.cancelling():  # the handler raised it by itself: grpc will send no status at all
            rpc.answer("UNKNOWN", error, OURS)
        else:
            rpc.cancelled()
    elif isinstance(error, grpc.aio.AbortError):
        rpc.answer(code_of(context, "UNKNOWN"))
    elif not isinstance(error, grpc.aio.InternalError):  # grpc raises that one if the caller no longer receives
        code = failure_of(context)
        rpc.answer(code, error, fault(code, error))


def _watch(rpc: Rpc, *, request: bool = False) -> None:
    """Report to the RPC if the next send or receive of its task fails."""
    try:  # as `guarded` does, without another call
        task = rpc.internals.task
        if task is not None:
            on_failure(task, rpc.lose_request if request else rpc.lose_response)
    except Exception as error:  # noqa: BLE001 - the boundary, as there
        guard.caught("watching what an RPC sends or receives", error)


def _requests(request: Any, rpc: Rpc) -> Any:
    """Return the requests of a streaming method, watched as they are received."""
    if not hasattr(request, "__anext__"):
        return request
    return AsyncRequests(request, rpc, functools.partial(_watch, rpc, request=True))
