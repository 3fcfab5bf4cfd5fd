"""Charts: every figure of the dashboard. They take timelines and rows from any source.

A window without a value is a gap in a line and no bar. Colours of text, grid and ground are the page's, light or dark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from otel_tts import formatting, palette, semconv
from otel_tts.distribution import AtLeast, AtMost
from otel_tts.history import Distribution, Point, Row, Timeline
from otel_tts.live.axes import axis
from otel_tts.live.legends import fitted
from otel_tts.live.plain import plotly
from otel_tts.live.view import Period
from otel_tts.semconv import Attribute

HEIGHT = 260
_NAME = 40
"""Letters of a name in a legend or beside an axis: more would leave no room for what is drawn."""
_NARROWEST = 0.02  # of an axis of shares: less would show chance as change
CONFIG: Mapping[str, Any] = {"displayModeBar": False, "responsive": True, "scrollZoom": False}
"""How Plotly shows a figure: without its toolbar. A drag along the time chooses it for the whole page."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a value, or None, for each window (both ends in seconds since the Unix epoch)."""

    name: str
    points: Sequence[tuple[float, float, float | None]]
    colour: str
    dash: str = "solid"


def of_rows(rows: Sequence[Row], column: str, name: str, colour: str, dash: str = "solid") -> Line:
    """One column of rows over time.

    Args:
        rows: rows of figures.
        column: the figure, a field of `Row`.
        name: of the line.
        colour: of the line.
        dash: of the line: `solid`, `dash` or `dot`.
    """
    return Line(name, [(row.start, row.end, getattr(row, column)) for row in rows], colour, dash)


def of_timelines(
    timelines: Iterable[Timeline], by: Attribute, value: Callable[[Point], float | None], colours: Mapping[str, str] | None = None
) -> list[Line]:
    """A line for each timeline, named after an attribute of it, in the order of the colours.

    Args:
        timelines: series of points.
        by: the attribute whose values are told apart.
        value: takes the number out of a point.
        colours: by the attribute's value; None: the palette's.
    """
    timelines = list(timelines)
    named = colours or (colours_of(str(t.attributes[by.key]) for t in timelines) if by is semconv.PROVIDER else {})
    lines = []
    for number, timeline in enumerate(timelines):
        name = str(timeline.attributes[by.key]) or formatting.NOTHING
        colour = named.get(name, palette.CYCLE[number % len(palette.CYCLE)])
        lines.append(Line(formatting.shortened(name, _NAME), [(p.start, p.end, value(p)) for p in timeline.points], colour))
    order = list(map(str, colours or ()))
    return sorted(lines, key=lambda line: order.index(line.name) if line.name in order else len(order))


def by_provider(rows: Iterable[Row], column: str) -> list[Line]:
    """A line for each provider: one column of rows that are split so. A window in which nothing was asked of it is a gap.

    Args:
        rows: rows of figures.
        column: the figure, a field of `Row`.
    """
    rows = list(rows)
    windows = sorted({(row.start, row.end) for row in rows})
    values = {(row.provider, row.start): getattr(row, column) for row in rows}
    names = sorted({row.provider for row in rows if row.provider and getattr(row, column) is not None})
    colours = colours_of(row.provider for row in rows if row.provider)
    return [
        Line(
            formatting.shortened(name, _NAME),
            [(start, end, values.get((name, start))) for start, end in windows],
            colours[name],
        )
        for name in names
    ]


def worst(lines: Sequence[Line], *, lowest: bool = False) -> Sequence[Line]:
    """As many lines as there are colours: those with the highest mean or, of what should be high, the lowest. No two have one colour.

    Args:
        lines: the lines.
        lowest: whether low values are the bad ones.
    """
    if len(lines) <= len(palette.CYCLE):
        return lines

    def mean(line: Line) -> float:
        return fmean([value for *_, value in line.points if value is not None] or [0.0])

    drawn = sorted(lines, key=mean, reverse=not lowest)[: len(palette.CYCLE)]
    free = [colour for colour in palette.CYCLE if colour not in {line.colour for line in drawn}]
    taken: set[str] = set()
    coloured = []
    for line in drawn:
        colour = free.pop() if line.colour in taken else line.colour
        taken.add(colour)
        coloured.append(replace(line, colour=colour))
    return coloured


def colours_of(providers: Iterable[str]) -> Mapping[str, str]:
    """The colours of providers: each has its own from when it is first drawn, whatever is filtered away later.

    Args:
        providers: their names.
    """
    for name in sorted(set(providers)):
        _OF_PROVIDERS.setdefault(name, palette.CYCLE[len(_OF_PROVIDERS) % len(palette.CYCLE)])
    return _OF_PROVIDERS


_OF_PROVIDERS: dict[str, str] = {}


def most(timelines: Sequence[Timeline]) -> Sequence[Timeline]:
    """Those with the most values, or the highest, as many as there are colours: of a thousand lines nobody sees any.

    Args:
        timelines: series of points.
    """
    return sorted(timelines, key=lambda timeline: -sum(amount(point) or 0.0 for point in timeline.points))[: len(palette.CYCLE)]


def amount(point: Point) -> float | None:
    """How many values came, or how much a counter grew.

    Args:
        point: of a series.
    """
    return point.value.count if isinstance(point.value, Distribution) else point.value


def rate(point: Point) -> float | None:
    """The same per second.

    Args:
        point: of a series.
    """
    grown = amount(point)
    return None if grown is None else grown / (point.end - point.start)


def quantile(share: float) -> Callable[[Point], float | None]:
    """What share ``q`` of the values of a window lie below.

    Args:
        share: from 0 to 1.
    """
    return lambda point: point.value.quantile(share) if isinstance(point.value, Distribution) else point.value


def course(
    lines: Sequence[Line],
    unit: str,
    period: Period,
    *,
    reference: Mapping[str, float] | None = None,
    band: bool = False,
    height: int = HEIGHT,
) -> go.Figure:
    """Lines over time.

    Args:
        lines: the lines.
        unit: UCUM, of the values.
        period: the period that is shown.
        reference: levels to compare with, by what they are called (in the legend, where no line hides it); ``band`` fills what is between
            them.
        band: whether the space between the first two lines is filled.
        height: in pixels.
    """
    figure = _figure(period).update_layout(height=height)
    drawn = [part for whole in lines for part in _parts(whole, unit)]
    for line in drawn:
        single = sum(value is not None for *_, value in line.points) < 2
        figure.add_scatter(
            x=[_moment((start + end) / 2) for start, end, _ in line.points],
            y=[value for *_, value in line.points],
            name=plotly(line.name),
            mode="lines+markers" if single or _islands(line) else "lines",
            line={"color": line.colour, "width": 2, "dash": line.dash},
            marker={"size": 5},
            customdata=[_text(value, unit) for *_, value in line.points],
            hovertemplate="%{customdata}",
            connectgaps=False,
        )
    for (name, level), dash in zip((reference or {}).items(), ("dot", "dash"), strict=False):
        figure.add_hline(
            level,
            line={"color": palette.REFERENCE, "width": 1.5, "dash": dash},
            name=plotly(f"{name}, {_text(level, unit)}"),
            showlegend=True,
        )
    if reference and band:
        figure.add_hrect(
            min(reference.values()), max(reference.values()), fillcolor=palette.REFERENCE, opacity=0.15, line_width=0
        )
    values = [value for line in drawn for *_, value in line.points if value is not None]
    if reference:
        near = [level for level in reference.values() if values and level <= 3 * max(values)]
        figure.update_yaxes(axis(0, 1.15 * max([*values, *near], default=0) or 1, unit, _text))
    elif unit == "share":
        figure.update_yaxes(axis(*_fitting(values), unit, _text))
    else:
        figure.update_yaxes(axis(min(0, 1.1 * min(values, default=0)), 1.1 * max(values, default=0) or 1, unit, _text))
    return fitted(figure)


def bars(lines: Sequence[Line], unit: str, period: Period) -> go.Figure:
    """Stacked bars over time, one for each window, as wide as it is long.

    Args:
        lines: the lines.
        unit: UCUM, of the values.
        period: the period that is shown.
    """
    figure = _figure(period)
    for line in lines:
        if any(value for *_, value in line.points):
            figure.add_bar(
                x=[_moment((start + end) / 2) for start, end, _ in line.points],
                y=[value for *_, value in line.points],
                width=[(end - start) * 1000 * 0.92 for start, end, _ in line.points],
                name=plotly(line.name),
                marker={"color": line.colour, "line": {"width": 0}},
                customdata=[_text(value, unit) for *_, value in line.points],
                hovertemplate="%{customdata}",
            )
    figure.update_layout(barmode="stack")
    sums: Counter[float] = Counter()
    for line in lines:
        sums.update({start: value for start, _, value in line.points if value})
    figure.update_yaxes(axis(0, 1.1 * max(sums.values(), default=0) or 1, unit, _text))
    return fitted(figure)


def states(timelines: Sequence[Timeline], by: Attribute, period: Period) -> go.Figure:
    """When each was available: a row for each, a block for each window, nothing where it was not reported.

    Args:
        timelines: series of points.
        by: the attribute whose values are told apart.
        period: the period that is shown.
    """
    figure = _figure(period)
    names = [plotly(str(timeline.attributes[by.key])) for timeline in timelines]
    ticks = [plotly(formatting.shortened(str(timeline.attributes[by.key]), _NAME)) for timeline in timelines]
    titles = (("available", palette.GOOD, ""), ("not on all replicas", palette.ORANGE, "."), ("not available", palette.BAD, "/"))
    for title, colour, pattern in titles:
        blocks = [
            (name, point)
            for name, timeline in zip(names, timelines, strict=True)
            for point in timeline.points
            if _state(point) == title
        ]
        figure.add_bar(
            y=[name for name, _ in blocks],
            x=[(point.end - point.start) * 1000 for _, point in blocks],
            base=[_moment(point.start) for _, point in blocks],
            orientation="h",
            name=title,
            width=0.6,
            marker={"color": colour, "pattern": {"shape": pattern}, "line": {"width": 0}},
            customdata=[f"{name}: {title}, {formatting.clock(p.start)} to {formatting.clock(p.end)}" for name, p in blocks],
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", hovermode="closest", showlegend=True, height=70 + 34 * max(len(names), 2))
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=names[::-1],
        showgrid=False,
        ticksuffix="  ",
        tickvals=names,
        ticktext=ticks,
    )
    figure.update_xaxes(type="date", showgrid=False)
    return fitted(figure)


def _state(point: Point) -> str:
    """Which replicas can use something, by the share of those that can."""
    if not isinstance(point.value, float):
        return ""
    return "available" if point.value == 1 else "not available" if point.value == 0 else "not on all replicas"


def _figure(period: Period) -> go.Figure:
    return go.Figure(
        layout={
            "height": HEIGHT,
            "margin": {"l": 4, "r": 8, "t": 34, "b": 4},
            "hovermode": "x unified",
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left", "traceorder": "normal"},
            "xaxis": {
                "type": "date",
                "range": [_moment(period.start), _moment(period.now)],
                "automargin": True,
                "tickformatstops": _CLOCK,
                "nticks": 8,
            },
            "yaxis": {"automargin": True},
            "dragmode": "select",
            "selectdirection": "h",
            "uirevision": "kept",
        }
    )


_CLOCK = [
    {"dtickrange": [None, 60_000], "value": "%H:%M:%S"},
    {"dtickrange": [60_000, 43_200_000], "value": "%H:%M"},
    {"dtickrange": [43_200_000, None], "value": "%b %d"},
]


def _moment(seconds: float) -> datetime:
    """Format a moment for Plotly: in local time, without a zone."""
    return datetime.fromtimestamp(seconds)  # noqa: DTZ006 - a zone would have it shown in UTC


def _fitting(shares: Sequence[float]) -> tuple[float, float]:
    """Where the axis of shares begins and ends: near them, since 99% and 99.9% are one line between 0 and 100%."""
    low, high = min(shares, default=0.0), max(shares, default=1.0)
    margin = max(0.1 * (high - low), _NARROWEST / 2)
    return max(0.0, low - margin), min(1.0, high + margin) + margin / 10


def _parts(line: Line, unit: str) -> Iterator[Line]:
    """A line and, where it is only known to be at least or at most so much, that bound, dashed or dotted: there the line has a gap."""
    exact = [(start, end, None if isinstance(value, AtLeast | AtMost) else value) for start, end, value in line.points]
    yield replace(line, points=exact)
    for kind, dash in ((AtLeast, "dash"), (AtMost, "dot")):
        points = [(start, end, _bound(value) if isinstance(value, kind) else None) for start, end, value in line.points]
        if bounds := [bound for *_, bound in points if bound is not None]:
            yield Line(f"{line.name}, {_text(max(bounds), unit)}", points, line.colour, dash)


def _bound(value: float) -> float:
    """A bound itself, in place of a number within its bucket."""
    return AtMost(value.bound) if isinstance(value, AtMost) else value


def _islands(line: Line) -> bool:
    """Whether each value is between two gaps, so that no line leads to it."""
    values = [None, *(value for *_, value in line.points), None]
    return any(b is not None and a is None and c is None for a, b, c in zip(values, values[1:], values[2:], strict=False))


def _text(value: float | None, unit: str) -> str:
    match unit:
        case "share":
            return formatting.percent(value)
        case "1/s":
            return formatting.frequency(value)
    return formatting.value(value, unit)
