"""RPCs over connections as they are in the wild: what their clients saw is what is counted, and a connection alone is no RPC."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from otel_tts.core.clock import SystemClock
from otel_tts.testing.capture import Capture, SessionProviders
from tests.grpc import matrix
from tests.grpc.servers import KINDS, STACKS, connect, speech, wait_for

STACK = pytest.mark.parametrize("stack", STACKS)


@pytest.fixture
def capture_tts(_tts_providers: SessionProviders) -> Iterator[Capture]:
    """On one path alone: connections end before both."""
    with Capture(_tts_providers) as capture:
        yield capture


def handlers(capture: Capture, stack: str, ending: str = "ok") -> matrix.Handlers:
    """Handlers of every kind that begin a request to speak and end in this way."""
    return (matrix.AsyncHandlers if stack == "aio" else matrix.Handlers)(capture.telemetry(clock=SystemClock()), ending)


def service(made: matrix.Handlers) -> grpc.GenericRpcHandler:
    """Their service."""
    return speech(**{kind: getattr(made, kind) for kind in KINDS})


def ask(channel: grpc.Channel, kind: str, **how: Any) -> str:
    """Make one RPC. Return the code that its client saw."""
    request: Any = iter([b"a", b"b"]) if kind.startswith("stream") else b"a"
    stub = getattr(channel, kind)(f"/test.Speech/{kind}")
    call = stub(request, timeout=30, **how) if kind.endswith("stream") else stub.future(request, timeout=30, **how)
    with suppress(grpc.RpcError):
        list(call) if kind.endswith("stream") else call.result()
    return str(call.code().name)


def counted(capture: Capture, expected: Counter[str], outcomes: Counter[str] | None = None) -> None:
    """Hold that these codes are counted, each as often, and that each RPC had one request to speak, with these outcomes."""
    wait_for(lambda: capture.total("rpc.server.call.duration") >= expected.total())
    codes: Counter[str] = Counter()
    for attributes, count in capture.metrics()["rpc.server.call.duration"]:
        codes[attributes["rpc.response.status_code"]] += int(count)
    assert codes == expected
    assert Counter(s.outcome for s in capture.syntheses()) == (outcomes or Counter(ok=expected["OK"]))
    assert capture.total("tts.synthesis.active") == 0


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bytes]]:
    """Certificates that have signed themselves, each with its key."""
    directory, pairs = tmp_path_factory.mktemp("pem"), {}
    for name in ("server", "client", "other"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = directory / f"{name}.key", directory / f"{name}.pem"
        subprocess.run([*command, *subject, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)
        pairs[name] = files[0].read_bytes(), files[1].read_bytes()
    return pairs


@STACK
@pytest.mark.parametrize("mutual", [False, True])
def test_a_handshake_that_fails_is_no_rpc(
    stack: str, mutual: bool, pem: dict[str, tuple[bytes, bytes]], capture_tts: Capture
) -> None:
    """Of callers without TLS, with another authority, without the certificate that is asked for, and of no HTTP/2 at all."""
    (key, cert), client, other = pem["server"], pem["client"], pem["other"]
    server = grpc.ssl_server_credentials([(key, cert)], client[1] if mutual else None, mutual)
    good = grpc.ssl_channel_credentials(cert, *client)
    bad = [grpc.ssl_channel_credentials(other[1], *client)]
    if mutual:
        bad += [grpc.ssl_channel_credentials(cert), grpc.ssl_channel_credentials(cert, *other)]
    made = handlers(capture_tts, stack)
    with ExitStack() as stack_:
        port = stack_.enter_context(STACKS[stack](made.telemetry, service(made), credentials=server))
        address = f"127.0.0.1:{port}"
        refused = [stack_.enter_context(grpc.secure_channel(address, credentials)) for credentials in bad]
        refused.append(stack_.enter_context(grpc.insecure_channel(address)))
        assert {ask(channel, "unary_stream") for channel in refused} == {"UNAVAILABLE"}
        for first in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x00\xff" + bytes(range(200)),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(first)
        channel = stack_.enter_context(grpc.secure_channel(address, good))
        seen = Counter(ask(channel, kind) for kind in KINDS)
        counted(capture_tts, seen)
    assert seen == {"OK": 4}


@STACK
def test_a_socket_of_unix_that_is_waited_for(stack: str, tmp_path: Path, capture_tts: Capture) -> None:
    """Its callers come before the server, and compress what they send."""
    address, made = f"unix:{tmp_path / 'socket'}", handlers(capture_tts, stack)
    with grpc.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        stub: Any = channel.unary_stream("/test.Speech/unary_stream")
        early = [stub(b"a" * 900, timeout=30, wait_for_ready=True) for _ in range(3)]
        with STACKS[stack](made.telemetry, service(made), address=address):
            assert [list(call) for call in early] == [[b"."]] * 3
            seen = Counter(ask(channel, kind, wait_for_ready=True) for kind in KINDS)
            counted(capture_tts, seen + Counter(OK=3))
    assert seen == {"OK": 4}


class Dynamic(grpc.GenericRpcHandler):
    """A handler that looks methods up anew each time."""

    def __init__(self, made: matrix.Handlers) -> None:
        self._made = made

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method."""
        kind = handler_call_details.method.rpartition("/")[2]
        return getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self._made, kind)) if kind in KINDS else None


@STACK
def test_several_servers_in_one_process(stack: str, capture_tts: Capture) -> None:
    """One without our interceptor is not counted, nor are health checks and reflection. A method that nobody has is an RPC alone."""
    ours = {name: handlers(capture_tts, name) for name in STACKS}
    checks, schema = (health.aio, reflection.aio) if stack == "aio" else (health, reflection)
    beside = [
        grpc.method_handlers_generic_handler(name, handlers_)
        for name, handlers_ in registered(checks.HealthServicer(), schema.ReflectionServicer(["test.Speech"])).items()
    ]
    with ExitStack() as servers:

        def start(name: str, telemetry: Any, *services: grpc.GenericRpcHandler) -> grpc.Channel:
            port = servers.enter_context(STACKS[name](telemetry, *services))
            channel: grpc.Channel = servers.enter_context(connect(port))
            return channel

        made = ours[stack]
        counting = [start(name, ours[name].telemetry, service(ours[name])) for name in STACKS]
        counting += [start(stack, made.telemetry, Dynamic(made), *beside)]
        bare = start(stack, None, speech(unary_unary=echo_async if stack == "aio" else echo))
        seen = Counter(ask(channel, kind) for channel in counting for kind in KINDS)
        unknown: Any = counting[-1].unary_unary("/test.Speech/none")
        call = unknown.future(b"", timeout=30)
        seen[call.exception().code().name] += 1
        for _ in range(3):
            health_pb2_grpc.HealthStub(counting[-1]).Check(health_pb2.HealthCheckRequest(), timeout=30)
            question = reflection_pb2.ServerReflectionRequest(list_services="")
            list(reflection_pb2_grpc.ServerReflectionStub(counting[-1]).ServerReflectionInfo(iter([question]), timeout=30))
            assert ask(bare, "unary_unary") == "OK"
        counted(capture_tts, seen)
    assert seen == {"OK": 12, "UNIMPLEMENTED": 1}


def echo(request: bytes, _: Any) -> bytes:
    """A handler that does not speak."""
    return request


async def echo_async(request: bytes, _: Any) -> bytes:
    """The same, asynchronous."""
    return request


def registered(*servicers: Any) -> dict[str, Any]:
    """The methods of the services of health and reflection, by the name of the service."""
    services: dict[str, Any] = {}

    class Server:
        def add_generic_rpc_handlers(self, _: Any) -> None:
            pass

        def add_registered_method_handlers(self, name: str, methods: Any) -> None:
            services[name] = methods

    health_pb2_grpc.add_HealthServicer_to_server(servicers[0], Server())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicers[1], Server())
    return services


@STACK
def test_retries_by_grpc_itself(stack: str, capture_tts: Capture) -> None:
    """The client sees one RPC, the server three. The guide says so."""
    made = handlers(capture_tts, stack)
    retry = {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1}
    policy = {"methodConfig": [{"name": [{}], "retryPolicy": {**retry, "retryableStatusCodes": ["UNAVAILABLE"]}}]}
    failed: list[str | bytes | None] = []

    def fails(context: Any) -> bool:
        failed.append(dict(context.invocation_metadata()).get("grpc-previous-rpc-attempts"))
        return len(failed) < 3

    def speak(request: bytes, context: Any) -> Iterator[bytes]:
        with made.telemetry.synthesis("hello", stream=True):
            if fails(context):
                context.abort(grpc.StatusCode.UNAVAILABLE, "no")
            yield b"."

    async def speak_async(request: bytes, context: Any) -> AsyncIterator[bytes]:
        async with made.telemetry.synthesis("hello", stream=True):
            if fails(context):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "no")
            yield b"."

    with (
        STACKS[stack](made.telemetry, speech(unary_stream=speak_async if stack == "aio" else speak)) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.service_config", json.dumps(policy))]) as channel,
    ):
        assert ask(channel, "unary_stream") == "OK"
        counted(capture_tts, Counter(OK=1, UNAVAILABLE=2), Counter(ok=1, error=2))
    assert failed == [None, "1", "2"]


@STACK
@pytest.mark.parametrize("grace", [None, 50])
def test_a_connection_that_the_server_ends_for_its_age(stack: str, grace: int | None, capture_tts: Capture) -> None:
    """A stream that is under way is played to its end. With a time of grace it is cut off, and a server is not told why; see the guide."""
    telemetry, release = capture_tts.telemetry(clock=SystemClock()), threading.Event()

    def speak(request: bytes, context: Any) -> Iterator[bytes]:
        with telemetry.synthesis("hello", stream=True):
            yield b"."
            release.wait(30)

    async def speak_async(request: bytes, context: Any) -> AsyncIterator[bytes]:
        async with telemetry.synthesis("hello", stream=True):
            yield b"."
            while not release.is_set():  # noqa: ASYNC110 - it is set by another thread
                await asyncio.sleep(0.005)

    options = [("grpc.max_connection_age_ms", 50), *([("grpc.max_connection_age_grace_ms", grace)] if grace is not None else [])]
    handler = speech(unary_stream=speak_async if stack == "aio" else speak)
    with STACKS[stack](telemetry, handler, options=options) as port, connect(port) as channel:
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        call = channel.unary_stream("/test.Speech/unary_stream")(b"a", timeout=30)
        next(call)
        wait_for(lambda: grpc.ChannelConnectivity.IDLE in states)  # the server has said that it ends the connection
        if grace is not None:
            wait_for(call.done)
        release.set()
        with suppress(grpc.RpcError):
            list(call)
        seen = call.code().name
        if grace is None:
            counted(capture_tts, Counter(OK=1))
        else:
            counted(capture_tts, Counter(CANCELLED=1), Counter(cancelled=1))
    assert seen == ("OK" if grace is None else "UNAVAILABLE")


KILLED = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
for kind in ("unary_stream", "stream_stream"):
    request = iter([b"a"]) if kind.startswith("stream") else b"a"
    call = getattr(channel, kind)(f"/test.Speech/{kind}")(request)
    next(call)
print("both", flush=True)
sys.stdin.read()
"""


@STACK
def test_a_client_that_is_killed(stack: str, capture_tts: Capture) -> None:
    """In the middle of two streams: each is counted once, as one that its caller left."""
    made = handlers(capture_tts, stack, "cancel_middle")
    with STACKS[stack](made.telemetry, service(made)) as port:
        command = [sys.executable, "-c", KILLED, f"127.0.0.1:{port}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"both\n"
            client.send_signal(signal.SIGKILL)
        made.release.set()
        counted(capture_tts, Counter(CANCELLED=2), Counter(cancelled=2))
