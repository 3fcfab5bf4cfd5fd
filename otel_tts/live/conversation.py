"""A conversation: its utterances on one time line, with waiting, audio, gaps, interruptions and fallbacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from otel_tts import formatting, palette, semconv
from otel_tts.history import Request
from otel_tts.live import tiles
from otel_tts.live.axes import EDGE, axis
from otel_tts.live.legends import fitted
from otel_tts.semconv import FAILURES, SERVED_FROM_CACHE, Outcome


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of an utterance's time. ``start`` is in seconds since the Unix epoch, ``length_s`` in seconds."""

    kind: str
    start: float
    length_s: float
    row: int


_NAME = 40
"""Letters of a name in a label or a tile."""
_BARS = {
    "waiting for audio": palette.GREY,
    "made ahead": palette.ORANGE,
    "audio": palette.SKY,
    "audio from the cache": palette.GREEN,
    "audio of an interrupted utterance": palette.PURPLE,
    "audio of a failed utterance": palette.VERMILION,
}


def bars(requests: Sequence[Request]) -> Iterator[Bar]:
    """What to draw: until the first byte it is waited for, then the audio plays for as long as it was heard, or handed out.

    What is made ahead is neither waited for nor played: its bar is the time in which it was made.

    Args:
        requests: the requests.
    """
    for row, request in enumerate(requests):
        if _in_background(request):
            yield Bar("made ahead", request.start, request.duration, row)
            continue
        waited = request.duration if request.ttfb is None else request.ttfb
        yield Bar("waiting for audio", request.start, waited, row)
        played = played_seconds(request)
        if played:
            yield Bar(_audio(request), request.start + waited, played, row)


def played_seconds(request: Request) -> float | None:
    """Seconds of audio that were heard or, where no player says so, handed out; None when that is not known, or it was made ahead.

    Args:
        request: the request.
    """
    if _in_background(request):
        return None
    return request.heard if request.heard is not None else request.delivered


def _in_background(request: Request) -> bool:
    return request.kind not in (None, semconv.RequestKind.INTERACTIVE)


def _audio(request: Request) -> str:
    if request.outcome in FAILURES:
        return "audio of a failed utterance"
    if request.outcome == Outcome.CANCELLED:
        return "audio of an interrupted utterance"
    return "audio from the cache" if request.cache_result in SERVED_FROM_CACHE else "audio"


def label(request: Request) -> str:
    """The label of a row: when it began, which provider spoke, how it ended, and what went wrong.

    Args:
        request: the request.
    """
    words = [formatting.clock(request.start), formatting.shortened(request.provider or formatting.NOTHING, _NAME)]
    words.append(formatting.counted(request.characters, "character"))
    if request.outcome != Outcome.OK:
        words.append(str(request.cancel_reason or request.error_type or request.outcome))
    if request.fallback_used:
        words.append("fallback")
    if request.underrun:
        words.append(f"gap of {formatting.duration(request.underrun)}")
    if _in_background(request):
        words.append(str(request.kind))
    return " · ".join(words)


def figure(requests: Sequence[Request]) -> go.Figure:
    """The utterances below each other, the first on top, over the seconds since the conversation began.

    Args:
        requests: the requests.
    """
    zero = min(request.start for request in requests)
    drawn = go.Figure()
    every = list(bars(requests))
    for kind, colour in _BARS.items():
        if of_kind := [bar for bar in every if bar.kind == kind]:
            drawn.add_bar(
                name=kind,
                orientation="h",
                y=[bar.row for bar in of_kind],
                x=[bar.length_s for bar in of_kind],
                base=[bar.start - zero for bar in of_kind],
                width=0.34,
                marker={"color": colour, "line": {"width": 0}},
                customdata=[
                    f"{kind}, +{formatting.duration(bar.start - zero)}, {formatting.duration(bar.length_s)}" for bar in of_kind
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )
    for name, symbol, size, colour, moments in (
        ("first audio", "diamond", 12, palette.YELLOW, [(n, r.start + r.ttfa) for n, r in enumerate(requests) if r.ttfa is not None]),
        ("interruption", "x", 15, palette.VERMILION,
         [(n, r.start + r.interrupted) for n, r in enumerate(requests) if r.interrupted is not None]),
    ):  # fmt: skip
        if moments:
            drawn.add_scatter(
                name=name,
                mode="markers",
                x=[moment - zero for _, moment in moments],
                y=[row for row, _ in moments],
                marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 1, "color": "#20252b"}},
                customdata=[f"{name}, +{formatting.duration(moment - zero)}" for _, moment in moments],
                hovertemplate="%{customdata}<extra></extra>",
            )
    for row, request in enumerate(requests):
        drawn.add_annotation(
            x=0, xref="paper", xanchor="left", y=row - 0.37, text=escape(label(request)), showarrow=False, font={"size": 12}
        )  # fmt: skip
    drawn.update_layout(
        height=90 + 52 * len(requests),
        margin={"l": EDGE, "r": EDGE, "t": 34, "b": 4},
        barmode="overlay",
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        dragmode=False,
        hovermode="closest",
    )
    drawn.update_yaxes(range=[len(requests) - 0.5, -0.75], visible=False)
    last = max(*(request.end for request in requests), *(bar.start + bar.length_s for bar in every))
    drawn.update_xaxes(**axis(0, 1.04 * (last - zero) or 1, "s"), zeroline=False)
    return fitted(drawn)


def summary(conversation: str, requests: Sequence[Request]) -> list[str]:
    """The most important figures of a conversation.

    Args:
        conversation: the id of the conversation.
        requests: the requests.
    """
    ahead = sum(map(_in_background, requests))
    interrupted = [request for request in requests if request.interrupted is not None]
    silent = [request.silent for request in interrupted if request.silent is not None]
    first = sorted(request.ttfa for request in requests if request.ttfa is not None)
    made, played = _total(r.audio_duration for r in requests), _total(played_seconds(r) for r in requests)
    fallbacks = sum(bool(request.fallback_used) for request in requests)
    length_s = max(request.end for request in requests) - requests[0].start
    return [
        tiles.tile("Conversation", conversation[:24],
                   f"{formatting.date(requests[0].start)}, {formatting.shortened(requests[0].service, _NAME)}", definition=conversation),
        tiles.tile("Utterances", formatting.count(len(requests) - ahead),
                   f"in {formatting.duration(length_s)}" + (f"; {formatting.count(ahead)} made ahead" if ahead else "")),
        tiles.tile(
            "First audio",
            formatting.duration(first[len(first) // 2] if first else None),
            f"median; the slowest {formatting.duration(first[-1] if first else None)}",
            definition=formatting.definition(semconv.TIME_TO_FIRST_AUDIO),
        ),
        tiles.tile(
            "Interrupted",
            formatting.count(len(interrupted)),
            f"silent after {formatting.duration(max(silent))} at worst" if silent else "",
            definition=formatting.definition(semconv.TIME_TO_SILENCE),
        ),
        tiles.tile("Fallbacks", formatting.count(fallbacks), definition=formatting.definition(semconv.FALLBACK_USED)),
        tiles.tile("Audio", formatting.duration(played), f"heard or handed out, of {formatting.duration(made)} made or found"),
        tiles.tile("Cost", formatting.dollars(_total(r.cost for r in requests)), definition=formatting.definition(semconv.COST)),
    ]  # fmt: skip


def _total(parts: Iterator[float | None]) -> float | None:
    """The sum of the values that are known; None when none is."""
    numbers = [part for part in parts if part is not None]
    return sum(numbers) if numbers else None
