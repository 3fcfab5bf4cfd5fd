"""Processes that have the heavy libraries imported when they begin: their parent has, before it forks."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.report.drawings import without_drawings

_PRELOADED = [
    "tests.report.warm", "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "evidently", "evidently.metrics",
    "evidently.tests", "pandas", "otel_tts.commands.report.command", "otel_tts.sdk.providers",
]  # fmt: skip


def context() -> ForkServerContext:
    """Starts such processes."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(_PRELOADED)
    return forkserver


def command(output: Path, arguments: Sequence[str], environ: Mapping[str, str], *, drawn: bool = False) -> BaseProcess:
    """``otel-tts`` with some arguments, started; it ends with the tests at the latest.

    output: what it prints. drawn: whether Evidently's reports matter.
    """
    output.touch()
    process = context().Process(target=_main, args=(output, arguments, {**os.environ, **environ}, drawn), daemon=True)
    process.start()
    return process


def _main(output: Path, arguments: Sequence[str], environ: Mapping[str, str], drawn: bool) -> None:
    from otel_tts.cli import main

    if not drawn:
        without_drawings()
    os.environ.clear()
    os.environ.update(environ)
    with output.open("wb", buffering=0) as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    main(list(arguments), prog_name="otel-tts")
