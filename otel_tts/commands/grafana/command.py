"""The command itself: ``export`` writes files, ``push`` uploads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click

from otel_tts.commands.grafana.server import Grafana, GrafanaRefusedError
from otel_tts.conditions import Objectives
from otel_tts.grafana import FOLDER, PAGES, Home, render
from otel_tts.grafana.home import Traces
from otel_tts.grafana.pages import model
from otel_tts.settings import GrafanaSettings, url


class _GrafanaUrl(click.ParamType[str]):
    """Grafana's address. A user and a password in it would go to Grafana in place of the token, and be shown."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if "@" in value:
            self.fail(f"it takes no user and password: the token is in {GrafanaSettings.variable('token')}.", param, ctx)
        try:
            return url(value)
        except ValueError as error:
            self.fail(f"it takes {error}.", param, ctx)


def _at_home(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what the dashboards open with."""
    for option in (
        click.option("--service", default="", help="The service that is chosen when a dashboard opens; all, unless given."),
        click.option("--tempo-uid", default="tempo", show_default=True, help="The uid of the Tempo data source."),
        click.option("--jaeger-uid", default="jaeger", show_default=True, help="The uid of the Jaeger data source."),
        click.option(
            "--traces",
            type=click.Choice(get_args(Traces)),
            default="jaeger",
            show_default=True,
            help="Which of the two has the traces when a dashboard opens.",
        ),
        click.option("--datasource-uid", default="prometheus", show_default=True, help="The uid of the Prometheus data source."),
    ):
        command = option(command)
    return command


def _home(datasource_uid: str, jaeger_uid: str, tempo_uid: str, traces: Traces, service: str, settings: GrafanaSettings) -> Home:
    return Home(
        prometheus=datasource_uid,
        jaeger=jaeger_uid,
        tempo=tempo_uid,
        traces=traces,
        service=service,
        objectives=Objectives.from_settings(settings),
        runbooks=settings.runbooks_url,
    )


@click.group()
def grafana() -> None:
    """Write the dashboards for your own Grafana, or upload them."""


@grafana.command(short_help="Write the dashboards, a JSON file each.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The directory to write to.")
@_at_home
def export(out: Path, **options: Any) -> None:
    """Write the dashboards with the objectives of the environment, a JSON file each."""
    home = _home(settings=GrafanaSettings.load(), **options)
    out.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        target = out / f"{name}.json"
        target.write_text(render(name, home), encoding="utf-8")
        click.echo(f"wrote {target}")


@grafana.command(short_help="Upload the dashboards through Grafana's HTTP API.")
@click.argument("address", metavar="URL", type=_GrafanaUrl())
@click.option("--folder", default=FOLDER, show_default=True, help="The title of the folder; it is made if it is not there.")
@_at_home
def push(address: str, folder: str, **options: Any) -> None:
    """Upload the dashboards to the Grafana at URL, with the objectives of the environment.

    The token of a service account with the role Editor comes from OTEL_TTS_GRAFANA_TOKEN. Dashboards that are there already are
    replaced where they differ, and left alone where they don't.
    """
    settings = GrafanaSettings.load()
    token = _token(settings)
    home = _home(settings=settings, **options)
    try:
        with Grafana(replace(settings.grafana, url=address), token) as server:
            uid = server.folder(folder)
            for name, page in PAGES.items():
                click.echo(f"{server.put(model(name, home), uid)} {address}/d/{page.uid}")
    except GrafanaRefusedError as error:
        raise click.ClickException(str(error)) from error


def _token(settings: GrafanaSettings) -> str:
    """The token, which nothing here shows."""
    name, token = GrafanaSettings.variable("token"), settings.token.value.strip()
    if not token:
        raise click.ClickException(
            f"{name} is not set: make a service account with the role Editor in Grafana (Administration, Users and access) "
            "and put its token there."
        )
    if not re.fullmatch(r"[!-~]+", token):
        raise click.ClickException(f"{name} is no token: it has spaces, line ends or letters that a header cannot hold.")
    return token
