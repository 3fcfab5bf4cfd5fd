"""WSGI: HTTP requests as enclosures of requests to speak, to the end of their response bodies. No content is read or changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from otel_tts.core.enclosure import Enclosure, current, inside
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch

_WORKERS = frozenset(("gunicorn.workers.sync", "gunicorn.workers.gthread", "gunicorn.workers.base_async"))
"""The workers of gunicorn for WSGI applications; other servers derive from its base class for other protocols."""


class WsgiInstrumentor(Instrumentor):
    """Instrumentor of WSGI applications, called by gunicorn, waitress and `wsgiref`, or in Flask and Django by other servers."""

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return all patches. If a request passes several of them, the outermost counts."""
        return [
            Patch("gunicorn.workers.base", "Worker.load_wsgi", lambda _: _loaded),
            Patch("waitress.server", "BaseWSGIServer.__init__", lambda _: _made),
            Patch("wsgiref.simple_server", "WSGIServer.set_app", lambda _: _made),
            Patch("flask.app", "Flask.__call__", lambda _: _called),
            Patch("django.core.handlers.wsgi", "WSGIHandler.__call__", lambda _: _called),
        ]


def _loaded(load: Any, worker: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the application that a worker of gunicorn loads."""
    result = load(*args, **kwargs)
    application = getattr(worker, "wsgi", None)
    if application is not None and any(kind.__module__ in _WORKERS for kind in type(worker).__mro__):
        worker.wsgi = enclosed(application)
    return result


def _made(make: Any, server: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the application that a server is given."""
    result = make(*args, **kwargs)
    if getattr(server, "application", None) is not None:
        server.application = enclosed(server.application)
    return result


def enclosed(application: Any) -> Any:
    """Return the application with an `Enclosure` for each of its requests.

    Args:
        application: of WSGI.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return _called(application, None, args, kwargs)

    return call


def _called(application: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if current() is not None:
        return application(*args, **kwargs)
    enclosure = _begin(*args, **kwargs)
    lazy = False
    try:
        with inside(enclosure):
            body = application(*_noting_status(enclosure, args), **kwargs)
        lazy = _lazy(body, *args, **kwargs)
    except BaseException as error:
        enclosure.fail(error)
        raise
    finally:
        if not lazy:
            enclosure.close()
    return _Body(body, enclosure) if lazy else body


@guarded_or(lambda *_, **__: Enclosure())
def _begin(environ: Any = None, *_: Any, **__: Any) -> Enclosure:
    enclosure = Enclosure()
    enclosure.method(environ.get("REQUEST_METHOD") if isinstance(environ, dict) else None)
    return enclosure


def _noting_status(enclosure: Enclosure, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) < 2 or not callable(args[1]):
        return args
    start_response = args[1]

    def started(status: Any, *rest: Any, **named: Any) -> Any:
        _note_status(enclosure, status)
        return start_response(status, *rest, **named)

    return (args[0], started, *args[2:])


@guarded
def _note_status(enclosure: Enclosure, status: Any) -> None:
    enclosure.answered(int(status[:3]))


@guarded_or(lambda *_, **__: False)
def _lazy(body: Any, environ: Any = None, *_: Any, **__: Any) -> bool:
    """Return whether the application may still work while its body is iterated: not for a list, nor for a file that the server sends."""
    file = environ.get("wsgi.file_wrapper") if isinstance(environ, dict) else None
    return not hasattr(type(body), "__len__") and not (isinstance(file, type) and isinstance(body, file))


class _Body:
    """The host's response body, of which each piece is made inside the enclosure. It has no length, which servers ask for."""

    def __init__(self, body: Any, enclosure: Enclosure) -> None:
        self._body = body
        self._enclosure = enclosure
        self._pieces: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            with inside(self._enclosure):
                if self._pieces is None:
                    self._pieces = iter(self._body)
                return next(self._pieces)
        except BaseException as error:  # StopIteration, or an exception of the host
            if not isinstance(error, StopIteration):
                self._enclosure.fail(error)
            self._enclosure.close()
            raise

    def close(self) -> None:
        try:
            with inside(self._enclosure):
                close = getattr(self._body, "close", None)
                if close is not None:
                    close()
        finally:
            self._enclosure.close()
