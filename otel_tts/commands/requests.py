"""``otel-tts requests``: recent syntheses."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import click
from rich.table import Table

from otel_tts import formatting
from otel_tts.commands import terminal
from otel_tts.commands.output import json_option, print_json
from otel_tts.history import Request, RequestFilter, open_history
from otel_tts.semconv import Outcome, RequestKind
from otel_tts.settings import HistorySettings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _ago(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The length of a time before now, in seconds."""
    if value is None:
        return None
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value.strip()):
        return float(match[1]) * _UNITS[match[2]]
    raise click.BadParameter(f"{value!r} is no length of time: say 30s, 10m, 2h or 1d.", ctx, param)


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names and values."""
    pairs = [value.partition("=") for value in values]
    for whole, (name, equals, _) in zip(values, pairs, strict=True):
        if not name or not equals:
            raise click.BadParameter(f"{whole!r} is no name and value: say app.tenant=acme.", ctx, param)
    return tuple((name, value) for name, _, value in pairs)


@click.command()
@click.option("--outcome", type=click.Choice([outcome.value for outcome in Outcome]), help="Only requests that ended so.")
@click.option("--provider", help="Only requests whose audio this provider made, or that it failed.")
@click.option("--slower-than", type=click.FloatRange(min=0), metavar="SECONDS", help="Only requests that took longer.")
@click.option("--since", callback=_ago, metavar="TIME", help="Only requests of the last 30s, 10m, 2h, 1d ...")
@click.option("--conversation", metavar="ID", help="Only the utterances of this conversation.")
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
    slower_than: float | None,
    since: float | None,
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
    history = open_history(HistorySettings.load())
    wanted = RequestFilter(
        outcome=outcome,
        provider=provider,
        slower_than=slower_than,
        since=None if since is None else time.time() - since,
        conversation=conversation,
        kind=kind,
        where=where,
    )
    listed = history.requests(wanted, limit)
    console = terminal.console()
    if as_json:
        print_json("requests", {"requests": [_plain(request) for request in listed]})
    elif listed:
        console.print(listing(listed, wide=console.width >= WIDE))
        console.print(f"otel-tts trace {listed[0].trace_id[: terminal.TRACE_DIGITS]}  shows one of them as a tree.")
    elif replace(wanted, since=None) != RequestFilter() or since is not None:
        console.print("No request matches. Remove a filter, or wait some seconds: telemetry is written in batches.")
    else:
        console.print(f"No requests yet: there is no telemetry in {history.source}.", soft_wrap=True)
        console.print("Run `otel-tts demo`, or `otel-tts serve` and send it something to say.")
    if words := terminal.left_out(history):
        click.echo(words, err=True)


def _plain(request: Request) -> dict[str, object]:
    content = asdict(request)
    del content["own"]
    return {**content, "attributes": request.attributes}


WIDE = 100
"""Columns of the terminal from which on there is room for everything."""


def listing(listed: Sequence[Request], *, wide: bool = True) -> Table:
    """The requests as a table. A narrow one has shorter trace ids and no voices."""
    rendered = terminal.table(gap=2 if wide else 1)
    for heading in (
        f"time ({formatting.zone(time.time())})",
        "trace",
        "outcome",
        "provider",
        *(["voice"] if wide else []),
        "stream",
    ):
        rendered.add_column(heading, no_wrap=True)
    for heading in ("chars", "took", "1st audio" if wide else "audio"):
        rendered.add_column(heading, no_wrap=True, justify="right")
    for heading in ("cache", "fallback" if wide else "fb"):
        rendered.add_column(heading, no_wrap=True)
    for request in listed:
        rendered.add_row(
            formatting.clock(request.start),
            request.trace_id[: terminal.TRACE_DIGITS if wide else 8],
            terminal.outcome(request.outcome, request.cancel_reason),
            request.provider or formatting.NOTHING,
            *([request.voice or formatting.NOTHING] if wide else []),
            "yes" if request.stream else "no",
            formatting.count(request.characters),
            formatting.duration(request.duration),
            formatting.duration(request.ttfa),
            request.cache_result or formatting.NOTHING,
            "yes" if request.fallback_used else "",
        )
    return rendered
