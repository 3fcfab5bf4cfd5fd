"""``otel-tts requests``: recent syntheses."""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_tts import formatting
from otel_tts.commands import terminal
from otel_tts.commands.output import json_option, print_json
from otel_tts.commands.turns import totals, turns
from otel_tts.history import History, HistoryUnavailableError, Problem, Request, RequestFilter, open_history
from otel_tts.semconv import Outcome, RequestKind
from otel_tts.settings import HistorySettings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A moment in seconds since the Unix epoch: so long before now, or as ISO 8601 writes it, in local time without a zone."""
    if value is None:
        return None
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value.strip()):
        return time.time() - float(match[1]) * _UNITS[match[2]]
    try:
        return datetime.fromisoformat(value.strip()).timestamp()
    except (ValueError, OverflowError):
        message = f"{value!r} is no length of time: say 30s, 10m, 2h or 1d. Nor is it a moment: say 2026-03-01T12:00 or 2026-03-01T12:00Z."
        raise click.BadParameter(message, ctx, param) from None


def _check_order(since: float | None, until: float | None) -> None:
    if since is not None and until is not None and until < since:
        message = f"{formatting.date(until)} is before --since, which is {formatting.date(since)}: nothing is in between."
        raise click.BadParameter(message, param_hint="'--until'")


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names and values."""
    pairs = [value.partition("=") for value in values]
    for whole, (name, equals, _) in zip(values, pairs, strict=True):
        if not name or not equals:
            raise click.BadParameter(f"{whole!r} is no name and value: say app.tenant=acme.", ctx, param)
    return tuple((name, value) for name, _, value in pairs)


@click.command()
@click.option("--outcome", type=click.Choice([outcome.value for outcome in Outcome]), help="Only requests that ended so.")
@click.option("--provider", help="Only requests whose audio this provider made, or for which it failed or was skipped.")
@click.option(
    "--problem",
    type=click.Choice([problem.value for problem in Problem]),
    help="Only requests that failed, that failed or fell back (affected), or with gaps.",
)
@click.option("--error-type", metavar="NAME", help="Only requests with this error type, such as timeout.")
@click.option("--service", metavar="NAME", help="Only requests of this service.")
@click.option("--voice", metavar="NAME", help="Only requests for this voice.")
@click.option("--slower-than", type=click.FloatRange(min=0), metavar="SECONDS", help="Only requests that took longer.")
@click.option(
    "--since",
    callback=_moment,
    metavar="TIME",
    help="Only requests of the last 30s, 10m, 2h, 1d ..., or since a moment (ISO 8601).",
)
@click.option("--until", callback=_moment, metavar="TIME", help="Only requests that began before that: as --since.")
@click.option("--conversation", metavar="ID", help="Only the utterances of this conversation, turn by turn with their figures.")
@click.option("--kind", type=click.Choice([kind.value for kind in RequestKind]), help="Only requests of this kind.")
@click.option(
    "--where",
    "where",
    multiple=True,
    callback=_pairs,
    metavar="NAME=VALUE",
    help="Only requests whose span has this attribute, such as app.tenant=acme. May be given several times.",
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, the newest first.")
@json_option
def requests(
    outcome: str | None,
    provider: str | None,
    problem: str | None,
    error_type: str | None,
    service: str | None,
    voice: str | None,
    slower_than: float | None,
    since: float | None,
    until: float | None,
    conversation: str | None,
    kind: str | None,
    where: tuple[tuple[str, str], ...],
    limit: int,
    as_json: bool,
) -> None:
    """List recent syntheses, the newest first.

    They come from the local files in the data directory, where a running service writes every few seconds; or from the trace
    backend, where its address is set.
    """
    _check_order(since, until)
    history = open_history(HistorySettings.load())
    wanted = RequestFilter(
        outcome=outcome,
        provider=provider,
        problem=None if problem is None else Problem(problem),
        error_type=error_type,
        service=service,
        voice=voice,
        slower_than=slower_than,
        since=since,
        until=until,
        conversation=conversation,
        kind=kind,
        where=where,
    )
    listed = history.requests(wanted, limit)
    console = terminal.console()
    if as_json:
        print_json("requests", {"requests": [_plain(request) for request in listed]})
    elif listed:
        if conversation is None:
            console.print(listing(listed, console.width))
        else:  # as many columns as there are values for, so its width is known only then
            wide = turns(listed, wide=True)
            fits = console.measure(wide, options=console.options.update(width=10_000)).maximum <= console.width
            console.print(wide if fits else turns(listed, wide=False))
        if service is None and conversation is None and (words := of_services(listed, wide=console.width >= WIDE)):
            console.print(words, style="dim", markup=False, highlight=False)
        if conversation is not None:
            console.print(totals(listed), soft_wrap=True)
            if len(listed) == limit:
                console.print(f"These are the newest {limit}: --limit shows more.", style="yellow")
        if any(request.ttfa is not None and request.ttfa > request.duration for request in listed):
            console.print("Where 1st audio is later than took, the audio begins with silence.", style="dim")
        if any(map(_waited, listed)):
            console.print("Where text was streamed, took has the wait for its beginning in it:", style="dim")
            console.print("1st audio, and durations in metrics, start after that wait.", style="dim")
        console.print(f"otel-tts trace {listed[0].trace_id[: terminal.TRACE_DIGITS]}  shows one of them as a tree.")
    elif wanted != RequestFilter():
        console.print("No request matches. Remove a filter, or wait some seconds: telemetry is written in batches.")
        for line in unknown(wanted, history.requests(RequestFilter(), _NEWEST)):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    else:
        _say_why_nothing(console, history)
    if words := terminal.left_out(history):
        click.echo(words, err=True)


def _say_why_nothing(console: Console, history: History) -> None:
    """Nothing was ever sent, or metrics were, and no request of theirs has ended in a way that left a span."""
    with suppress(HistoryUnavailableError):
        if (newest := history.newest) is not None:
            age = formatting.elapsed(time.time() - newest)
            console.print(
                f"No requests: there are metrics in {history.source}, {age} old, and no span of a request.", soft_wrap=True
            )
            console.print("A request is listed some seconds after its end, if its trace was sampled and its process not killed.")
            return
    console.print(f"No requests yet: there is no telemetry in {history.source}.", soft_wrap=True)
    console.print("Run `otel-tts demo`, or `otel-tts serve` and send it something to say.")


_NEWEST = 500
"""Requests that are looked through for the names that a filter could have."""


def of_services(listed: Sequence[Request], *, wide: bool) -> str:
    """Say of which services they are, where the table does not.

    Args:
        listed: the requests of the table.
        wide: whether the table has room for a column of services.
    """
    names = {request.service for request in listed}
    if len(names) == 1:
        return f"Service: {names.pop()}" if names != {""} else ""
    return "" if wide else f"Services: {', '.join(sorted(names))}. At {WIDE} columns and more the table says which."


def unknown(wanted: RequestFilter, newest: Sequence[Request]) -> Iterator[str]:
    """Say which of the wanted names no request has, and which names there are.

    Args:
        wanted: a filter that no request matches.
        newest: requests that may be of any kind.
    """
    for field in ("service", "provider", "voice", "error_type", "conversation"):
        value, names = getattr(wanted, field), _names(field, newest)
        if value is not None and names and value not in names:
            among = f"among the newest {formatting.counted(len(newest), 'request')}"
            alike = difflib.get_close_matches(value, names, n=1) or sorted(names)
            there = f"{', '.join(alike[:_NAMED])}{', ...' if len(alike) > _NAMED else ''}"
            yield f"No {field.replace('_', ' ')} is {value!r} {among}; there is {there}."


_NAMED = 8
"""Names that are told at most."""


def _names(field: str, requests: Sequence[Request]) -> set[str]:
    """The names in a field of requests; of providers also those that failed or were skipped."""
    names = {getattr(request, field) for request in requests}
    if field == "provider":
        names.update(name for request in requests for name in json.loads(request.failed_providers or "[]"))
    return names - {None, ""}


def _waited(request: Request) -> bool:
    """Whether a noticeable part of it was the wait for its first text."""
    return request.first_text is not None and request.first_text >= terminal.NOTICEABLE_S


def _plain(request: Request) -> dict[str, object]:
    content = asdict(request)
    del content["own"]
    return {**content, "failed_providers": json.loads(request.failed_providers or "[]"), "attributes": request.attributes}


WIDE = 120
"""Columns of the terminal from which on there is room for everything."""


def listing(listed: Sequence[Request], terminal_columns: int = WIDE) -> Table:
    """The requests as a table, with services where there are several, and errors, resends and conversations where there are any.

    Errors take the place of lengths. A narrow table has shorter trace ids, neither voices nor conversations, and of the columns that
    one can do without those that there is room for. Long names are cut in their middle, but where nobody looks: names of many
    voices differ at their end.

    Args:
        listed: the requests.
        terminal_columns: how many the terminal has.
    """
    wide = terminal_columns >= WIDE
    unlimited = terminal.console()  # as what is printed: names of callers are no markup
    unlimited.width = 10_000
    letters = None if terminal_columns >= terminal.UNBROKEN else _LETTERS[0]
    ways = [(number, letters) for number in ((0,) if wide else range(len(_SPARE) + 1))]
    for number, letters in (*ways, *((ways[-1][0], fewer) for fewer in _LETTERS[1:])):
        rendered = _table(listed, wide=wide, without=_SPARE[:number], letters=letters)
        if unlimited.measure(rendered).maximum <= terminal_columns:
            break
    return rendered


def _table(listed: Sequence[Request], *, wide: bool, without: Collection[str], letters: int | None) -> Table:
    errors = any(request.error_type for request in listed)
    columns: list[tuple[str, bool, Callable[[Request], str | Text]]] = [  # heading, whether to the right, what is shown
        (f"time ({formatting.zone(time.time())})", False, lambda r: _time(r.start, wide=wide)),
        ("trace", False, lambda r: r.trace_id[: terminal.TRACE_DIGITS if wide else 8]),
    ]
    if wide and len({request.service for request in listed}) > 1:
        columns.append(("service", False, lambda r: r.service or formatting.NOTHING))
    columns += [
        ("outcome", False, lambda r: terminal.outcome(r.outcome, r.cancel_reason)),
        ("provider", False, lambda r: r.provider or formatting.NOTHING),
    ]
    if wide:
        columns.append(("voice", False, lambda r: r.voice or formatting.NOTHING))
    if wide or not errors:
        columns.append(("stream", False, lambda r: "yes" if r.stream else "no"))
    if not errors:
        columns.append(("chars", True, lambda r: formatting.count(r.characters)))
    columns.append(("took", True, lambda r: formatting.duration(r.duration)))
    if wide and any(map(_waited, listed)):
        columns.append(("for text", True, lambda r: formatting.duration(r.first_text) if _waited(r) else ""))
    columns += [
        ("1st audio", True, lambda r: formatting.duration(r.ttfa)),
        ("cache", False, lambda r: r.cache_result or formatting.NOTHING),
        ("fallback", False, lambda r: "yes" if r.fallback_used else ""),
    ]
    if wide and any(request.underrun for request in listed):
        columns.append(("gaps", True, lambda r: formatting.duration(r.underrun) if r.underrun else ""))
    if wide and any(request.resends for request in listed):
        columns.append(("resends", True, lambda r: formatting.count(r.resends) if r.resends else ""))
    if wide and any(request.conversation for request in listed):
        columns.append(("conversation", False, lambda r: r.conversation or ""))
    if errors:
        columns.append(("error", False, lambda r: r.error_type or ""))
    columns = [column for column in columns if column[0] not in without]
    rendered = terminal.table(gap=2 if wide else 1)
    for heading, right, _ in columns:
        rendered.add_column(
            heading,
            no_wrap=heading not in _NAMES,  # these give way, so that times, ids and outcomes stay
            overflow="fold" if heading in ("conversation", "error") else "ellipsis",
            justify="right" if right else "left",
            max_width=_NAMES.get(heading) if letters else None,
        )
    for request in listed:
        cells = ((heading, shown(request)) for heading, _, shown in columns)
        rendered.add_row(
            *(formatting.shortened(str(cell), letters) if letters and heading in _CUT else cell for heading, cell in cells)
        )
    return rendered


_NAMES = {"service": 24, "provider": 24, "voice": 24, "error": 24, "conversation": 36}
"""Columns with names, and how many columns of the terminal each may take."""
_CUT = ("service", "provider", "voice")
"""Those of them that are cut; the others are folded."""
_LETTERS = (24, 18, 14, 11)
"""How many letters of such a name are shown, as there is room."""
_SPARE = ("fallback", "stream", "cache", "chars", "1st audio")
"""What a narrow table can do without, the most dispensable first."""


def _time(moment: float, *, wide: bool) -> str:
    """Format a time: with its date where there is room, or if it is not today."""
    return formatting.date(moment)[5:19] if wide else formatting.clock(moment)
