"""``docs/configuration.md``: every environment variable, from the settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from otel_tts.commands.config import by_section, in_its_unit, shown
from otel_tts.settings import InForce, Section
from tools.documentation.markdown import code, page, table


def render() -> str:
    """The page."""
    tables = "\n\n".join(_section(section, settings) for section, settings in by_section({}))
    return page(
        "configuration.md",
        "the settings of each part",
        {"sections": tables},
    )


def _section(section: type[Section], settings: Sequence[InForce]) -> str:
    title = (inspect.getdoc(section) or "").partition("\n")[0].removesuffix(".")
    rows = (
        [code(s.variable.name), _default(in_its_unit(s.variable, s.value)), s.variable.description, _allowed(s.variable.parse)]
        for s in settings
    )
    return f"## {title}\n\n{table(['variable', 'default', 'what', 'takes'], rows)}"


def _default(value: Any) -> str:
    if value == Path(platformdirs.user_data_dir("otel-tts", appauthor=False)):
        return "`otel-tts` in the platform's user data directory"
    return code(shown(value))


def _allowed(parse: Callable[[str], Any]) -> str:
    """What a parser takes: the first line of its docstring, which is written for this."""
    return (inspect.getdoc(parse) or "").partition("\n")[0].replace("``", "`")
