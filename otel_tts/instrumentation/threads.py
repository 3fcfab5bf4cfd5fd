"""Instrumentor that passes the OpenTelemetry context to other threads.

Python's executors and threads do not pass it on, so an engine that runs there would start a request of its own. Why OpenTelemetry's own
instrumentation of threading is not enough: ``docs/zero-code.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context

from otel_tts.core.enclosing import current_context
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch

_POOL = ("apply_async", "_map_async", "imap", "imap_unordered")  # all methods of a pool call one of these


class ThreadsInstrumentor(Instrumentor):
    """Instrumentor of ``ThreadPoolExecutor``, and so of ``run_in_executor``, of ``ThreadPool`` and of threads."""

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of the functions that pass work to another thread."""
        return [
            Patch("concurrent.futures.thread", "ThreadPoolExecutor.submit", lambda _: _submit),
            Patch("threading", "Thread.start", lambda _: _start),
            *(Patch("multiprocessing.pool", f"Pool.{method}", lambda _: _hand_over) for method in _POOL),
        ]


def _submit(submit: Any, executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not args:
        return submit(**kwargs)  # which raises the error
    function, *rest = args
    carried = Telemetry.carry(function)
    # An empty context: `submit` may start a worker thread, which serves other requests later and must not keep the context of this one.
    with Current(Context()):
        return submit(carried, *rest, **kwargs)


def _hand_over(method: Any, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from multiprocessing.pool import ThreadPool  # a heavy import, which the host has made already

    if not isinstance(pool, ThreadPool):
        return method(*args, **kwargs)  # another process cannot use the context
    if args:
        args = (Telemetry.carry(args[0]), *args[1:])
    elif "func" in kwargs:
        kwargs = {**kwargs, "func": Telemetry.carry(kwargs["func"])}
    return method(*args, **kwargs)


def _start(start: Any, thread: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    context = current_context()
    if context:
        run = thread.run

        def carried() -> None:
            del thread.run
            with Current(context):
                run()

        thread.run = carried
    return start(*args, **kwargs)
