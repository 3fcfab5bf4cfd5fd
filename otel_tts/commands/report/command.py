"""The command itself, with its subcommands, and what it exits with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from otel_tts import formatting, semconv
from otel_tts.commands import terminal
from otel_tts.commands.output import json_option, print_json
from otel_tts.commands.report import summary, surroundings
from otel_tts.commands.report.failures import ReportFailedError, failures, one_service, require_telemetry
from otel_tts.commands.report.reporting import run_pass
from otel_tts.history import HistoryUnavailableError, open_history
from otel_tts.report import comparison, tracking
from otel_tts.report.feedback import Feedback
from otel_tts.report.headline import Headline, in_words
from otel_tts.report.job import ReportJob
from otel_tts.report.lock import locked
from otel_tts.report.profile import Profiles
from otel_tts.report.reference import LAST_WEEK, length_s, moment, resolve
from otel_tts.report.runs import Runs
from otel_tts.report.window import Window
from otel_tts.settings import ReportSettings, redact_url


def _parsed(parse: Callable[[str], float]) -> Callable[..., float | None]:
    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


@click.group(invoke_without_command=True)
@click.option(
    "--window", "width_s", default="1h", show_default=True, callback=_parsed(length_s), help="How long a window is: 5m, 1h, 1d."
)
@click.option(
    "--grace", "grace_s", default="1m", show_default=True, callback=_parsed(length_s), help="How long to wait for late telemetry."
)
@click.option(
    "--since",
    callback=_parsed(moment),
    metavar="TIME",
    help="Report from this time on: 2026-11-23T09:00, or 2d for two days ago.",
)
@click.option(
    "--until", callback=_parsed(moment), metavar="TIME", help="Report up to this time, even if that window has not ended."
)
@click.option(
    "--every", "every_s", callback=_parsed(length_s), metavar="TIME", help="Keep running, with a pass every 5m; else one pass."
)
@click.option("--service", metavar="NAME", help="Only this service; else every one that there is telemetry of.")
@click.option(
    "--reference",
    default=LAST_WEEK,
    show_default=True,
    metavar="WHAT",
    help="What to compare with: last-7d, version:V, profile:NAME or range:START..END.",
)
@click.option("--experiment", default=tracking.EXPERIMENT, show_default=True, metavar="NAME", help="MLflow's experiment.")
@click.option("--traces", is_flag=True, help="Copy the traces of each window's worst requests into MLflow.")
@click.option("--workspace", type=click.Path(file_okay=False, path_type=Path), help="A directory of reports for `evidently ui`.")
@json_option
@click.pass_context
def report(ctx: click.Context, /, **options: Any) -> None:
    """Write windows of telemetry into MLflow, and judge them against a reference with Evidently.

    Without MLFLOW_TRACKING_URI, runs go to a database in the data directory. A pass continues where the last one ended, and changes
    nothing if there is nothing new. It exits with 3 when there is no telemetry, 4 when MLflow cannot be reached, 5 when there is no
    such reference, 6 when another job is running and 7 when the source of the telemetry does not answer.
    """
    if ctx.invoked_subcommand is None:
        with failures():
            _report(**options)


def _report(
    *,
    width_s: float,
    grace_s: float,
    since: float | None,
    until: float | None,
    every_s: float | None,
    service: str | None,
    reference: str,
    experiment: str,
    traces: bool,
    workspace: Path | None,
    as_json: bool,
) -> None:
    settings = ReportSettings.load()
    history, console, stop = (
        open_history(settings),
        Console(quiet=True) if as_json else terminal.console(),
        surroundings.stopping(),
    )
    if width_s < 2 * history.interval:
        raise click.UsageError(
            f"--window takes {2 * history.interval:g}s or more: metrics are exported every {history.interval:g} s."
        )
    with surroundings.telemetry(keep_port=every_s is not None):
        feedback = Feedback()
        profiles = Profiles(settings.data_dir)
        uri = tracking.default_uri(settings)
        with locked(settings.data_dir, f"{experiment} at {redact_url(uri)}"):
            while True:
                with feedback.tracer.start_as_current_span(semconv.REPORT_SPAN.name):
                    try:
                        require_telemetry(history, service)
                        runs = Runs(uri, experiment)
                        job = ReportJob(
                            history,
                            runs,
                            lambda name: resolve(reference, history, profiles, runs, name),  # noqa: B023 - used in this pass
                            feedback,
                            service,
                            traces,
                            workspace,
                            _trace_address(settings),
                        )
                        reported = run_pass(job, console, width_s, grace_s, since, until, stop)
                        if as_json:
                            print_json("report", {"windows": reported}, indent=None if every_s is not None else 2)
                    except (ReportFailedError, tracking.TrackingUnreachableError, HistoryUnavailableError) as error:
                        if every_s is None:
                            raise
                        failed = Console(stderr=True) if as_json else console
                        failed.print(f"{formatting.date(time.time())}  {error}", style="bold red", soft_wrap=True, markup=False)
                if every_s is None or stop.wait(every_s):
                    return


@report.command()
@click.argument("first")
@click.argument("second")
@click.option("--service", metavar="NAME", help="The service; needed when there is telemetry of several.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one page to send to somebody into this file.",
)
@json_option
def compare(first: str, second: str, service: str | None, page: Path | None, as_json: bool) -> None:
    """Compare the SECOND side with the FIRST: what is better, what is worse.

    A side is a service version, or the name of a saved profile; or version:V, profile:NAME or range:START..END.
    """
    with failures():
        settings = ReportSettings.load()
        history = open_history(settings)
        name = one_service(history, service)
        result = comparison.compare(history, Profiles(settings.data_dir), name, first, second)
        sides = in_words(first), in_words(second)
        if page is not None:
            _write_page(page, summary.comparison_page(name, *sides, result, _trace_address(settings)))
        if as_json:
            print_json("report compare", summary.plain_comparison(name, first, second, result))
        else:
            terminal.console().print(summary.comparison_summary(name, *sides, result))


def _trace_address(settings: ReportSettings) -> str:
    """The address of a trace, with ``{trace_id}`` in it; empty without a Jaeger."""
    return f"{redact_url(settings.jaeger.url).rstrip('/')}/trace/{{trace_id}}" if settings.jaeger.url else ""


def _write_page(path: Path, headline: Headline) -> None:
    try:
        path.write_text(headline.html(), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"--html {str(path)!r} cannot be written: {error.strerror}.") from None


@report.group()
def reference() -> None:
    """Keep samples of good telemetry, to compare with later."""


@reference.command()
@click.argument("name")
@click.option("--service", metavar="NAME", help="The service; needed when there is telemetry of several.")
@click.option("--from", "source", metavar="WHAT", help="version:V or range:START..END; else everything there is.")
def save(name: str, service: str | None, source: str | None) -> None:
    """Save a profile under NAME, in place of one that has it."""
    with failures():
        settings = ReportSettings.load()
        history, profiles = open_history(settings), Profiles(settings.data_dir)
        key = one_service(history, service)
        whole = f"range:{formatting.utc(history.began or 0.0)}..{formatting.utc(math.ceil(time.time() + history.interval))}"
        sample = resolve(source or whole, history, profiles, None, key).sample(Window(0.0, 0.0))
        assert sample is not None  # noqa: S101 - nothing overlaps an empty window
        path = profiles.save(name, sample)
        console = terminal.console()
        console.print(
            f"Saved {len(sample.rows):,} of {formatting.counted(sample.requests, 'request')} to {key} as {path}.", soft_wrap=True
        )
        if sample.sampled:
            console.print("Spans of some requests are missing: nothing will be judged against it.", style="yellow")


@reference.command("list")
@json_option
def listed(as_json: bool) -> None:
    """List the profiles."""
    names = Profiles(ReportSettings.load().data_dir).names()
    if as_json:
        print_json("report reference list", {"profiles": names})
    elif names:
        click.echo("\n".join(names))
    else:
        click.echo("There is no profile yet: `otel-tts report reference save NAME` makes one.", err=True)
