"""A process that reports, and is killed at a step of its choosing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from otel_tts.history import open_history
from otel_tts.report.feedback import Feedback
from otel_tts.report.job import ReportJob
from otel_tts.report.lock import locked
from otel_tts.report.profile import Profiles
from otel_tts.report.reference import resolve
from otel_tts.report.runs import Runs
from otel_tts.report.window import Window
from otel_tts.settings import HistorySettings
from tests.report.drawings import without_drawings
from tests.report.recording import INTERVAL

WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "log_artifacts",
    "set_terminated",
    "set_tag",
    "set_experiment_tag",
    "delete_run",
)
"""All of MLflow's client that changes anything."""


def report(directory: Path, uri: str, windows: Sequence[Window], reference: str) -> None:
    """Report the windows, holding the lock."""
    history = open_history(HistorySettings.load({}, data_dir=directory, export_interval=INTERVAL))
    with locked(Path(uri.removeprefix("sqlite:///")).parent, uri):
        runs = Runs(uri, "speech")
        profiles = Profiles(directory)
        job = ReportJob(history, runs, lambda name: resolve(reference, history, profiles, runs, name), Feedback())
        for window in windows:
            list(job.report([window]))
            runs.advance("test", window.end)


def dying(step: int, steps: Any, *arguments: Any) -> None:
    """Report, but kill the process right before the write number ``step``; ``steps`` holds how many there were."""
    from mlflow.tracking import MlflowClient

    def fatal(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*arguments: Any, **named: Any) -> Any:
            if steps.value == step:
                os.kill(os.getpid(), signal.SIGKILL)
            steps.value += 1
            return write(*arguments, **named)

        return written

    without_drawings()
    for name in WRITES:
        setattr(MlflowClient, name, fatal(getattr(MlflowClient, name)))
    report(*arguments)
