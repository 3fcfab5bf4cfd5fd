"""The context goes along with work that is handed to another thread.

Python's executors and threads drop it, so that an engine that works there would begin a request of its own. Why this is not left to
OpenTelemetry's own instrumentation of threading: ``docs/zero-code.md``.
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

_POOL = ("apply_async", "_map_async", "imap", "imap_unordered")  # whatever a pool is asked for comes to one of these


class ThreadsInstrumentor(Instrumentor):
    """Carries the context into ``ThreadPoolExecutor``, and so ``run_in_executor``, into ``ThreadPool`` and into threads."""

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Where work is handed over."""
        return [
            Patch("concurrent.futures.thread", "ThreadPoolExecutor.submit", lambda _: _submit),
            Patch("threading", "Thread.start", lambda _: _start),
            *(Patch("multiprocessing.pool", f"Pool.{method}", lambda _: _hand_over) for method in _POOL),
        ]


def _submit(submit: Any, executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not args:
        return submit(**kwargs)  # which says what is wrong
    function, *rest = args
    carried = Telemetry.carry(function)
    with Current(Context()):  # a worker thread that this starts is no one request's
        return submit(carried, *rest, **kwargs)


def _hand_over(method: Any, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from multiprocessing.pool import ThreadPool  # heavy, and here by now

    if not isinstance(pool, ThreadPool):
        return method(*args, **kwargs)  # a process has no use for the context of this one
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
