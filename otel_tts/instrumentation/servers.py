"""gRPC servers that were never changed get our interceptors, ``grpc.server`` and ``grpc.aio.server`` alike."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.telemetry import Telemetry

_POSITION = 2  # of the interceptors among the parameters of both functions


class GrpcServerInstrumentor(Instrumentor):
    """Adds our interceptor as the outermost one, unless the server has it already.

    Health checks and reflection are left alone, and so are the services in ``OTEL_PYTHON_GRPC_EXCLUDED_SERVICES``, separated by commas.
    """

    requires = "grpcio >= 1.71, < 2"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Where servers are made.

        Raises:
            SettingError: the user's mapping of further methods cannot be used.
        """
        if telemetry.emitter.settings.grpc_mapping:
            _mapping(telemetry)  # what is wrong with it is said at the start
        return [
            Patch("grpc", "server", lambda _: _adding("server_interceptor", telemetry)),
            Patch("grpc.aio", "server", lambda _: _adding("aio_server_interceptor", telemetry)),
        ]


def _mapping(telemetry: Telemetry) -> Any:
    from otel_tts.instrumentation import protos  # which imports grpc

    return protos.load(telemetry.emitter.settings)


def _adding(kind: str, telemetry: Telemetry) -> Wrapper:
    from otel_tts import grpc

    named = os.environ.get("OTEL_PYTHON_GRPC_EXCLUDED_SERVICES", "").split(",")
    excluded = (*grpc.EXCLUDED, *(name.strip() for name in named if name.strip()))
    return functools.partial(_add, getattr(grpc, kind)(telemetry, excluded=excluded, mapping=_mapping(telemetry)))


def _add(interceptor: Any, server: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = tuple((args[_POSITION] if len(args) > _POSITION else kwargs.get("interceptors")) or ())
    if not any(isinstance(each, type(interceptor)) for each in given):
        given = (interceptor, *given)
    if len(args) > _POSITION:
        return server(*args[:_POSITION], given, *args[_POSITION + 1 :], **kwargs)
    return server(*args, **{**kwargs, "interceptors": given})
