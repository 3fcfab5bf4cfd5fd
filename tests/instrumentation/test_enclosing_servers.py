"""HTTP requests and messages of WebSockets as what encloses requests to speak, in the servers and frameworks that people use."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal
from wsgiref.simple_server import WSGIRequestHandler, make_server

import grpc
import hibari
import pytest

from otel_tts.instrumentation.asgi import AsgiInstrumentor
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.openai import OpenAIInstrumentor
from otel_tts.instrumentation.servers import GrpcServerInstrumentor
from otel_tts.instrumentation.threads import ThreadsInstrumentor
from otel_tts.instrumentation.wsgi import WsgiInstrumentor
from otel_tts.testing.capture import Capture
from tests.instrumentation.conftest import Faulty, Observe
from tests.instrumentation.programs_started import PROGRAMS, eventually, metrics, program
from tests.ports import free_port

openai = pytest.importorskip("openai", reason="it needs the extra `vendors`")
uvicorn = pytest.importorskip("uvicorn")
pytestmark = pytest.mark.vendors

ENGINE = hibari.Hibari(threads=1)
FALLBACK = ("ok", (("openai", "initial", "error"), ("hibari", "fallback", "ok")))
ALONE = ("ok", (("hibari", "initial", "ok"),))
FAILED = ("error", (("openai", "initial", "error"),))
VENDOR = {"url": ""}


@pytest.fixture(autouse=True)
def _vendor(faulty: Faulty) -> None:
    """A vendor that is down."""
    faulty.status = 500
    VENDOR["url"] = faulty.url


def ask_vendor(text: str) -> bytes:
    """The first choice."""
    with openai.OpenAI(base_url=VENDOR["url"], api_key="none", max_retries=0) as client:
        return bytes(client.audio.speech.create(model="tts-1", voice="alloy", input=text, response_format="wav").content)


def say(text: str) -> bytes:
    """What a host does that was never changed: one provider after another."""
    try:
        return ask_vendor(text)
    except openai.OpenAIError:
        return bytes(ENGINE(text).tobytes())


async def say_async(text: str) -> bytes:
    """The same of a host with an event loop."""
    try:
        async with openai.AsyncOpenAI(base_url=VENDOR["url"], api_key="none", max_retries=0) as client:
            response = await client.audio.speech.create(model="tts-1", voice="alloy", input=text, response_format="wav")
            return bytes(response.content)
    except openai.OpenAIError:
        return bytes((await asyncio.to_thread(ENGINE, text)).tobytes())


async def say_all(texts: list[str]) -> list[bytes]:
    """Several at a time."""
    return await asyncio.gather(*map(say_async, texts))


def recorded(capture: Capture, count: int) -> list[tuple[str, tuple[tuple[str, str, str], ...]]]:
    """Outcome and attempts of each synthesis; a server may end a request a moment after its answer."""
    deadline = time.monotonic() + 30
    while len(capture.syntheses()) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return sorted(
        (synthesis.outcome, tuple((attempt.provider, attempt.reason, attempt.outcome) for attempt in synthesis.attempts))
        for synthesis in capture.syntheses()
    )


# -- applications, each of which answers what is posted to it: texts to speak, all at once -------------------------------------------


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """ASGI, with nothing in between."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    audio = await say_all(json.loads(body))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"".join(audio)})


def raw_wsgi(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """WSGI, with nothing in between, which speaks while it is sent."""
    texts = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [])
    return (say(text) for text in texts)


def starlette() -> Any:
    """Starlette, whose answer is spoken while it is sent."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def endpoint(request: Request) -> StreamingResponse:
        texts = await request.json()

        async def audio() -> AsyncIterator[bytes]:
            for spoken in await say_all(texts):
                yield spoken

        return StreamingResponse(audio())

    return Starlette(routes=[Route("/", endpoint, methods=["POST"])])


def fastapi() -> Any:
    """FastAPI, in a thread of its pool, behind a middleware."""
    from fastapi import Body, FastAPI, Request, Response

    application = FastAPI()

    @application.middleware("http")
    async def through(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    def endpoint(texts: list[str] = Body()) -> Response:  # noqa: B008 - how FastAPI is used
        with ThreadPoolExecutor(4) as pool:
            return Response(b"".join(pool.map(say, texts)))

    endpoint.__annotations__ |= {"texts": list[str], "return": Response}
    through.__annotations__ |= {"request": Request}
    application.post("/")(endpoint)
    return application


def flask() -> Any:
    """Flask, whose answer is spoken while it is sent."""
    from flask import Flask, Response, request

    application = Flask(__name__)

    @application.post("/")
    def endpoint() -> Response:
        texts = request.get_json(force=True)
        return Response(say(text) for text in texts)

    return application


def django(kind: str) -> Any:
    """Django's handler of either kind."""
    import django as package
    from django.conf import settings
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path

    def endpoint(request: HttpRequest) -> StreamingHttpResponse:
        texts = json.loads(request.body)
        return StreamingHttpResponse(say(text) for text in texts)

    async def endpoint_async(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"".join(await say_all(json.loads(request.body))))

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="none", LOGGING_CONFIG=None)
        package.setup()
    urlpatterns[:] = [path("wsgi", endpoint), path("asgi", endpoint_async)]
    if kind == "wsgi":
        from django.core.wsgi import get_wsgi_application as made
    else:
        from django.core.asgi import get_asgi_application as made
    return made()


urlpatterns: list[Any] = []


# -- servers, each of which gives the address of what it serves ----------------------------------------------------------------------


@contextmanager
def by_uvicorn(application: Any, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    """uvicorn, in a thread."""
    config = uvicorn.Config(application, host="127.0.0.1", port=0, log_level="error", lifespan=lifespan)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and server.servers):
        time.sleep(0.01)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def by_hypercorn(application: Any) -> Iterator[str]:
    """hypercorn, in a thread."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.loglevel = ["127.0.0.1:0"], "CRITICAL"
    sockets = config.create_sockets()
    sockets.insecure_sockets[0].listen()  # connections wait here until it serves
    config.create_sockets = lambda: sockets  # type: ignore[method-assign]  # to know the port
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(serve(application, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    )
    thread.start()
    try:
        yield "{}:{}".format(*sockets.insecure_sockets[0].getsockname())
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@contextmanager
def by_wsgiref(application: Any) -> Iterator[str]:
    """Python's own WSGI server, in a thread."""
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def by_waitress(application: Any) -> Iterator[str]:
    """waitress, in a thread."""
    from waitress.server import create_server

    server, stop = create_server(application, host="127.0.0.1", port=0), threading.Event()

    def run() -> None:
        while not stop.is_set():
            server.asyncore.loop(timeout=0.02, map=server._map, count=1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"127.0.0.1:{server.effective_port}"
    finally:
        stop.set()
        thread.join()
        server.task_dispatcher.shutdown()
        for dispatcher in list(server._map.values()):  # connections that the caller has just left, and the server itself
            dispatcher.close()


def post(address: str, *texts: str, path: str = "") -> bytes:
    """One request."""
    request = urllib.request.Request(f"http://{address}/{path}", json.dumps(texts).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


SERVED: dict[str, tuple[Callable[[], Any], Callable[[Any], AbstractContextManager[str]], str]] = {
    "uvicorn": (lambda: raw, by_uvicorn, ""),
    "hypercorn": (lambda: raw, by_hypercorn, ""),
    "waitress": (lambda: raw_wsgi, by_waitress, ""),
    "wsgiref": (lambda: raw_wsgi, by_wsgiref, ""),
    "FastAPI": (fastapi, by_uvicorn, ""),
    "Starlette": (starlette, by_uvicorn, ""),
    "Flask": (flask, by_wsgiref, ""),
    "Flask under hypercorn": (flask, by_hypercorn, ""),
    "Django, WSGI": (lambda: django("wsgi"), by_wsgiref, "wsgi"),
    "Django, ASGI": (lambda: django("asgi"), by_uvicorn, "asgi"),
}


@pytest.mark.parametrize("name", SERVED)
def test_a_request_encloses_what_it_speaks(capture_tts: Capture, observe: Observe, name: str) -> None:
    """A fallback is one request, also of several texts at a time; the next HTTP request is another one."""
    observe(AsgiInstrumentor, WsgiInstrumentor, ThreadsInstrumentor, HibariInstrumentor, OpenAIInstrumentor)
    make, serve, path = SERVED[name]
    with serve(make()) as address:
        assert len(post(address, "One.", "And two.", path=path)) > 100
        assert len(post(address, "One.", path=path)) > 100
        assert recorded(capture_tts, 3) == [FALLBACK] * 3
    assert capture_tts.total("tts.synthesis.requests") == 3
    assert capture_tts.total("tts.provider.fallbacks") == 3


def _breaking(how: str) -> dict[str, Any]:
    """Applications whose own code fails, or stops, while it takes audio."""
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import StreamingResponse
    from flask import Flask

    def take() -> Iterator[bytes]:
        for piece in ENGINE.stream("One. And two. And three. And four. And so on, for a while."):
            yield piece.tobytes()
            if how == "raises":
                raise RuntimeError
            if how == "refuses":
                raise HTTPException(503)
            return

    web, wsgi, lazy = FastAPI(), Flask("whole"), Flask("lazy")
    web.post("/")(lambda: len(list(take())))
    web.post("/lazy")(lambda: StreamingResponse(take()))
    wsgi.post("/")(lambda: b"".join(take()))
    lazy.post("/")(take)
    return {"": (web, by_uvicorn, ""), "lazy": (web, by_uvicorn, "lazy"), "wsgi": (wsgi, by_wsgiref, ""),
            "wsgi lazy": (lazy, by_wsgiref, "")}  # fmt: skip


@pytest.mark.parametrize(("how", "outcome"), [("raises", "partial"), ("refuses", "partial"), ("stops", "cancelled")])
@pytest.mark.parametrize("kind", ["", "lazy", "wsgi", "wsgi lazy"])
def test_a_stream_that_the_host_s_failure_left_is_not_cancelled(
    capture_tts: Capture, observe: Observe, kind: str, how: str, outcome: str
) -> None:
    """Whoever called is still there: the failure is the service's. A host that has enough of the audio cancels."""
    observe(AsgiInstrumentor, WsgiInstrumentor, ThreadsInstrumentor, HibariInstrumentor)
    application, serve, path = _breaking(how)[kind]
    with serve(application) as address:
        with contextlib.suppress(OSError, http.client.HTTPException):
            post(address, path=path)
        assert [ended for ended, _ in recorded(capture_tts, 1)] == [outcome]
    [synthesis] = capture_tts.syntheses()
    assert synthesis["error.type"] == (None if outcome == "cancelled" else "_OTHER")
    assert synthesis["tts.cancel.reason"] == ("caller" if outcome == "cancelled" else None)


def test_without_them_nothing_encloses(capture_tts: Capture, observe: Observe) -> None:
    """What the servers' instrumentations do can be switched off: then a fallback is two requests."""
    observe(HibariInstrumentor, OpenAIInstrumentor)
    with by_uvicorn(raw) as address:
        post(address, "One.")
        assert recorded(capture_tts, 2) == [FAILED, ALONE]


# -- WebSockets ------------------------------------------------------------------------------------------------------------------------


def _loop() -> Any:
    """One message after another, in the task that receives them. `!` alone: the vendor only."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_bytes(await _answer(await socket.receive_text()))
        except WebSocketDisconnect:
            pass

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


def _tasks() -> Any:
    """Each message in a task of its own, while the next one is received: what lets a listener interrupt."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()

        async def answer(text: str) -> None:
            await socket.send_bytes(await _answer(text))

        tasks = [asyncio.create_task(answer(text)) async for text in socket.iter_text()]
        await asyncio.gather(*tasks, return_exceptions=True)

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


def _queue() -> Any:
    """Messages go through a queue, to a task that speaks them and began before the first."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def speak() -> None:
            while True:
                await socket.send_bytes(await _answer(await queue.get()))

        speaking = asyncio.create_task(speak())
        async for text in socket.iter_text():
            queue.put_nowait(text)
        speaking.cancel()

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


async def _answer(text: str) -> bytes:
    if not text.endswith("!"):
        return (await say_async(text))[:10]
    try:
        return await asyncio.to_thread(ask_vendor, text.removesuffix("!"))
    except openai.OpenAIError:
        return b""


@pytest.mark.parametrize("make", [_loop, _tasks, _queue])
@pytest.mark.parametrize("serve", [by_uvicorn, by_hypercorn])
def test_a_message_encloses_what_it_speaks(capture_tts: Capture, observe: Observe, make: Any, serve: Any) -> None:
    """A fallback is one request; the same text in the next message is another, also after a failure."""
    from websockets.sync.client import connect

    observe(AsgiInstrumentor, ThreadsInstrumentor, HibariInstrumentor, OpenAIInstrumentor)
    with serve(make()) as address, connect(f"ws://{address}/") as socket:
        for text in ("One.", "Two.!", "Two.", "One."):
            socket.send(text)
            socket.recv(timeout=60)
    assert recorded(capture_tts, 4) == [FAILED, *[FALLBACK] * 3]


def _speaking(how: str) -> Any:
    """A message is answered with a stream, of which the application's own code takes one piece, or all that the caller takes."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            for piece in ENGINE.stream(f"{text} And two. And three. And four. And so on, for a while."):
                await socket.send_bytes(piece.tobytes())
                if how == "raises":
                    raise RuntimeError
                if how == "stops":
                    return
                await socket.receive_text()

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


@pytest.mark.parametrize(("how", "outcome"), [("raises", "partial"), ("stops", "cancelled"), ("leaves", "cancelled")])
@pytest.mark.parametrize("serve", [by_uvicorn, by_hypercorn])
def test_whose_fault_a_message_that_was_left_is(
    capture_tts: Capture, observe: Observe, serve: Any, how: str, outcome: str
) -> None:
    """The service's, if its code raised; nobody's, if it has enough, or the caller has gone away."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    observe(AsgiInstrumentor, ThreadsInstrumentor, HibariInstrumentor)
    with serve(_speaking(how)) as address, connect(f"ws://{address}/") as socket:
        socket.send("One.")
        socket.recv(timeout=60)
        if how == "leaves":
            socket.close()
        with contextlib.suppress(ConnectionClosed):
            socket.recv(timeout=60)
        assert [ended for ended, _ in recorded(capture_tts, 1)] == [outcome]
    [synthesis] = capture_tts.syntheses()
    assert synthesis["error.type"] == (None if outcome == "cancelled" else "_OTHER")
    assert synthesis["tts.cancel.reason"] == ("caller" if outcome == "cancelled" else None)


# -- RPCs ------------------------------------------------------------------------------------------------------------------------------


def _called(address: str, *texts: str) -> bytes:
    with grpc.insecure_channel(address) as channel:
        ask: Any = channel.unary_unary("/shop.Speech/Say")
        return bytes(ask(json.dumps(texts).encode(), timeout=60))


class _Speech(grpc.GenericRpcHandler):
    """A method that nothing is known of."""

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"".join(map(say, json.loads(request))))


class _SpeechAsync(grpc.GenericRpcHandler):
    """The same, several texts at a time."""

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return b"".join(await say_all(json.loads(request)))

        return grpc.unary_unary_rpc_method_handler(answer)


def test_an_rpc_of_an_unknown_method_encloses_what_it_speaks(capture_tts: Capture, observe: Observe) -> None:
    """A fallback is one request, and two texts are two."""
    observe(GrpcServerInstrumentor, HibariInstrumentor, OpenAIInstrumentor)
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([_Speech()])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            assert len(_called(address, "One.", "And two.")) > 100
            assert recorded(capture_tts, 2) == [FALLBACK] * 2
        finally:
            server.stop(None).wait(10)


def test_calls_at_the_same_time_in_an_rpc_are_not_mixed(capture_tts: Capture, observe: Observe) -> None:
    """Each text has its own failure and its own fallback."""
    observe(GrpcServerInstrumentor, ThreadsInstrumentor, HibariInstrumentor, OpenAIInstrumentor)

    async def run() -> list[Any]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([_SpeechAsync()])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        await asyncio.to_thread(_called, address, "One.", "And two.", "And three.")
        counted = await asyncio.to_thread(recorded, capture_tts, 3)
        await server.stop(None)
        return counted

    assert asyncio.run(run()) == [FALLBACK] * 3


# -- whole programs ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "server",
    [
        "gunicorn --bind {address} --worker-class sync two_providers:wsgi",
        "gunicorn --bind {address} --worker-class gthread --threads 2 two_providers:wsgi",
        "gunicorn --bind {address} --worker-class asgi two_providers:asgi",
    ],
)
def test_a_server_in_front_of_a_program(server: str) -> None:
    """With two words in front of it, and nothing in it that is known but the engines: a fallback is one request."""
    port = free_port()
    arguments = server.format(address=f"127.0.0.1:{port}").split()
    run = [str(Path(sys.executable).with_name("otel-tts")), "run", "--"]

    def ask() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/?One.+Two.", timeout=60) as response:
            return bytes(response.read())

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROGRAMS))
        with program(run, "-m", *arguments, ends_with=0):
            assert len(eventually(ask)) > 100
    counted = metrics()
    assert {labels[-2]: count for labels, count in counted["tts.synthesis.requests"].items()} == {"ok": 2}
    assert sum(counted["tts.provider.fallbacks"].values()) == 2
    assert "tts.synthesis.failures" not in counted
