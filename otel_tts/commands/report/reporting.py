"""One pass of the report job: the windows that are complete and not reported yet, with progress in the terminal."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.text import Text

from otel_tts.commands import terminal
from otel_tts.commands.report import summary, surroundings
from otel_tts.report.job import ReportJob, WindowResult, pending
from otel_tts.report.window import closed, windows


def run_pass(
    job: ReportJob,
    console: Console,
    width_s: float,
    grace_s: float,
    since: float | None,
    until: float | None,
    stop: threading.Event,
) -> list[dict[str, Any]]:
    """Everything that is to be done at the moment; gives it for programs.

    An explicit range does not move the watermark: nobody knows what is before it.

    Args:
        job: writes and judges windows.
        console: the terminal.
        width_s: the width of a window, in seconds.
        grace_s: how long to wait for late telemetry after a window, in seconds.
        since: from when on, in seconds since the Unix epoch; None: from where the last pass ended.
        until: up to when, in seconds since the Unix epoch; None: up to the last window that is complete.
        stop: is set when the process is told to end.
    """
    now = time.time()
    key = f"{job.only or 'all services'} {width_s:g}s"
    watermark = job.runs.watermark(key)
    last = closed(now, width_s, grace_s)
    began = job.history.began or now
    first = pending(began, watermark, last, width_s) if since is None else max(since, began - width_s)
    wanted = list(windows(first, last if until is None else min(until, now), width_s))
    done: list[WindowResult] = []
    contents: list[dict[str, Any]] = []
    with surroundings.progress(console, len(wanted), shown=since is not None) as advance:
        for window in wanted:
            if stop.is_set():
                console.print("Stopped between two windows. The next pass continues from here.")
                return contents
            reported = False
            for outcome in job.report([window]):
                reported = True
                contents.append(summary.plain_window(outcome))
                # The rest is large, and there may be many.
                done.append(replace(outcome, judgement=None, current=None, reference=None))
                if outcome.done == "unreadable":
                    console.print(summary.unreadable_summary(outcome), soft_wrap=True)
                if outcome.judgement is not None:
                    console.print(summary.window_summary(outcome))
                    console.print(Text(f"{outcome.link}\n", "dim"), soft_wrap=True)
            if since is None and window.end <= last and (reported or window is wanted[-1]) and window.end > (watermark or 0.0):
                job.runs.advance(key, window.end)
            advance()
    console.print(summary.pass_summary(wanted, done, _next(now, width_s, grace_s)), soft_wrap=True)
    if job.history.unreadable:
        console.print(terminal.left_out(job.history), style="yellow")
    return contents


def _next(now: float, width_s: float, grace_s: float) -> float:
    """When the current window will be complete."""
    return closed(now, width_s, grace_s) + width_s + grace_s
