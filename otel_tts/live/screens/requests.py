"""Requests: which there were, and everything about one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import pandas as pd
import streamlit as st

from otel_tts import formatting, semconv
from otel_tts.history import Request, RequestFilter, Service, Trace
from otel_tts.live import grafana, tiles, waterfall
from otel_tts.live.charts import CONFIG
from otel_tts.live.reading import Reading
from otel_tts.live.view import Period, View
from otel_tts.report.reports import Reports
from otel_tts.report.tracking import Unreachable
from otel_tts.semconv import Outcome
from otel_tts.settings import LiveSettings

PARAMS = ("outcome", "provider", "voice", "slower", "request")
_SHOWN, _SEARCHED = 200, 5000
_COLUMNS = {
    "start": st.column_config.DatetimeColumn("time", format="HH:mm:ss.SSS"),
    "outcome": st.column_config.TextColumn("outcome", help=formatting.definition(semconv.OUTCOME)),
    "provider": st.column_config.TextColumn("provider", help=formatting.definition(semconv.PROVIDER)),
    "voice": st.column_config.TextColumn("voice", width=150, help=formatting.definition(semconv.VOICE)),
    "took": st.column_config.NumberColumn("took, ms", format="%,.0f", help=formatting.definition(semconv.SYNTHESIS_DURATION)),
    "heard": st.column_config.NumberColumn(
        "1st audio, ms", format="%,.0f", help=formatting.definition(semconv.TIME_TO_FIRST_AUDIO)
    ),
    "characters": st.column_config.NumberColumn("chars", format="%,d", help=formatting.definition(semconv.TEXT_LENGTH)),
    "cache": st.column_config.TextColumn("cache", help=formatting.definition(semconv.CACHE_RESULT)),
    "attempts": st.column_config.NumberColumn("attempts", help=formatting.definition(semconv.ATTEMPT_COUNT)),
    "error": st.column_config.TextColumn("error", help=formatting.definition(semconv.ERROR_TYPE)),
    "trace": st.column_config.TextColumn("trace id"),
}


def controls(view: View, services: Sequence[Service]) -> View:
    """What requests must be like, or which one is looked at."""
    if view.request:
        if st.button("All requests", icon=":material/arrow_back:", key="back"):
            st.session_state.view = replace(view, request="")
            st.rerun()
        return view
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        outcome = _choice("Outcome", view.outcome, map(str, Outcome))
        provider = _choice("Provider", view.provider, sorted({name for service in services for name in service.providers}))
        voice = _choice("Voice", view.voice, sorted({name for service in services for name in service.voices if name}))
        slower = st.number_input(
            "Slower than, seconds", 0.0, value=view.slower_than, step=0.1, placeholder="any", key="slower", width=190
        )
        wanted = st.text_input("Trace id", placeholder="8 digits or more", key="wanted", width=190)
    view = replace(view, outcome=outcome, provider=provider, voice=voice, slower=f"{slower:g}" if slower else "")
    if wanted.strip():
        st.session_state.view = replace(view, request=wanted.strip())
        st.rerun()
    return view


def _choice(label: str, chosen: str, options: Iterable[str]) -> str:
    """One of the options or, as the first, all of them. What the URL says may be chosen even if nothing like it is there."""
    listed = list(dict.fromkeys(["", *options, chosen]))
    return st.selectbox(
        label, listed, listed.index(chosen), format_func=lambda name: name or "all", key=f"wanted {label}", width=160
    )


def draw(reading: Reading, period: Period, view: View, settings: LiveSettings) -> None:
    """The list, or the one that was chosen from it."""
    if view.request:
        detail(reading, view, settings)
    else:
        listing(reading, period, view)


def listing(reading: Reading, period: Period, view: View) -> None:
    """The newest requests that are as wanted."""
    _prepare(reading, period)
    wanted = RequestFilter(
        outcome=view.outcome or None,
        provider=view.provider or None,
        service=view.service or None,
        slower_than=view.slower_than,
    )
    found = reading.requests(wanted, _SEARCHED if view.voice else _SHOWN, period)
    found = [request for request in found if view.voice in ("", request.voice)][:_SHOWN]
    found.sort(key=lambda request: request.start, reverse=True)  # they came by their ends, which the table does not show
    if not found:
        st.html(
            tiles.notice(
                "unknown",
                "No request was like that.",
                "Choose a longer range or leave out a filter. A request shows up some seconds after its end: spans come in batches.",
            )
        )
        return
    st.caption(
        f"The newest {len(found)} requests. Choose a row to open it."
        if len(found) == _SHOWN
        else f"{len(found)} requests, the newest first. Choose a row to open it."
    )
    st.session_state.listed = [request.trace_id for request in found]
    st.dataframe(
        frame(found),
        key=f"requests {st.session_state.get('opened', 0)}",
        hide_index=True,
        column_config=_COLUMNS,
        height=560,
        on_select=_open,
        selection_mode="single-row",
        placeholder=formatting.NOTHING,
        alt="Requests, the newest first",
    )


def _prepare(reading: Reading, period: Period) -> None:
    """Shows how far it is, where there is much to read for the first time."""
    shown = st.empty()

    def told(done: int, total: int) -> None:
        if done < total:
            shown.progress(done / total, f"Reading spans for the first time: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    reading.prepare(period, told)
    shown.empty()


def frame(found: Sequence[Request]) -> pd.DataFrame:
    """The requests as a table. Times are local, durations in milliseconds."""
    return pd.DataFrame(
        [
            {
                "start": datetime.fromtimestamp(request.start),  # noqa: DTZ006 - shown as it is here
                "outcome": request.outcome,
                "provider": request.provider,
                "voice": request.voice,
                "took": request.duration * 1000,
                "heard": None if request.ttfa is None else request.ttfa * 1000,
                "characters": request.characters,
                "cache": request.cache_result,
                "attempts": request.attempts,
                "error": request.error_type or "",
                "trace": request.trace_id,
            }
            for request in found
        ]
    )


def _open() -> None:
    """A row was chosen, of the list as it was shown when it was."""
    opened = st.session_state.get("opened", 0)
    rows = st.session_state[f"requests {opened}"].selection.rows
    if rows:
        st.session_state.view = replace(st.session_state.view, request=st.session_state.listed[rows[0]])
        st.session_state.opened = opened + 1  # so that the list comes back without a choice


def detail(reading: Reading, view: View, settings: LiveSettings) -> None:
    """One request: its facts, its waterfall, and every attribute of every span."""
    try:
        trace = reading.trace(view.request)
    except ValueError as error:
        st.html(tiles.notice("unknown", str(error)))
        return
    if trace is None:
        st.html(
            tiles.notice(
                "unknown",
                f"No trace {view.request} is known here.",
                "It may not have been sampled, or not been written yet: that takes some seconds.",
            )
        )
        return
    st.html(tiles.grid(summary(trace)))
    links(trace, settings)
    st.subheader("Waterfall", anchor=False, help="Spans along the time they took. Hover for attributes; hatched spans failed.")
    st.plotly_chart(waterfall.figure(trace), key="waterfall", config=dict(CONFIG), alt=_told(trace))
    for depth, span in trace.walk():
        with st.expander(f"{'· ' * depth}{waterfall.label(span)}", expanded=span is waterfall.synthesis(trace)):
            st.html(tiles.facts(waterfall.attributes(span)))


def summary(trace: Trace) -> list[str]:
    """What is most important of a request."""
    span = waterfall.synthesis(trace)
    roots = trace.roots
    start, end = min(root.start for root in roots), max(s.end for _, s in trace.walk())
    shown = [tiles.tile("Trace", trace.trace_id[:12], f"{formatting.date(start)}, {roots[0].service}", definition=trace.trace_id)]
    if span is None:
        return [*shown, tiles.tile("Took", formatting.duration(end - start))]
    said = span.attributes.get
    return [
        *shown,
        tiles.tile(
            "Outcome",
            str(said(semconv.OUTCOME.key, formatting.NOTHING)),
            str(said(semconv.ERROR_TYPE.key, "")),
            definition=formatting.definition(semconv.OUTCOME),
        ),
        tiles.tile(
            "Took",
            formatting.duration(span.duration),
            f"{formatting.duration(said(semconv.QUEUE_WAIT.key))} in the queue",
            definition=formatting.definition(semconv.SYNTHESIS_DURATION),
        ),
        tiles.tile(
            "First audio",
            formatting.duration(said(semconv.TIME_TO_FIRST_AUDIO.key)),
            f"first byte {formatting.duration(said(semconv.TIME_TO_FIRST_BYTE.key))}",
            definition=formatting.definition(semconv.TIME_TO_FIRST_AUDIO),
        ),
        tiles.tile(
            "Cache",
            str(said(semconv.CACHE_RESULT.key, formatting.NOTHING)),
            str(said(semconv.CACHE_TIER.key, "")),
            definition=formatting.definition(semconv.CACHE_RESULT),
        ),
        tiles.tile(
            "Provider",
            str(said(semconv.PROVIDER.key, formatting.NOTHING)),
            f"{formatting.count(said(semconv.ATTEMPT_COUNT.key))} attempts, voice {said(semconv.VOICE.key, formatting.NOTHING)}",
            definition=formatting.definition(semconv.PROVIDER),
        ),
        tiles.tile(
            "Real-time factor",
            formatting.value(said(semconv.REAL_TIME_FACTOR.key), "1"),
            f"{formatting.duration(said(semconv.AUDIO_DURATION.key))} of audio",
            definition=formatting.definition(semconv.REAL_TIME_FACTOR),
        ),
    ]


def links(trace: Trace, settings: LiveSettings) -> None:
    """Where else there is something about it."""
    with st.container(horizontal=True):
        if settings.grafana.url:
            link = grafana.trace_link(settings.grafana.url, trace, settings.trace_backend)
            st.link_button("Trace in Grafana", link, icon=":material/open_in_new:")
        if settings.mlflow_tracking_uri and (span := waterfall.synthesis(trace)) and (reports := Reports.of(settings)):
            try:
                report = reports.of_request(span.service, span.end)
            except Unreachable as error:
                st.caption(str(error))
                return
            if report is not None and report.link:
                st.link_button("Its window in MLflow", report.link, icon=":material/open_in_new:")


def _told(trace: Trace) -> str:
    return "Waterfall of the request: " + "; ".join(waterfall.label(span) for _, span in trace.walk())
