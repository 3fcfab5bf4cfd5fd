"""``otel-tts rules``: Prometheus rules and Alertmanager routing for one's own stack."""

from __future__ import annotations

from pathlib import Path

import click

from otel_tts.conditions import Objectives
from otel_tts.rules import FILES, alertmanager, prometheus
from otel_tts.rules.routing import DIRECTORY
from otel_tts.settings import ObjectiveSettings


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The directory to write to.")
@click.option(
    "--receivers",
    default=DIRECTORY,
    show_default=True,
    help="Where Alertmanager finds the files that hold its receivers' addresses.",
)
def rules(out: Path, receivers: str) -> None:
    """Write Prometheus rules and an Alertmanager configuration with the objectives of the environment."""
    settings = ObjectiveSettings.load()
    objectives = Objectives.from_settings(settings)
    written = {f"rules/{name}.yml": prometheus(name, objectives, settings.runbooks_url) for name in FILES}
    for name, text in {**written, "alertmanager.yml": alertmanager(receivers)}.items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        click.echo(f"wrote {target}")
