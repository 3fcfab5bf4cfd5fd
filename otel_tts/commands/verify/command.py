"""``otel-tts verify``: whether a service counts exactly what happens to it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import click
import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from otel_tts import semconv
from otel_tts.commands import terminal
from otel_tts.commands.load.caller import Caller, Reply, calling, exchange, unreachable
from otel_tts.commands.load.traffic import Mix, Planned, plan
from otel_tts.commands.output import json_option, print_json
from otel_tts.commands.verify.account import TOLERANCE, CountComparison, compare, outcome, restarted
from otel_tts.commands.verify.scrape import NoMetricsError, Scrape, read
from otel_tts.service.config import ServiceConfig
from otel_tts.settings import Settings

_MIX = Mix(fresh=0.3, repeated=0.2, invalid=0.2)
_SETTLING = 2.0  # seconds in which the service may still count: some calls are answered a moment before they are over
_PAUSE = 0.1  # seconds between scrapes

Calls = list[tuple[Planned, Reply]]


@click.command()
@click.option("--iterations", type=click.IntRange(min=1), default=20, show_default=True, help="How many requests to send.")
@click.option("--concurrency", type=click.IntRange(min=1), default=2, show_default=True, help="How many of them at once.")
@click.option("--target", metavar="HOST:PORT", help="The service; by default where `otel-tts serve` would be.")
@click.option("--metrics-url", metavar="URL", help="Its Prometheus endpoint; by default on PROMETHEUS_PORT of the same host.")
@click.option("--seed", type=int, help="Send the requests of an earlier run; its output says the seed.")
@json_option
def verify(
    iterations: int, concurrency: int, target: str | None, metrics_url: str | None, seed: int | None, as_json: bool
) -> None:
    """Check that a running service counts exactly what happens to it.

    Sends requests, about one in five of them invalid, and knows from the answers what the service must have counted. Then reads
    the service's metrics and compares. What was counted before does not matter; traffic of others meanwhile does. The exit code
    is 1 when anything differs.
    """
    target = target or own_target()
    url = metrics_url or f"http://{target.rpartition(':')[0]}:{Settings.load().prometheus_port}/metrics"
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"--metrics-url {url!r} is not allowed: it takes an http:// or https:// address.")
    seed = secrets.randbelow(10**6) if seed is None else seed
    console = Console(quiet=True) if as_json else terminal.console()
    console.print(f"Sending {iterations} requests to {target}, {concurrency} at once (--seed {seed}).")
    try:
        calls, before, after, comparisons = asyncio.run(_verified(target, url, iterations, concurrency, seed, console))
    except NoMetricsError as error:
        raise click.ClickException(
            f"No metrics at {url}: {error}. Does the service run with METRICS_ENABLED=false, "
            "or on another PROMETHEUS_PORT? Then give --metrics-url."
        ) from None
    console.print(table(comparisons))
    problem = verdict(calls, before, after, comparisons)
    if as_json:
        numbers = [_plain(comparison) for comparison in comparisons]
        print_json(
            "verify",
            {
                "target": target,
                "seed": seed,
                "requests": len(calls),
                "exact": not problem,
                "problem": problem,
                "numbers": numbers,
            },
        )
    if problem:
        raise click.ClickException(problem)
    console.print(f"The service counted all {len(calls)} requests exactly.", style="green")


def _plain(comparison: CountComparison) -> dict[str, object]:
    keys = [attribute.key for attribute in comparison.measure.by]
    return {
        "measure": comparison.measure.title,
        "metric": comparison.measure.metric.name,
        "attributes": dict(zip(keys, comparison.values, strict=True)),
        "expected": comparison.expected,
        "counted": comparison.counted,
        "same": comparison.agrees,
    }


def own_target() -> str:
    """Where `otel-tts serve` would be with the same environment."""
    config = ServiceConfig.load()
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 - it says "everywhere", and we need somewhere
    return f"{host}:{config.port}"


async def _verified(
    target: str, url: str, iterations: int, concurrency: int, seed: int, console: Console
) -> tuple[Calls, Scrape, Scrape, list[CountComparison]]:
    async with calling(target) as caller:
        try:
            voices = await caller.voices()
        except grpc.aio.AioRpcError as error:
            raise unreachable(target, error) from None
        try:
            planned = list(islice(plan(voices, _MIX, seed), iterations))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        before = await asyncio.to_thread(read, url)
        calls = await _sent(caller, planned, concurrency, console)
        return calls, before, *await _settled(calls, before, url)


async def _sent(caller: Caller, planned: Sequence[Planned], concurrency: int, console: Console) -> Calls:
    calls: Calls = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("sending", total=len(planned))

        def record(call: Planned, reply: Reply) -> None:
            calls.append((call, reply))
            progress.advance(task)

        await exchange(caller, planned, record, concurrency=concurrency)
    return calls


async def _settled(calls: Calls, before: Scrape, url: str) -> tuple[Scrape, list[CountComparison]]:
    """The metrics as soon as they agree twice in a row, so that a late second count is seen; or as they are in the end."""
    deadline = time.monotonic() + _SETTLING
    previous: list[CountComparison] = []
    while True:
        after = await asyncio.to_thread(read, url)
        comparisons = compare(calls, before, after)
        agree = all(comparison.agrees for comparison in comparisons) and comparisons == previous
        if agree or restarted(before, after) or time.monotonic() >= deadline:
            return after, comparisons
        previous = comparisons
        await asyncio.sleep(_PAUSE)


def table(comparisons: Sequence[CountComparison]) -> Table:
    """Both sides of every number, and whether they are the same."""
    rendered = terminal.table()
    rendered.add_column("metric", overflow="fold")
    rendered.add_column("attributes", overflow="fold")
    for title in ("expected", "counted"):
        rendered.add_column(title, justify="right", no_wrap=True)
    rendered.add_column("verdict", no_wrap=True)
    rendered.caption = f"Seconds are the same within {TOLERANCE:g} s: the order of adding them differs."
    rendered.caption_justify = "left"
    titles = [comparison.measure.title for comparison in comparisons]
    for before, comparison in zip(["", *titles], comparisons, strict=False):
        number = "{:,.3f}" if comparison.measure.tolerance else "{:,.0f}"
        difference = comparison.counted - comparison.expected
        verdict = Text("same", "green") if comparison.agrees else Text(f"differs {difference:+.6g}", "bold red")
        rendered.add_row(
            "" if before == comparison.measure.title else comparison.measure.title,
            " ".join(value.rpartition("/")[2] for value in comparison.values),
            number.format(comparison.expected),
            number.format(comparison.counted),
            verdict,
        )
    return rendered


def verdict(calls: Calls, before: Scrape, after: Scrape, comparisons: Sequence[CountComparison]) -> str:
    """Why the service cannot be said to have counted exactly; empty when it can."""
    answered = sum(reply.answered for _, reply in calls)
    undecided = Counter(reply.code for _, reply in calls if outcome(reply) is None)
    if restarted(before, after):
        return "The service was restarted in that time, so its counts are lost. Run it again."
    if answered and not after.has(semconv.SYNTHESIS_DURATION):
        return (
            f"The service answered {answered} requests, and the endpoint has no {semconv.SYNTHESIS_DURATION.name}. "
            "Does it belong to another service, or does the service run with METRICS_ENABLED=false?"
        )
    differing = [comparison for comparison in comparisons if not comparison.agrees]
    problems = []
    if undecided:
        codes = ", ".join(f"{number} {code}" for code, number in sorted(undecided.items()))
        problems.append(f"Of {undecided.total()} requests the client cannot know what the service should have counted: {codes}.")
    if differing:
        problems.append(f"{len(differing)} of {len(comparisons)} numbers differ.")
    if differing and not any(comparison.counted for comparison in comparisons):
        problems.append("Nothing was counted. If the endpoint belongs to another service, give --metrics-url.")
    elif any(comparison.counted > comparison.expected for comparison in differing):
        problems.append("Did another client use the service at the same time?")
    return " ".join(problems)
