"""Screens, one for each page: they take what was read, and put charts and tiles below each other. They are thin.

A directory named ``pages`` beside the program would be taken by Streamlit for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

from otel_tts.history import Service
from otel_tts.live.charts import CONFIG
from otel_tts.live.reading import Reading
from otel_tts.live.view import Period, View
from otel_tts.settings import LiveSettings


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    controls: what more can be chosen on it, given the services there are. params: what of a `View` that is.
    """

    title: str
    draw: Callable[[Reading, Period, View, LiveSettings], None]
    controls: Callable[[View, Sequence[Service]], View] | None = None
    params: tuple[str, ...] = ()


def chart(title: str, figure: go.Figure, key: str, definition: str) -> None:
    """A chart below its heading, whose question mark says what is drawn."""
    st.subheader(title, help=definition, anchor=False)
    if not any(_drawn(trace) for trace in figure.data):
        st.caption("Nothing to show in this range of time.")
        return
    st.plotly_chart(figure, key=key, config=dict(CONFIG), alt=f"{title}. {definition}")


def _drawn(trace: go.Scatter | go.Bar) -> bool:
    return any(value is not None for value in (trace.x if trace.orientation == "h" else trace.y) or ())
