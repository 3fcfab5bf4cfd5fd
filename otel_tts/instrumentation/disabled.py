"""Instrumentations that are switched off by their names: a misspelt name would else be ignored in silence."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points

VARIABLE = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_ALL = "*"
_OURS = "tts_"
_ALIKE = 0.8


def misspelt(value: str, installed: Collection[str] | None = None) -> Iterator[str]:
    """Give a sentence for each name that no instrumentation has, if it begins as ours do or looks like that of an installed one.

    Any other name may be right: that of a package that is not installed here.

    Args:
        value: of the variable: names with commas between.
        installed: the names of the installed instrumentations; None: looked up.
    """
    names = dict.fromkeys(name for part in value.split(",") if (name := part.strip()) and name != _ALL)
    if not names:
        return
    if installed is None:
        installed = {point.name for point in entry_points(group="opentelemetry_instrumentor")}
    for name in names:
        if name not in installed and ((near := _near(name, installed)) or name.startswith(_OURS)):
            hint = f"The nearest: {', '.join(near)}." if near else "docs/zero-code.md lists those of otel-tts."
            yield f"{VARIABLE} has {name!a}, and no installed instrumentation has that name: it switches nothing off. {hint}"


def _near(name: str, installed: Collection[str]) -> list[str]:
    """The installed names that may be meant, the nearest first."""
    if (ours := _OURS + name) in installed:
        return [ours]
    alike = get_close_matches(name, sorted(installed), 3, _ALIKE)
    if name.startswith(_OURS):
        return alike
    return [each for each in alike if not name.startswith(each) and not each.startswith(name)]  # such as psycopg and psycopg2
