"""Servers of a protocol of their own, neither ASGI nor WSGI: their HTTP requests and WebSocket messages as enclosures."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from otel_tts.core.enclosure import current, inside
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.connection import Connection, current_connection, has_left, message_came
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper

_FUNCTION = 17
"""The first version of ``websockets`` in which ``serve`` of its asynchronous server is a function."""


class WebInstrumentor(Instrumentor):
    """Instrumentor of the servers of aiohttp, Tornado, Sanic and ``websockets``."""

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return all patches. A request that another server has passed on, for example by ASGI, is in the enclosure of that server."""
        wrappers: Sequence[tuple[str, str, Wrapper]] = (
            ("aiohttp.web_protocol", "RequestHandler._handle_request", _handled_aiohttp),
            ("aiohttp.web_ws", "WebSocketResponse.receive", _received_aiohttp),
            ("tornado.web", "RequestHandler._execute", _handled_tornado),
            ("tornado.web", "RequestHandler._handle_request_exception", _raised),
            ("tornado.websocket", "WebSocketProtocol._run_callback", _called_tornado),
            ("sanic.server.protocols.http_protocol", "HttpProtocolMixin._setup", _set_up_sanic),
            ("sanic.handlers.error", "ErrorHandler._lookup", _raised),
            ("sanic.server.websockets.impl", "WebsocketImplProtocol.recv", _received_async),
            ("websockets.asyncio.server", _serve(), _served_async),
            ("websockets.asyncio.server", "ServerConnection.recv", _received_async),
            ("websockets.sync.server", "serve", _served),
            ("websockets.sync.server", "ServerConnection.recv", _received),
        )
        return [Patch(module, name, _always(wrapper)) for module, name, wrapper in wrappers]


def _always(wrapper: Wrapper) -> Callable[[Any], Wrapper]:
    return lambda _: wrapper


def _serve() -> str:
    """Return the name of the function that is given the handler of connections; any, if the package is not installed."""
    try:
        return "serve" if int(version("websockets").partition(".")[0]) >= _FUNCTION else "serve.__init__"
    except (ImportError, ValueError):
        return "serve"


@contextmanager
def _enclosed(request: Any = None) -> Iterator[Connection | None]:
    """Make a connection current inside a block; nothing if there is an enclosure. request: the server's own object of it."""
    if current() is not None:
        yield None
        return
    connection = _begin(request)
    try:
        with inside(connection):
            yield connection
    except BaseException as error:
        _note_error(connection, error)
        raise
    finally:
        connection.close()


@guarded_or(lambda _: Connection())
def _begin(request: Any) -> Connection:
    connection = Connection()
    connection.method(getattr(request, "method", None))
    return connection


@guarded
def _note_error(connection: Connection, error: BaseException) -> None:
    """Note an exception of the host; one with a status, such as ``HTTPException``, is an answer."""
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    if isinstance(status, int) and not has_left(error):
        connection.answered(status)
    else:
        connection.fail(error)


@guarded
def _note_status(connection: Connection | None, answer: Callable[[], int]) -> None:
    """Note the status of an answer, unless it is that of an exception which says that the caller is gone."""
    if connection is not None and not connection.left:
        connection.answered(answer())


# -- HTTP requests -------------------------------------------------------------------------------------------------------------------------


async def _handled_aiohttp(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _enclosed(args[0] if args else None) as connection:
        if connection is not None and len(args) > 2:
            args = (*args[:2], _noting_errors(connection, args[2]), *args[3:])
        result = await wrapped(*args, **kwargs)
        _note_status(connection, lambda: int(result[0].status))
        return result


def _noting_errors(connection: Connection, handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Wrap a handler of requests: if its answer has begun, aiohttp replaces its exception."""

    async def handled(request: Any) -> Any:
        try:
            return await handle(request)
        except BaseException as error:
            _note_error(connection, error)
            raise

    return handled


def _async_handler(
    handle: Callable[..., Awaitable[Any]], status: Callable[[Any], int] | None = None
) -> Callable[..., Awaitable[Any]]:
    """Enclose each call of a handler, whose answer has this status."""

    @functools.wraps(handle)
    async def handled(request: Any) -> Any:
        with _enclosed(request) as connection:
            result = await handle(request)
            if status is not None:
                _note_status(connection, lambda: status(request))
            return result

    return handled


async def _handled_tornado(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _enclosed(getattr(handler, "request", None)) as connection:
        result = await wrapped(*args, **kwargs)
        _note_status(connection, handler.get_status)
        return result


def _set_up_sanic(wrapped: Any, protocol: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the method of the application that a connection calls. It cannot be wrapped itself: Sanic compiles it again when it starts."""
    result = wrapped(*args, **kwargs)
    protocol.request_handler = _async_handler(protocol.request_handler, lambda request: int(request.stream.response.status))
    return result


def _raised(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note an exception that the framework answers."""
    connection = current_connection()
    error = next((value for value in (*args, *kwargs.values()) if isinstance(value, BaseException)), None)
    if connection is not None and error is not None:
        _note_error(connection, error)
    return wrapped(*args, **kwargs)


# -- messages ----------------------------------------------------------------------------------------------------------------------------


async def _received_async(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    message = await wrapped(*args, **kwargs)
    if message is not None:  # Sanic's answer after a timeout
        message_came()
    return message


def _received(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    message = wrapped(*args, **kwargs)
    message_came()
    return message


async def _received_aiohttp(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    message = await wrapped(*args, **kwargs)
    if getattr(message.type, "name", None) in ("TEXT", "BINARY"):  # else it is the end
        message_came()
    return message


def _called_tornado(wrapped: Any, protocol: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Begin a message before the handler gets it. Tornado's client calls back in the same way."""
    handler = protocol.handler
    if isinstance(handler, sys.modules["tornado.websocket"].WebSocketHandler) and args[:1] == (handler.on_message,):
        message_came()
    return wrapped(*args, **kwargs)


# -- connections of the package websockets ---------------------------------------------------------------------------------------------


def _served(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the host's handler of connections."""
    args, kwargs = _replace_handler(_handler, args, kwargs)
    return wrapped(*args, **kwargs)


def _served_async(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the host's handler of connections, a coroutine function."""
    args, kwargs = _replace_handler(_async_handler, args, kwargs)
    return wrapped(*args, **kwargs)


def _replace_handler(
    wrap: Callable[[Any], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (wrap(args[0]), *args[1:]), kwargs
    if "handler" in kwargs:
        return args, {**kwargs, "handler": wrap(kwargs["handler"])}
    return args, kwargs


def _handler(handle: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handle)
    def handled(connection: Any) -> Any:
        with _enclosed():
            return handle(connection)

    return handled
