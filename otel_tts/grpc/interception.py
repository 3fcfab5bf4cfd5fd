"""The common part of the interceptors of ``grpc`` and ``grpc.aio``: which RPCs are observed, and with which handlers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Protocol

import grpc

from otel_tts.core.clock import RequestClock
from otel_tts.core.guard import guard, guarded
from otel_tts.core.labels import Labels
from otel_tts.core.telemetry import Telemetry
from otel_tts.grpc.internals import Internals
from otel_tts.grpc.plan import MethodSpeech, plan_of
from otel_tts.grpc.rpc import Rpc
from otel_tts.semconv import OTHER, RPC_METHOD

EXCLUDED = ("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Services that are called by machines, all the time, and do not speak."""

_METHODS = 256

Handler = Any  # grpc.RpcMethodHandler: it has one function, of one of four kinds; grpc's own types do not say which

Observation = tuple[str, Callable[[Rpc], Handler]]
"""The label of a method, and the function that follows one of its RPCs and returns the handler for it."""


class Mapping(Protocol):
    """A mapping of methods whose messages contain the text to speak; see ``otel_tts.instrumentation.protos.load``."""

    def observe(
        self, behavior: Any, method: str, telemetry: Telemetry, *, request_streaming: bool, response_streaming: bool
    ) -> Any:
        """Return the function to call in place of ``behavior``; for an unknown method, ``behavior`` itself.

        Args:
            behavior: the handler's function.
            method: the RPC's full name, such as ``acme.v1.Speech/Say``.
            telemetry: that of the service.
            request_streaming: whether requests are streams.
            response_streaming: whether responses are streams.
        """


class Interceptor(ABC):
    """The base of both interceptors: which RPCs are observed, and with which handlers.

    Args:
        telemetry: the Telemetry that records.
        excluded: full names of methods that are not observed.
        mapping: of messages to requests to speak; None: none.
    """

    def __init__(self, telemetry: Telemetry, excluded: Iterable[str], mapping: Mapping | None) -> None:
        self._telemetry = telemetry
        self._emitter = telemetry.emitter
        self._mapping = mapping
        self._excluded = tuple(f"/{service}/" for service in excluded)
        self._methods = Labels(RPC_METHOD)
        self._kept: dict[str, tuple[Handler, Observation | None]] = {}  # by method, with the handler it is for
        self._rpc: ContextVar[Rpc | None] = ContextVar("rpc", default=None)

    def _intercept(
        self, handler: Handler | None, details: grpc.HandlerCallDetails, internals: Callable[[], Internals]
    ) -> Handler | None:
        try:
            method: str = details.method
            kept = self._kept.get(method)
            observation = kept[1] if kept is not None and kept[0] is handler else self._observe(handler, method)
            if observation is None:
                return handler
            label, observe = observation
            rpc = Rpc(self._emitter, label, details.invocation_metadata or (), RequestClock(self._emitter.clock), internals())
            self._rpc.set(rpc)
            return observe(rpc)
        except Exception as error:  # noqa: BLE001 - the boundary: the RPC goes on unobserved
            guard.caught("intercepting an RPC", error)
            return handler

    @guarded
    def _rejected(
        self,
        error: BaseException,
        details: grpc.HandlerCallDetails,
        internals: Callable[[], Internals],
        follow: Callable[[Rpc, BaseException], None],
    ) -> None:
        """Count an RPC that another interceptor, or the look-up of the handler, rejects by an exception."""
        method: str = details.method
        if not method.startswith(self._excluded):
            kept = self._kept.get(method)
            label = OTHER if kept is None or kept[1] is None else kept[1][0]  # callers can make up methods without end
            clock = RequestClock(self._emitter.clock)
            follow(Rpc(self._emitter, label, details.invocation_metadata or (), clock, internals()), error)

    def _observe(self, handler: Handler | None, method: str) -> Observation | None:
        """Return how RPCs of a method are observed, and keep it for the next one; None if they are not."""
        if method.startswith(self._excluded):
            return None
        if handler is None:  # not kept: callers can make up methods without end
            return OTHER, _unimplemented
        observation = self._observation(handler, method.lstrip("/"))
        if len(self._kept) >= _METHODS:  # a generic handler may answer any method
            self._kept.clear()
        self._kept[method] = handler, observation
        return observation

    def _observation(self, handler: Handler, method: str) -> Observation | None:
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            behavior = getattr(handler, kind)
            if behavior is not None:
                break
        else:
            return None
        if getattr(behavior, "experimental_non_blocking", False):  # it responds through a callback, after its return
            return None
        label = self._methods.bound(method)
        if self._mapping is not None:
            request_streaming, response_streaming = handler.request_streaming, handler.response_streaming
            unmapped = behavior
            behavior = self._mapping.observe(
                behavior, method, self._telemetry, request_streaming=request_streaming, response_streaming=response_streaming
            )
            if behavior is not unmapped and (ok := plan_of(self._emitter, label, "OK")).speech is None:
                ok.speech = MethodSpeech(response_streaming)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return label, self._maker(make, behavior, handler)

    @abstractmethod
    def _maker(self, make: Any, behavior: Any, handler: Handler) -> Callable[[Rpc], Handler]:
        """Return a function that follows an RPC that has arrived, and returns the handler that observes it.

        Args:
            make: grpc's function for a handler of this kind.
            behavior: the function of the handler.
            handler: of the host.
        """


def _unimplemented(rpc: Rpc) -> None:
    """End an RPC whose method nobody handles."""
    rpc.finish(True, "UNIMPLEMENTED")
