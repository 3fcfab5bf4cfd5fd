"""The headline of a report: the result of a window or a comparison, on one page that can be sent by mail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from html import escape

from otel_tts import formatting
from otel_tts.history import Request, Row
from otel_tts.report.columns import LOUDNESS, SPEAKING_RATE
from otel_tts.report.drift import ALPHA, Finding, Judgement
from otel_tts.report.reference import span

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's description."""
ORDER = ("drifted", "improved", "changed", "steady", "not judged")
"""What became of a measure: the most important first."""
_WINDOW = ("reference", "now")
"""The sides of a window's report, which has a page for each measure too."""
_RELATIVE = (
    "Pages of single measures show speeds relative to the reference's median of the same engine and voice: 1 is that median. Rare "
    "events, such as requests that are far slower than usual, are shown as their share."
)
_FAR = (
    "The metrics drift/... and traffic/... say how far a measure moved, in multiples of what matters. Above 1 it moved far; it drifted "
    "only if the difference is certain too, and not for the better."
)
_NAMED_UNITS = (LOUDNESS.unit, SPEAKING_RATE.unit)
"""Units that stand beside the measure; those of seconds and shares stand beside each value."""
_NO_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~-])")
_STYLE = (
    ":root{color-scheme:light dark;background:Canvas;color:CanvasText}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.35rem;margin:0 0 .2rem}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}p{margin:.3rem 0}div{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #8885}"
    "p.drifted,.drifted td:first-child{color:#D55E00;font-weight:600}.changed td:first-child{font-weight:600}"
    "details{margin:1rem 0}summary{cursor:pointer}p.steady,:is(.improved,.steady) td:first-child{color:#008a63}"
    "@media(prefers-color-scheme:dark){p.steady,:is(.improved,.steady) td:first-child{color:#2fbf91}}"
    "@media(max-width:640px){.wide thead{display:none}.wide td{border:0;padding:.1rem .3rem}.wide td:empty{display:none}"
    ".wide tr{display:grid;grid-template-columns:repeat(3,1fr);padding:.4rem 0;border-bottom:1px solid #8885}"
    ".wide td::before{content:attr(data-name);display:block;font-size:.75rem;font-weight:400;color:GrayText}}"
)


@dataclass(frozen=True, slots=True)
class Headline:
    """The first page of a report.

    Attributes:
        title: the service and its window, or the two sides.
        judgement: what was judged, and by which reference.
        figures: names and values of the most important figures.
        sides: the headings of the reference's column and of the other.
        worst: the requests to look at first.
        notes: what else must be known to read the figures, a sentence each.
        traces: the address of a trace, with ``{trace_id}`` in it; empty where there is none.
    """

    title: str
    judgement: Judgement
    figures: Sequence[tuple[str, str]] = ()
    _: KW_ONLY
    sides: tuple[str, str] = _WINDOW
    worst: Sequence[Request] = ()
    traces: str = ""
    notes: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        judgement = self.judgement
        if judgement.status == "not judged":
            return f"Not judged: {judgement.reason or 'too few comparable requests'}."
        moved = len(judgement.drifted)
        result = f"{moved} {'measure has' if moved == 1 else 'measures have'} drifted" if moved else "nothing has drifted"
        return f"{judgement.status.capitalize()}: compared with {in_words(judgement.reference)}, {result}."

    def findings(self) -> list[Finding]:
        """All measures, those that drifted first, and among them those that moved farthest."""
        return sorted(self.judgement.findings, key=lambda finding: (ORDER.index(finding.status), -(finding.score or 0.0)))

    def markdown(self) -> str:
        """The headline for MLflow's description of a run: what the terminal says."""
        lines = [f"**{_plain(self.title)}**", "", _plain(self.verdict), ""]
        lines += [line for note in self.notes for line in (_plain(note), "")]
        lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in self.figures]
        moved = [
            finding
            for finding in self.findings()
            if finding.status in ("drifted", "improved", "changed") or may_be_chance(finding)
        ]
        if moved:
            headings = ("result", "measure", "group", *self.sides, "change", "why not")
            lines += [
                "",
                *_markdown_table(headings, [(*_moved(finding), _why_not(finding)) for finding in moved]),
                "",
                _plain(_FAR),
            ]
        if self.worst:
            lines += ["", "Worst requests:", ""]
            for request in self.worst:
                trace = request.trace_id[:12]
                shown = f"[{trace}]({self._link(request)})" if self.traces else f"`otel-tts trace {trace}`"
                lines.append(f"- {shown} {_plain(_request(request))}")
        return "\n".join(lines)

    def html(self) -> str:
        """The headline as a whole HTML document that needs nothing else."""
        parts = [
            f"<h1>{escape(self.title)}</h1>",
            f'<p class="{escape(self.judgement.status.replace(" ", "-"))}">{escape(self.verdict)}</p>',
        ]
        parts += [f"<p>{escape(note)}</p>" for note in self.notes]
        if self.judgement.reason and self.judgement.status != "not judged":
            parts.append(f"<p>Single requests were not judged: {escape(self.judgement.reason)}.</p>")
        if self.figures:
            parts += ["<h2>Figures</h2>", _html_table(("figure", "value"), self.figures)]
        headings = ("result", "measure", "group", *self.sides, "change", "requests", "why not")
        rows = [(*_moved(finding), numbers(finding), _why_not(finding)) for finding in self.findings()]
        judged = [row for row in rows if row[0] != "not judged"]
        if judged:
            parts += ["<h2>All measures</h2>", _html_table(headings, judged)]
            parts += [f"<p>{_RELATIVE}</p>"] if self.sides == _WINDOW else []
        if others := [row for row in rows if row[0] == "not judged"]:
            count = formatting.counted(len(others), "measure was", "measures were")
            parts.append(f"<details><summary>{count} not judged</summary>{_html_table(headings, others)}</details>")
        if self.worst:
            of_which = "" if self.sides == _WINDOW else f" of {escape(self.sides[1])}"
            parts += [f"<h2>Worst requests{of_which}</h2>", "<ul>"]
            for request in self.worst:
                trace = escape(request.trace_id)
                link = f'<a href="{escape(self._link(request))}">{trace}</a>'
                shown = link if self.traces else f"<code>otel-tts trace {trace[:12]}</code>"
                parts.append(f"<li>{shown} {escape(_request(request))}</li>")
            parts.append("</ul>")
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
        )

    def _link(self, request: Request) -> str:
        return self.traces.replace("{trace_id}", request.trace_id)


def may_be_chance(finding: Finding) -> bool:
    """Whether a measure moved farther than matters, and is steady because so few values may differ so by chance.

    Args:
        finding: of one measure.
    """
    return finding.status == "steady" and (finding.score or 0.0) > 1 and finding.p_value is not None and finding.p_value >= ALPHA


def _why_not(finding: Finding) -> str:
    """Why it was not judged, or is steady although it moved far."""
    if may_be_chance(finding):
        return f"may be chance (p {finding.p_value:.2g}, certain below {ALPHA:.2g})"
    return finding.reason


def window_figures(row: Row) -> list[tuple[str, str]]:
    """Give the most important figures of a window, as the terminal has them.

    Args:
        row: the figures of a window.
    """
    return [
        ("Requests", formatting.count(row.request_count)),
        ("Success", formatting.percent(row.request_success_rate)),
        ("Duration, p95", formatting.duration(row.request_duration_p95)),
        ("First audio, p95", formatting.duration(row.request_first_audio_p95)),
        ("Cache hits", formatting.percent(row.request_hit_rate)),
    ]


def measure(finding: Finding) -> str:
    """A measure in words, with its unit where its values have none.

    Args:
        finding: of one measure.
    """
    return formatting.measure(finding.measure) + (f" ({finding.unit})" if finding.unit in _NAMED_UNITS else "")


def numbers(finding: Finding) -> str:
    """How many comparable values there were on each side, in the order of the sides' columns.

    Args:
        finding: of one measure.
    """
    return f"{finding.reference_rows:,} / {finding.rows:,}"


def middle(finding: Finding, value: float | None) -> str:
    """Format the middle of a measure on one side.

    Args:
        finding: of one measure.
        value: a middle value; None: unknown.
    """
    if value is None:
        return formatting.NOTHING
    match finding.unit:
        case "s":
            return formatting.duration(value)
        case "share":
            return formatting.percent(value)
    return f"{value:.3g}"


def change(finding: Finding) -> str:
    """Format how far a measure moved.

    Args:
        finding: of one measure.
    """
    if finding.status == "not judged":
        return formatting.NOTHING
    now, then = finding.current, finding.reference
    if now is None or then is None:
        return "no difference that matters" if finding.status == "steady" else "other distribution"
    if (
        finding.unit == LOUDNESS.unit
    ):  # a ratio already, as the logarithm of one; and what has more dB below full scale is quieter
        moved = f"{abs(now - then):.1f} dB"
        return moved if moved == "0.0 dB" else f"{moved} {'quieter' if now > then else 'louder'}"
    return formatting.change(now, then, of_share=finding.unit == "share")


def in_words(reference: str) -> str:
    """A reference as people read it: a range of time with its zone, as all times beside it; any other as it was given.

    Args:
        reference: `last-7d`, `version:1.2`, `profile:NAME`, `range:START..END`, or a bare name.
    """
    if not reference.startswith("range:"):
        return reference
    try:
        return formatting.period(*span(reference.removeprefix("range:")))
    except ValueError:
        return reference


def _moved(finding: Finding) -> tuple[str, ...]:
    return (
        finding.status,
        measure(finding),
        finding.group or "all",
        middle(finding, finding.reference),
        middle(finding, finding.current),
        change(finding),
    )


def _request(request: Request) -> str:
    error = request.error_type if request.error_type != request.outcome else ""
    parts = (request.outcome, error, request.provider, request.voice, formatting.duration(request.duration))
    return ", ".join(filter(None, parts))


def _plain(words: str) -> str:
    """Escape what Markdown would read, and what HTML within it would."""
    return _NO_MARKDOWN.sub(r"\\\1", " ".join(words.split()))


def _markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = [f"| {' | '.join(map(_plain, row))} |" for row in rows]
    return [f"| {' | '.join(map(_plain, headings))} |", f"|{' --- |' * len(headings)}", *body]


def _html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr class="{escape(row[0].replace(" ", "-"))}">'
        + "".join(f'<td data-name="{escape(name)}">{escape(cell)}</td>' for name, cell in zip(headings, row, strict=True))
        + "</tr>"
        for row in rows
    )
    wide = ' class="wide"' if len(headings) > 2 else ""
    return f"<div><table{wide}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
