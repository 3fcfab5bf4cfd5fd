"""The growth benchmark's readers, in a process of their own: ``questions`` or ``pages``, against the backend of the environment."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from threading import Thread

from otel_tts.history import open_history

Taken = tuple[float, float]
"""Seconds of the clock, and of the processors."""
AT_REST = 0.0
EVERY_S, PER_HALF_MINUTE = 5, 6
REFRESHES = 4 * PER_HALF_MINUTE
"""In four half minutes, half of them for two viewers."""


def main() -> None:
    """Print seconds by what was asked."""
    global AT_REST
    AT_REST = at_rest()
    print(json.dumps({"questions": questions, "pages": pages}[sys.argv[1]]()))


def questions() -> dict[str, Taken]:
    """Ask a fresh history."""
    now = time.time() // 60 * 60
    asked: dict[str, Callable[[], object]] = {
        "began": lambda: open_history().began,
        "1 h": lambda: open_history().aggregates(now - 3600, now),
        "1 h at 1 min": lambda: open_history().aggregates(now - 3600, now, 60),
        "24 h": lambda: open_history().aggregates(now - 86400, now),
        "24 h at 15 min": lambda: open_history().aggregates(now - 86400, now, 900),
    }
    return {name: seconds(question) for name, question in asked.items()}


def pages() -> dict[str, Taken | dict[str, float]]:
    """Draw the page Now as Streamlit does: cold, then every five seconds for one viewer or for two, in turn within each half minute."""
    import otel_tts.live.app  # noqa: F401 - what is to be measured is not the import

    first, second = viewer(), viewer()
    cold = seconds(first)
    second()
    of_one: list[Taken] = []
    of_two: list[Taken] = []
    for number in range(REFRESHES):
        time.sleep(EVERY_S - time.time() % EVERY_S)
        if (number + number // PER_HALF_MINUTE) % 2:
            of_two.append(seconds(lambda: at_once(first, second)))
        else:
            of_one.append(seconds(first))
    return {"page cold": cold, "page refresh": summary(of_one), "two viewers": summary(of_two)}


def summary(taken: Sequence[Taken]) -> dict[str, float]:
    """Seconds of the clock: what half of them took at most, and the longest; and of the processors, on average."""
    clock = [of_clock for of_clock, _ in taken]
    return {
        "median": median(clock),
        "longest": max(clock),
        "processors": round(fmean(of_processors for _, of_processors in taken), 2),
    }


def at_once(*viewers: Callable[[], object]) -> None:
    """Let them draw at the same time."""
    threads = [Thread(target=viewer) for viewer in viewers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def viewer() -> Callable[[], object]:
    """One browser with the page Now open."""
    from streamlit.testing.v1 import AppTest

    def script() -> None:
        from otel_tts.live import app

        app.draw(app.PAGES[0])

    test = AppTest.from_function(script, default_timeout=600)

    def draw() -> None:
        test.run()
        if test.exception:
            raise SystemExit(str(test.exception))

    return draw


def seconds(action: Callable[[], object]) -> Taken:
    """Of the clock, and of the processors: this process and Prometheus, without what it does by itself in that time."""
    began, worked = time.perf_counter(), time.process_time() + of_prometheus()
    action()
    clock = time.perf_counter() - began
    return round(clock, 2), round(time.process_time() + of_prometheus() - worked - clock * AT_REST, 2)


def of_prometheus() -> float:
    """Seconds of the processor that Prometheus has used."""
    fields = Path(f"/proc/{os.environ['PROMETHEUS_PID']}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def at_rest() -> float:
    """Seconds of the processor that Prometheus uses in a second when nobody asks it anything: it takes exports and evaluates rules."""
    before, began = of_prometheus(), time.perf_counter()
    time.sleep(15)
    return (of_prometheus() - before) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
