"""Names in the code: a variable is called what it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_tts

PACKAGE = Path(otel_tts.__file__).parent
UNCLEAR = {"said", "told", "heard", "known", "found", "of"}
"""They say what happened to a value, and not what it is."""
PUBLIC = {
    ("core/cache.py", "found"),
    ("core/noop.py", "found"),
    ("core/synthesis.py", "heard"),
    ("history/requests.py", "heard"),
}
"""Methods, parameters and fields that users call so."""
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_pb2" not in path.name)


def variables(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that is assigned, bound, taken as a parameter or that a function has, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_variables_and_functions_are_called_what_they_are(path: Path) -> None:
    """None is called by what was done to it."""
    file = path.relative_to(PACKAGE).as_posix()
    unclear = [(name, line) for name, line in variables(ast.parse(path.read_text("utf-8"))) if name.lstrip("_") in UNCLEAR]
    assert [(name, line) for name, line in unclear if (file, name) not in PUBLIC] == []


def test_no_class_is_called_like_another() -> None:
    """A name stands for one thing in the half that emits."""
    classes: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(path.name)
    # The direct path's histogram is one of OpenTelemetry's, and called as all of them are.
    assert {name: files for name, files in classes.items() if len(files) > 1 and name != "Histogram"} == {}
