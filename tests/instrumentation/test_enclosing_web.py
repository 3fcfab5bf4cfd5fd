"""Servers that are neither ASGI nor WSGI, aiohttp, Tornado, Sanic and websockets: what their requests and messages enclose."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

import pytest

from otel_tts.instrumentation.asgi import AsgiInstrumentor
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.instrumentation.web import WebInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Observe
from tests.instrumentation.test_enclosing_servers import (
    ALONE,
    ENGINE,
    FAILED,
    FALLBACK,
    _answer,
    _vendor,
    by_uvicorn,
    post,
    recorded,
    say,
    say_all,
)  # fmt: skip

pytest.importorskip("sanic", reason="it needs the extra `vendors`")
pytestmark = [
    pytest.mark.vendors,
    pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning"),  # of Sanic
]
_ = _vendor  # a fixture
LONG = "One. And two. And three. And four. And so on, for a while."
NUMBERS = count()

Speak = Callable[[Any], Awaitable[None]]
"""What an application does with a request: it is given a function that sends a piece of the answer."""


async def texts(body: bytes, send: Callable[[bytes], Awaitable[Any]]) -> None:
    """Speak all posted texts, several at a time."""
    for audio in await say_all(json.loads(body)):
        await send(audio)


# -- applications: POST / speaks what is posted, POST /long streams and then does what `how` says; /socket is a WebSocket ---------------


async def stream(how: str, send: Callable[[bytes], Awaitable[Any]], refusal: Exception) -> None:
    """Take audio piece by piece, and break off after the first."""
    for piece in ENGINE.stream(LONG):
        await send(piece.tobytes())
        if how == "raises":
            raise RuntimeError
        if how == "refuses":
            raise refusal
        if how == "stops":
            return
        await asyncio.sleep(0.05)


def aiohttp(how: str, kind: str) -> Any:
    """Answers of aiohttp: sent by the handler, or a body that is spoken after the handler has returned."""
    from aiohttp import WSMsgType, web

    async def endpoint(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if kind == "lazy":

            async def pieces() -> Any:
                for audio in await say_all(json.loads(body)):
                    yield audio

            return web.Response(body=pieces())
        response = web.StreamResponse()
        await response.prepare(request)
        await texts(body, response.write)
        return response

    async def long(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if how != "refuses":
            await response.prepare(request)
        await stream(how, response.write if response.prepared else _nothing, web.HTTPServiceUnavailable())
        return response

    async def websocket(request: web.Request) -> web.StreamResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            if message.type is WSMsgType.TEXT:
                await connection.send_bytes(await _answer(message.data))
        return connection

    application = web.Application()
    application.add_routes([web.post("/", endpoint), web.post("/long", long), web.get("/socket", websocket)])
    return application


async def _nothing(_: bytes) -> None:
    """Keep the audio."""


@contextmanager
def in_a_loop(start: Callable[[socket.socket], Awaitable[Callable[[], Awaitable[Any]]]]) -> Iterator[str]:
    """A server in the event loop of a thread. `start` returns the function that stops it."""
    listener, loop, ready, stop = (
        socket.create_server(("127.0.0.1", 0)),
        asyncio.new_event_loop(),
        threading.Event(),
        asyncio.Event(),
    )

    async def serve() -> None:
        end = await start(listener)
        ready.set()
        await stop.wait()
        await end()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    thread.start()
    try:
        assert ready.wait(30)
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        listener.close()


def by_aiohttp(application: Any) -> AbstractContextManager[str]:
    """The server of aiohttp."""
    from aiohttp import web

    async def start(listener: socket.socket) -> Callable[[], Awaitable[Any]]:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        return runner.cleanup

    return in_a_loop(start)


def tornado(how: str, kind: str) -> Any:
    """Handlers of Tornado."""
    from tornado.web import Application, HTTPError, RequestHandler
    from tornado.websocket import WebSocketHandler

    class Endpoint(RequestHandler):
        async def post(self) -> None:
            async def send(audio: bytes) -> None:
                self.write(audio)
                await self.flush()

            if self.request.path == "/long":
                await stream(how, _nothing if how == "refuses" else send, HTTPError(503))
            else:
                await texts(self.request.body, send)

    class Socket(WebSocketHandler):
        async def on_message(self, message: Any) -> None:
            await self.write_message(await _answer(message), binary=True)

    return Application([("/(?:long)?", Endpoint), ("/socket", Socket)], log_function=lambda _: None)


def by_tornado(application: Any) -> AbstractContextManager[str]:
    """Tornado's own server."""
    from tornado.httpserver import HTTPServer

    async def start(listener: socket.socket) -> Callable[[], Awaitable[Any]]:
        listener.setblocking(False)
        server = HTTPServer(application)
        server.add_sockets([listener])

        async def end() -> None:
            server.stop()
            await server.close_all_connections()

        return end

    return in_a_loop(start)


def sanic(how: str, kind: str) -> Any:
    """Handlers of Sanic."""
    from sanic import Sanic
    from sanic.exceptions import ServiceUnavailable

    Sanic.test_mode = True  # one process starts several applications here, and Sanic compiles its methods anew for each of them
    application = Sanic(f"speech-{next(NUMBERS)}", configure_logging=False)

    async def endpoint(request: Any) -> None:
        response = await request.respond()
        await texts(request.body, response.send)

    async def long(request: Any) -> None:
        response = None if how == "refuses" else await request.respond()
        await stream(how, _nothing if response is None else response.send, ServiceUnavailable("Later."))

    async def websocket(_: Any, connection: Any) -> None:
        async for message in connection:
            await connection.send(await _answer(message))

    application.add_route(endpoint, "/", methods=["POST"])
    application.add_route(long, "/long", methods=["POST"])
    application.add_websocket_route(websocket, "/socket")
    return application


def by_sanic(application: Any) -> AbstractContextManager[str]:
    """Sanic's own server."""

    async def start(listener: socket.socket) -> Callable[[], Awaitable[Any]]:
        server = await application.create_server(sock=listener, return_asyncio_server=True, access_log=False)
        await server.startup()
        await server.start_serving()

        async def end() -> None:
            server.close()
            await server.wait_closed()
            for connection in server.connections:
                connection.close_if_idle()
            application.shutdown_tasks(1)

        return end

    return in_a_loop(start)


SERVED: dict[str, tuple[Callable[[str, str], Any], Callable[[Any], AbstractContextManager[str]]]] = {
    "aiohttp": (aiohttp, by_aiohttp),
    "tornado": (tornado, by_tornado),
    "sanic": (sanic, by_sanic),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Without the frameworks' own words on what fails here on purpose."""
    loggers = [logging.getLogger(name) for name in ("aiohttp.server", "tornado.application", "tornado.general", "sanic.error",
                                                    "sanic.root", "sanic.server", "websockets.server")]  # fmt: skip
    for logger in loggers:
        logger.disabled = True
    yield
    for logger in loggers:
        logger.disabled = False


@pytest.mark.parametrize(("name", "kind"), [("aiohttp", ""), ("aiohttp", "lazy"), ("tornado", ""), ("sanic", "")])
def test_a_request_encloses_what_it_speaks(capture_tts: Capture, observe: Observe, name: str, kind: str) -> None:
    """A fallback is one request, also of several texts at a time; the next HTTP request, on the same connection too, is another one."""
    observe(WebInstrumentor, ThreadsInstrumentor, HibariInstrumentor, OpenAIInstrumentor)
    make, serve = SERVED[name]
    with serve(make("", kind)) as address:
        assert len(post(address, "One.", "And two.")) > 100
        client = http.client.HTTPConnection(address, timeout=60)
        for _ in range(2):
            client.request("POST", "/", json.dumps(["One."]))
            assert len(client.getresponse().read()) > 100
        client.close()
        assert recorded(capture_tts, 4) == [FALLBACK] * 4


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize(
    ("how", "outcome"), [("raises", "partial"), ("refuses", "partial"), ("stops", "cancelled"), ("leaves", "cancelled")]
)
def test_whose_fault_a_stream_that_was_left_is(capture_tts: Capture, observe: Observe, name: str, how: str, outcome: str) -> None:
    """The service's, if its code failed or it answered so; nobody's, if it has enough, or the caller has gone away."""
    observe(WebInstrumentor, HibariInstrumentor)
    make, serve = SERVED[name]
    with serve(make(how, "")) as address:
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(b"POST /long HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(OSError):
                client.recv(200)
                while how != "leaves" and client.recv(65536):
                    pass
        assert [ended for ended, _ in recorded(capture_tts, 1)] == [outcome]
    [synthesis] = capture_tts.syntheses()
    assert synthesis["tts.cancel.reason"] == ("caller" if outcome == "cancelled" else None)


def test_without_it_nothing_encloses(capture_tts: Capture, observe: Observe) -> None:
    """It can be switched off: then a fallback is two requests."""
    observe(HibariInstrumentor, OpenAIInstrumentor)
    with by_aiohttp(aiohttp("", "")) as address:
        post(address, "One.")
        assert recorded(capture_tts, 2) == [FAILED, ALONE]


def test_behind_another_server_a_request_is_still_one(capture_tts: Capture, observe: Observe) -> None:
    """Sanic as an ASGI application: the outermost counts."""
    observe(WebInstrumentor, AsgiInstrumentor, ThreadsInstrumentor, HibariInstrumentor, OpenAIInstrumentor)
    with by_uvicorn(sanic("", ""), "on") as address:
        post(address, "One.", "And two.")
        assert recorded(capture_tts, 2) == [FALLBACK] * 2


# -- WebSockets ------------------------------------------------------------------------------------------------------------------------


def by_websockets(_: Any) -> AbstractContextManager[str]:
    """The asynchronous server of the package websockets."""
    from websockets.asyncio.server import ServerConnection, serve

    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(await _answer(str(message)))

    async def start(listener: socket.socket) -> Callable[[], Awaitable[Any]]:
        server = await serve(handle, sock=listener)

        async def end() -> None:
            server.close()
            await server.wait_closed()

        return end

    return in_a_loop(start)


@contextmanager
def by_websockets_sync(_: Any) -> Iterator[str]:
    """Its server with threads."""
    from websockets.sync.server import ServerConnection, serve

    def handle(connection: ServerConnection) -> None:
        for message in connection:
            text = str(message)
            connection.send(asyncio.run(_answer(text)) if text.endswith("!") else say(text)[:10])

    with serve(handler=handle, host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


SOCKETS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    **{name: lambda make=make, serve=serve: serve(make("", "")) for name, (make, serve) in SERVED.items()},  # type: ignore[misc]
    "websockets": lambda: by_websockets(None),
    "websockets with threads": lambda: by_websockets_sync(None),
}


@pytest.mark.parametrize("name", SOCKETS)
def test_a_message_encloses_what_it_speaks(capture_tts: Capture, observe: Observe, name: str) -> None:
    """A fallback is one request; the same text in the next message is another, also after a failure."""
    from websockets.sync.client import connect

    observe(WebInstrumentor, ThreadsInstrumentor, HibariInstrumentor, OpenAIInstrumentor)
    with SOCKETS[name]() as address, connect(f"ws://{address}/socket") as connection:
        for text in ("One.", "Two.!", "Two.", "One."):
            connection.send(text)
            connection.recv(timeout=60)
    assert recorded(capture_tts, 4) == [FAILED, *[FALLBACK] * 3]


def test_the_functions_come_back() -> None:
    """The very same, also where a class has them from another."""
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection

    WebInstrumentor().instrument()
    assert ServerConnection.recv is not Connection.recv
    WebInstrumentor().uninstrument()
    assert "recv" not in vars(ServerConnection)
    assert ServerConnection.recv is Connection.recv
