"""What commands print for programs: one JSON object, whose form has a version."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import click

VERSION = 1
"""Of the form of all objects. It grows when a field is removed, renamed or means something else; not when one is added."""

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print it as JSON, for programs.")


def print_json(command: str, content: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Print what a command found as one JSON object.

    Args:
        command: its name, such as ``trace``.
        content: the fields beside ``version`` and ``command``.
        indent: None for one line, where a command prints several objects.
    """
    click.echo(json.dumps({"version": VERSION, "command": command} | plain(content), indent=indent, allow_nan=False))


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, what is no finite number as null, everything unknown as text.

    Args:
        value: to be written as JSON.
    """
    match value:
        case None | bool() | int() | str():
            return (
                value if type(value) in (bool, int, str, type(None)) else (int(value) if isinstance(value, int) else str(value))
            )
        case float():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)
