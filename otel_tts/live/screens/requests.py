"""Requests: a list, from which one is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

import pandas as pd
import streamlit as st

from otel_tts import formatting, semconv
from otel_tts.history import Problem, Request, RequestFilter, Service
from otel_tts.history.requests import as_text
from otel_tts.live import conversation, tiles
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import CONFIG
from otel_tts.live.screens import request, widget
from otel_tts.live.view import Period, View, condition_of
from otel_tts.semconv import Outcome
from otel_tts.settings import LiveSettings

PARAMS = ("outcome", "problem", "error", "provider", "voice", "slower", "where", "conversation", "request")
_SHOWN = 200
_TALLEST_PX, _ROW_PX = 560, 35  # of the table and of one of its rows
_PROBLEMS: Mapping[str, str] = {Problem.FAILED: "failed", Problem.AFFECTED: "failed or fell back", Problem.GAPS: "gaps"}
_COLUMNS = {
    "start": st.column_config.DatetimeColumn("time", format="YYYY-MM-DD HH:mm:ss.SSS", pinned=True),
    "outcome": st.column_config.TextColumn("outcome", help=formatting.definition(semconv.OUTCOME)),
    "took": st.column_config.NumberColumn("took, ms", format="localized", help=formatting.definition(semconv.SYNTHESIS_DURATION)),
    "service": st.column_config.TextColumn("service", help="The service.name of the process that made it."),
    "provider": st.column_config.TextColumn("provider", help=formatting.definition(semconv.PROVIDER)),
    "stream": st.column_config.TextColumn("stream", help=formatting.definition(semconv.STREAM)),
    "error": st.column_config.TextColumn("error", width=120, help="What went wrong, or why it was cancelled."),
    "voice": st.column_config.TextColumn("voice", width=150, help=formatting.definition(semconv.VOICE)),
    "first_text": st.column_config.NumberColumn(
        "for text, ms",
        format="localized",
        help=f"The part of `took` before its text. {formatting.definition(semconv.TIME_TO_FIRST_TEXT)}",
    ),
    "first_audio": st.column_config.NumberColumn(
        "1st audio, ms", format="localized", help=formatting.definition(semconv.TIME_TO_FIRST_AUDIO)
    ),
    "characters": st.column_config.NumberColumn("chars", format="%,d", help=formatting.definition(semconv.TEXT_LENGTH)),
    "cache": st.column_config.TextColumn("cache", help=formatting.definition(semconv.CACHE_RESULT)),
    "attempts": st.column_config.NumberColumn("attempts", help=formatting.definition(semconv.ATTEMPT_COUNT)),
    "resends": st.column_config.NumberColumn("resends", help=formatting.definition(semconv.RESEND_COUNT)),
    "conversation": st.column_config.TextColumn("conversation", width=150, help=formatting.definition(semconv.CONVERSATION)),
    "attributes": st.column_config.TextColumn("attributes", width=200, help="The application's own attributes."),
    "trace": st.column_config.TextColumn("trace id"),
}

_NAME = 22
"""Letters of a name for which its column has room."""


def controls(view: View, services: Sequence[Service]) -> View:
    """Draw the filters, or the button that leads back to the list.

    Args:
        view: what is chosen on the page.
        services: the services to choose from.
    """
    if view.request or view.conversation:
        back = "The conversation" if view.request and view.conversation else "All requests"
        if st.button(back, icon=":material/arrow_back:", key=widget("back")):
            st.session_state.view = replace(view, request="", conversation=view.conversation if view.request else "")
            st.rerun()
        return view
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        outcome = _choice("Outcome", view.outcome, map(str, Outcome))
        problem = _choice("Problem", view.problem, map(str, Problem), _PROBLEMS)
        error = st.text_input("Error type", view.error, placeholder="any", key=widget("error"), width=150)
        provider = _choice("Provider", view.provider, sorted({name for service in services for name in service.providers}))
        voice = _choice("Voice", view.voice, sorted({name for service in services for name in service.voices if name}))
        slower = st.number_input(
            "Slower than, seconds", 0.0, value=view.slower_than, step=0.1, placeholder="any", key=widget("slower"), width=190
        )
        where = st.text_input("Attribute", view.where, placeholder="NAME=VALUE", key=widget("where"), width=190)
        trace_id = st.text_input("Trace id", placeholder="8 digits or more", key=widget("wanted"), width=190)
        conversation_id = st.text_input("Conversation", placeholder="its id", key=widget("conversation"), width=190)
    if where.strip() and condition_of(where) is None:
        st.error("An attribute is chosen as NAME=VALUE, such as app.tenant=acme.")
        where = ""
    view = replace(
        view,
        outcome=outcome,
        problem=problem,
        error=error.strip(),
        provider=provider,
        voice=voice,
        slower=f"{slower:g}" if slower else "",
        where=where.strip(),
    )
    if trace_id.strip():
        st.session_state.view = replace(view, request=trace_id.strip())
        st.rerun()
    if conversation_id.strip():
        st.session_state.view = replace(view, conversation=conversation_id.strip())
        st.rerun()
    return view


def _choice(label: str, chosen: str, options: Iterable[str], named: Mapping[str, str] = MappingProxyType({})) -> str:
    """One of the options or, as the first, all of them. What the URL says may be chosen even if nothing like it is there."""
    listed = list(dict.fromkeys(["", *options, chosen]))
    return st.selectbox(
        label,
        listed,
        listed.index(chosen),
        format_func=lambda name: named.get(name, name) or "all",
        key=widget(f"wanted {label}"),
        width=160,
    )


def draw(history: CachedHistory, period: Period, view: View, settings: LiveSettings) -> None:
    """Draw the list, or the request that was chosen from it.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
    """
    if view.request:
        request.detail(history, view, settings)
    elif view.conversation:
        whole_conversation(history, period, view)
    else:
        listing(history, period, view)


def listing(history: CachedHistory, period: Period, view: View) -> None:
    """Draw the newest requests that match the filters.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
    """
    _prepare(history, period)
    request_filter = RequestFilter(
        outcome=view.outcome or None,
        problem=Problem(view.problem) if view.problem else None,
        error_type=view.error or None,
        provider=view.provider or None,
        voice=view.voice or None,
        service=view.service or None,
        slower_than=view.slower_than,
        where=(wanted,) if (wanted := condition_of(view.where)) else (),
    )
    requests = list(history.requests(request_filter, _SHOWN, period))
    requests.sort(key=lambda request: request.start, reverse=True)  # they came by their ends, which the table does not show
    if not requests:
        is_filtered = request_filter != RequestFilter()
        st.html(
            tiles.notice(
                "unknown",
                "No request matches." if is_filtered else "No request in this time range.",
                f"Choose a longer range{' or remove a filter' if is_filtered else ''}. A request appears some seconds after its end, "
                "since spans are exported in batches.",
            )
        )
        return
    st.caption(
        f"{'The newest ' if len(requests) == _SHOWN else ''}{formatting.counted(len(requests), 'request')}, the newest first. Times are in "
        f"{formatting.zone(period.now)}. Click a row to open it."
    )
    _table(requests)


def _table(requests: Sequence[Request]) -> None:
    """Draw the requests, of which one can be opened."""
    st.session_state.listed = [request.trace_id for request in requests]
    st.dataframe(
        frame(requests),
        key=f"requests {st.session_state.get('opened', 0)}",
        hide_index=True,
        column_config=_COLUMNS,
        height=min(_TALLEST_PX, _ROW_PX * (len(requests) + 1) + 3),
        on_select=_open,
        selection_mode="single-cell",
        placeholder=formatting.NOTHING,
        alt="Requests, the newest first",
    )


def whole_conversation(history: CachedHistory, period: Period, view: View) -> None:
    """Draw one conversation of the period: its figures, its time line, and its utterances.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
    """
    _prepare(history, period)
    requests = history.requests(RequestFilter(conversation=view.conversation), _SHOWN, period)
    if not requests:
        st.html(
            tiles.notice(
                "unknown",
                f"No utterance of conversation {view.conversation} is known here.",
                "Choose a longer range. An utterance appears some seconds after its end, if its trace was sampled.",
            )
        )
        return
    requests = sorted(requests, key=lambda request: request.start)
    st.html(tiles.grid(conversation.summary(view.conversation, requests)))
    st.subheader("Time line", anchor=False, help="Utterances along the time of the conversation. Hover for figures.")
    description = "Time line of the conversation: " + "; ".join(map(conversation.label, requests))
    st.plotly_chart(conversation.figure(requests), key="conversation line", config=dict(CONFIG), alt=description)
    _table(requests)


def _prepare(history: CachedHistory, period: Period) -> None:
    """Show the progress while spans are read for the first time."""
    placeholder = st.empty()

    def show_progress(done: int, total: int) -> None:
        if done < total:
            placeholder.progress(done / total, f"Reading spans for the first time: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    history.prepare(period, show_progress)
    placeholder.empty()


def frame(requests: Sequence[Request]) -> pd.DataFrame:
    """Make a table of requests. Times are local, durations in milliseconds.

    Args:
        requests: the requests.
    """
    table = pd.DataFrame(
        [
            {
                "start": datetime.fromtimestamp(request.start),  # noqa: DTZ006 - shown as it is here
                "outcome": request.outcome,
                "took": _ms(request.duration),
                "service": formatting.shortened(request.service, _NAME),
                "provider": request.provider and formatting.shortened(request.provider, _NAME),
                "stream": formatting.NOTHING if request.stream is None else "yes" if request.stream else "no",
                "error": request.error_type or request.cancel_reason or "",
                "voice": request.voice and formatting.shortened(request.voice, _NAME),
                "first_text": _ms(request.first_text or 0.0),
                "first_audio": None if request.ttfa is None else _ms(request.ttfa),
                "characters": request.characters,
                "cache": request.cache_result,
                "attempts": request.attempts,
                "resends": request.resends or 0,
                "conversation": request.conversation or "",
                "attributes": ", ".join(f"{key}={as_text(value)}" for key, value in request.attributes.items()),
                "trace": request.trace_id,
            }
            for request in requests
        ]
    )
    seldom = [
        name
        for name in ("conversation", "attributes", "error", "resends", "first_text")
        if name in table and not table[name].any()
    ]
    return table.drop(columns=seldom)


def _ms(seconds: float) -> float:
    """Milliseconds with the digits that a duration has elsewhere: 0.2 ms are not 0."""
    return round(seconds * 1000, 1 if seconds < 0.0995 else None)


def _open() -> None:
    """Open the row that was chosen in the list as it was shown then."""
    opened = st.session_state.get("opened", 0)
    cells = st.session_state[f"requests {opened}"].selection.cells
    if cells:
        st.session_state.view = replace(st.session_state.view, request=st.session_state.listed[cells[0][0]])
        st.session_state.opened = opened + 1  # so that the list comes back without a choice
