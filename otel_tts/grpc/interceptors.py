"""Server interceptors for ``grpc`` and ``grpc.aio``: for every RPC of every kind one span, one recorded duration and one outcome.

An interceptor sees an RPC when its method is looked up, so from its arrival. Every RPC counts, also if its handler never starts, because
the request cannot be read, too many RPCs are running, or the caller leaves while its RPC waits for a thread. An RPC ends when grpc is
done with it, and its status is the one that its caller got.
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
    """Return an interceptor for ``grpc.server(…, interceptors=[…])``.

    Args:
        telemetry: that of the service.
        excluded: fully qualified names of services that are not observed.
        mapping: the methods whose messages contain the text to speak, so that handlers without telemetry are measured; by default none.
    """
    return ServerInterceptor(telemetry, excluded, mapping)


def aio_server_interceptor(
    telemetry: Telemetry, *, excluded: Iterable[str] = EXCLUDED, mapping: Mapping | None = None
) -> grpc.aio.ServerInterceptor:
    """Return an interceptor for ``grpc.aio.server(interceptors=[…])``.

    Args:
        telemetry: that of the service.
        excluded: fully qualified names of services that are not observed.
        mapping: the methods whose messages contain the text to speak, so that handlers without telemetry are measured; by default none.
    """
    return AioServerInterceptor(telemetry, excluded, mapping)
