"""The command ``otel-tts``: a table of subcommands, each imported only when it is used."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

import click

from otel_tts.settings import HistorySettings, SettingError, misspelt
from otel_tts.version import __version__


class Subcommand(NamedTuple):
    """The location of a subcommand, and the facts that are needed without importing it."""

    target: str
    """``module:function``."""
    summary: str
    """Its line in ``--help``."""
    extra: str = "service"
    """The extra that installs the packages that it needs."""


SUBCOMMANDS: Mapping[str, Subcommand] = {
    "demo": Subcommand("otel_tts.commands.demo.command:demo", "Try it: real speech, real telemetry, and a summary.", "demo"),
    "run": Subcommand("otel_tts.commands.run:run", "Run a program with telemetry, without changing its code."),
    "serve": Subcommand("otel_tts.commands.serve:serve", "Run the speech service."),
    "status": Subcommand("otel_tts.commands.status:status", "Say what is wrong now, with the exit code of a check."),
    "requests": Subcommand("otel_tts.commands.requests:requests", "List recent syntheses."),
    "trace": Subcommand("otel_tts.commands.trace:trace", "Draw one request as a tree of spans."),
    "cardinality": Subcommand("otel_tts.commands.cardinality:cardinality", "Count series, by metric and label."),
    "verify": Subcommand("otel_tts.commands.verify.command:verify", "Check that a running service counts exactly."),
    "doctor": Subcommand("otel_tts.commands.doctor.command:doctor", "Follow one synthesis through the whole pipeline."),
    "live": Subcommand("otel_tts.commands.live:live", "Show telemetry live in a browser.", "live"),
    "report": Subcommand(
        "otel_tts.commands.report.command:report", "Write windows of telemetry into MLflow, and judge them.", "report"
    ),
    "config": Subcommand("otel_tts.commands.config:config", "Print the settings in force and where each comes from."),
    "rules": Subcommand(
        "otel_tts.commands.rules:rules", "Write Prometheus rules and Alertmanager routing for your own stack.", "rules"
    ),
    "grafana": Subcommand(
        "otel_tts.commands.grafana.command:grafana", "Write the dashboards for your own Grafana, or upload them.", "grafana"
    ),
}


def _without_its_extra(name: str, subcommand: Subcommand, module: str) -> click.Command:
    """Return a stand-in for a subcommand that lacks a package: its help works, and running it is an error with the remedy."""
    message = (
        f"`otel-tts {name}` needs the Python module {module}, which is not installed. "
        f"Install it with: pip install 'otel-tts[{subcommand.extra}]'"
    )

    def fail() -> None:
        raise click.ClickException(message)

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, context_settings=settings, callback=fail, help=f"{subcommand.summary}\n\n{message}")


class LazyGroup(click.Group):
    """A group that imports the one subcommand it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the table."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the subcommand; where a package is missing, one that explains itself and says how to install it."""
        if cmd_name not in SUBCOMMANDS:
            return None
        subcommand = SUBCOMMANDS[cmd_name]
        module, _, function = subcommand.target.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("otel_tts"):
                raise
            return _without_its_extra(cmd_name, subcommand, error.name or "")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, so that ``--help`` imports no subcommand."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, subcommand.summary) for name, subcommand in SUBCOMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand. A setting that cannot be used, or a history that does not answer, gives a message, not a traceback."""
        try:
            return super().invoke(ctx)
        except SettingError as error:
            raise click.ClickException(str(error)) from error
        except ConnectionError as error:
            from otel_tts.history import HistoryUnavailableError  # imported already by the code that raised it

            if isinstance(error, HistoryUnavailableError):
                raise click.ClickException(str(error)) from error
            raise


_SAY_IT_THEMSELVES = ("demo", "run", "serve", "config")
"""Commands that name variables which nothing reads by themselves: where telemetry is set up, and in their table."""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="otel-tts")
@click.option(
    "--select",
    multiple=True,
    metavar="NAME=VALUE",
    help="Read only from processes with this resource attribute, such as k8s.cluster.name=eu. May be given several times.",
)
@click.pass_context
def main(ctx: click.Context, select: tuple[str, ...]) -> None:
    """Observe text-to-speech services with OpenTelemetry."""
    if ctx.invoked_subcommand not in _SAY_IT_THEMSELVES:
        for sentence in misspelt.sentences(os.environ):
            click.echo(sentence, err=True)
    if select:
        pairs = (pair.partition("=") for pair in select)
        os.environ[HistorySettings.variable("selection")] = ",".join(
            f"{name}{equals}{quote(value)}" for name, equals, value in pairs
        )
