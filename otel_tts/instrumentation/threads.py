"""The context goes along with work that is handed to another thread.

Python's executors and threads drop it, so that an engine that works there would begin a request of its own. (OpenTelemetry's own
instrumentation of threading does the same. Each of its releases fits one release of the SDK only, so that it cannot be depended on.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context

from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch
from otel_tts.streams import Current
from otel_tts.synthesis import surroundings
from otel_tts.telemetry import Telemetry


class ThreadsInstrumentor(Instrumentor):
    """Carries the context into ``ThreadPoolExecutor``, and so ``run_in_executor``, and into threads."""

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Where work is handed over."""
        return [
            Patch("concurrent.futures.thread", "ThreadPoolExecutor.submit", lambda _: _submit),
            Patch("threading", "Thread.start", lambda _: _start),
        ]


def _submit(submit: Any, executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    function, *rest = args
    carried = Telemetry.carry(function)
    with Current(Context()):  # a worker thread that this starts is no one request's
        return submit(carried, *rest, **kwargs)


def _start(start: Any, thread: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    context = surroundings()
    if context:
        run = thread.run

        def carried() -> None:
            del thread.run
            with Current(context):
                run()

        thread.run = carried
    return start(*args, **kwargs)
