"""The running service: server, engines, cache and their watchers, started and stopped together."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from otel_tts import Telemetry
from otel_tts.errors import OtelTtsError
from otel_tts.grpc import aio_server_interceptor
from otel_tts.service import providers as engines_there_are
from otel_tts.service.cache import Cache
from otel_tts.service.chain import Chain
from otel_tts.service.config import ServiceConfig
from otel_tts.service.engine import Engine
from otel_tts.service.providers import Provider
from otel_tts.service.servicer import TextToSpeech
from otel_tts.service.wire import SERVICE, handler


class PortTakenError(OtelTtsError, OSError):
    """The service cannot have its port."""


class RunningService:
    """A service that accepts requests.

    Args:
        host: the address to listen on.
        port: the one it listens on, also where a free one was asked for.
        engines: the engines, in the order of preference.
    """

    def __init__(self, host: str, port: int, engines: Sequence[Engine]) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.port = port
        self.engines = engines


@asynccontextmanager
async def serve(
    config: ServiceConfig, telemetry: Telemetry, *, providers: Sequence[Provider] | None = None
) -> AsyncIterator[RunningService]:
    """Serve for the length of the block; at its end, requests under way get ``config.stop_grace`` seconds.

    Args:
        config: of the service.
        telemetry: the Telemetry that records.
        providers: by default those that ``config`` names, configured by the environment.

    Raises:
        PortTakenError: something else has the port, or there is no such address.
        MissingEngineError: a provider's extra is not installed.
        SettingError: a provider's variable has a value that is not allowed, or the cache cannot be used.
    """
    if providers is None:
        providers = [engines_there_are.create(name) for name in config.providers]
    state = _HealthStatus()
    engines = [Engine(provider, config, telemetry, state.changed) for provider in providers]
    async with AsyncExitStack() as stack:
        for provider in providers:
            stack.push_async_callback(provider.close)
            await provider.start()
        cache = Cache.open(config.cache, telemetry)
        stack.push_async_callback(cache.close)
        servicer = TextToSpeech(Chain(engines, cache), providers, telemetry, max_text=config.max_text)
        # Without so_reuseport=0, two servers share a port on Linux, and each gets some of the requests.
        server = grpc.aio.server(interceptors=[aio_server_interceptor(telemetry)], options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((handler(servicer),))
        health_pb2_grpc.add_HealthServicer_to_server(state.servicer, server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        port = _bind(server, config.host, config.port)
        await server.start()
        stack.push_async_callback(server.stop, config.stop_grace)
        for watch in (state.watch(engines), *(engine.watch() for engine in engines)):
            stack.push_async_callback(_background(watch))
        stack.push_async_callback(state.servicer.enter_graceful_shutdown)
        yield RunningService(config.host, port, engines)


class _HealthStatus:
    """The state that ``grpc.health.v1`` reports: serving while any provider gets requests."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._news = asyncio.Event()
        self._news.set()

    def changed(self, _: bool) -> None:
        self._news.set()

    async def watch(self, engines: Sequence[Engine]) -> None:
        status = health_pb2.HealthCheckResponse.ServingStatus
        while True:
            await self._news.wait()
            self._news.clear()
            serving = any(engine.circuit.closed for engine in engines)
            for name in ("", SERVICE):
                await self.servicer.set(name, status.SERVING if serving else status.NOT_SERVING)


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    ipv6 = ":" in host
    try:  # grpc would write to stderr, and not say why it cannot
        socket.create_server((host, port), family=socket.AF_INET6 if ipv6 else socket.AF_INET).close()
        return server.add_insecure_port(f"[{host}]:{port}" if ipv6 else f"{host}:{port}")
    except (OSError, RuntimeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "grpc refuses it"
        raise PortTakenError(f"Port {port} of {host} cannot be used: {reason}. Set TTS_PORT to another, or 0 for any.") from None


def _background(work: Coroutine[Any, Any, None]) -> Callable[[], Coroutine[Any, Any, None]]:
    """Start ``work``; give the function that ends it."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.wait((task,))

    return end
