"""The exceptions, as one tree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import otel_tts
from otel_tts import errors, history, settings

PACKAGE = Path(otel_tts.__file__).parent


def defined() -> dict[str, tuple[str, ...]]:
    """The bases of every exception class in the package, by its name."""
    classes = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                if any(re.search("(Error|Exception|Interrupt|Warning)$", base) for base in bases):
                    assert node.name not in classes, f"two exceptions are called {node.name}"
                    classes[node.name] = bases
    return classes


def drawn() -> dict[str, tuple[str, ...]]:
    """The same, as the docstring of `otel_tts.errors` draws them."""
    parents: list[str] = []
    classes = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:│   |    )*(?:[├└]── )?)([A-Z]\w+Error)((?:, \w+)*)(  |$)", line):
            depth = len(match[1]) // 4
            parents[depth:] = [match[2]]
            others = tuple(filter(None, match[3].split(", ")))
            classes[match[2]] = (parents[depth - 1], *others) if depth else ("Exception",)
    return classes


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """Every exception ends in Error, comes from OtelTtsError, and stands in the docstring with all that it is; nothing else does."""
    assert drawn() == defined()
    assert len(drawn()) > 20
    assert all(name.endswith("Error") for name in defined())


def test_what_was_public_still_is() -> None:
    """Names under which exceptions could be imported before."""
    assert settings.SettingError is errors.SettingError
    assert history.HistoryUnavailableError is history.HistoryUnavailableError
    assert issubclass(history.HistoryUnavailableError, errors.OtelTtsError)
