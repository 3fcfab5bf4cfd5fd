"""Drift: the batch job's reports, from a real MLflow, on the page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import streamlit as st

from otel_tts.history import Point, Timeline, open_history
from otel_tts.live.screens import drift
from otel_tts.report import tracking
from otel_tts.report.reports import Report, Reports
from otel_tts.report.runs import JUDGEMENT, REQUESTS, RunEntry, Runs
from otel_tts.report.window import Window
from otel_tts.settings import HistorySettings, LiveSettings
from tests.live.conftest import Watched
from tests.live.test_pages import one, page_text
from tests.report.conftest import empty_database, mlflow_ui, server

__all__ = ["empty_database", "mlflow_ui", "server"]  # fixtures

pytestmark = [pytest.mark.report, pytest.mark.filterwarnings("ignore")]  # MLflow's own

NOW = time.time() // 3600 * 3600


def written(data_dir: Path, tmp_path: Path) -> LiveSettings:
    """Two windows, the newer one drifted."""
    settings = LiveSettings.load({}, data_dir=data_dir)
    runs = Runs(tracking.default_uri(settings), "otel-tts")
    for hours, judgement in ((1, "steady"), (0, "drifted")):
        files = tmp_path / judgement
        files.mkdir()
        (files / "engines.html").write_text(f"<h1>Engines were {judgement}</h1>")
        tags = {JUDGEMENT: judgement, REQUESTS: "120", "otel_tts.drifted": "first_audio" if judgement == "drifted" else ""}
        window = Window(NOW - hours * 3600, NOW - hours * 3600 + 3600)
        runs.write(RunEntry("speech & co", "1.0", window, {"request_count": 120.0}, {}, tags, judgement, judgement, files))
    return settings


def test_reports_are_read_and_never_changed(tmp_path: Path) -> None:
    """The newest first, with their pages; the one that a request belongs to is found by service and time."""
    settings = written(tmp_path / "data", tmp_path)
    assert Reports.from_settings(LiveSettings.load({}, data_dir=tmp_path / "elsewhere")) is None
    assert not (tmp_path / "elsewhere").exists()
    reports = Reports.from_settings(settings)
    assert reports is not None
    newest, oldest = reports.latest()
    assert newest == Report(newest.run_id, "speech & co", Window(NOW, NOW + 3600), "drifted", "first_audio", "120", "")
    assert oldest.judgement == "steady"
    assert reports.pages(newest.run_id) == ["engines"]
    assert reports.page(newest.run_id, "engines") == "<h1>Engines were drifted</h1>"
    assert reports.of_request("speech & co", NOW - 1) == oldest
    assert reports.of_request("another", NOW - 1) is None


def test_what_moved_far_and_is_no_drift_looks_otherwise() -> None:
    """Dotted, and said so, where the score is above the limit without a detection, as of the traffic; what drifted is a solid line."""
    keys = "gen_ai.provider.name", "tts.drift.column"
    windows = [(60.0 * n, 60.0 * n + 60) for n in range(3)]

    def course(provider: str, measure: str, *values: float | None) -> Timeline:
        points = tuple(Point(*window, value) for window, value in zip(windows, values, strict=True))
        return Timeline(dict(zip(keys, (provider, measure), strict=True)), points)

    scores = [
        course("piper", "duration", 0.5, 3.3, 4.0),
        course("piper", "loudness", 2.0, 2.0, 2.0),
        course("_NONE", "mix", 0.2, 1.0, 9.0),
    ]
    detections = [course("piper", "duration", 0.0, 0.0, 1.0), course("piper", "loudness", 1.0, 1.0, 1.0)]
    drawn = {(line.name, line.dash): [value for *_, value in line.points] for line in drift.lines(scores, detections)}
    assert drawn == {
        ("piper: duration", "solid"): [0.5, None, 4.0],
        ("piper: duration, no drift", "dot"): [None, 3.3, None],
        ("piper: loudness", "solid"): [2.0, 2.0, 2.0],
        ("mix", "solid"): [0.2, 1.0, None],
        ("mix, no drift", "dot"): [None, None, 9.0],
    }
    assert [timeline.attributes[keys[1]] for timeline in drift.highest(scores)] == ["mix", "duration", "loudness"]


def test_the_page_shows_the_latest_report(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list, and the report itself; another one is a choice that stands in the address."""
    settings = written(tmp_path / "data", tmp_path)
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.default_uri(settings))
    st.cache_resource.clear()
    st.cache_data.clear()
    test = one("Drift").run()
    assert not test.exception
    assert "speech &amp; co" in page_text(test)
    (shown,) = test.get("iframe")
    assert "Engines were drifted" in shown.proto.srcdoc
    test.selectbox(key="report").select_index(1).run()
    assert not test.exception
    assert "Engines were steady" in test.get("iframe")[0].proto.srcdoc
    reports = Reports.from_settings(settings)
    assert reports is not None
    assert test.query_params["report"] == reports.latest()[1].run_id


def test_a_request_links_to_its_window(watched: Watched, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its window was reported to a server of MLflow; a request of no reported window has no link."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    [service] = {request.service for request in open_history(HistorySettings.load()).requests()}
    files = tmp_path / "files"
    files.mkdir()
    for name, linked in (("another", 0), (service, 1)):
        window = Window(NOW - 3600, NOW + 7200)
        run_id = Runs(server, "otel-tts").write(
            RunEntry(name, "1.0", window, {"request_count": 1.0}, {}, {JUDGEMENT: "steady", REQUESTS: "1"}, name, name, files)
        )
        st.cache_resource.clear()
        st.cache_data.clear()
        test = one("Requests").run()
        test.text_input(key="wanted").input(test.dataframe[0].value["trace"][0][:16]).run()
        assert not test.exception
        links = [link.proto.url for link in test.get("link_button")]
        assert len(links) == linked
        assert all(link.startswith(server) and link.endswith(run_id) for link in links)
