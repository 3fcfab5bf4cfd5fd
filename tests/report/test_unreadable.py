"""A service whose histograms cannot be counted keeps no other from being reported."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rich.console import Console

from otel_tts import semconv
from otel_tts.commands.report import summary
from otel_tts.history import HistoryUnavailableError, open_history
from otel_tts.report.feedback import Feedback
from otel_tts.report.job import ReportJob
from otel_tts.report.profile import Profiles
from otel_tts.report.reference import resolve
from otel_tts.report.runs import Runs
from otel_tts.report.window import Window
from otel_tts.settings import HistorySettings
from tests.history.conftest import Source

DURATION = semconv.SYNTHESIS_DURATION, (("gen_ai.provider.name", "piper"), ("tts.outcome", "ok"))
SCORE = semconv.QUALITY_SCORE, (("gen_ai.evaluation.name", "mos"), ("gen_ai.provider.name", "piper"))
REASON = "as an exponential or native histogram"


@pytest.mark.parametrize("totals", [{DURATION: [3, 1]}, {DURATION: [3, 1], SCORE: [1, 1]}], ids=["durations", "scores, too"])
def test_a_pass_reports_the_others(totals: dict[object, list[int]], store: str, tmp_path: Path) -> None:
    """It has a line with the reason, no run, and is looked at again. With ``--service`` it alone is asked for: the reason is the error."""
    history = open_history(HistorySettings.load({}, data_dir=tmp_path, export_interval=1.0))
    start = time.time() // 60 * 60 - 120
    window = Window(start, start + 60)
    foreign, ours = Source(history, tmp_path, None, "foreign"), Source(history, tmp_path, None, "speech")
    foreign.write("a", start + 30, totals, exponential=True)  # type: ignore[arg-type]
    ours.write("b", start + 30, {DURATION: [2, 0]})
    runs = Runs(store, f"unreadable {len(totals)}")

    def job(only: str | None = None) -> ReportJob:
        return ReportJob(
            history, runs, lambda name: resolve("last-7d", history, Profiles(tmp_path), runs, name), Feedback(), only
        )

    for done in ("written", "unchanged"):
        results = {result.service: result for result in job().report([window])}
        assert {name: result.done for name, result in results.items()} == {"foreign": "unreadable", "speech": done}
        assert REASON in results["foreign"].notes[0]
        assert runs.find("foreign", window) is None
    plain = summary.plain_window(results["foreign"])
    assert (plain["done"], plain["figures"], plain["judgement"]) == ("unreadable", None, None)
    console = Console(width=300, record=True)
    console.print(summary.unreadable_summary(results["foreign"]))
    console.print(summary.pass_summary([window], list(results.values()), 0.0))
    shown = console.export_text()
    assert shown.startswith("foreign ")
    assert REASON in shown
    assert "0 windows written, 1 unchanged, 1 not readable." in shown
    with pytest.raises(HistoryUnavailableError, match=REASON):
        list(job("foreign").report([window]))
