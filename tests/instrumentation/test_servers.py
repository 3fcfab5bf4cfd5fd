"""gRPC servers that were never changed, in this process: which interceptor they get, and what it leaves alone."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import hibari
import numpy as np
import pytest

from otel_tts import Telemetry
from otel_tts.grpc import server_interceptor
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.servers import GrpcServerInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe


class Echo(grpc.GenericRpcHandler):
    """Answers any unary method with its request."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


class Noting(grpc.ServerInterceptor):
    """An interceptor of the host's."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.seen.append(handler_call_details.method)
        return continuation(handler_call_details)


@contextmanager
def served(*arguments: Any, **options: Any) -> Iterator[grpc.Channel]:
    """A channel to a server that is made so."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, *arguments, **options)
        server.add_generic_rpc_handlers([Echo()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield channel
        finally:
            server.stop(None).wait(10)


def call(channel: grpc.Channel, method: str = "/shop.Speech/Say") -> None:
    """One RPC."""
    ask: Any = channel.unary_unary(method)
    ask(b"", timeout=10)


def calls(capture: Capture) -> float:
    """How many RPCs were counted."""
    return capture.total("rpc.server.call.duration")


@pytest.mark.parametrize("positional", [True, False])
def test_the_host_s_interceptors_stay(capture_tts: Capture, observe: Observe, positional: bool) -> None:
    """However they are given; ours comes first."""
    observe(GrpcServerInstrumentor)
    noting = Noting()
    with served(None, [noting]) if positional else served(interceptors=iter([noting])) as channel:
        call(channel)
    assert noting.seen == ["/shop.Speech/Say"]
    assert calls(capture_tts) == 1


def test_a_server_that_has_ours_already_gets_no_second_one(capture_tts: Capture, observe: Observe) -> None:
    """A service that uses the library may be started so too."""
    observe(GrpcServerInstrumentor)
    with served(interceptors=(server_interceptor(Telemetry()),)) as channel:
        call(channel)
    assert calls(capture_tts) == 1
    assert [span.name for span in capture_tts.spans] == ["shop.Speech/Say"]


def test_what_is_no_speech_is_left_alone(capture_tts: Capture, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health checks, reflection, and what OpenTelemetry's variable names."""
    monkeypatch.setenv("OTEL_PYTHON_GRPC_EXCLUDED_SERVICES", "shop.Prices, shop.Stock")
    observe(GrpcServerInstrumentor)
    with served() as channel:
        for service in (
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "shop.Prices",
            "shop.Stock",
            "shop.Speech",
        ):
            call(channel, f"/{service}/Say")
    assert [span.name for span in capture_tts.spans] == ["shop.Speech/Say"]


def test_afterwards_servers_are_made_as_before(observe: Observe) -> None:
    """The very same functions; where somebody has wrapped them once more, ours stays inside and does nothing."""
    before = grpc.server, grpc.aio.server
    instrumentor = GrpcServerInstrumentor()
    instrumentor.instrument()
    assert grpc.server is not before[0]
    instrumentor.uninstrument()
    assert (grpc.server, grpc.aio.server) == before
    assert grpc.server is before[0]


def test_ours_inside_another_one_s_wrapper_is_switched_off(capture_tts: Capture) -> None:
    """Taking ours away takes nobody else's away."""
    original = grpc.server
    instrumentor = GrpcServerInstrumentor()
    instrumentor.instrument()
    try:
        grpc.server = others = functools.partial(grpc.server)
        instrumentor.uninstrument()
        assert grpc.server is others
        with served() as channel:
            call(channel)
        assert calls(capture_tts) == 0
    finally:
        grpc.server = original


def test_grpc_may_be_imported_after_it_is_observed() -> None:
    """The hook runs in the middle of that import, where not all of grpc is there yet."""
    script = """
import sys
from otel_tts.instrumentation.servers import GrpcServerInstrumentor
GrpcServerInstrumentor().instrument()
assert "grpc" not in sys.modules
import asyncio, grpc
from concurrent.futures import ThreadPoolExecutor
async def serve():
    return grpc.aio.server()
print(type(grpc.server(ThreadPoolExecutor(1))).__name__, type(asyncio.run(serve())).__name__)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=110)
    assert (run.stdout, run.stderr) == ("_Server Server\n", "")


def test_an_unknown_proto_still_has_its_synthesis(capture_tts: Capture, observe: Observe) -> None:
    """Of an engine that is observed: it belongs to the RPC, whose status decides."""
    observe(GrpcServerInstrumentor, HibariInstrumentor)
    engine = hibari.Hibari(threads=1)

    class Speech(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            def say(request: bytes, context: grpc.ServicerContext) -> bytes:
                samples = engine(request.decode())
                if samples.size < 30000:
                    context.abort(grpc.StatusCode.INTERNAL, "too short")
                return bytes(np.asarray(samples).tobytes())

            return grpc.unary_unary_rpc_method_handler(say)

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([Speech()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            say: Any = channel.unary_unary("/shop.Speech/Say")
            say(b"Hello there. How are you, dear listener?", timeout=10)
            with pytest.raises(grpc.RpcError):
                say(b"No.", timeout=10)
        server.stop(None).wait(10)
    assert [(s.outcome, [a.outcome for a in s.attempts]) for s in capture_tts.syntheses()] == [("ok", ["ok"]), ("error", ["ok"])]
    assert [span.parent is not None for span in capture_tts.spans if span.name == "tts.synthesize"] == [True, True]
