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


SAME_STANDARD_TERM = {"Event", "Histogram", "Span"}
"""OpenTelemetry's own terms: defined in `semconv`, recorded by `sdk.direct` behind OpenTelemetry's interface, read back by `history`."""


def test_no_class_is_called_like_another() -> None:
    """A name of a class stands for one thing in the whole package, and so it does with an underscore before it."""
    classes: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name.lstrip("_"), []).append(path.relative_to(PACKAGE).as_posix())
    assert {name: files for name, files in classes.items() if len(files) > 1 and name not in SAME_STANDARD_TERM} == {}


PLURALS = {name: f"{name}s" for name in ("card", "link", "notice", "page", "partition", "set_attribute", "span", "trace")}
PLURALS |= {"syntheses": "synthesis", "synthesis": "syntheses"}
"""A thing, and several of it: the one pair of public functions that may differ by a letter."""


def one_letter_apart(shorter: str, longer: str) -> bool:
    """Whether a letter more, or another one in its place, makes the longer name."""
    if len(shorter) == len(longer):
        return sum(a != b for a, b in zip(shorter, longer, strict=True)) == 1
    return len(longer) == len(shorter) + 1 and any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_two_functions_are_one_letter_apart(path: Path) -> None:
    """Public functions of one place are told apart at a glance (`deliver` and `delivers` were not)."""
    pairs = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef):
            names = [n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            names = [name for name in names if not name.startswith("_")]
            pairs += [(a, b) for a in names for b in names if one_letter_apart(a, b) and not (a in PLURALS and b == PLURALS[a])]
    assert pairs == []
