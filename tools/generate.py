"""``python -m tools.generate`` (`make generate`): every committed file that is written from code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

from otel_tts import grafana, rules
from tools.documentation import configuration, readme, runbooks, telemetry


def _dashboard(name: str, _: str) -> str:
    return grafana.render(name)


def _rules(name: str, _: str) -> str:
    return rules.prometheus(name)


GENERATED: Mapping[str, Callable[[str], str]] = {
    "README.md": readme.render,
    "docs/configuration.md": lambda _: configuration.render(),
    "docs/telemetry.md": lambda _: telemetry.render(),
    "docs/runbooks.md": lambda _: runbooks.render(),
    "deploy/alertmanager/alertmanager.yml": lambda _: rules.alertmanager(),
    **{f"deploy/prometheus/rules/{name}.yml": partial(_rules, name) for name in rules.FILES},
    **{f"dashboards/{name}.json": partial(_dashboard, name) for name in grafana.PAGES},
}
"""Each generated file, as a path in the repository, and what renders it from the text that is there."""


def stale(root: Path) -> list[str]:
    """The generated files below ``root`` that are missing or differ from what would be written."""
    return [name for name, render in GENERATED.items() if (text := _read(root / name)) != render(text)]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is stale.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The source checkout.",
)
def generate(check: bool, root: Path) -> None:
    """Write the generated files of a source checkout."""
    names = stale(root)
    if check and names:
        raise click.ClickException(f"Stale: {', '.join(names)}. Run `make generate` and commit what it writes.")
    for name in names:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(GENERATED[name](_read(target)), encoding="utf-8")
        click.echo(f"wrote {name}")
    if not names:
        click.echo(f"{len(GENERATED)} generated files are up to date")


if __name__ == "__main__":
    generate()
