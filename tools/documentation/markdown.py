"""The little Markdown that generated pages need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources


def code(text: object) -> str:
    """``text`` as code, ``-`` for nothing."""
    return f"`{text}`" if str(text) else "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, one line a row; a ``|`` in a cell is escaped.

    Args:
        head: of the columns.
        rows: of cells.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page(name: str, source: str, fields: Mapping[str, object]) -> str:
    """The page whose template ``name`` stands beside this module, its ``{fields}`` filled in; it says what it is written from.

    Args:
        name: the name.
        source: what the page is written from.
        fields: of the template.
    """
    template = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    notice = f"<!-- Written by `make generate` from {source} and tools/documentation/{name}: edit those, not this. -->"
    return f"{notice}\n\n{template.format_map(fields)}"
