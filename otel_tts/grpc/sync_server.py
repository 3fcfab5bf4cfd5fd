"""The interceptor of ``grpc.server``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import grpc

from otel_tts.core.guard import guarded
from otel_tts.grpc.interception import Handler, Interceptor
from otel_tts.grpc.internals import of_sync_rpc
from otel_tts.grpc.rpc import Rpc
from otel_tts.grpc.serialization import read, write
from otel_tts.grpc.synchronous import observe_synchronous


class ServerInterceptor(Interceptor, grpc.ServerInterceptor):
    """The interceptor of ``grpc.server``. Each RPC runs in a thread of the pool, in a context of its own."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Look up the handler, and observe it."""
        try:
            handler = continuation(handler_call_details)
        except BaseException as error:
            self._rejected(error, handler_call_details, of_sync_rpc, _reject)
            raise
        return self._intercept(handler, handler_call_details, of_sync_rpc)

    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        deserialize, serialize, streaming = handler.request_deserializer, handler.response_serializer, handler.response_streaming

        def observed(rpc: Rpc) -> Handler:
            rpc.single_response = not streaming
            rpc.received = handler.request_streaming
            if rpc.refused:
                rpc.finish(True, "RESOURCE_EXHAUSTED")
            else:
                rpc.internals.when_over(functools.partial(_sync_over, rpc))
            return make(
                observe_synchronous(behavior, rpc, receives=handler.request_streaming, streaming=streaming),
                functools.partial(read, deserialize, rpc, "INTERNAL"),
                functools.partial(write, serialize, rpc, "INTERNAL"),
            )

        return observed


def _reject(rpc: Rpc, error: BaseException) -> None:
    """End an RPC that was rejected by an exception: grpc sends its status, and calls nothing back."""
    rpc.answer("UNKNOWN", error, by_grpc=True)
    rpc.finish(True)


@guarded
def _sync_over(rpc: Rpc) -> None:
    internals = rpc.internals
    sent = internals.sent()
    rpc.finish(
        rpc.has_answer if sent is None else sent or rpc.failed_without_response,
        internals.code(),
        "UNKNOWN" if rpc.received else "UNIMPLEMENTED",  # what grpc sends to a caller that sends no request where one is needed
    )
