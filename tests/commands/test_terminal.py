"""Outcomes and lines in the terminal, and where there is none."""

from __future__ import annotations

import pytest

from otel_tts.commands import terminal
from otel_tts.semconv import Outcome


def test_outcomes_are_words_in_colours() -> None:
    """Every outcome has its word, and a colour of its own or that of failure."""
    assert [terminal.outcome(outcome).plain for outcome in Outcome] == [outcome.value for outcome in Outcome]
    assert set(terminal.STYLES) == set(Outcome)


@pytest.mark.parametrize(
    ("environ", "whole"), [({}, True), ({"COLUMNS": "60"}, False), ({"FORCE_COLOR": "1"}, False), ({"COLUMNS": "wide"}, True)]
)
def test_lines_are_whole_where_nobody_looks(
    environ: dict[str, str], whole: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe a sentence is a line and a name in a table is whole; in a terminal, and where its width is set, they are folded."""
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    address = "http://127.0.0.1:13133/" + "a" * 200
    table = terminal.table()
    table.add_column("address", overflow="fold")
    table.add_row(address)
    console = terminal.console()
    console.print(f"See {address} for more.")
    console.print(table)
    printed = capsys.readouterr().out
    assert (f"See {address} for more.\n" in printed and printed.count(address) == 2) == whole


def test_a_drawing_has_a_width_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What fills the width has 80 columns where there is no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal.console(is_drawing=True).print("a " * 200)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
