"""``otel-tts status``: what is wrong now, with the exit code of a check."""

from __future__ import annotations

import math
import shlex
import time
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_tts import formatting, semconv
from otel_tts.commands import terminal
from otel_tts.commands.output import json_option, print_json
from otel_tts.conditions.telemetry import ABSENT
from otel_tts.history import added_up, open_history
from otel_tts.history.places import HOW
from otel_tts.live.background import only_background
from otel_tts.live.behind import behind
from otel_tts.live.cached_history import CachedHistory, SourceUnavailableError
from otel_tts.live.judgement import Verdict, is_ahead, is_late
from otel_tts.live.onset import Onset, onset
from otel_tts.live.verdicts import judged, newest_of, seen, unknown
from otel_tts.live.view import Period
from otel_tts.settings import LiveSettings


class CheckState(IntEnum):
    """The exit code, as Nagios, Icinga and Sensu read that of a check."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_STATES = {"page": CheckState.CRITICAL, "ticket": CheckState.WARNING, "info": CheckState.OK}
_STYLES = {"page": "bold red", "ticket": "yellow", "info": "dim"}
_INDENT = 8


@dataclass(frozen=True, slots=True)
class Met:
    """A condition that is met. onsets: since when, for each subject."""

    verdict: Verdict
    onsets: tuple[Onset, ...]

    @property
    def since(self) -> Onset:
        """Since when it is met, for the subject of which it has been longest."""
        return min(self.onsets, key=lambda each: each.since)


@click.command()
@click.option("--service", default="", metavar="NAME", help="Only what this service counted.")
@json_option
def status(service: str, as_json: bool) -> None:
    """Say what is wrong now.

    The conditions are those that the live dashboard and the alerts judge. Each says since when it is met, over which window, and where
    to read what to do.

    \b
    The exit code is what Nagios, Icinga and Sensu expect of a check:
    0 no condition is met        2 one of severity page is met
    1 one of severity ticket     3 unknown: no telemetry arrives, or it (or that of one service) cannot be read
    """  # noqa: D301 - \b keeps click from joining the lines
    settings = LiveSettings.load()
    history = CachedHistory(open_history(settings))
    console = terminal.console()
    try:
        verdicts, met, age_s, background, names = _judged(history, settings, service)
        notes = added_up(history.places(Period.from_range("15m", history.now, history.interval)), service)
    except SourceUnavailableError as unavailable:
        if as_json:
            print_json("status", _as_json(CheckState.UNKNOWN, [], None, history.source, settings, str(unavailable), []))
        else:
            click.echo(f"Unknown: {unavailable}")  # checks show what is on the standard output
        raise SystemExit(CheckState.UNKNOWN) from None
    state = max((_STATES[each.verdict.condition.severity] for each in met), default=CheckState.OK)
    if background is None and (age_s is None or is_ahead(age_s) or is_late(age_s, history.interval)):
        state = state if state is CheckState.CRITICAL else CheckState.UNKNOWN
    reason = _unknown(age_s, history.source, service, names) if state is CheckState.UNKNOWN else ""
    if reasons := unknown(verdicts):
        state = state if state is CheckState.CRITICAL else CheckState.UNKNOWN
        reason = " ".join(filter(None, [reason, *(f"{name}: {' '.join(why)}" for name, why in reasons.items())]))
    if as_json:
        print_json("status", _as_json(state, met, age_s, history.source, settings, reason, [*filter(None, [background]), *notes]))
    else:
        _print(console, state, met, age_s, history.source, settings, reason)
        if background is not None:
            console.print(background, style="dim", soft_wrap=True, markup=False, highlight=False)
        for note in notes:
            console.print(f"{note} {HOW}", style="yellow", soft_wrap=True, markup=False, highlight=False)
    raise SystemExit(state)


def _judged(
    history: CachedHistory, settings: LiveSettings, service: str
) -> tuple[list[Verdict], list[Met], float | None, str | None, list[str]]:
    """The verdicts and, of them, the conditions that are met; the age of the newest telemetry, the background, and other services.

    The age, in seconds, is that of requests that somebody waits for; None without any. Only then the background is looked at.
    """
    period = Period.from_range("15m", history.now, history.interval)
    newest = newest_of(history, period, service)
    hour_ago = history.now - ABSENT.window_s
    background = only_background(history, hour_ago, history.now, "Within the last hour", service) if newest is None else None
    if newest is None and background is None:
        names = {*seen(history, period), *seen(history, period, semconv.BACKGROUND_DURATION)} if service else set[str]()
        return [], [], None, None, sorted(names)
    verdicts = judged(history, period, settings, service)
    met = [
        Met(
            verdict,
            tuple(onset(history, period, settings, verdict.service, verdict.condition, subject) for subject in verdict.holds),
        )
        for verdict in verdicts
        if any(verdict.sentences())
    ]
    return verdicts, met, None if newest is None else history.now - newest, background, []


def _unknown(age_s: float | None, source: str, service: str, names: list[str]) -> str:
    """Why the state is unknown."""
    if age_s is not None and is_ahead(age_s):
        return f"the newest telemetry is {formatting.elapsed(-age_s)} ahead of this clock: compare it with that of the service."
    if age_s is not None:
        return f"nothing has been received for {formatting.elapsed(age_s)}."
    if service and names:
        return (
            f"no metrics of {service!r} within the last hour, only of {', '.join(names)}. If its traces arrive, compare its clock: "
            "Prometheus refuses metrics from ahead of its own."
        )
    return f"there are no metrics{f' of {service!r} within the last hour' if service else ''} in {source}."


def _as_json(
    state: CheckState,
    met: list[Met],
    age_s: float | None,
    source: str,
    settings: LiveSettings,
    reason: str,
    notes: list[str],
) -> dict[str, object]:
    return {
        "state": state.name.lower(),
        "reason": reason or None,
        "source": source,
        "newest_telemetry_age_s": None if age_s is None else max(age_s, 0.0),
        "notes": notes,
        "conditions": [
            {
                "name": each.verdict.condition.name,
                "service": each.verdict.service or None,
                "severity": each.verdict.condition.severity,
                "sentences": list(each.verdict.sentences()),
                "meaning": each.verdict.condition.meaning,
                "window_s": each.verdict.condition.window_s,
                "since": formatting.utc(each.since.since),
                "since_earliest": None if each.since.before else formatting.utc(each.since.earliest),
                "since_before": each.since.before,
                "runbook": each.verdict.condition.runbook(settings.runbooks_url),
            }
            for each in met
        ],
    }


def _print(
    console: Console, state: CheckState, met: list[Met], age_s: float | None, source: str, settings: LiveSettings, reason: str
) -> None:
    if met:
        numbers = Counter(each.verdict.condition.severity for each in met for _ in each.verdict.sentences())
        first = next(sentence for each in met for sentence in each.verdict.sentences())
        summary = ", ".join(formatting.counted(number, str(severity)) for severity, number in numbers.items())
        console.print(Text(f"{state.name}: {summary.replace('infos', 'info')}: {first}"), soft_wrap=True)  # what a check shows
    for each in met:
        condition = each.verdict.condition
        for sentence in each.verdict.sentences():
            _line(console, condition.severity, sentence, _STYLES[condition.severity])
        lines = [_when(each), condition.meaning]
        lines.append(_command(each, settings))
        for line in filter(None, lines):
            _line(console, "", line)
        runbook = f"{'':<{_INDENT}}runbook: {condition.runbook(settings.runbooks_url)}"
        console.print(Text(runbook), soft_wrap=True)  # an address that is broken leads nowhere
    if reason:
        console.print(Text(f"Unknown: {reason}"), style="yellow", soft_wrap=True)
    elif not met:
        console.print("Nothing is wrong.", style="green")
    if age_s is not None and not is_ahead(age_s):
        console.print(f"{source}; newest telemetry {formatting.elapsed(age_s)} old", style="dim", soft_wrap=True)


def _command(met: Met, settings: LiveSettings) -> str:
    """The command that lists the requests behind a condition; empty where there are none."""
    requests = behind(met.verdict, settings)
    if requests is None:
        return ""
    known_for_s = max(met.verdict.condition.window_s, time.time() - met.since.earliest)
    options = {
        "problem": requests.problem,
        "slower-than": None if requests.slower_than_s is None else f"{requests.slower_than_s:g}",
        "service": requests.service,
        "provider": requests.provider,
        "kind": requests.kind,
        "since": _span(known_for_s),
    }
    return shlex.join(
        ["otel-tts", "requests", *(part for name, value in options.items() if value for part in (f"--{name}", value))]
    )


def _span(seconds: float) -> str:
    """A time as options take it: ``24h``, ``7m``."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"


def _line(console: Console, severity: str, sentence: str, style: str = "") -> None:
    """A line behind its severity: folded beside it in a terminal, one line for whatever else reads it."""
    text = Text(sentence, "bold" if severity else "")
    if not console.is_terminal:
        console.print(Text.assemble(f"{severity:<{_INDENT}}", text), soft_wrap=True)
        return
    grid = Table.grid()
    grid.add_column(width=_INDENT)
    grid.add_column()
    grid.add_row(Text(severity, style), text)
    console.print(grid)


def _when(met: Met) -> str:
    return ", ".join(filter(None, (met.since.words(formatting.date), met.verdict.over)))
