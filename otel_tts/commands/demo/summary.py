"""Summary: what telemetry tells of a stretch of time. Every number comes from `history`, none from whoever sent the traffic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from otel_tts import formatting
from otel_tts.commands import terminal
from otel_tts.commands.requests import listing
from otel_tts.history import History, Request, RequestFilter, Row
from otel_tts.semconv import FAILURES, Outcome

_SHORTEST = 20.0  # seconds: windows of history hold two exports
_SEARCHED = 20_000  # newest requests among which the slowest are looked for
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent to the service.

    requests: how many. unanswered: how many of them ended at their own deadline before the service had sent anything.
    """

    requests: int
    unanswered: int = 0


def summary(history: History, service: str, start: float, end: float, sent: Sent, *, console: Console) -> Group:
    """What ``service`` did between two moments (seconds since the Unix epoch).

    Args:
        history: the telemetry that is read.
        service: the name of the service.
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
        sent: what was sent to it.
        console: the terminal.
    """
    until = max(end, start + _SHORTEST)  # nothing comes after the end, so that a later one changes nothing
    (total,) = history.aggregates(start, until, service=service)
    providers = history.aggregates(start, until, by=["provider"], service=service)
    requests = history.requests(RequestFilter(service=service, since=start), _SEARCHED)
    terminal_columns = console.width
    parts: list[RenderableType] = [_outcomes(total), _counted(total, sent), "", _times(total), "", *_facts(total, requests), ""]
    parts += [_providers(providers), ""]
    parts += _some("The slowest", sorted(requests, key=attrgetter("duration"), reverse=True), terminal_columns)
    parts += _some("Failed", [request for request in requests if request.outcome in FAILURES], terminal_columns)
    return Group(*parts, *_next_steps(requests))


def _outcomes(total: Row) -> Table:
    shown = terminal.table("Requests")
    shown.add_column("outcome")
    shown.add_column("requests", justify="right")
    shown.add_column("share", justify="right")
    for outcome in Outcome:
        if number := getattr(total, f"request_{outcome}"):
            shown.add_row(terminal.outcome(outcome), formatting.count(number), formatting.percent(number / total.request_count))
    shown.add_section()
    shown.add_row("all", formatting.count(total.request_count))
    return shown


def _counted(total: Row, sent: Sent) -> Text:
    requests, missing = formatting.counted(sent.requests, "request"), sent.requests - total.request_count
    if not missing:
        return Text(f"The demo sent {requests}, and telemetry counted as many.", "green")
    unanswered = f"{formatting.counted(sent.unanswered, 'call')} whose deadline passed before anything came back"
    if 0 < missing <= sent.unanswered:
        return Text(
            f"The demo sent {requests}, telemetry counted {total.request_count:,}: {missing:,} of {unanswered} may never have reached the "
            "service.",
            "yellow",
        )
    reason = (
        f"Only {unanswered} may never have reached the service."
        if missing > 0
        else "Another demo may write to the same directory."
    )
    return Text(
        f"The demo sent {requests}, telemetry counted {total.request_count:,}: a difference of {-missing:+,}. {reason}",
        "bold red",
    )


def _times(total: Row) -> Table:
    shown = terminal.table("Latency")
    shown.add_column("")
    quantiles = ("p50", "p95", "p99")
    for quantile in quantiles:
        shown.add_column(quantile, justify="right")
    for name, column in (("whole request", "request_duration"), ("first audio (streams)", "request_first_audio")):
        shown.add_row(name, *(formatting.duration(getattr(total, f"{column}_{quantile}")) for quantile in quantiles))
    return shown


def _facts(total: Row, requests: Sequence[Request]) -> Iterator[Text]:
    yield Text(
        f"Success rate: {formatting.percent(total.request_success_rate)} (rejected and cancelled requests are not counted)."
    )
    yield Text(
        f"Cache: {formatting.percent(total.request_hit_rate)} hits; {formatting.counted(total.request_cache_hit, 'hit')}, "
        f"{formatting.counted(total.request_cache_miss, 'miss', 'misses')}, {formatting.count(total.request_cache_coalesced)} coalesced, "
        f"{formatting.count(total.request_cache_bypass)} bypass."
    )
    yield Text(
        f"Audio: {formatting.duration(total.request_audio_generated)} generated, "
        f"{formatting.duration(total.request_audio_delivered)} delivered."
    )
    if fallen_back := sum(request.fallback_used is True for request in requests):
        yield Text(f"Fallback: {formatting.counted(fallen_back, 'request')} served by another provider than the first.")


def _providers(rows: Sequence[Row]) -> Table:
    shown = terminal.table("Providers")
    shown.add_column("provider")
    for heading in ("attempts", "success", "p50", "p95", "real-time factor"):
        shown.add_column(heading, justify="right")
    for row in rows:
        if row.attempt_count:
            shown.add_row(
                row.provider,
                formatting.count(row.attempt_count),
                formatting.percent(row.attempt_success_rate),
                formatting.duration(row.attempt_duration_p50),
                formatting.duration(row.attempt_duration_p95),
                formatting.value(row.attempt_rtf_p50, "1"),
            )
    return shown


def _some(title: str, requests: Sequence[Request], terminal_columns: int) -> list[RenderableType]:
    if not requests:
        return []
    shown = listing(requests[:_SHOWN], terminal_columns)
    more = f" ({_SHOWN} of {len(requests):,})" if len(requests) > _SHOWN else ""
    shown.title = f"{title}{more}"
    return [shown, ""]


def _next_steps(requests: Sequence[Request]) -> Iterator[Text]:
    steps = [("otel-tts requests --outcome error", "list requests by outcome")]
    if example := max(requests, key=lambda request: (request.attempts or 0, request.duration), default=None):
        steps.append((f"otel-tts trace {example.trace_id[: terminal.TRACE_DIGITS]}", "one request as a tree"))
    steps += [
        ("otel-tts serve", "run the service without the demo"),
        ("otel-tts verify", "check that the running service counts exactly"),
    ]
    yield Text("Next steps", "bold")
    width = max(len(command) for command, _ in steps)
    for command, purpose in steps:
        yield Text.assemble((f"  {command:<{width}}  ", "cyan"), purpose)
