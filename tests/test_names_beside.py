"""Names in tests, examples, benchmarks and tools: a variable is called what it holds, as in the package."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.test_names import UNCLEAR, variables

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("benchmarks", "examples", "tests", "tools") for path in (ROOT / folder).rglob("*.py"))


def test_variables_and_functions_are_called_what_they_are() -> None:
    """None is called by what was done to it."""
    unclear = [
        (path.relative_to(ROOT).as_posix(), line, name)
        for path in FILES
        for name, line in variables(ast.parse(path.read_text("utf-8")))
        if name.lstrip("_") in UNCLEAR
    ]
    assert unclear == []
