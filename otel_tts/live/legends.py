"""Legends that fit: a figure is as high as its names need on a telephone, so that nobody scrolls within a legend."""

from __future__ import annotations

import math

import plotly.graph_objects as go

_PHONE_PX = 350  # the width of a figure on a telephone
_MARK_PX, _LETTER_PX, _LINE_PX = 44, 6.6, 20  # of an entry: before its name, of a letter, and its height
_PLOT_PX = 170  # of the height, for what is drawn and its axis
_FEW = 3  # lines that fit into any figure


def fitted(figure: go.Figure) -> go.Figure:
    """Make a figure high enough for its legend on a telephone: Plotly gives a legend half of the figure, and then a scroll bar.

    Args:
        figure: with everything that is drawn.
    """
    names = [trace.name for trace in figure.data if trace.name]
    names += [shape.name for shape in figure.layout.shapes if shape.showlegend]
    widest_px = _MARK_PX + _LETTER_PX * max(map(len, names), default=0)
    lines = math.ceil(len(names) / max(1, int(_PHONE_PX // widest_px)))
    needed = max(2 * _LINE_PX * lines + _LINE_PX, _LINE_PX * lines + _PLOT_PX) if lines > _FEW else 0
    height = max(figure.layout.height, needed)
    return figure.update_layout(height=height, hoverlabel={"namelength": -1})
