"""Programs of their own processes: how they are started and ended, and what they left in local files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_tts.distribution import Distribution
from otel_tts.history.growth import growths
from otel_tts.settings import Settings

PROGRAMS = Path(__file__).with_name("programs")
_FOLDERS = sorted({os.path.realpath(path) for path in (PROGRAMS.parents[2], sys.prefix)} | {str(PROGRAMS.parents[2]), sys.prefix})
"""Where this checkout and its environment are: a message may name a file there, and the folder may be called like the project."""


@contextmanager
def program(launcher: Sequence[str], *arguments: str, ends_with: int = -signal.SIGTERM) -> Iterator[subprocess.Popen[str]]:
    """A Python program that is started so. At the end it gets SIGTERM, at which it has to end so, and without a word of telemetry."""
    process = subprocess.Popen(
        [*launcher, sys.executable, *arguments],
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == ends_with, errors
        for folder in reversed(_FOLDERS):
            errors = errors.replace(folder, "")
        assert "otel" not in errors.lower(), errors
    finally:
        process.kill()
        process.wait()


def metrics() -> dict[str, dict[tuple[Any, ...], float]]:
    """Every series of every metric, by the values of its attributes in the order of their names: its total, count or level."""
    (growth,) = growths(Settings.load().data_dir, [0.0, time.time() + 60], 10.0)
    sums: dict[str, dict[tuple[Any, ...], float]] = {}
    for name, all_series in growth.items():
        for series in all_series:
            labels = tuple(value for _, value in sorted(series.attributes.items()))
            value = series.growth.count if isinstance(series.growth, Distribution) else series.growth
            of_metric = sums.setdefault(name, {})
            of_metric[labels] = of_metric.get(labels, 0) + value
    return sums


def eventually(attempt: Callable[[], bytes]) -> bytes:
    """What ``attempt`` gives once the server is up."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return attempt()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
