"""Instrumentor of gRPC servers: it adds our interceptors to ``grpc.server`` and ``grpc.aio.server``."""

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

_POSITION = 2  # the position of the interceptors in the parameters of both functions
_CONTRIB = "opentelemetry.instrumentation.grpc."


class GrpcServerInstrumentor(Instrumentor):
    """Instrumentor that adds our interceptor before those of the host, unless the server has it already.

    Health checks and reflection are not observed, nor are the services in ``OTEL_PYTHON_GRPC_EXCLUDED_SERVICES``, separated by commas.
    """

    requires = "grpcio >= 1.71, < 2"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of the functions that create servers.

        Raises:
            SettingError: the user's mapping of further methods cannot be used.
        """
        if telemetry.emitter.settings.grpc_mapping:
            _mapping(telemetry)  # an error in it is reported at the start
        return [
            Patch("grpc", "server", lambda _: _adding("server_interceptor", telemetry)),
            Patch("grpc.aio", "server", lambda _: _adding("aio_server_interceptor", telemetry)),
        ]


def _mapping(telemetry: Telemetry) -> Any:
    from otel_tts.instrumentation import protos  # which imports grpc

    return protos.load(telemetry.emitter.settings)


def _adding(kind: str, telemetry: Telemetry) -> Wrapper:
    @functools.cache
    def interceptor() -> Any:  # only when a server is created: before, the program may be in the middle of importing grpc
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
    """Return the host's interceptors and ours. OpenTelemetry's own stay outside ours, since ours corrects the span that they create."""
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
