"""Writing local files: hourly rotation, retention by age and bytes, private, and never the host's problem."""

from __future__ import annotations

import _strptime
import logging
import os
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_tts import files
from otel_tts.sdk.store import Store

NINE = 1795424400.0  # 2026-11-23T09:00Z


@dataclass
class Wall:
    """A wall clock that stands still until it is set."""

    now: float = NINE

    def __call__(self) -> float:
        """Seconds since the Unix epoch."""
        return self.now


class Spans:
    """Writes one span a line into the local files, through the SDK."""

    def __init__(self, directory: Path, wall: Wall, max_age: float = 7 * 86400.0, max_size: int = 2**30) -> None:
        self.store = Store(directory, max_age_s=max_age, max_bytes=max_size, wall=wall)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.store.span_exporter()))
        self._tracer = provider.get_tracer("test")

    def write(self, *names: str) -> None:
        """Write one line for each name."""
        for name in names:
            self._tracer.start_span(name).end()


def names(directory: Path) -> dict[str, list[str]]:
    """The span names in each file, by the hour and segment of the file."""
    names_by_folder: dict[str, list[str]] = {}
    for partition in files.partitions(directory, "traces"):
        key = f"{partition.hour:%H}.{partition.segment}"
        for _, request in files.read(partition.path):
            names_by_folder.setdefault(key, []).extend(
                span["name"]
                for resource in request["resourceSpans"]
                for scope in resource["scopeSpans"]
                for span in scope["spans"]
            )
    return names_by_folder


def test_a_file_holds_one_hour(tmp_path: Path) -> None:
    """A line goes into the file of the hour in which it is written; a clock set back doesn't reopen an earlier one."""
    wall = Wall()
    spans = Spans(tmp_path, wall)
    for minutes, name in ((0, "a"), (59.9, "b"), (60, "c"), (30, "d"), (240, "e")):
        wall.now = NINE + minutes * 60
        spans.write(name)
    assert names(tmp_path) == {"09.0": ["a", "b"], "10.0": ["c", "d"], "13.0": ["e"]}


def test_files_older_than_the_age_are_deleted(tmp_path: Path) -> None:
    """At each rotation, of whichever process, files past the age go."""
    wall = Wall()
    earlier, later = Spans(tmp_path, wall, max_age=7200), Spans(tmp_path, wall, max_age=7200)
    earlier.write("old")
    wall.now += 3600
    earlier.write("middle")
    wall.now += 7201
    later.write("new")
    assert names(tmp_path) == {"10.0": ["middle"], "12.0": ["new"]}


def test_files_beyond_the_size_are_deleted_oldest_first(tmp_path: Path) -> None:
    """A burst within one hour stays within the bytes allowed too, and what is kept is the newest."""
    wall = Wall()
    spans = Spans(tmp_path, wall, max_size=64_000)
    numbered = [f"{number:04}" for number in range(400)]
    spans.write(*numbered)

    kept = [name for names_of_file in names(tmp_path).values() for name in names_of_file]
    assert kept == numbered[-len(kept) :]
    assert 50 < len(kept) < 200
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl")) < 64_000 * 1.1


def test_a_file_that_a_process_writes_is_never_deleted(tmp_path: Path) -> None:
    """However little may be kept, the last file of every writer in the current hour stays."""
    wall = Wall()
    idle, busy = Spans(tmp_path, wall, max_size=1), Spans(tmp_path, wall, max_size=1)
    idle.write("idle")
    busy.write("a", "b", "c")
    assert sorted(names(tmp_path).values()) == [["c"], ["idle"]]


def test_processes_that_begin_do_not_each_look_through_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a process a job there are thousands of files: one process in ten minutes reads their names, unless the clock was set back."""
    wall = Wall()
    looks: list[float] = []

    def partitions(*arguments: Any) -> list[files.Partition]:
        looks.append(wall.now - NINE)
        return files.partitions(*arguments)

    monkeypatch.setattr("otel_tts.sdk.store.partitions", partitions)
    for minute in (0, 0, 1, 5, 9.9, 10, 11, 19, 25, 3, 4):
        wall.now = NINE + minute * 60
        Spans(tmp_path, wall).write("a", "b")
    assert sorted(set(looks)) == [0, 180, 600, 1500]
    assert len(looks) == 4 * len(files.SIGNALS)
    wall.now = NINE + 300
    jobs = [Spans(tmp_path, wall, max_size=1) for _ in range(20)]
    for job in jobs:
        job.write("a")
    assert len(looks) == 4 * len(files.SIGNALS)
    jobs[0].write("b")  # a file that is full is followed by another one: what is too much goes at once
    assert len(looks) == 5 * len(files.SIGNALS)


def test_no_lock_of_strptime_is_waited_for(tmp_path: Path) -> None:
    """A fork while another thread parses a date leaves that lock locked in the child: writing and looking through files goes on."""
    Spans(tmp_path, Wall()).write("a")
    with _strptime._cache_lock:
        writing = threading.Thread(target=Spans(tmp_path, Wall(NINE + 3600)).write, args=["b"], daemon=True)
        writing.start()
        writing.join(30)
        assert not writing.is_alive()
    assert names(tmp_path) == {"09.0": ["a"], "10.0": ["b"]}


def test_files_are_private(tmp_path: Path) -> None:
    """Telemetry may be private: only the owner reads it."""
    spans = Spans(tmp_path / "data", Wall())
    spans.write("a")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data", tmp_path / "data" / "traces")} == {0o700}


def test_a_deleted_file_is_written_anew(tmp_path: Path) -> None:
    """Somebody who clears the directory loses what was in it, not what comes after."""
    spans = Spans(tmp_path, Wall())
    spans.write("a")
    for path in tmp_path.rglob("*.jsonl"):
        path.unlink()
    spans.write("b")
    assert names(tmp_path) == {"09.1": ["b"]}


def test_a_directory_that_was_moved_is_made_anew(tmp_path: Path) -> None:
    """A process does not write on into a directory in which no reader looks; what was written there stays."""
    wall = Wall()
    data = tmp_path / "data"
    spans = Spans(data, wall)
    spans.write("a")
    data.rename(tmp_path / "old")
    spans.write("b", "c")
    assert names(tmp_path / "old") == {"09.0": ["a"]}
    assert names(data) == {"09.1": ["b", "c"]}


@pytest.mark.timeout(20)
def test_the_mark_is_written_whatever_has_its_name(tmp_path: Path) -> None:
    """A pipe without a reader is not waited for, and a link changes no file of others."""
    (other := tmp_path / "other").write_text("")
    os.utime(other, (1, 1))
    for kind in ("pipe", "link", "directory"):
        (directory := tmp_path / kind).mkdir()
        mark = directory / ".expiry"
        if kind == "pipe":
            os.mkfifo(mark)
        elif kind == "link":
            mark.symlink_to(other)
        else:
            mark.mkdir()
        os.utime(mark, (1, 1))
        Spans(directory, Wall()).write("a")
        assert names(directory) == {"09.0": ["a"]}
    assert other.stat().st_mtime == 1


def test_a_directory_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Telemetry is dropped with one line, the host goes on, and it is said when it works again."""
    obstacle = tmp_path / "data"
    obstacle.write_text("a file where the directory should be")
    spans = Spans(obstacle, Wall())
    with caplog.at_level(logging.WARNING):
        spans.write("a", "b")
        obstacle.unlink()
        spans.write("c", "d")
    assert caplog.messages == [
        f"Traces cannot be written to {obstacle}: File exists. They are dropped until that is mended; then it is said how many.",
        f"Traces are written to {obstacle} again. Exports that were dropped: 2.",
    ]
    assert names(obstacle) == {"09.0": ["c", "d"]}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.sdk.test_store import Spans, Wall, names

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
directory = Path(sys.argv[1])
spans = Spans(directory, Wall())
spans.write("a")
written = next(directory.rglob("*.jsonl")).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (written + 100, resource.RLIM_INFINITY))
spans.write("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spans.write("b")
print(names(directory))
"""


def test_a_line_cut_short_by_a_full_disk_costs_no_other(tmp_path: Path) -> None:
    """What didn't fit is lost; the line written when there is room again is whole."""
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=30, check=True
    )
    assert process.stdout == "{'09.0': ['a', 'b']}\n"
    assert "File too large" in process.stderr


def test_writers_of_one_process_id_have_their_own_files(tmp_path: Path) -> None:
    """Process ids come back, and in containers all are 1: two stores never share a file."""
    wall = Wall()
    for name in ("a", "b"):
        Spans(tmp_path, wall).write(name)
    writers = {partition.writer for partition in files.partitions(tmp_path, "traces")}
    assert len(writers) == 2
    assert {writer.split("-")[0] for writer in writers} == {str(os.getpid())}
