"""The job's environment: its own telemetry, the signals that stop it, and its progress on a terminal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otel_tts.sdk import configure
from otel_tts.settings import Settings

SERVICE_NAME = "otel-tts-report"
"""``service.name`` of what the job tells of itself."""


@contextmanager
def telemetry(*, keep_port: bool) -> Iterator[None]:
    """Set up telemetry of the job itself, which goes where the services' goes.

    A job of one pass is gone before anybody could pull its metrics from a port, which the service may have.

    Args:
        keep_port: whether a port for Prometheus is opened, if settings ask for it.
    """
    settings = Settings.load({name: value for name, value in os.environ.items() if keep_port or name != "PROMETHEUS_PORT"})
    pipeline = configure(
        service_name=os.environ.get("OTEL_SERVICE_NAME") or SERVICE_NAME, settings=settings, local=True, logs=False
    )
    try:
        yield
    finally:
        pipeline.shutdown()


def stopping() -> threading.Event:
    """Set by the first SIGINT or SIGTERM; the second one ends the process at once."""
    stop = threading.Event()

    def handle(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


@contextmanager
def progress(console: Console, total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Show a progress bar during the block, on a terminal; give the function that moves it.

    Args:
        console: the terminal.
        total: how many windows.
        shown: whether a bar is drawn.
    """
    if not (shown and console.is_terminal and total > 1):
        yield lambda: None
        return
    columns = TextColumn("windows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
