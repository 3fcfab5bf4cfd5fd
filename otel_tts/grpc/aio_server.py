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
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from opentelemetry.context import attach

from otel_tts.core.guard import guard, guarded
from otel_tts.grpc import serialization
from otel_tts.grpc.contexts import AioContext, Thread
from otel_tts.grpc.interception import Handler, Interceptor
from otel_tts.grpc.internals import of_aio_rpc
from otel_tts.grpc.requests import AsyncRequests
from otel_tts.grpc.rpc import Rpc
from otel_tts.grpc.status import OURS, code_of, failure_of, fault
from otel_tts.grpc.synchronous import observe_synchronous


class AioServerInterceptor(Interceptor, grpc.aio.ServerInterceptor):
    """The interceptor of ``grpc.aio.server``. Each RPC has its own task, so its context is set there once and not restored."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Look up the handler, and observe it."""
        try:
            handler = await continuation(handler_call_details)
        except BaseException as error:
            self._rejected(error, handler_call_details, of_aio_rpc, _follow)
            raise
        return self._intercept(handler, handler_call_details, of_aio_rpc)

    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        deserialize, serialize, streaming = handler.request_deserializer, handler.response_serializer, handler.response_streaming
        receives = handler.request_streaming

        def reading(raw: bytes) -> Any:
            rpc = self._rpc.get()
            return deserialize(raw) if rpc is None else serialization.read(deserialize, rpc, "UNKNOWN", raw)

        def writing(message: Any) -> Any:
            rpc = self._rpc.get()
            if rpc is None:
                return message if serialize is None else serialize(message)
            if not streaming:
                _watch_sending(rpc)
            return serialization.write(serialize, rpc, "UNKNOWN", message)

        def made(behavior: Any) -> Handler:
            return make(behavior, reading if deserialize is not None else None, writing)

        if inspect.isasyncgenfunction(behavior):
            shared = made(self._generator(behavior, receives=receives))
        elif inspect.iscoroutinefunction(behavior):
            shared = made(self._coroutine(behavior, receives=receives, streaming=streaming))
        else:
            shared = None

        def observed(rpc: Rpc) -> Handler:
            rpc.single_response = not streaming
            rpc.internals.when_over(functools.partial(_aio_over, rpc))
            if not receives:  # grpc receives the request before the handler starts
                rpc.internals.watch_receiving()
            return made(self._in_threads(behavior, rpc, handler)) if shared is None else shared

        return observed

    def _in_threads(self, behavior: Any, rpc: Rpc, handler: Handler) -> Any:
        thread = Thread(copy_context(), asyncio.current_task())
        observed = observe_synchronous(
            behavior, rpc, receives=handler.request_streaming, streaming=handler.response_streaming, thread=thread
        )
        return functools.partial(thread.context.run, observed)

    def _coroutine(self, behavior: Any, *, receives: bool, streaming: bool) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> Any:
            rpc = self._rpc.get()
            if rpc is None:  # an outer interceptor runs the handler in another context
                return await behavior(request, context)
            attach(rpc.begin())
            try:
                response = await behavior(_requests(request, rpc) if receives else request, AioContext(context, rpc))
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            code = _aio_returned(rpc, context)
            if streaming or code != "OK":  # else the one response is serialized next, and watched from there on
                _watch_sending(rpc)
            return response

        return observed

    def _generator(self, behavior: Any, *, receives: bool) -> Any:
        @functools.wraps(behavior)
        async def observed(request: Any, context: Any) -> AsyncIterator[Any]:
            rpc = self._rpc.get()
            if rpc is None:
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response
                return
            attach(rpc.begin())
            try:
                request = _requests(request, rpc) if receives else request
                async with aclosing(behavior(request, AioContext(context, rpc))) as responses:
                    async for response in responses:
                        yield response
            except GeneratorExit:  # grpc closes the generator: the reason is known only when the RPC is over
                raise
            except BaseException as error:
                _aio_raised(rpc, context, error)
                raise
            _aio_returned(rpc, context)
            _watch_sending(rpc)

        return observed


def _follow(rpc: Rpc, error: BaseException) -> None:
    """Follow an RPC that was rejected by an exception, to its end."""
    rpc.internals.when_over(functools.partial(_aio_over, rpc))
    if not isinstance(error, asyncio.CancelledError):
        rpc.answer("UNKNOWN", error)


def _aio_over(rpc: Rpc, task: asyncio.Task[Any]) -> None:
    try:
        internals = rpc.internals
        context = internals.context
        if context is None:
            rpc.finish(rpc.has_answer and not internals.response_failed())
        elif rpc.unencodable or (not internals.stopping() and _is_left_open(rpc, context, task)):
            # grpc sends no status then, and the caller waits until its deadline.
            rpc.end_without_status("UNKNOWN" if internals.remaining_s() is None else "DEADLINE_EXCEEDED")
        elif (
            task.cancelling()
            and not (context.done() or rpc.has_answer or internals.request_failed())
            and _is_ending(task.get_loop())
        ):
            rpc.stop()  # the event loop ends while the RPC is open: its caller loses the connection
        else:
            sent = context.done() and not rpc.unsendable and not internals.response_failed()
            code = internals.code()
            refused = code is None and not rpc.has_begun and not rpc.has_answer and internals.limits_rpcs()
            rpc.finish(sent, None if code == "OK" else code, "RESOURCE_EXHAUSTED" if refused else "UNKNOWN")
    except Exception as error:  # noqa: BLE001 - the boundary: the event loop goes on
        guard.caught("the end of an RPC", error)


def _is_left_open(rpc: Rpc, context: Any, task: asyncio.Task[Any]) -> bool:
    """Return whether the handler raised what grpc sends no status for: its own CancelledError, what is no Exception or has no text."""
    if task.cancelled():
        return False
    return task.exception() is not None or (isinstance(rpc.error, asyncio.CancelledError) and not context.done())


def _is_ending(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether every remaining task is being cancelled, as at the end of ``asyncio.run``."""
    return all(task.cancelling() for task in asyncio.all_tasks(loop))


def _aio_returned(rpc: Rpc, context: Any) -> str:
    """Note the status of a handler that returned, and return its name."""
    code = "OK"
    try:
        code = code_of(context, code, numbers=True)
        rpc.answer(code)
    except Exception as error:  # noqa: BLE001 - the boundary: the response is sent all the same
        guard.caught("the status of an RPC", error)
    return code


@guarded
def _aio_raised(rpc: Rpc, context: Any, error: BaseException) -> None:
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError):
        if task is not None and not task.cancelling():  # the handler raised it by itself: grpc will send no status at all
            rpc.answer("UNKNOWN", error, OURS)
        else:
            rpc.cancelled()
    elif isinstance(error, grpc.aio.AbortError):
        rpc.answer(failure_of(context))
    elif not isinstance(error, cygrpc.ExecuteBatchError):  # grpc raises that one if the caller no longer receives
        code = failure_of(context)
        rpc.answer(code, error, fault(code, error))
        rpc.internals.watch_sending()  # its status: grpc may have ended the RPC before


def _watch_sending(rpc: Rpc) -> None:
    try:
        rpc.internals.watch_sending()
    except Exception as error:  # noqa: BLE001 - the boundary, as above
        guard.caught("watching what an RPC sends", error)


def _requests(request: Any, rpc: Rpc) -> Any:
    """Return the requests of a streaming method, watched as they are received."""
    return AsyncRequests(request, rpc) if hasattr(request, "__anext__") else request
