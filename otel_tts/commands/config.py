"""``otel-tts config``: the settings in force."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from otel_tts.settings import Section, Settings

_SECRET = re.compile(r"HEADERS|KEY|TOKEN|SECRET|PASSWORD")
_USER = re.compile(r"(?<=://)[^/\s]*@")
_WIDEST = 40  # columns; a longer value moves what follows it


@click.command()
def config() -> None:
    """Print the settings in force and where each comes from.

    What may be a secret is not printed: headers, keys, and the user part of a URL.
    """
    rows = [("variable", "value", "from"), *in_force(os.environ)]
    name_width, value_width = (min(_WIDEST, max(len(row[column]) for row in rows)) for column in (0, 1))
    for name, value, source in rows:
        line = f"{name:<{name_width}}  {value:<{value_width}}  {source}"
        click.secho(line, dim=source == "default", bold=source == "from")


def in_force(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name, value without secrets, and source of all settings: ours first, then the ``OTEL_*`` variables that are set.

    Raises:
        SettingError: a variable has a value that is not allowed.
    """
    ours = [setting for section in sections() for setting in section.load(environ).in_force()]
    names = {setting.variable.name for setting in ours}
    for setting in ours:
        yield setting.variable.name, without_secrets(setting.variable.name, shown(setting.value)), setting.source
    for name in sorted(environ):
        if name.startswith("OTEL_") and name not in names:
            yield name, without_secrets(name, environ[name]), "environment"


def without_secrets(name: str, value: str) -> str:
    """``value`` without what nobody should read over a shoulder or in a log."""
    if value and _SECRET.search(name):
        return "(set, not shown)"
    return _USER.sub("...@", value)


def sections() -> Sequence[type[Section]]:
    """The groups of settings, in the order in which people read them; the service's come with its extra."""
    try:
        from otel_tts.service.config import ServiceConfig
        from otel_tts.service.providers.config import EspeakSettings, OpenAISettings, PiperSettings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("otel_tts"):
            raise
        return (Settings,)
    return (Settings, ServiceConfig, PiperSettings, EspeakSettings, OpenAISettings)


def shown(value: Any) -> str:
    """A value as people read it: near the way in which the environment would say it."""
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
