"""``otel-tts verify``: whether a service counts exactly what happens to it."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import click
import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from otel_tts import formatting, semconv
from otel_tts.commands import terminal
from otel_tts.commands.load.caller import Caller, Reply, calling, exchange, unreachable
from otel_tts.commands.load.traffic import Mix, Planned, plan
from otel_tts.commands.output import json_option, print_json
from otel_tts.commands.security import PLAIN, Security, security_options
from otel_tts.commands.verify.account import CountComparison, Traffic, compare, outcome, restarted
from otel_tts.commands.verify.agreement import disagreements
from otel_tts.commands.verify.gaps import OTHER_SERVICES, Gap, gaps
from otel_tts.commands.verify.measures import MEASURES, PRICED
from otel_tts.commands.verify.replicas import own_urls, read_all
from otel_tts.commands.verify.scrape import NoMetricsError, Scrape
from otel_tts.core.prices import Prices
from otel_tts.service.config import ServiceConfig
from otel_tts.settings import SettingError, Settings

_MIX = Mix(fresh=0.3, repeated=0.2, invalid=0.2)
_SETTLING = 2.0  # seconds in which the service may still count: some calls are answered a moment before they are over
_PAUSE_S = 0.1  # seconds between scrapes
_REPLICAS = (
    "If several replicas share the address: give --metrics-url for each, or a name that resolves to all of them, as that of a "
    "headless Service."
)

Calls = list[tuple[Planned, Reply]]


@click.command()
@click.option("--iterations", type=click.IntRange(min=1), default=20, show_default=True, help="How many requests to send.")
@click.option("--concurrency", type=click.IntRange(min=1), default=2, show_default=True, help="How many of them at once.")
@click.option("--target", metavar="HOST:PORT", help="The service; by default where `otel-tts serve` would be.")
@click.option(
    "--metrics-url",
    "metrics_urls",
    multiple=True,
    metavar="URL",
    help="Its Prometheus endpoint; by default on PROMETHEUS_PORT of the same host. Of several replicas: the option several times, or a "
    "name that resolves to all of them.",
)
@click.option("--seed", type=int, help="Send the requests of an earlier run; its output says the seed.")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False),
    help="The service's file of prices, to compare cost; by default that of this environment.",
)
@json_option
@security_options
def verify(
    iterations: int,
    concurrency: int,
    target: str | None,
    metrics_urls: tuple[str, ...],
    seed: int | None,
    prices: str | None,
    as_json: bool,
    security: Security,
) -> None:
    """Check that a running service counts exactly what happens to it.

    Sends requests, about one in five of them invalid, and knows from the answers and its own clock what the service must have
    counted. Then reads the service's metrics and compares; at the end it says what it did not compare, and why. What was counted
    before does not matter; traffic of others meanwhile does. The exit code is 1 when anything differs.

    A name that resolves to several replicas is all of them: requests go to each in turn, and what all have counted is added up.

    It needs a service that speaks yap.tts.v1, as `otel-tts serve` does. For any other: `otel-tts doctor --trace-id` or `--wait` follows one
    request, and the pytest fixture capture_tts compares counts in the service's own tests.
    """
    target = target or own_target()
    settings = Settings.load()
    urls = metrics_urls or tuple(own_urls(target, settings.prometheus_port))
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise click.UsageError(f"--metrics-url {url!r} is not allowed: it takes an http:// or https:// address.")
    try:
        prices_given = Prices.from_file(prices or settings.prices) if prices or settings.prices else None
    except SettingError as error:
        raise click.UsageError(str(error)) from None
    seed = secrets.randbelow(10**6) if seed is None else seed
    console = Console(quiet=True) if as_json else terminal.console()
    console.print(f"Sending {formatting.counted(iterations, 'request')} to {target}, {concurrency} at once (--seed {seed}).")
    try:
        calls, before, after = asyncio.run(
            _verified(target, urls, iterations, concurrency, seed, prices_given, console, security)
        )
    except NoMetricsError as error:
        raise click.ClickException(
            f"No metrics at {' and '.join(urls)}: {error}. Does the service run with METRICS_ENABLED=false, "
            "or on another PROMETHEUS_PORT? Then give --metrics-url."
        ) from None
    judgement = judge(calls, before, after, prices_given)
    console.print(table(judgement.comparisons))
    for gap in judgement.gaps:
        console.print(f"Not compared: {gap}", style="dim", highlight=False)
    problem = verdict(calls, before, after, judgement)
    if as_json:
        print_json(
            "verify",
            {
                "target": target,
                "seed": seed,
                "requests": len(calls),
                "exact": not problem,
                "problem": problem,
                "numbers": [_plain(comparison) for comparison in judgement.comparisons],
                "not_compared": [
                    {"what": gap.what, "metrics": [metric.name for metric in gap.metrics], "why": gap.why}
                    for gap in judgement.gaps
                ],
            },
        )
    if problem:
        raise click.ClickException(problem)
    console.print(
        f"The service counted {formatting.counted(len(calls), 'request')} exactly, as far as was compared: "
        f"{formatting.counted(len(judgement.comparisons), 'number')}.",
        style="green",
    )


def _plain(comparison: CountComparison) -> dict[str, object]:
    keys = [attribute.key for attribute in comparison.measure.by]
    return {
        "measure": comparison.measure.title,
        "metric": comparison.measure.metric.name,
        "of": "sum" if comparison.measure.sums else "count",
        "attributes": {key: value for key, value in zip(keys, comparison.values, strict=True) if value is not None},
        "least": comparison.low,
        "most": comparison.high if math.isfinite(comparison.high) else None,
        "counted": comparison.counted if math.isfinite(comparison.counted) else None,
        "agrees": comparison.agrees,
    }


def own_target() -> str:
    """Where `otel-tts serve` would be with the same environment."""
    config = ServiceConfig.load()
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 - it says "everywhere", and we need somewhere
    return f"{host}:{config.port}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of a comparison: the numbers, what the metrics contradict one another in, and what was not compared."""

    comparisons: list[CountComparison]
    disagreements: list[str]
    gaps: list[Gap]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.disagreements and all(comparison.agrees for comparison in self.comparisons)


def judge(calls: Calls, before: Scrape, after: Scrape, prices: Prices | None = None) -> Verification:
    """Compare what was sent with what was counted.

    Args:
        calls: each with its answer.
        before: the metrics before the calls.
        after: the metrics after the calls.
        prices: of the providers, where they are known.
    """
    if prices is None and not any(after.has(metric) for metric in (semconv.USAGE_COST, semconv.USAGE_COST_AVOIDED)):
        prices = Prices()  # the service knows none
    traffic = Traffic.judged(calls, prices)
    measures = [measure for measure in MEASURES if prices is not None or measure.metric not in PRICED]
    return Verification(compare(measures, traffic, before, after), disagreements(before, after), gaps(traffic, after))


async def _verified(
    target: str,
    urls: Sequence[str],
    iterations: int,
    concurrency: int,
    seed: int,
    prices: Prices | None,
    console: Console,
    security: Security = PLAIN,
) -> tuple[Calls, Scrape, Scrape]:
    async with calling(target, security) as caller:
        try:
            voices = await caller.voices()
        except grpc.aio.AioRpcError as error:
            raise click.ClickException(f"{unreachable(target, error, security).message} {OTHER_SERVICES}") from None
        try:
            planned = list(islice(plan(voices, _MIX, seed), iterations))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        before = await _quiet(urls)
        calls = await _sent(caller, planned, concurrency, console)
        return calls, before, await _settled(calls, before, urls, prices)


async def _quiet(urls: Sequence[str]) -> Scrape:
    """The metrics as soon as no RPC is counted any more: that for the voices is, a moment after its answer."""
    deadline = time.monotonic() + _SETTLING
    scrape = await asyncio.to_thread(read_all, urls)
    while time.monotonic() < deadline:
        await asyncio.sleep(_PAUSE_S)
        later = await asyncio.to_thread(read_all, urls)
        if later.amounts(semconv.RPC_DURATION, ()) == scrape.amounts(semconv.RPC_DURATION, ()):
            return later
        scrape = later
    return scrape


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


async def _settled(calls: Calls, before: Scrape, urls: Sequence[str], prices: Prices | None) -> Scrape:
    """The metrics as soon as they agree twice in a row, so that a late second count is seen; or as they are in the end."""
    deadline = time.monotonic() + _SETTLING
    previous: list[CountComparison] = []
    while True:
        after = await asyncio.to_thread(read_all, urls)
        judgement = judge(calls, before, after, prices)
        if (judgement.agrees and judgement.comparisons == previous) or restarted(before, after) or time.monotonic() >= deadline:
            return after
        previous = judgement.comparisons
        await asyncio.sleep(_PAUSE_S)


def table(comparisons: Sequence[CountComparison]) -> Table:
    """Both sides of every number, and whether they are the same.

    Args:
        comparisons: of what was counted with what was expected.
    """
    rendered = terminal.table()
    rendered.add_column("metric", overflow="fold")
    rendered.add_column("attributes", overflow="fold")
    for title in ("expected", "counted"):
        rendered.add_column(title, justify="right", no_wrap=True)
    rendered.add_column("verdict", no_wrap=True)
    rendered.caption = "*: of any value. Seconds that the caller measured are the most that the service may have taken."
    rendered.caption_justify = "left"
    titles = [comparison.measure.title for comparison in comparisons]
    for before, comparison in zip(["", *titles], comparisons, strict=False):
        exact = comparison.low == comparison.high
        if not comparison.agrees:
            verdict = Text(f"differs {comparison.difference:+.6g}", "bold red")
        else:
            verdict = Text("same" if exact else "within", "green")
        rendered.add_row(
            "" if before == comparison.measure.title else comparison.measure.title,
            comparison.labels,
            _number(comparison.low) if exact else _range(comparison.low, comparison.high),
            _number(comparison.counted),
            verdict,
        )
    return rendered


def _number(number: float) -> str:
    if math.isnan(number):
        return "none"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.3f}" if number >= 0.01 else f"{number:.2g}"


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{_number(low)}.."
    return f"{_number(low)}..{_number(high)}"


def verdict(calls: Calls, before: Scrape, after: Scrape, judgement: Verification) -> str:
    """Why it is not certain that the service counted exactly; empty when it is.

    Args:
        calls: each with its answer.
        before: the metrics before the calls.
        after: the metrics after the calls.
        judgement: what the comparisons came to.
    """
    comparisons = judgement.comparisons
    answered = sum(reply.answered for _, reply in calls)
    undecided = Counter(reply.code for _, reply in calls if outcome(reply) is None)
    if restarted(before, after):
        return f"The service was restarted in that time, so its counts are lost. Run it again. {_REPLICAS}"
    if answered and not after.has(semconv.SYNTHESIS_DURATION):
        return (
            f"The service answered {formatting.counted(answered, 'request')}, and the endpoint has no {semconv.SYNTHESIS_DURATION.name}. "
            "Does it belong to another service, or does the service run with METRICS_ENABLED=false?"
        )
    differing = [comparison for comparison in comparisons if not comparison.agrees]
    problems = []
    if undecided:
        codes = ", ".join(f"{number} {code}" for code, number in sorted(undecided.items()))
        problems.append(
            f"Of {formatting.counted(undecided.total(), 'request')} the client cannot know what the service should have counted: {codes}."
        )
    if differing:
        problems.append(f"Different: {len(differing)} of {formatting.counted(len(comparisons), 'number')}.")
    if differing and not any(comparison.counted for comparison in comparisons if not comparison.measure.total):
        problems.append("Nothing was counted. If the endpoint belongs to another service, give --metrics-url.")
    elif any(comparison.counted > comparison.high for comparison in differing):
        problems.append("Did another client use the service at the same time?")
    elif any(each.measure.metric is semconv.SYNTHESIS_DURATION and each.counted < each.low for each in differing):
        problems.append(_REPLICAS)
    return " ".join([*problems, *judgement.disagreements])
