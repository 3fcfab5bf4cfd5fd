"""Tiles, cards, notices and tables as HTML. Every text that comes from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from otel_tts import formatting, palette, semconv
from otel_tts.conditions.speech import PROVIDER_FAILING
from otel_tts.live.standing import Standing

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
"""The sheet that everything here needs."""
SCRIPT = (Path(__file__).parent / "kept.js").read_text(encoding="utf-8")
"""Keeps open what somebody opened, and the keyboard where it is, when a refresh draws it anew: by the ``data-name`` of elements."""
MOODS = ("good", "unknown", "warn", "bad")
"""What a card or notice may look like, from the best to the worst."""
_CODE = partial(re.compile("`([^`]+)`").sub, r"<code>\1</code>")


def tile(label: str, value: str, note: str = "", *, definition: str = "", accent: str = "") -> str:
    """Make a tile with one figure. ``definition`` is shown on hover and focus; ``accent`` is the colour of its edge.

    Args:
        label: what it is.
        value: the number, formatted.
        note: a line below.
        definition: is shown on hover and focus.
        accent: the colour of its edge.
    """
    edge = f' style="--accent:{accent}"' if accent else ""
    focus = f' tabindex="0" data-name="{escape(label)}"' if definition else ""
    tip = f'<span class="tip" role="tooltip">{escape(definition)}</span>' if definition else ""
    return (
        f'<div class="tile" role="group" aria-label="{escape(label)}"{focus}{edge}>'
        f'<span class="label">{escape(label)}</span><span class="value">{escape(value)}</span>'
        f'<span class="note">{escape(note)}</span>{tip}</div>'
    )


def grid(tiles: Iterable[str]) -> str:
    """Put tiles side by side, as many as fit.

    Args:
        tiles: of HTML.
    """
    return f'<div class="tiles">{"".join(tiles)}</div>'


def card(standing: Standing, now: float, fallbacks: float | None, problems: Sequence[tuple[str, str]] = ()) -> str:
    """Make the card of a provider: availability, since when, and its attempts. It is good only without any, and if its attempts succeed.

    Args:
        standing: of the provider.
        now: in seconds since the Unix epoch.
        fallbacks: from this provider to another; None: unknown.
        problems: the mood and the sentence of each condition that is met for it.
    """
    row = standing.row
    mood, description = judgement(standing, now, problems)
    facts = [
        ("attempts", formatting.count(row.attempt_count if row else None)),
        ("success", formatting.percent(row.attempt_success_rate if row else None)),
        ("p95", formatting.duration(row.attempt_duration_p95 if row else None)),
        ("RTF", formatting.value(row.attempt_rtf_p50 if row else None, "1")),
        ("fallbacks", formatting.count(fallbacks)),
    ]
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return (
        f'<section class="card {mood}" aria-label="Provider {escape(standing.provider)}" data-state="{mood}">'
        f'<h3>{escape(standing.provider)}</h3><p class="state">{escape(description)}</p><dl>{listed}</dl></section>'
    )


def judgement(standing: Standing, now: float, problems: Sequence[tuple[str, str]] = ()) -> tuple[str, str]:
    """Give the mood of a provider's card and the sentence that says why.

    Args:
        standing: of the provider.
        now: in seconds since the Unix epoch.
        problems: the mood and the sentence of each condition that is met for it.
    """
    mood, description = ("unknown", _TOGETHER) if standing.provider == semconv.OTHER else _state(standing, now)
    rate = standing.row.attempt_success_rate if standing.row else None
    if not problems and rate is not None and rate < PROVIDER_FAILING.threshold:
        problems = (("warn", f"only {formatting.percent(rate)} of attempts succeed"),)
    worst = max((mood, *(mood for mood, _ in problems)), key=MOODS.index)
    return worst, "; ".join((description, *(sentence for _, sentence in problems)))


def banner(
    name: str, mood: str, title: str, when: str, text: str, link: str = "", runbook: str = "", steps: Sequence[str] = ()
) -> str:
    """Make the notice of a condition.

    Args:
        name: tells it from others on the page, whatever its figures are.
        mood: one of `MOODS`.
        title: the condition as a sentence.
        when: since when it is met, and over which window.
        text: what it means.
        link: the page with the requests behind it.
        runbook: the runbook's address; it is a link where it is one of the web.
        steps: what to do.
    """
    name = escape(name)
    more = f'<a href="{escape(link)}" target="_self" data-name="requests of {name}">requests behind it</a>' if link else ""
    if runbook.startswith(("http://", "https://")):
        more += f'<a href="{escape(runbook)}" target="_blank" rel="noopener" data-name="runbook of {name}">runbook</a>'
    listed = "".join(f"<li>{_CODE(escape(step))}</li>" for step in steps)
    named = "" if runbook.startswith(("http://", "https://")) else f"<p>Runbook: <code>{escape(runbook)}</code></p>"
    summary = f'<summary data-name="summary of {name}">what to do</summary>'
    what = f'<details data-name="{name}">{summary}<ol>{listed}</ol>{named}</details>' if listed else ""
    return (
        f'<div class="notice {mood}" role="status"><strong>{escape(title)}</strong><em>{escape(when)}</em>'
        f"<span>{_CODE(escape(text))}</span>{more}{what}</div>"
    )


def cards(parts: Iterable[str]) -> str:
    """Put cards side by side.

    Args:
        parts: of HTML.
    """
    return f'<div class="cards">{"".join(parts)}</div>'


def notice(mood: str, title: str, text: str = "") -> str:
    """Make a notice. In ``text``, backticks mark code.

    Args:
        mood: ``good``, ``bad``, ``warn`` or ``unknown``.
        title: the heading.
        text: of the legend.
    """
    more = f"<span>{_CODE(escape(text))}</span>" if text else ""
    return f'<div class="notice {mood}" role="status"><strong>{escape(title)}</strong>{more}</div>'


def folded(name: str, summary: str, parts: Iterable[str]) -> str:
    """Put notices behind a line that opens them.

    Args:
        name: tells it from others on the page.
        summary: the line.
        parts: of HTML.
    """
    line = f'<summary data-name="summary of {escape(name)}">{escape(summary)}</summary>'
    return f'<details class="folded" data-name="{escape(name)}">{line}<div class="notices">{"".join(parts)}</div></details>'


def notices(parts: Iterable[str]) -> str:
    """Put notices below each other.

    Args:
        parts: of HTML.
    """
    return f'<div class="notices">{"".join(parts)}</div>'


def facts(pairs: Sequence[tuple[str, str, str]]) -> str:
    """Make a table of names, values and definitions.

    Args:
        pairs: name, value and definition of each.
    """
    rows = "".join(
        f'<tr><th scope="row" title="{escape(definition)}">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value, definition in pairs
    )
    return f'<div class="facts" tabindex="0" role="region" aria-label="Attributes"><table>{rows}</table></div>'


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Make a small table. The first ``words`` columns are text, the others are numbers.

    Args:
        caption: for screen readers.
        headings: of the columns.
        rows: of cells, as text.
        words: how many columns, from the first, are text.
    """
    head = "".join(
        f'<th scope="col"{"" if number < words else " class=number"}>{escape(heading)}</th>'
        for number, heading in enumerate(headings)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{'' if n < words else ' class=number'}>{escape(cell)}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="facts" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def legend(text: str, colour: str = palette.UNKNOWN) -> str:
    """Make a line of text with a coloured dot before it.

    Args:
        text: of the legend.
        colour: of its mark.
    """
    return f'<span class="source"><i style="background:{colour}"></i>{escape(text)}</span>'


_TOGETHER = "providers beyond the limit of a metric, together"


def _state(standing: Standing, now: float) -> tuple[str, str]:
    state = standing.state
    if state is None:
        return "unknown", "no availability reported yet"
    since = f"since {'before' if state.before else 'about'} {formatting.clock(state.since, now)}"
    lasted = f"({'more than' if state.before else 'about'} {formatting.elapsed(now - state.since)})"
    if not state.reported:
        return "unknown", f"no recent report; last {'available' if state.available else 'not available'} {since}"
    return ("good", f"available {since} {lasted}") if state.available else ("bad", f"not available {since} {lasted}")
