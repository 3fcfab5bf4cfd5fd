"""A suggested report of recent traffic: its later part compared with its earlier one."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from otel_tts.formatting import utc
from otel_tts.history import History
from otel_tts.report.drift import LEAST

_WIDTHS = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)  # seconds
_HEAVY = ("evidently", "mlflow", "pandas")  # what the extra brings


def suggestion(history: History, service: str, start: float, end: float) -> Iterator[Text]:
    """What to type to have judged what ``service`` did between two moments (seconds since the Unix epoch), line by line.

    Args:
        history: the telemetry that is read.
        service: the name of the service.
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
    """
    if (window := _judgeable(history, service, start, end)) is None:
        yield Text("This was too little traffic for a report. Run the demo for a minute or more to get a command for one.")
        return
    (middle, width), (first, last) = window, (math.floor(start), math.ceil(end))
    yield Text(
        "This command compares the later part of this traffic with the earlier part, and writes a run into MLflow:", "bold"
    )
    if not all(map(importlib.util.find_spec, _HEAVY)):
        yield Text(f"  {_shown(Path(sys.executable))} -m pip install 'otel-tts[report]'", "cyan")
    program = Path(sys.executable).with_name("otel-tts")
    yield Text(
        f"  {_shown(program) if program.exists() else program.name} report --service {service} "
        f"--window {width:g}s --since {utc(middle)} --until {utc(last)} --reference range:{utc(first)}..{utc(middle)}",
        "cyan",
    )


def _judgeable(history: History, service: str, start: float, end: float) -> tuple[float, float] | None:
    """The beginning and width of the window that most can be said of, against what was before; None when nothing can.

    Windows are aligned: of a short time, hardly one of a round width begins near its middle, but one of some whole width does.
    """
    shortest = 2 * history.interval
    for widths in ([width for width in _WIDTHS if width >= shortest], range(math.ceil(shortest), 2 * math.ceil(shortest))):
        best, best_window = LEAST - 1, None
        for width in widths:
            middle = round((start + end) / 2 / width) * float(width)
            if not start + 1 < middle < end - 1:
                continue
            before = _attempts(history, service, start, middle)
            after = _attempts(history, service, middle, middle + width)
            common = max((min(before[provider], after[provider]) for provider in before.keys() & after.keys()), default=0)
            if common > best:
                best, best_window = common, (middle, float(width))
        if best_window:
            return best_window
    return None


def _attempts(history: History, service: str, start: float, end: float) -> dict[str, int]:
    """How many attempts at each provider can be judged."""
    by_service = {served.name: served.attempts for served in history.services(start, end)}
    return {provider: count for provider, (_, count) in by_service.get(service, {}).items()}


def _shown(program: Path) -> str:
    """A program as it can be typed: by its name if that finds it, else by its path."""
    if (path := shutil.which(program.name)) and Path(path) == program:
        return program.name
    relative = os.path.relpath(program)
    return str(program) if relative.startswith("..") else relative
