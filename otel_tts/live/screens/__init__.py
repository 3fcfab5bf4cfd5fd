"""Screens, one for each page: they take data from the history and put charts and tiles below each other. They are thin.

A directory named ``pages`` beside the program would be taken by Streamlit for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from otel_tts.history import Service
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import CONFIG
from otel_tts.live.view import Period, View
from otel_tts.settings import LiveSettings


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    controls: draws the page's own choices, given the services. params: the fields of `View` that these choices set.
    """

    title: str
    draw: Callable[[CachedHistory, Period, View, LiveSettings], None]
    controls: Callable[[View, Sequence[Service]], View] | None = None
    params: tuple[str, ...] = ()


def chart(title: str, figure: go.Figure, key: str, definition: str) -> None:
    """Draw a chart below its heading; the heading's question mark shows the definition."""
    st.subheader(title, help=definition, anchor=False)
    if not any(_drawn(trace) for trace in figure.data):
        st.caption("No data in this time range.")
        return
    st.plotly_chart(figure, key=key, config=dict(CONFIG), alt=f"{title}. {definition}")


def _drawn(trace: go.Scatter | go.Bar) -> bool:
    return any(value is not None for value in (trace.x if trace.orientation == "h" else trace.y) or ())
