"""``otel-tts cardinality``: how many series a running service makes, and which labels make them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click
from rich.console import Console

from otel_tts import formatting
from otel_tts.commands import terminal
from otel_tts.commands.output import json_option, print_json
from otel_tts.commands.requests import WIDE
from otel_tts.history import History, open_history
from otel_tts.history.cardinality import BUDGET, Cardinality
from otel_tts.history.cardinality import cardinality as counted_by_metric
from otel_tts.settings import HistorySettings, Settings

ABOVE_BUDGET = 3
"""The exit code where an instance has more series than the budget."""
_LABELS = 4
"""Labels of a metric that the table shows; JSON has all."""


@click.command()
@click.option("--service", default="", metavar="NAME", help="Only what this service exports.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    default=BUDGET,
    show_default=True,
    metavar="SERIES",
    help="The most series that one instance should have.",
)
@click.option(
    "--instances",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Say what so many instances would make; without it, those that there are.",
)
@json_option
def cardinality(service: str, budget: int, instances: int | None, as_json: bool) -> None:
    """Count the series of a running service, by metric and label.

    They are those of the last five minutes, as Prometheus counts them: each bucket of a histogram is one. Of local files it is what
    Prometheus would have.

    The exit code is 3 where one instance has more than the budget.
    """
    history = open_history(HistorySettings.load())
    attribute_sets = history.attribute_sets(time.time())
    result = counted_by_metric(each for each in attribute_sets if service in ("", each.service))
    if not result.series:
        raise click.ClickException(_nothing(history, service, sorted({each.service for each in attribute_sets})))
    number = instances or result.instances
    if as_json:
        print_json("cardinality", _as_json(result, history, service, budget, number))
    else:
        _print(result, history, budget, number)
    if words := terminal.left_out(history):
        click.echo(words, err=True)
    raise SystemExit(ABOVE_BUDGET if result.most_per_instance > budget else 0)


def _nothing(history: History, service: str, services: list[str]) -> str:
    """Why nothing was counted."""
    whose = f" of {service!r}" if service else ""
    others = f", only of {', '.join(services)}" if services else f" in {history.source}"
    return f"There are no metrics{whose} of the last five minutes{others}. Is the service running, and does it export metrics?"


def _as_json(result: Cardinality, history: History, service: str, budget: int, instances: int) -> dict[str, object]:
    return {
        "source": history.source,
        "service": service or None,
        "services": result.services,
        "instances": result.instances,
        "series": result.series,
        "most_per_instance": result.most_per_instance,
        "budget": {
            "per_instance": budget,
            "instances": instances,
            "series": budget * instances,
            "expected_series": result.most_per_instance * instances,
            "exceeded": result.most_per_instance > budget,
        },
        "metrics": result.metrics,
    }


def _print(result: Cardinality, history: History, budget: int, instances: int) -> None:
    console = terminal.console()
    table = terminal.table()
    wide = console.width >= WIDE  # else names of metrics would be broken, and nobody finds half a name
    table.add_column("metric", no_wrap=True)
    for heading in ("series", "share", "each", "limit each"):
        table.add_column(heading, justify="right", no_wrap=True)
    if wide:
        table.add_column("labels: values", overflow="fold")
    for metric in result.metrics:
        table.add_row(
            metric.name,
            formatting.count(metric.series),
            formatting.percent(metric.share),
            formatting.count(metric.most_per_instance),
            formatting.count(metric.limit_per_instance),
            *([_labels(metric.labels)] if wide else []),
        )
    console.print(table)
    _print_budget(console, result, budget, instances)
    labels = "" if wide else f"; a terminal of {WIDE} columns shows labels"
    console.print(f"{history.source}; each: of the instance that has most{labels}", style="dim", soft_wrap=True)


def _labels(labels: Mapping[str, int]) -> str:
    """The labels that make most series."""
    several = [f"{name} {values}" for name, values in labels.items() if values > 1]
    more = [f"{len(several) - _LABELS} more"] if len(several) > _LABELS else []
    return ", ".join(several[:_LABELS] + more)


def _print_budget(console: Console, result: Cardinality, budget: int, instances: int) -> None:
    """Print the sum, and how it compares with the budget."""
    there = formatting.counted(result.instances, "instance")
    most = result.most_per_instance
    console.print(f"{there}, {formatting.counted(result.series, 'series', 'series')}; at most {formatting.count(most)} each.")
    exceeded = most > budget
    console.print(
        f"The budget of each is {formatting.counted(budget, 'series', 'series')}, {formatting.count(budget * instances)} for "
        f"{formatting.counted(instances, 'instance')}. If each had as many as the largest, they would have "
        f"{formatting.count(most * instances)}.",
        style="yellow" if exceeded else "green",
        soft_wrap=True,
    )
    if exceeded:
        console.print(
            f"Leave out metrics that nobody wants ({Settings.variable('metrics_dropped')}=tts.audio.*), or name the values to keep "
            "apart: Telemetry(voices=[...]).",
            soft_wrap=True,
        )
