"""Drift: what the batch job says of the engines, in its own reports, and how its scores went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from otel_tts import formatting, palette, semconv
from otel_tts.history import Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.charts import Line
from otel_tts.live.reading import Reading
from otel_tts.live.screens import chart
from otel_tts.live.view import Period, View
from otel_tts.report.reports import Report, Reports
from otel_tts.report.tracking import Unreachable
from otel_tts.settings import LiveSettings

_NONE_YET = "The batch job writes them: `otel-tts report`, say every hour. Needs pip install 'otel-tts[report]'."
_SHOWN = 12


def draw(reading: Reading, period: Period, view: View, settings: LiveSettings) -> None:
    """Scores over time, then the latest reports, one of them whole."""
    scores = reading.series(semconv.DRIFT_SCORE, period, (semconv.PROVIDER, semconv.DRIFT_COLUMN))
    figure = charts.course(lines(scores), "{score}", period, reference={"limit": 1.0})
    chart("Drift scores", figure, "drift-scores", f"{formatting.definition(semconv.DRIFT_SCORE)} 1 is the limit of what matters.")
    st.subheader("Reports", anchor=False, help="What the batch job has judged, the newest first. Times are local.")
    reports = Reports.of(settings)
    try:
        found = _latest(settings.mlflow_tracking_uri, str(settings.data_dir)) if reports else ()
        if reports is None or not found:
            st.html(tiles.notice("unknown", "No reports yet.", _NONE_YET))
            return
        st.html(tiles.table("Reports", ("window", "service", "judgement", "drifted", "requests"), rows(found[:_SHOWN]), words=4))
        _embedded(found)
    except Unreachable as error:
        st.html(tiles.notice("bad", "Reports cannot be read.", str(error)))


def lines(scores: Sequence[Timeline]) -> list[Line]:
    """The scores that were furthest away, by provider and measure."""
    named = [
        Line(
            " ".join(str(value) for value in timeline.attributes.values() if value != semconv.NONE),
            [(p.start, p.end, charts.amount(p)) for p in timeline.points],
            palette.GREY,
        )
        for timeline in scores
    ]
    named.sort(key=lambda line: max((value for *_, value in line.points if value is not None), default=0), reverse=True)
    return [Line(line.name, line.points, colour) for line, colour in zip(named, palette.CYCLE, strict=False)]


def rows(found: Sequence[Report]) -> list[tuple[str, ...]]:
    """The reports as a table."""
    return [
        (
            f"{formatting.date(report.window.start)[:16]} to {formatting.date(report.window.end)[11:16]}",
            report.service,
            report.judgement or formatting.NOTHING,
            report.drifted or formatting.NOTHING,
            report.requests or formatting.NOTHING,
        )
        for report in found
    ]


def _embedded(found: Sequence[Report]) -> None:
    view: View = st.session_state.view
    ids = [report.run_id for report in found]
    named = {report.run_id: f"{row[0]} · {row[1]} · {row[2]}" for report, row in zip(found, rows(found), strict=True)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run_id = st.selectbox(
            "Report",
            ids,
            ids.index(view.report) if view.report in ids else 0,
            format_func=lambda of: named[of],
            key="report",
            width=420,
        )
        settings = LiveSettings.load()
        pages = _pages(settings.mlflow_tracking_uri, str(settings.data_dir), run_id)
        page = st.segmented_control("Part", pages, default=pages[0], required=True, key=f"part {run_id}") if pages else None
    st.session_state.view = replace(view, report=run_id if run_id != ids[0] else "")
    if page is None:
        st.caption("Nothing could be compared in this window, so there is no report of it.")
        return
    st.iframe(_page(settings.mlflow_tracking_uri, str(settings.data_dir), run_id, page), height=900)


@st.cache_data(ttl=60, max_entries=2, show_spinner="Asking MLflow ...")
def _latest(uri: str, directory: str) -> Sequence[Report]:
    reports = Reports.of(LiveSettings.load())
    return reports.latest() if reports else ()


@st.cache_data(max_entries=50, show_spinner=False)
def _pages(uri: str, directory: str, run_id: str) -> Sequence[str]:
    reports = Reports.of(LiveSettings.load())
    return reports.pages(run_id) if reports else ()


@st.cache_data(max_entries=4, show_spinner="Fetching the report ...")
def _page(uri: str, directory: str, run_id: str, name: str) -> str:
    reports = Reports.of(LiveSettings.load())
    return reports.page(run_id, name) if reports else ""
