"""What the live dashboard costs on local files of N spans: a page over a day, first drawn cold, then warm, then once more after new spans.

Seconds are those of the clock and, in brackets, of the processor, which tell the truth on a busy machine too. Each is a process of its own
that draws the page as Streamlit does; then it draws it 40 times more, to see what that adds to its memory. Run it with the extra ``live``
installed: ``python benchmarks/live.py [10000 100000 1000000]``. For 1,000,000 spans, 20 s are allowed cold and 2 s warm.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import history

PAGES = ("Now", "Requests")
SOAK = 40


def main() -> None:
    """Measure, for each number of spans."""
    print(
        f"{'spans':>9} {'page':<9} {'cold s':>15} {'warm s':>15} {'refresh s':>15} {'peak MB':>8} {f'{SOAK} refreshes, MB':>18}"
    )
    for count in [int(given) for given in sys.argv[1:]] or [10_000, 100_000, 1_000_000]:
        for page in PAGES:
            with tempfile.TemporaryDirectory() as name:
                history.write(Path(name), count)
                cold, warm = drawn(name, page, soak=False), drawn(name, page, soak=True)
            print(
                f"{count:>9} {page:<9} {seconds_of(cold['first']):>15} {seconds_of(warm['first']):>15} {seconds_of(warm['refresh']):>15} "
                f"{max(cold['peak'], warm['peak']):>8.0f} {warm['grown']:>18.1f}",
                flush=True,
            )


def seconds_of(seconds: Any) -> str:
    """Of the clock, and of the processor."""
    return f"{seconds[0]:.2f} ({seconds[1]:.2f})"


def drawn(directory: str, page: str, *, soak: bool) -> dict[str, Any]:
    """One process that draws a page."""
    environ = {**os.environ, "OTEL_TTS_DATA_DIR": directory, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", "-c", "from benchmarks import live; live.draw()", page, str(int(soak))]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def draw() -> None:
    """In that process: draw, let something happen, draw again."""
    from streamlit.testing.v1 import AppTest

    from otel_tts.settings import Settings

    page, soak = sys.argv[1], sys.argv[2] == "1"

    def script(title: str) -> None:
        from otel_tts.live import app

        app.draw(next(page for page in app.PAGES if page.title == title))

    test = AppTest.from_function(script, kwargs={"title": page}, default_timeout=300)
    test.query_params["range"] = "24h"
    import otel_tts.live.app  # noqa: F401 - what is to be measured is not the import

    first = timed(test.run)
    assert not test.exception
    history.more(Settings.load().data_dir)
    time.sleep(5)  # the next tick of the refresh
    refresh = timed(test.run)
    grown = 0.0
    if soak:
        tracemalloc.start()
        for _ in range(20):
            time.sleep(0.2)
            test.run()
        before = memory()
        for _ in range(SOAK):
            time.sleep(0.2)
            test.run()
        grown = memory() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"first": first, "refresh": refresh, "peak": peak, "grown": grown}))


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - worked


def memory() -> float:
    """MB that Python holds of what it has allocated."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 2**20


if __name__ == "__main__":
    main()
