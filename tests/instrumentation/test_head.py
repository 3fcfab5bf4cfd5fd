"""HEAD requests of routes that speak: their caller gets no audio, whatever the framework and the server do with the stream."""

from __future__ import annotations

import gc
import http.client
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import hibari
import pytest

from otel_tts import semconv
from otel_tts.instrumentation.asgi import AsgiInstrumentor
from otel_tts.instrumentation.hibari import HibariInstrumentor
from otel_tts.instrumentation.web import WebInstrumentor
from otel_tts.instrumentation.wsgi import WsgiInstrumentor
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF
from tests.grpc.servers import wait_for
from tests.instrumentation.conftest import Observe
from tests.instrumentation.test_enclosing_servers import by_hypercorn, by_uvicorn, by_waitress, by_wsgiref
from tests.instrumentation.test_enclosing_web import by_aiohttp, by_tornado

pytest.importorskip("starlette", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors

ENGINE = hibari.Hibari(threads=1)
Speak = Callable[[], Iterator[bytes]]


def by_hand(capture: Capture) -> Speak:
    """A stream that is its whole request."""
    return lambda: capture.telemetry().synthesis(text="Hello", stream=True).stream(iter([HALF] * 4), "piper", audio=FORMAT)


def in_a_block(capture: Capture) -> Speak:
    """A request in a block of the generator that sends it."""

    def speak() -> Iterator[bytes]:
        with (
            capture.telemetry().synthesis(text="Hello", stream=True) as synthesis,
            synthesis.attempt("piper") as attempt,
        ):
            yield from attempt.stream(iter([HALF] * 4), FORMAT)

    return speak


def whole(capture: Capture) -> Speak:
    """Audio that is whole before the answer begins."""

    def speak() -> Iterator[bytes]:
        with capture.telemetry().synthesis(text="Hello") as synthesis, synthesis.attempt("piper") as attempt:
            return iter([attempt.audio(HALF * 4, FORMAT)])

    return speak


def zero_code(_: Capture) -> Speak:
    """An engine that is called by a program without a change."""
    return lambda: iter([bytes(ENGINE("Hello").tobytes())])


def starlette(speak: Speak) -> Any:
    """Starlette drives a stream to its end, and the server drops what it sends."""
    from starlette.applications import Starlette
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    async def endpoint(_: Any) -> Response:
        return StreamingResponse(speak())

    return Starlette(routes=[Route("/", endpoint)])


def flask(speak: Speak) -> Any:
    """Flask drops a stream before its first piece."""
    from flask import Flask, Response

    application = Flask(__name__)
    application.get("/")(lambda: Response(speak()))
    return application


def plain(speak: Speak) -> Any:
    """WSGI, with nothing in between."""

    def application(_: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        return speak()

    return application


def aiohttp(speak: Speak) -> Any:
    """A handler of aiohttp that sends the pieces itself."""
    from aiohttp import web

    async def endpoint(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in speak():
            await response.write(chunk)
        return response

    application = web.Application()
    application.add_routes([web.get("/", endpoint)])
    return application


def tornado(speak: Speak) -> Any:
    """A handler of Tornado that answers both methods."""
    from tornado.web import Application, RequestHandler

    class Endpoint(RequestHandler):
        def get(self) -> None:
            for chunk in speak():
                self.write(chunk)

        head = get

    return Application([("/", Endpoint)], log_function=lambda _: None)


SERVICES: dict[str, tuple[Any, Callable[[Speak], Any], Callable[[Any], AbstractContextManager[str]]]] = {
    "Starlette under uvicorn": (AsgiInstrumentor, starlette, by_uvicorn),
    "Starlette under hypercorn": (AsgiInstrumentor, starlette, by_hypercorn),
    "Flask under wsgiref": (WsgiInstrumentor, flask, by_wsgiref),
    "wsgiref": (WsgiInstrumentor, plain, by_wsgiref),
    "waitress": (WsgiInstrumentor, plain, by_waitress),
    "aiohttp": (WebInstrumentor, aiohttp, by_aiohttp),
    "Tornado": (WebInstrumentor, tornado, by_tornado),
}


def ask(address: str, method: str) -> int:
    """One request; the length of its answer."""
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, "/")
    length = len(connection.getresponse().read())
    connection.close()
    return length


def ended(capture: Capture, count: int) -> list[Any]:
    """All requests, once so many have ended."""

    def all_ended() -> bool:
        gc.collect()  # what a framework dropped may be in a circle
        return len(capture.syntheses()) >= count

    wait_for(all_ended)
    return capture.syntheses()


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, by_hand) for name in SERVICES),
        *((name, way) for name in ("Starlette under uvicorn", "waitress") for way in (in_a_block, whole, zero_code)),
    ],
)
def test_nobody_left_and_nobody_got_audio(
    capture_tts: Capture, observe: Observe, name: str, way: Callable[[Capture], Speak]
) -> None:
    """A HEAD is cancelled by its method, with no audio delivered and no time to any; a GET of the same route is as it was."""
    instrumentor, application, serve = SERVICES[name]
    observe(instrumentor)
    observe(HibariInstrumentor)
    with serve(application(way(capture_tts))) as address:
        assert not ask(address, "HEAD")
        (head,) = ended(capture_tts, 1)
        attributes = head.span.attributes
        assert (attributes[semconv.OUTCOME.key], attributes[semconv.CANCEL_REASON.key]) == ("cancelled", "head")
        assert not attributes.get(semconv.AUDIO_DELIVERED.key)
        assert semconv.TIME_TO_FIRST_BYTE.key not in attributes
        assert {attempt.span.attributes.get(semconv.CANCEL_REASON.key, "head") for attempt in head.attempts} <= {"head"}
        assert ask(address, "GET")
        assert [synthesis.outcome for synthesis in ended(capture_tts, 2)] == ["cancelled", "ok"]


def test_what_fails_or_waits_for_nobody_is_told_as_before(capture_tts: Capture, observe: Observe) -> None:
    """A failure in a HEAD stays one, of the provider and of the service; speech that a HEAD makes ahead of time stays whole."""
    observe(WsgiInstrumentor)
    telemetry = capture_tts.telemetry()

    def broken() -> Iterator[bytes]:
        yield HALF
        raise ConnectionError

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        start_response("500 Failed" if path == "/fails" else "200 OK", [])
        kind = "prefetch" if path == "/ahead" else "interactive"
        synthesis = telemetry.synthesis(text="Hello", stream=True, kind=kind)
        chunks = synthesis.stream(broken() if path == "/broken" else iter([HALF] * 2), "piper", audio=FORMAT)
        try:
            for _ in chunks:
                if path == "/fails":
                    break
        except ConnectionError:
            pass
        return []

    with by_wsgiref(application) as address:
        for count, path in enumerate(("/broken", "/fails", "/ahead"), 1):
            connection = http.client.HTTPConnection(address, timeout=30)
            connection.request("HEAD", path)
            connection.getresponse().read()
            connection.close()
            ended(capture_tts, count)
    assert [synthesis.outcome for synthesis in capture_tts.syntheses()] == ["partial", "error", "ok"]
