"""Synchronous handlers, in a thread of ``grpc`` or of ``grpc.aio``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
import grpc.aio
from opentelemetry.context import attach

from otel_tts.core.guard import guarded
from otel_tts.grpc.contexts import Thread, ThreadContext, answer_with
from otel_tts.grpc.requests import Requests
from otel_tts.grpc.rpc import Rpc
from otel_tts.grpc.status import code_of, failure_of, fault

T = TypeVar("T")


def observe_synchronous(behavior: Any, rpc: Rpc, *, receives: bool, streaming: bool, thread: Thread | None = None) -> Any:
    """Wrap the function of a synchronous handler. Its Python context belongs to the RPC alone, so nothing in it has to be restored.

    Args:
        behavior: the handler's function.
        rpc: the RPC.
        receives: whether it receives a stream of requests.
        streaming: whether it returns a stream of responses.
        thread: the pool's thread that runs it; None: the current one.
    """

    @functools.wraps(behavior)
    def observed(request: Any, context: Any) -> Any:
        if thread is not None:
            context = ThreadContext(context, rpc, thread.task)
        handler_context = rpc.begin()
        handling = _Handling(rpc, context)
        attach(handler_context)
        try:
            response = behavior(Requests(request, rpc) if receives else request, context)
        except BaseException as error:
            handling.raised(error)
            raise
        if streaming:
            pull = functools.partial(next, response)
            return _Responses(pull if thread is None else functools.partial(thread.context.run, pull), handling)
        handling.returned()
        return response

    return observed


class _Handling:
    """One run of a synchronous handler; it reports how the handler ends."""

    def __init__(self, rpc: Rpc, context: Any) -> None:
        self._rpc = rpc
        self._context = context
        self._prepare()

    @guarded
    def _prepare(self) -> None:
        answer_with(self._rpc, self._context)

    @guarded
    def returned(self) -> None:
        if self._context.is_active():
            self._rpc.answer(self._code("OK"))

    @guarded
    def raised(self, error: BaseException) -> None:
        if not self._context.is_active():
            return
        if isinstance(self._context, ThreadContext):  # `grpc.aio` never sends OK after an exception
            code, aborted = failure_of(self._context), isinstance(error, grpc.aio.AbortError)
        else:  # `grpc` sends the status that the handler has set, also OK; `abort` raises an Exception without arguments
            code = self._code("UNKNOWN")
            aborted = type(error) is Exception and not error.args and self._context.code() is not None
        self._rpc.answer(code, *(() if aborted else (error, fault(code, error))))

    def _code(self, default: str) -> str:
        return code_of(self._context, default, numbers=self._rpc.internals.numbers)


class _Responses(Iterator[T]):
    """The responses of a streaming handler. ``pull`` returns the next one."""

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
