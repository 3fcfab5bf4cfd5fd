"""What `doctor` advises where a part does not answer: nothing that an installed user does not have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_tts.cli import main
from otel_tts.commands.doctor.start import start_part, start_service

ROOT = Path(__file__).parents[2]
LIKE_MAKE = re.compile(r"`(?:make|docker compose) [\w-]+")
IN_A_CHECKOUT = {"otel_tts/commands/doctor/start.py"}
"""Modules that name `make` or Compose after they have looked whether there is a checkout."""


@pytest.mark.parametrize("part", ["collector", "prometheus", "jaeger", "grafana"])
def test_a_part_is_started_by_what_there_is(part: str, tmp_path: Path) -> None:
    """In a checkout by its own commands; with the package alone it is the user's part, and local files are a way without any."""
    stack = "" if part == "grafana" else "`make stack` or "
    assert start_part(part) == f"Start it: {stack}`docker compose up -d {part}`. Elsewhere? Give --{part}-url."
    installed = start_part(part, tmp_path)
    assert not LIKE_MAKE.search(installed)
    assert f"--{part}-url" in installed
    assert "`otel-tts trace` read" in installed


def test_the_service_is_started_by_what_there_is(tmp_path: Path) -> None:
    """The package itself has the reference service."""
    assert "`make stack`" in start_service()
    installed = start_service(tmp_path)
    assert not LIKE_MAKE.search(installed)
    assert "`otel-tts serve`" in installed


def test_no_other_message_names_what_only_a_checkout_has() -> None:
    """Nowhere in the package is somebody told to run `make` or Compose, but where a checkout was found, and in generated files."""
    advised = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "otel_tts").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if LIKE_MAKE.search(line) and "make generate" not in line
    }
    assert advised == IN_A_CHECKOUT


@pytest.mark.parametrize(("patience", "named"), [("2", True), ("15", False)])
def test_little_patience_is_said_to_be_so(patience: str, named: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wait that is shorter than the interval of exports finds healthy hops broken."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    nowhere = [f"--{part}-url=http://127.0.0.1:9" for part in ("collector", "prometheus", "jaeger", "grafana")]
    output = CliRunner().invoke(main, ["doctor", "--wait", "--patience", patience, *nowhere]).output
    assert (f"with --patience {patience}, what is still on its way looks broken" in " ".join(output.split())) is named
