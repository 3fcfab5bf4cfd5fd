"""Programs of several processes: each tells what it spoke, once, under its own name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from otel_tts.history import open_history
from otel_tts.settings import HistorySettings
from tests.instrumentation.programs_started import PROGRAMS, eventually, metrics, program
from tests.ports import free_port

RUN = [str(Path(sys.executable).parent / "otel-tts"), "run", "--"]


def spoken() -> Counter[str | None]:
    """The outcomes that stand in local files, counted."""
    return Counter(request.outcome for request in open_history(HistorySettings.load()).every_request())


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(how: str) -> None:
    """They end without ``atexit`` functions, and what they spoke is told all the same."""
    command = [*RUN, sys.executable, str(PROGRAMS / "children.py"), how]
    run = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False, timeout=110)
    assert (run.returncode, run.stderr) == (0, "")
    assert spoken() == {"ok": 3}
    assert metrics()["tts.synthesis.requests"] == {("en-US", "ok", "heart"): 3}


@pytest.mark.vendors
@pytest.mark.timeout(60)  # a thread of ours that waits for what gevent does not know stops all greenlets, for ever
def test_threads_that_have_become_greenlets() -> None:
    """Gevent replaces threads in a process that is observed already: the program, its children and callbacks go on, and all is counted."""
    pytest.importorskip("gevent", reason="it needs the extra `vendors`")
    command = [*RUN, sys.executable, "-W", "ignore", str(PROGRAMS / "greenlets.py")]
    subprocess.run(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=45)
    assert spoken() == {"ok": 4}
    assert sum(metrics()["tts.synthesis.requests"].values()) == 4
    assert metrics()["tts.cache.entry.count"] == {("memory",): 6}, "two processes have three each"


@pytest.mark.vendors
@pytest.mark.parametrize("preload", [True, False])
def test_a_server_that_forks(preload: bool) -> None:
    """Gunicorn with two workers, which import the application before or after they are forked."""
    pytest.importorskip("gunicorn", reason="it needs the extra `vendors`")
    port = free_port()
    options = ["--workers", "2", "--bind", f"127.0.0.1:{port}", "--chdir", str(PROGRAMS), "--log-level", "critical"]
    arguments = ["-m", "gunicorn", *options, *(["--preload"] if preload else []), "wsgi"]
    workers: Counter[bytes] = Counter()

    def ask() -> bytes:
        with closing(urllib.request.urlopen(f"http://127.0.0.1:{port}/?Hello", timeout=20)) as response:
            return bytes(response.read()).split()[0]

    with program(RUN, *arguments, ends_with=0):
        workers[eventually(ask)] += 1
        deadline = time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < deadline:  # the other one may still be starting
            workers[ask()] += 1
    assert len(workers) == 2, "both were asked"
    assert spoken() == {"ok": workers.total()}
    assert metrics()["tts.synthesis.requests"] == {("en-US", "ok", "heart"): workers.total()}
