"""The batch job says so where a service of one name runs in several clusters, all of which it reads."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from otel_tts import semconv
from otel_tts.commands.report import summary
from otel_tts.history import open_history
from otel_tts.report.feedback import Feedback
from otel_tts.report.headline import NOTE
from otel_tts.report.job import ReportJob, WindowResult
from otel_tts.report.profile import Profiles
from otel_tts.report.reference import resolve
from otel_tts.report.runs import Runs
from otel_tts.report.window import Window
from otel_tts.settings import HistorySettings
from tests.history.conftest import Source

SENTENCE = "speech runs in 2 clusters (eu, us), which are added up here."
DURATION = semconv.SYNTHESIS_DURATION, (("tts.outcome", "ok"),)


def test_two_clusters_that_are_added_up_are_named(tmp_path: Path, store: str) -> None:
    """In the terminal, for programs and in the run's description; not of a window of one cluster, nor where one is selected."""
    start = time.time() // 60 * 60 - 3600
    source = Source(None, tmp_path, None, "speech")  # type: ignore[arg-type]  # nothing is read by it
    for name, moment in (("eu", 10.0), ("us", 20.0), ("eu", 130.0)):
        place = {"k8s.cluster.name": name}
        source.write(name, start + moment, {DURATION: [int(moment), 0]}, place)

    def reported(minute: int, select: str = "") -> WindowResult:
        history = open_history(HistorySettings.load({"OTEL_TTS_SELECT": select}, data_dir=tmp_path, export_interval=1.0))
        runs = Runs(store, f"places {minute} {select}")
        job = ReportJob(history, runs, lambda name: resolve("last-7d", history, Profiles(tmp_path), runs, name), Feedback())
        [result] = job.report([Window(start + 60 * minute, start + 60 * (minute + 1))])
        run = runs.find("speech", result.window)
        assert run is not None
        assert ("added up" in run.data.tags[NOTE]) is bool(result.notes)
        return result

    both = reported(0)
    assert both.notes == (SENTENCE,)
    assert summary.plain_window(both)["notes"] == [SENTENCE]
    console = Console(width=200, record=True)
    console.print(summary.window_summary(both))
    assert f"{SENTENCE} otel-tts --select NAME=VALUE reads one of them." in console.export_text()
    assert both.row is not None
    assert both.row.request_count == 30
    for rate, words in (
        (None, ""),
        (0.0, ", 0% cache hits"),
        (0.25, ", 25% cache hits"),
    ):  # without a cache, nothing is said of one
        console = Console(width=200, record=True)
        console.print(summary.window_summary(replace(both, row=replace(both.row, request_hit_rate=rate))))
        figures = console.export_text().splitlines()[1].rstrip()
        assert figures.startswith("30 requests, ")
        assert figures.partition(", first audio p95 ")[2].partition(",")[2] == words.removeprefix(",")
    assert reported(2).notes == ()
    of_one = reported(0, "k8s.cluster.name=us")
    assert (of_one.notes, of_one.row and of_one.row.request_count) == ((), 20)
