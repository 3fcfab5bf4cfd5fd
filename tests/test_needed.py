"""What a run of the tests says at its start about tools that are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import needed


def test_each_missing_tool_is_named_with_what_is_skipped_and_how_to_get_it() -> None:
    """Without any tool every one is in the report, beside the tests that are skipped and a way to get it."""
    report = "\n".join(needed.report(needed.missing(lambda _: False, lambda _: False)))
    for tool in needed.NEEDED:
        assert tool.name in report
        assert f"{tool.skipped}. To get it: {tool.remedy}." in report


def test_one_missing_tool_is_the_only_one_reported() -> None:
    """A tool that is there is not reported."""
    for tool in needed.NEEDED:
        programs, module = tool.programs, tool.module
        assert needed.missing(lambda name, p=programs: name not in p, lambda name, m=module: name != m) == [tool]
    assert list(needed.report([])) == ["tools: all are here, no test will be skipped for lack of one"]


def test_a_run_begins_with_it(tmp_path: Path) -> None:
    """The header of a run of this suite names a program that is not on PATH."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "tests/test_formatting.py"]
    run = subprocess.run(command, cwd=needed.ROOT, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True)
    header = run.stdout.partition("collected ")[0]
    assert run.returncode == 0, run.stderr
    assert (
        "without Chromium: tests/live/test_browser.py and tests/report/test_mlflow_page.py. To get it: as root: apt install chromium."
        in header
    )
