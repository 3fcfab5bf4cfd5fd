"""Drift: the scores of the batch job over time, and its reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from otel_tts import formatting, palette, semconv
from otel_tts.history import Point, Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import Line
from otel_tts.live.plain import markdown
from otel_tts.live.screens import chart, widget
from otel_tts.live.view import Period, View
from otel_tts.report.reports import Report, Reports
from otel_tts.report.tracking import TrackingUnreachableError
from otel_tts.settings import LiveSettings

_NONE_YET = "Run the batch job `otel-tts report`, for example every hour. It needs `pip install 'otel-tts[report]'`."
_SHOWN = 12
LIMIT = 1.0
"""The score above which a measure moved farther than matters."""
_CERTAIN = "A measure drifts only if the difference is certain too: a high score may be chance, an improvement, or a change of the traffic."


def draw(history: CachedHistory, period: Period, view: View, settings: LiveSettings) -> None:
    """Draw scores over time, the latest reports, and one of them in full.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
    """
    by = semconv.PROVIDER, semconv.DRIFT_COLUMN
    scores = history.series(semconv.DRIFT_SCORE, period, by)
    shown = highest(scores)
    drawn = lines(shown, history.series(semconv.DRIFT_DETECTED, period, by))
    figure = charts.course(drawn, "{score}", period, reference={"limit": LIMIT})
    chart(
        "Drift scores",
        figure,
        "drift-scores",
        f"{formatting.definition(semconv.DRIFT_SCORE)} 1 is the limit. {_CERTAIN}",
        "The batch job sent no score in this time range.",
    )
    if any(line.dash != "solid" for line in drawn):
        st.caption(f"Dotted is what moved farther than the limit and is no drift. {_CERTAIN}")
    if len(shown) < len(scores):
        st.caption(f"Drawn are the {len(shown)} of {formatting.count(len(scores))} with the highest scores.")
    st.subheader("Reports", anchor=False, help="The windows that the batch job has judged, the newest first. Times are local.")
    reports = Reports.from_settings(settings)
    try:
        reports_shown = _latest(settings.mlflow_tracking_uri, str(settings.data_dir)) if reports else ()
        if reports is None or not reports_shown:
            st.html(tiles.notice("unknown", "No reports yet.", _NONE_YET))
            return
        st.html(
            tiles.table(
                "Reports", ("window", "service", "judgement", "drifted", "requests"), rows(reports_shown[:_SHOWN]), words=4
            )
        )
        _embedded(reports_shown)
    except TrackingUnreachableError as error:
        st.html(tiles.notice("bad", "Reports cannot be read.", str(error)))


def highest(scores: Sequence[Timeline]) -> Sequence[Timeline]:
    """The timelines that are drawn: those with the highest scores, the highest first, as many as there are colours.

    Args:
        scores: of drift, over time.
    """
    return sorted(scores, key=lambda one: max(map(_score, one.points), default=0.0), reverse=True)[: len(palette.CYCLE)]


def lines(scores: Sequence[Timeline], detections: Sequence[Timeline]) -> list[Line]:
    """Make a line for each provider and measure, dotted where its score is above the limit and it did not drift.

    Args:
        scores: of drift, over time.
        detections: 1 where a measure was judged drifted; the traffic has none, since it never drifts.
    """
    drifted = {(_name(one), point.start) for one in detections for point in one.points if charts.amount(point)}
    drawn: list[Line] = []
    for timeline, colour in zip(scores, palette.CYCLE, strict=False):
        name = _name(timeline)
        far = {point.start for point in timeline.points if _score(point) > LIMIT and (name, point.start) not in drifted}
        for words, dash, is_far in ((name, "solid", False), (f"{name}, no drift", "dot", True)):
            points = [(p.start, p.end, charts.amount(p) if (p.start in far) is is_far else None) for p in timeline.points]
            if any(value is not None for *_, value in points):
                drawn.append(Line(words, points, colour, dash))
    return drawn


def _score(point: Point) -> float:
    return charts.amount(point) or 0.0


def _name(timeline: Timeline) -> str:
    """The provider and the measure, in words; of the traffic, which no provider causes, the measure alone."""
    provider = str(timeline.attributes[semconv.PROVIDER.key])
    measure = formatting.measure(str(timeline.attributes[semconv.DRIFT_COLUMN.key]))
    return measure if provider in ("", semconv.NONE) else f"{provider}: {measure}"


def rows(reports_shown: Sequence[Report]) -> list[tuple[str, ...]]:
    """Make a table of reports.

    Args:
        reports_shown: the reports in the period.
    """
    return [
        (
            formatting.period(report.window.start, report.window.end),
            report.service,
            report.judgement or formatting.NOTHING,
            report.drifted or ("none" if report.judgement == "steady" else formatting.NOTHING),
            formatting.count(float(report.requests or "nan")),
        )
        for report in reports_shown
    ]


def _embedded(reports_shown: Sequence[Report]) -> None:
    view: View = st.session_state.view
    ids = [report.run_id for report in reports_shown]
    named = {
        report.run_id: f"{row[0]} · {row[1]} · {row[2]}" for report, row in zip(reports_shown, rows(reports_shown), strict=True)
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run_id = st.selectbox(
            "Report",
            ids,
            ids.index(view.report) if view.report in ids else 0,
            format_func=lambda run: named[run],
            key=widget("report"),
            width=420,
        )
        settings = LiveSettings.load()
        pages = _pages(settings.mlflow_tracking_uri, str(settings.data_dir), run_id)
        page = (
            st.segmented_control("Part", pages, default=pages[0], format_func=markdown, required=True, key=f"part {run_id}")
            if pages
            else None
        )
    st.session_state.view = replace(view, report=run_id if run_id != ids[0] else "")
    if page is None:
        st.caption("This window had nothing to compare, so it has no report.")
        return
    st.iframe(_page(settings.mlflow_tracking_uri, str(settings.data_dir), run_id, page), height=900)


@st.cache_data(ttl=60, max_entries=2, show_spinner="Asking MLflow ...")
def _latest(uri: str, directory: str) -> Sequence[Report]:
    reports = Reports.from_settings(LiveSettings.load())
    return reports.latest() if reports else ()


@st.cache_data(max_entries=50, show_spinner=False)
def _pages(uri: str, directory: str, run_id: str) -> Sequence[str]:
    reports = Reports.from_settings(LiveSettings.load())
    return reports.pages(run_id) if reports else ()


@st.cache_data(max_entries=4, show_spinner="Fetching the report ...")
def _page(uri: str, directory: str, run_id: str, name: str) -> str:
    reports = Reports.from_settings(LiveSettings.load())
    return reports.page(run_id, name) if reports else ""
