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
from otel_tts.grpc.status import name_of
from otel_tts.grpc.synchronous import observe_synchronous


class ServerInterceptor(Interceptor, grpc.ServerInterceptor):
    """The interceptor of ``grpc.server``. Each RPC runs in a thread of the pool, in a context of its own."""

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Look up the handler, and observe it."""
        return self._intercept(continuation(handler_call_details), handler_call_details, of_sync_rpc)

    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        deserialize, serialize, streaming = handler.request_deserializer, handler.response_serializer, handler.response_streaming

        def observed(rpc: Rpc) -> Handler:
            rpc.single_response = not streaming
            if rpc.refused:
                rpc.finish(True, "RESOURCE_EXHAUSTED")
            else:
                rpc.internals.when_over(functools.partial(_sync_over, rpc))
            return make(
                observe_synchronous(behavior, rpc, receives=handler.request_streaming, streaming=streaming),
                functools.partial(read, deserialize, rpc, "INTERNAL") if deserialize is not None else None,
                functools.partial(write, serialize, rpc, "INTERNAL"),
            )

        return observed


@guarded
def _sync_over(rpc: Rpc) -> None:
    internals = rpc.internals
    sent = internals.sent()
    code = internals.context.code() if internals.context is not None else None
    # If no status was set, grpc sent UNIMPLEMENTED: the caller sent no request to a method that needs one.
    rpc.finish(
        rpc.has_answer if sent is None else sent or rpc.failed_without_response,
        "UNIMPLEMENTED" if code is None else name_of(code),
    )
