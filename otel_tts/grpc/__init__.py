"""Server interceptors for ``grpc`` and ``grpc.aio``: one span, one recorded duration and one outcome for every RPC."""

from otel_tts.settings import plugins

plugins.import_context()

from otel_tts.grpc.interceptors import EXCLUDED, Mapping, aio_server_interceptor, server_interceptor  # noqa: E402 - after that
from otel_tts.grpc.rpc import TRACE_RESPONSE  # noqa: E402

__all__ = ["EXCLUDED", "TRACE_RESPONSE", "Mapping", "aio_server_interceptor", "server_interceptor"]
