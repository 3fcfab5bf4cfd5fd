"""Waterfall: the spans and events of one request on a time axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from otel_tts import formatting, palette, semconv
from otel_tts.history import Span, Trace
from otel_tts.live.axes import EDGE, axis
from otel_tts.live.legends import fitted
from otel_tts.semconv import Attribute, CacheResult

_NAME = 40
"""Letters of a provider's name in a label."""
_MARKS = {
    semconv.FIRST_BYTE_EVENT.name: ("first byte", "triangle-down", palette.YELLOW),
    semconv.FIRST_AUDIO_EVENT.name: ("first audio", "diamond", palette.PURPLE),
    semconv.RESEND_EVENT.name: ("sent again", "arrow-right", palette.ORANGE),
    semconv.EXCEPTION_EVENT.name: ("exception", "x", palette.VERMILION),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """An event on the row of a span. time: seconds since the Unix epoch."""

    name: str
    time: float
    span: Span
    symbol: str
    colour: str


def figure(trace: Trace) -> go.Figure:
    """Draw the spans below each other, children under their parents; times are in seconds since the first span.

    Args:
        trace: the trace.
    """
    spans = list(trace.walk())
    zero = min(span.start for _, span in spans)
    moments = [*(span.end for _, span in spans), *(mark.time for mark in marks(trace))]
    length_s = max(moments) - zero or 0.001  # first audio may be heard after all of it was handed out
    rows = {span.span_id: number for number, (_, span) in enumerate(spans)}
    chart = go.Figure()
    for kind, colour in _KINDS.items():
        of_kind = [span for _, span in spans if _kind(span) == kind]
        if of_kind:
            chart.add_bar(
                name=kind,
                orientation="h",
                y=[rows[span.span_id] for span in of_kind],
                x=[span.duration for span in of_kind],
                base=[span.start - zero for span in of_kind],
                width=0.34,
                marker={
                    "color": colour,
                    "line": {"width": 0},
                    "pattern": {"shape": ["/" if span.status == "ERROR" else "" for span in of_kind]},
                },
                customdata=[_hover(span, zero) for span in of_kind],
                hovertemplate="%{customdata}<extra></extra>",
            )
    for name in dict.fromkeys(mark.name for mark in marks(trace)):
        named = [mark for mark in marks(trace) if mark.name == name]
        chart.add_scatter(
            name=name,
            mode="markers",
            x=[mark.time - zero for mark in named],
            y=[rows[mark.span.span_id] for mark in named],
            marker={"symbol": named[0].symbol, "size": 12, "color": named[0].colour, "line": {"width": 1.5, "color": "#20252b"}},
            customdata=[f"{name}, +{formatting.duration(mark.time - zero)}" for mark in named],
            hovertemplate="%{customdata}<extra></extra>",
        )
    for depth, span in spans:
        chart.add_annotation(
            x=0, xref="paper", xanchor="left", y=rows[span.span_id] - 0.37, text=f"{'&nbsp;' * 4 * depth}{escape(label(span))}",
            showarrow=False, font={"size": 12}, align="left",
        )  # fmt: skip
    chart.update_layout(
        height=90 + 52 * len(spans),
        margin={"l": EDGE, "r": EDGE, "t": 34, "b": 4},
        barmode="overlay",
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        dragmode=False,
        uirevision=trace.trace_id,
        hovermode="closest",
    )
    chart.update_yaxes(range=[len(spans) - 0.5, -0.75], visible=False)
    chart.update_xaxes(**axis(0, 1.04 * length_s, "s"), zeroline=False)
    return fitted(chart)


def marks(trace: Trace) -> list[Mark]:
    """List first byte, first audio, resends and exceptions. Audio from the cache has no attempt: its times are those of the request.

    Args:
        trace: the trace.
    """
    marks_of_events = [
        Mark(_MARKS[event.name][0], event.time, span, *_MARKS[event.name][1:])
        for _, span in trace.walk()
        for event in span.events
        if event.name in _MARKS
    ]
    if not {"first byte", "first audio"} & {mark.name for mark in marks_of_events}:
        for root in trace.roots:
            marks_of_events += _marks_of_request(root)
    return marks_of_events


def label(span: Span) -> str:
    """Label a row: the span's name, the cache result, an attempt's reason and resends, the error type, the duration.

    Args:
        span: the span.
    """
    attribute = span.attributes.get
    words = [span.name]
    if span.name == semconv.SYNTHESIS_SPAN.name and attribute(semconv.CACHE_RESULT.key):
        words.append(f"cache {attribute(semconv.CACHE_RESULT.key)}")
    if reason := attribute(semconv.ATTEMPT_REASON.key):
        words.append(f"{reason} attempt at {formatting.shortened(str(attribute(semconv.PROVIDER.key)), _NAME)}")
        if resends := attribute(semconv.RESEND_COUNT.key):
            words.append(f"sent again {formatting.counted(resends, 'time')}")
    if error := attribute(semconv.ERROR_TYPE.key):
        words.append(str(error))
    words += [f"not as it was sent: {warning}" for warning in span.warnings]
    return " · ".join((*words, formatting.duration(span.duration)))


def attributes(span: Span) -> list[tuple[str, str, str]]:
    """All attributes of a span by their own names, as text with their units, each with its definition.

    Args:
        span: the span.
    """
    return [
        (
            key,
            formatting.attribute(key, value),
            formatting.definition(semconv.OF_SPANS[key]) if key in semconv.OF_SPANS else "",
        )
        for key, value in sorted(span.attributes.items())
    ]


def synthesis(trace: Trace) -> Span | None:
    """The span of the request itself.

    Args:
        trace: the trace.
    """
    return next((span for _, span in trace.walk() if span.name == semconv.SYNTHESIS_SPAN.name), None)


_KINDS = {
    "call": palette.BLUE,
    "request": palette.SKY,
    "request from the cache": palette.GREEN,
    "attempt": palette.ORANGE,
    "other": palette.GREY,
    "failed": palette.VERMILION,
}


def _kind(span: Span) -> str:
    attribute = span.attributes.get
    if span.status == "ERROR":
        return "failed"
    if span.name == semconv.SYNTHESIS_SPAN.name:
        return "request from the cache" if attribute(semconv.CACHE_RESULT.key) == CacheResult.HIT else "request"
    if attribute(semconv.ATTEMPT_REASON.key):
        return "attempt"
    return "call" if span.kind == "SERVER" else "other"


def _marks_of_request(root: Span) -> Iterator[Mark]:
    """Their clock starts when the RPC arrives, which is when the outermost span of the service does."""
    for _, span in root.walk():
        for attribute, event in _TIMES:
            after = span.attributes.get(attribute.key)
            if span.name == semconv.SYNTHESIS_SPAN.name and isinstance(after, float):
                name, symbol, colour = _MARKS[event]
                yield Mark(name, (root if root.kind == "SERVER" else span).start + after, span, symbol, colour)


_TIMES: tuple[tuple[Attribute, str], ...] = (
    (semconv.TIME_TO_FIRST_BYTE, semconv.FIRST_BYTE_EVENT.name),
    (semconv.TIME_TO_FIRST_AUDIO, semconv.FIRST_AUDIO_EVENT.name),
)


def _hover(span: Span, zero: float) -> str:
    lines = [
        f"<b>{escape(span.name)}</b>",
        f"+{formatting.duration(span.start - zero)}, took {formatting.duration(span.duration)}",
    ]
    lines += [
        f"{escape(key)}: {escape(value)}" for key, value, _ in attributes(span) if "stacktrace" not in key and len(value) < 80
    ]
    return "<br>".join(lines)
