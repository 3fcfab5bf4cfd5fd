"""gRPC servers that were never changed get our interceptors, ``grpc.server`` and ``grpc.aio.server`` alike."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from otel_tts.core.guard import guard
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper

_POSITION = 2  # of the interceptors among the parameters of both functions
_CONTRIB = "opentelemetry.instrumentation.grpc."


class GrpcServerInstrumentor(Instrumentor):
    """Adds our interceptor before those of the host, unless the server has it already.

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
    @functools.cache
    def interceptor() -> Any:  # not before a server is made: until then the program may be in the middle of importing grpc
        from otel_tts import grpc

        named = os.environ.get("OTEL_PYTHON_GRPC_EXCLUDED_SERVICES", "").split(",")
        excluded = (*grpc.EXCLUDED, *(name.strip() for name in named if name.strip()))
        return getattr(grpc, kind)(telemetry, excluded=excluded, mapping=_mapping(telemetry))

    def server(make: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) > _POSITION:
            return make(*args[:_POSITION], _with(interceptor, args[_POSITION]), *args[_POSITION + 1 :], **kwargs)
        return make(*args, **{**kwargs, "interceptors": _with(interceptor, kwargs.get("interceptors"))})

    return server


def _with(interceptor: Callable[[], Any], interceptors: Iterable[Any] | None) -> Sequence[Any]:
    """The host's interceptors and ours. OpenTelemetry's own stay further out, since ours puts the span right that theirs makes."""
    hosts = tuple(interceptors or ())
    try:
        own = interceptor()
    except Exception as error:  # noqa: BLE001 - the boundary: the host's server is made, observed or not
        guard.caught("making an interceptor", error)
        return hosts
    if any(isinstance(each, type(own)) for each in hosts):
        return hosts
    contrib = tuple(itertools.takewhile(lambda each: type(each).__module__.startswith(_CONTRIB), hosts))
    return (*contrib, own, *hosts[len(contrib) :])
