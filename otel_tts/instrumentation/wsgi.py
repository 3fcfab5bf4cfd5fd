"""WSGI: HTTP requests as what encloses requests to speak, to the last of their bodies. Nothing that passes is looked at or changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import wrapt

from otel_tts.core.enclosure import Enclosure, current, inside
from otel_tts.core.guard import guarded_or
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch

_WORKERS = frozenset(("gunicorn.workers.sync", "gunicorn.workers.gthread", "gunicorn.workers.base_async"))
"""Of gunicorn, whose applications are WSGI's; others derive from its base for servers of their own."""


class WsgiInstrumentor(Instrumentor):
    """Knows where a WSGI application is called: by gunicorn, and in Flask and Django by other servers."""

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """The outermost of these that a request passes counts."""
        return [
            Patch("gunicorn.workers.base", "Worker.load_wsgi", lambda _: _loaded),
            Patch("flask.app", "Flask.__call__", lambda _: _called),
            Patch("django.core.handlers.wsgi", "WSGIHandler.__call__", lambda _: _called),
        ]


def _loaded(load: Any, worker: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A worker of gunicorn's loads its application."""
    result = load(*args, **kwargs)
    application = getattr(worker, "wsgi", None)
    if application is not None and any(kind.__module__ in _WORKERS for kind in type(worker).__mro__):
        worker.wsgi = enclosed(application)
    return result


def enclosed(application: Any) -> Any:
    """The application, each of its requests an `Enclosure`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return _called(application, None, args, kwargs)

    return call


def _called(application: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if current() is not None:
        return application(*args, **kwargs)
    enclosure = Enclosure()
    lazy = False
    try:
        with inside(enclosure):
            body = application(*args, **kwargs)
        lazy = _lazy(body, *args, **kwargs)
    finally:
        if not lazy:
            enclosure.close()
    return _Body(body, enclosure) if lazy else body


@guarded_or(lambda *_, **__: False)
def _lazy(body: Any, environ: Any = None, *_: Any, **__: Any) -> bool:
    """Whether the application may go on working when its body is asked for: not for a list, nor for a file that the server sends."""
    file = environ.get("wsgi.file_wrapper") if isinstance(environ, dict) else None
    return not hasattr(type(body), "__len__") and not (isinstance(file, type) and isinstance(body, file))


class _Body(wrapt.ObjectProxy):  # type: ignore[type-arg]  # which older releases of wrapt do not take
    """The host's body, made inside the request."""

    def __init__(self, body: Any, enclosure: Enclosure) -> None:
        super().__init__(body)
        self._self_enclosure = enclosure
        self._self_pieces: Any = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            with inside(self._self_enclosure):
                if self._self_pieces is None:
                    self._self_pieces = iter(self.__wrapped__)
                return next(self._self_pieces)
        except BaseException:  # its end, or a failure of the host's
            self._self_enclosure.close()
            raise

    def close(self) -> None:
        try:
            with inside(self._self_enclosure):
                close = getattr(self.__wrapped__, "close", None)
                if close is not None:
                    close()
        finally:
            self._self_enclosure.close()
