"""Summaries of windows, passes and comparisons, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from otel_tts import formatting
from otel_tts.commands import terminal
from otel_tts.distribution import AtLeast, AtMost
from otel_tts.history import Row
from otel_tts.history.places import HOW
from otel_tts.report.comparison import SampleComparison
from otel_tts.report.drift import LEAST, Finding, Judgement
from otel_tts.report.headline import Headline, change, in_words, may_be_chance, measure, middle, numbers
from otel_tts.report.job import WindowResult
from otel_tts.report.measures import bounds
from otel_tts.report.window import Window

_STYLES = {"drifted": "bold red", "steady": "green", "not judged": "yellow"}


def window_summary(outcome: WindowResult) -> Group:
    """One window of one service: its figures, and what changed.

    Args:
        outcome: what was reported of a window.
    """
    row, judgement = outcome.row, outcome.judgement
    assert row is not None  # noqa: S101 - both are there or neither is
    assert judgement is not None  # noqa: S101
    title = Text.assemble(
        (f"{outcome.service}  {formatting.period(outcome.window.start, outcome.window.end)}", "bold"),
        "  ",
        (judgement.status, _STYLES[judgement.status]),
    )
    figures = Text(
        f"{formatting.counted(row.request_count, 'request')}, {formatting.percent(row.request_success_rate)} success, "
        f"p95 {formatting.duration(row.request_duration_p95)}, first audio p95 {formatting.duration(row.request_first_audio_p95)}"
        + (f", {formatting.percent(row.request_hit_rate)} cache hits" if row.request_hit_rate is not None else ""),
    )
    notes = [Text(f"{note} {HOW}", "yellow") for note in outcome.notes]
    return Group(title, figures, *notes, *_judged(judgement))


def unreadable_summary(outcome: WindowResult) -> Text:
    """One window of a service that cannot be read, with the reason.

    Args:
        outcome: what was reported of a window.
    """
    title = f"{outcome.service}  {formatting.period(outcome.window.start, outcome.window.end)}"
    return Text.assemble((title, "bold"), ("  unknown\n", "yellow"), "\n".join(outcome.notes), "\n")


def plain_window(outcome: WindowResult) -> dict[str, Any]:
    """One window of one service, for programs.

    Args:
        outcome: what was reported of a window.
    """
    return {
        "service": outcome.service,
        "start": outcome.window.start,
        "end": outcome.window.end,
        "done": outcome.done,
        "link": outcome.link,
        "notes": list(outcome.notes),
        "figures": _exact(outcome.row) if outcome.row is not None else None,
        "at_least": bounds(outcome.row, AtLeast) if outcome.row is not None else {},
        "at_most": bounds(outcome.row, AtMost) if outcome.row is not None else {},
        "judgement": None if outcome.judgement is None else _plain_judgement(outcome.judgement),
    }


def _exact(row: Row) -> Row:
    """The figures without those of which only a bound is known."""
    unknown: dict[str, Any] = dict.fromkeys(bounds(row, AtLeast) | bounds(row, AtMost))
    return replace(row, **unknown)


def plain_comparison(service: str, first: str, second: str, comparison: SampleComparison) -> dict[str, Any]:
    """Two sides, for programs.

    Args:
        service: the name of the service.
        first: the side that is compared with.
        second: the side that is compared.
        comparison: of the two sides.
    """
    sides = [{"name": first, "requests": comparison.first.requests}, {"name": second, "requests": comparison.second.requests}]
    return {"service": service, "sides": sides, "judgement": _plain_judgement(comparison.judgement)}


def _plain_judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        "status": judgement.status,
        "reference": judgement.reference,
        "reason": judgement.reason,
        "findings": list(judgement.findings),
    }


def pass_summary(wanted: Sequence[Window], done: Sequence[WindowResult], then: float) -> Text:
    """The result of a pass.

    Args:
        wanted: the windows of the pass.
        done: what was reported.
        then: when the next window will be complete, in seconds since the Unix epoch.
    """
    counts = {kind: sum(outcome.done == kind for outcome in done) for kind in ("written", "unchanged", "kept", "unreadable")}
    if not wanted:
        return Text(f"No window has ended yet. The next one can be reported at {formatting.date(then)}; --until reports it now.")
    if not done:
        return Text(f"No requests in {formatting.counted(len(wanted), 'window')}.")
    text = f"{formatting.counted(counts['written'], 'window')} written, {counts['unchanged']:,} unchanged"
    kept = f", {counts['kept']:,} kept: their telemetry has been deleted" if counts["kept"] else ""
    unreadable = f", {counts['unreadable']:,} not readable" if counts["unreadable"] else ""
    return Text(f"{text}{kept}{unreadable}.")


def sizes(first: str, second: str, comparison: SampleComparison) -> list[tuple[str, str]]:
    """How many requests each side has.

    Args:
        first: the side that is compared with.
        second: the side that is compared.
        comparison: of the two sides.
    """
    return [
        (name, formatting.counted(side.requests, "request"))
        for name, side in ((first, comparison.first), (second, comparison.second))
    ]


def comparison_page(service: str, first: str, second: str, comparison: SampleComparison, traces: str) -> Headline:
    """The comparison of two sides as a page.

    Args:
        service: the name of the service.
        first: the side that is compared with.
        second: the side that is compared.
        comparison: of the two sides.
        traces: the address of a trace, with ``{trace_id}`` in it; empty where there is none.
    """
    return Headline(
        f"{service}: {second} compared with {first}",
        comparison.judgement,
        sizes(first, second, comparison),
        sides=(first, second),
        worst=comparison.second.worst,
        traces=traces,
    )


def comparison_summary(service: str, first: str, second: str, comparison: SampleComparison) -> Group:
    """The comparison of two sides.

    Args:
        service: the name of the service.
        first: the side that is compared with.
        second: the side that is compared.
        comparison: of the two sides.
    """
    judgement = comparison.judgement
    counted = Text("  ".join(f"{name}: {words}." for name, words in sizes(first, second, comparison)))
    parts: list[RenderableType] = [Text(f"{service}: {second} compared with {first}", "bold"), counted]
    if judgement.reason:
        parts.append(Text(f"Single requests were not judged: {judgement.reason}.", "yellow"))
    for title, kept in (
        ("Better", judgement.select("performance", "audio", status="improved")),
        ("Worse", [f for f in judgement.drifted if f.better is False]),
        ("Different", [f for f in judgement.drifted if f.better is None]),
        ("Other traffic", judgement.traffic),
        (_CHANCE, list(filter(may_be_chance, judgement.findings))),
        ("No relevant difference", [f for f in judgement.findings if f.status == "steady" and not may_be_chance(f)]),
    ):
        if kept:
            parts += ["", _table(kept, title, first, second)]
    return Group(*parts, "", *_unjudged(judgement))


_CHANCE = "Moved far, which may be chance"


def _judged(judgement: Judgement) -> Iterator[RenderableType]:
    if judgement.reason:
        yield Text(f"Not judged: {judgement.reason}.", "yellow")
    if not judgement.findings:
        return
    if judgement.drifted:
        yield _table(judgement.drifted, f"Drifted from {in_words(judgement.reference)}", "reference", "now")
    if improved := judgement.select("performance", "audio", status="improved"):
        yield _table(improved, "Better than before", "reference", "now")
    if judgement.traffic:
        yield _table(judgement.traffic, "Changes of the traffic (not caused by an engine)", "reference", "now")
    if chance := list(filter(may_be_chance, judgement.findings)):
        yield _table(chance, _CHANCE, "reference", "now")
    steady = sum(finding.status == "steady" and not may_be_chance(finding) for finding in judgement.findings)
    yield Text(f"Compared with {in_words(judgement.reference)}: {formatting.counted(steady, 'measure')} unchanged.")
    yield from _unjudged(judgement)


def _table(findings: Sequence[Finding], title: str, first: str, second: str) -> Table:
    rendered = terminal.table(title)
    rendered.add_column("measure", overflow="fold")
    rendered.add_column("group", overflow="fold")
    for heading in (first, second, "change", "requests"):
        rendered.add_column(heading, justify="right")
    for finding in findings:
        rendered.add_row(
            measure(finding),
            finding.group or "all",
            middle(finding, finding.reference),
            middle(finding, finding.current),
            change(finding),
            numbers(finding),
        )
    return rendered


def _unjudged(judgement: Judgement) -> Iterator[Text]:
    """The groups that are too small to be judged, each once, whatever its measures."""
    sizes: dict[str, tuple[int, int]] = {}
    for finding in judgement.findings:
        if finding.status == "not judged" and finding.rows + finding.reference_rows:
            largest = sizes.get(finding.group, (0, 0))
            sizes[finding.group] = max(largest[0], finding.reference_rows), max(largest[1], finding.rows)
    if sizes:
        listed = ", ".join(f"{group or 'traffic'} ({then:,} / {now:,})" for group, (then, now) in sizes.items())
        yield Text(f"Not judged, or not by all measures: both sides need {LEAST} comparable requests, and have: {listed}.", "dim")
