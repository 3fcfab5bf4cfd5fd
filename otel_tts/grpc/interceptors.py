"""Server interceptors for ``grpc`` and ``grpc.aio``: for every RPC of every kind one span, one metric point and one outcome.

An interceptor sees an RPC when its method is looked up, and so from its arrival. It counts whatever becomes of it then: also when no
handler ever begins, because the request cannot be read, too many RPCs are under way, or the caller leaves while its RPC waits for a
thread. An RPC is over when grpc is done with it, and its status is the one that its caller saw.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
import grpc.aio

from otel_tts.core.telemetry import Telemetry
from otel_tts.grpc.aio_server import AioServerInterceptor
from otel_tts.grpc.interception import EXCLUDED, Mapping
from otel_tts.grpc.rpc import TRACE_RESPONSE
from otel_tts.grpc.sync_server import ServerInterceptor

__all__ = ["EXCLUDED", "TRACE_RESPONSE", "Mapping", "aio_server_interceptor", "server_interceptor"]


def server_interceptor(
    telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED, mapping: Mapping | None = None
) -> grpc.ServerInterceptor:
    """An interceptor for ``grpc.server(…, interceptors=[…])``.

    Args:
        telemetry: that of the service.
        excluded: fully qualified names of services that are left alone.
        mapping: the methods whose messages tell of a synthesis, so that handlers without telemetry have one too; by default none.
    """
    return ServerInterceptor(telemetry, excluded, mapping)


def aio_server_interceptor(
    telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED, mapping: Mapping | None = None
) -> grpc.aio.ServerInterceptor:
    """An interceptor for ``grpc.aio.server(interceptors=[…])``.

    Args:
        telemetry: that of the service.
        excluded: fully qualified names of services that are left alone.
        mapping: the methods whose messages tell of a synthesis, so that handlers without telemetry have one too; by default none.
    """
    return AioServerInterceptor(telemetry, excluded, mapping)
