"""ASGI: HTTP requests and WebSocket messages as enclosures of requests to speak. Only types and statuses of messages are read."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from otel_tts.core.enclosure import Enclosure, current, inside
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.connection import Connection
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[Any]]


class AsgiInstrumentor(Instrumentor):
    """Instrumentor of ASGI applications: of uvicorn, hypercorn and gunicorn, and of Starlette (FastAPI) and Django in others."""

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return all patches. If a request passes several of them, the outermost counts."""
        called = ("hypercorn.app_wrappers.ASGIWrapper", "hypercorn.app_wrappers.WSGIWrapper", "starlette.applications.Starlette",
                  "django.core.handlers.asgi.ASGIHandler")  # fmt: skip
        return [
            Patch("uvicorn.config", "Config.load", lambda _: functools.partial(_loaded, "loaded_app")),
            Patch("gunicorn.workers.gasgi", "ASGIWorker.load_wsgi", lambda _: functools.partial(_loaded, "asgi")),
            *(Patch(path.rpartition(".")[0], f"{path.rpartition('.')[2]}.__call__", lambda _: _called) for path in called),
        ]


def _loaded(attribute: str, load: Any, server: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the application that a server loads and stores in an attribute."""
    result = load(*args, **kwargs)
    application = getattr(server, attribute, None)
    if application is not None:
        setattr(server, attribute, enclosed(application))
    return result


def enclosed(application: Any) -> Any:
    """Return the application (ASGI 3) with an `Enclosure` for each of its requests.

    Args:
        application: of ASGI.
    """

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await _called(application, None, args, kwargs)

    return call


def _called(application: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the application. This is not a coroutine function: uvicorn recognises a factory by the exception of the call itself."""
    enclosure = _begin(*args, **kwargs)
    if enclosure is None:
        return application(*args, **kwargs)
    if isinstance(enclosure, Connection):
        args, kwargs = _with_receive(enclosure, args, kwargs)
    elif len(args) > 2:
        args = (*args[:2], _noting_status(enclosure, args[2]), *args[3:])
    return _call(functools.partial(application, *args, **kwargs), enclosure)


async def _call(application: Callable[[], Awaitable[Any]], enclosure: Enclosure) -> Any:
    try:
        with inside(enclosure):
            return await application()
    except BaseException as error:
        enclosure.fail(error)
        raise
    finally:
        enclosure.close()


@guarded_or(lambda *_, **__: None)
def _begin(scope: Any = None, *_: Any, **__: Any) -> Enclosure | None:
    """Return the enclosure of a request; None for other calls, and inside another enclosure."""
    kind = scope.get("type") if hasattr(scope, "get") else None
    if kind not in ("http", "websocket") or current() is not None:
        return None
    if kind == "websocket":
        return Connection()
    enclosure = Enclosure()
    enclosure.method(scope.get("method"))
    return enclosure


def _noting_status(enclosure: Enclosure, send: Send) -> Send:
    async def sent(message: Any) -> Any:
        _note_status(enclosure, message)
        return await send(message)

    return sent


@guarded
def _note_status(enclosure: Enclosure, message: Any) -> None:
    if message["type"] == "http.response.start":
        enclosure.answered(int(message["status"]))  # some applications send a str, and servers answer it


def _receiving(connection: Connection, receive: Receive) -> Receive:
    """Wrap the function with which the application receives messages."""

    async def received() -> Any:
        message = await receive()
        _note_message(connection, message)
        return message

    return received


@guarded
def _note_message(connection: Connection, message: Any) -> None:
    if message["type"] == "websocket.receive":
        connection.message_came()
    elif message["type"] == "websocket.disconnect":
        connection.left = True


def _with_receive(
    connection: Connection, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if len(args) > 1:
        return (args[0], _receiving(connection, args[1]), *args[2:]), kwargs
    if "receive" in kwargs:
        return args, {**kwargs, "receive": _receiving(connection, kwargs["receive"])}
    return args, kwargs
