"""Screens, one for each page: they take data from the history and put charts and tiles below each other. They are thin.

A directory named ``pages`` beside the program would be taken by Streamlit for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from otel_tts.history import Service
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import CONFIG
from otel_tts.live.view import Period, View, between
from otel_tts.settings import LiveSettings


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    controls: draws the page's own choices, given the services. params: the fields of `View` that these choices set. interactive:
    whether it shows only requests that somebody waits for.
    """

    title: str
    draw: Callable[[CachedHistory, Period, View, LiveSettings], None]
    controls: Callable[[View, Sequence[Service]], View] | None = None
    params: tuple[str, ...] = ()
    interactive: bool = False


def widget(name: str) -> str:
    """The key of a control. It is another one after the browser went back, so that the control begins anew with what the URL says.

    Args:
        name: of the widget.
    """
    generation = st.session_state.get("generation", 0)
    return f"{name} {generation}" if generation else name


def chart(title: str, figure: go.Figure, key: str, definition: str, absent: str = "Nothing in this time range.") -> None:
    """Draw a chart below its heading; the heading's question mark shows the definition.

    Args:
        title: the heading.
        figure: of Plotly.
        key: tells it from others on the page.
        definition: what the numbers are.
        absent: why there may be nothing to draw.
    """
    st.subheader(title, help=definition, anchor=False)
    if not any(_drawn(trace) for trace in figure.data):
        st.caption(absent)
        return
    view: View = st.session_state.view
    key = f"{key} {view.since} {view.until}".strip()  # so that it comes back without a box
    st.plotly_chart(
        figure,
        key=key,
        config=dict(CONFIG),
        alt=f"{title}. {definition}",
        on_select=partial(_zoom, key),
        selection_mode="box",
    )


def _zoom(key: str) -> None:
    """Choose the time over which a box was drawn."""
    boxes = st.session_state[key].selection.box
    if boxes and len(ends := boxes[0].get("x", ())) == 2:
        start, end = sorted(datetime.fromisoformat(str(moment)).timestamp() for moment in ends)
        since, until = between(start, end)
        st.session_state.view = replace(st.session_state.view, since=since, until=until)


def _drawn(trace: go.Scatter | go.Bar) -> bool:
    return any(value is not None for value in (trace.x if trace.orientation == "h" else trace.y) or ())
