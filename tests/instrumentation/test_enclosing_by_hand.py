"""Requests to speak that a program makes by hand, and that its own failure leaves unfinished, in HTTP requests that are known."""

from __future__ import annotations

import asyncio
import gc
import http.client
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from otel_tts.core.deferred import run_deferred
from otel_tts.instrumentation.asgi import AsgiInstrumentor
from otel_tts.instrumentation.wsgi import WsgiInstrumentor
from otel_tts.testing.capture import Capture
from tests.core.picture import FORMAT, HALF
from tests.grpc.servers import wait_for
from tests.instrumentation.conftest import Observe
from tests.instrumentation.test_enclosing_servers import by_uvicorn, by_wsgiref

pytest.importorskip("starlette", reason="it needs the extra `vendors`")
pytestmark = pytest.mark.vendors


async def engine() -> AsyncIterator[bytes]:
    """Audio, and then a wait without end."""
    yield HALF
    await asyncio.sleep(60)


async def broken() -> AsyncIterator[Any]:
    """Audio, and then what no framework can send."""
    yield HALF
    yield object()


def service(capture: Capture, how: str) -> Any:
    """A service that makes its request by hand and fails, or stops, as `how` says."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def speak(_: Any) -> Response:
        synthesis = capture.telemetry().synthesis(text="Hello", stream=True)
        if how == "raises":
            raise RuntimeError
        if how in ("left, then 500", "left, then 200"):
            chunks = synthesis.stream(engine(), "piper", audio=FORMAT)
            await anext(chunks)
            del chunks, synthesis
            run_deferred()
            return PlainTextResponse("", int(how[-3:]))
        if how == "a header":
            chunks = synthesis.stream(engine(), "piper", audio=FORMAT)
            return StreamingResponse(chunks, headers={"X-Name": "\u2603"})
        if how == "a chunk":
            return StreamingResponse(synthesis.stream(broken(), "piper", audio=FORMAT, payload=lambda _: HALF))
        try:
            async with asyncio.timeout(0.01):
                async for _chunk in synthesis.stream(engine(), "piper", audio=FORMAT):
                    pass
        except TimeoutError:
            return PlainTextResponse("", 504)
        raise AssertionError

    return Starlette(routes=[Route("/", speak)])


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ("raises", "error"),
        ("a header", "error"),
        ("a chunk", "partial"),
        ("a time limit", "partial"),
        ("left, then 500", "partial"),
        ("left, then 200", "cancelled"),
    ],
)
def test_the_failure_of_the_service_is_no_cancellation(capture_tts: Capture, observe: Observe, how: str, outcome: str) -> None:
    """What the service's own failure left counts as a failure, with its place in the success rate; what it left by choice does not."""
    observe(AsgiInstrumentor)
    with by_uvicorn(service(capture_tts, how)) as address:
        ask(address)
        wait_for(lambda: ended(capture_tts))
    assert ended(capture_tts) == [outcome]


@pytest.mark.parametrize("how", ["raises", "500", "200"])
def test_so_under_wsgi(capture_tts: Capture, observe: Observe, how: str) -> None:
    """A body that is left unfinished by an exception or a status from 500 on is a failure."""
    observe(WsgiInstrumentor)

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        synthesis = capture_tts.telemetry().synthesis(text="Hello", stream=True)
        chunks = synthesis.stream(iter([HALF, HALF]), "piper", audio=FORMAT)
        first = next(chunks)
        if how == "raises":
            start_response("200 OK", [])
            yield first
            raise RuntimeError
        chunks.close()
        start_response(f"{how} Answer", [])
        yield first

    with by_wsgiref(application) as address:
        ask(address)
        wait_for(lambda: ended(capture_tts))
    assert ended(capture_tts) == ["cancelled" if how == "200" else "partial"]


def ask(address: str) -> None:
    """One request, whose answer may be a failure or break off."""
    with suppress(OSError, http.client.HTTPException):
        urllib.request.urlopen(f"http://{address}/", timeout=30).read()


def ended(capture: Capture) -> list[Any]:
    """The outcomes of all requests."""
    gc.collect()  # an exception and its frames may be a circle
    return [synthesis.outcome for synthesis in capture.syntheses()]
