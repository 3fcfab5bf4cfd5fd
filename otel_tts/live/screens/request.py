"""Request: everything about one request."""

from __future__ import annotations

import streamlit as st

from otel_tts import formatting, semconv
from otel_tts.history import Trace
from otel_tts.history.requests import late_silence_s
from otel_tts.live import grafana, tiles, waterfall
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import CONFIG
from otel_tts.live.plain import markdown
from otel_tts.live.view import View
from otel_tts.report.reports import Reports
from otel_tts.report.tracking import TrackingUnreachableError
from otel_tts.settings import LiveSettings

_NAME = 40
"""Letters of a name in a tile; the attributes below have it whole."""


def detail(history: CachedHistory, view: View, settings: LiveSettings) -> None:
    """Draw one request: its tiles, its waterfall, and every attribute of every span.

    Args:
        history: the telemetry that is read.
        view: what is chosen on the page.
        settings: the settings.
    """
    try:
        trace = history.trace(view.request)
    except ValueError as error:
        st.html(tiles.notice("unknown", str(error)))
        return
    if trace is None:
        st.html(
            tiles.notice(
                "unknown",
                f"There is no trace {view.request} here.",
                "It may not have been sampled, or not be exported yet: that takes some seconds.",
            )
        )
        return
    st.html(tiles.grid(summary(trace)))
    links(trace, settings)
    st.subheader("Waterfall", anchor=False, help="Spans on a time axis. Hover to see attributes. Hatched spans failed.")
    st.plotly_chart(waterfall.figure(trace), key="waterfall", config=dict(CONFIG), alt=_alt_text(trace))
    for depth, span in trace.walk():
        with st.expander(f"{'· ' * depth}{markdown(waterfall.label(span))}", expanded=span is waterfall.synthesis(trace)):
            st.html(tiles.facts(waterfall.attributes(span)))


def summary(trace: Trace) -> list[str]:
    """Make the tiles of a request.

    Args:
        trace: the trace.
    """
    span = waterfall.synthesis(trace)
    roots = trace.roots
    start, end = min(root.start for root in roots), max(s.end for _, s in trace.walk())
    placeholder = [
        tiles.tile(
            "Trace",
            trace.trace_id[:12],
            f"{formatting.date(start)}, {formatting.shortened(roots[0].service, _NAME)}",
            definition=trace.trace_id,
        )
    ]
    if span is None:
        return [*placeholder, tiles.tile("Took", formatting.duration(end - start))]
    attribute = span.attributes.get
    resends = f"{formatting.counted(resent, 'resend')}, " if (resent := attribute(semconv.RESEND_COUNT.key)) else ""
    return [
        *placeholder,
        tiles.tile(
            "Outcome",
            str(attribute(semconv.OUTCOME.key, formatting.NOTHING)),
            str(attribute(semconv.ERROR_TYPE.key, "")),
            definition=formatting.definition(semconv.OUTCOME),
        ),
        tiles.tile(
            "Took",
            formatting.duration(span.duration),
            f"{formatting.duration(attribute(semconv.QUEUE_WAIT.key))} in the queue"
            + (
                f", {formatting.duration(wait)} for its first text" if (wait := attribute(semconv.TIME_TO_FIRST_TEXT.key)) else ""
            ),
            definition=f"{formatting.definition(semconv.SYNTHESIS_DURATION)} {formatting.definition(semconv.TIME_TO_FIRST_TEXT)}",
        ),
        tiles.tile(
            "First audio",
            formatting.duration(attribute(semconv.TIME_TO_FIRST_AUDIO.key)),
            f"first byte {formatting.duration(attribute(semconv.TIME_TO_FIRST_BYTE.key))}"
            + ("" if (silence := late_silence_s(span)) is None else f", then {formatting.duration(silence)} of silence"),
            definition=formatting.definition(semconv.TIME_TO_FIRST_AUDIO),
        ),
        tiles.tile(
            "Cache",
            str(attribute(semconv.CACHE_RESULT.key, formatting.NOTHING)),
            str(attribute(semconv.CACHE_TIER.key, "")),
            definition=formatting.definition(semconv.CACHE_RESULT),
        ),
        tiles.tile(
            "Provider",
            str(attribute(semconv.PROVIDER.key, formatting.NOTHING)),
            f"{formatting.counted(attribute(semconv.ATTEMPT_COUNT.key), 'attempt')}, {resends}voice "
            f"{formatting.shortened(str(attribute(semconv.VOICE.key, formatting.NOTHING)), _NAME)}",
            definition=formatting.definition(semconv.PROVIDER),
        ),
        tiles.tile(
            "Real-time factor",
            formatting.value(attribute(semconv.REAL_TIME_FACTOR.key), "1"),
            f"{formatting.duration(attribute(semconv.AUDIO_DURATION.key))} of audio",
            definition=formatting.definition(semconv.REAL_TIME_FACTOR),
        ),
    ]


def links(trace: Trace, settings: LiveSettings) -> None:
    """Draw links to the trace in Grafana and to its window in MLflow.

    Args:
        trace: the trace.
        settings: the settings.
    """
    with st.container(horizontal=True):
        if settings.grafana.url:
            link = grafana.trace_link(settings.grafana.url, trace, settings.trace_backend)
            st.link_button("Trace in Grafana", link, icon=":material/open_in_new:")
        if settings.mlflow_tracking_uri and (span := waterfall.synthesis(trace)) and (reports := Reports.from_settings(settings)):
            try:
                report = reports.of_request(span.service, span.end)
            except TrackingUnreachableError as error:
                st.caption(markdown(str(error)))
                return
            if report is not None and report.link:
                st.link_button("Its window in MLflow", report.link, icon=":material/open_in_new:")


def _alt_text(trace: Trace) -> str:
    return "Waterfall of the request: " + "; ".join(waterfall.label(span) for _, span in trace.walk())
