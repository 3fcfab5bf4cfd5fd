"""The cluster's names without namespaces: lines in a hosts file, which is afterwards as it was."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scale.names import Names


@pytest.mark.parametrize("text", ["127.0.0.1 localhost\n", "127.0.0.1 localhost\n10.0.0.1 another"])
def test_lines_come_and_go(tmp_path: Path, text: str) -> None:
    """Two runs at once keep each other's lines; whoever ends takes out its own."""
    hosts = tmp_path / "hosts"
    hosts.write_text(text)
    with ExitStack() as closing:
        names = Names({"receives": ["127.0.0.31", "127.0.0.32"]}, tmp_path, closing, hosts, private=False)
        assert names.within(["a", "b"]) == ["a", "b"]
        lines = hosts.read_text().splitlines()
        assert [line.split()[:2] for line in lines[-2:]] == [["127.0.0.31", "receives.test"], ["127.0.0.32", "receives.test"]]
        with hosts.open("a") as other:
            other.write("10.0.0.2 somebody.else\n")
    assert hosts.read_text() == text.rstrip("\n") + "\n" + "10.0.0.2 somebody.else\n"


def test_a_program_sees_the_names(tmp_path: Path) -> None:
    """Where namespaces may be made, by a file of its own."""
    with ExitStack() as closing:
        names = Names({"receives": ["127.0.0.31"]}, tmp_path, closing)
        seen = subprocess.run(
            names.within(["getent", "hosts", "receives.test"]), capture_output=True, text=True, check=True
        ).stdout
    assert seen.split()[0] == "127.0.0.31"
