"""``otel-tts config``: the settings in force."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from otel_tts.commands.output import json_option, print_json
from otel_tts.settings import (
    DoctorSettings,
    GrafanaSettings,
    Hidden,
    HistorySettings,
    InForce,
    LiveSettings,
    MonitorSettings,
    ObjectiveSettings,
    ReportSettings,
    Section,
    Settings,
    Variable,
    milliseconds,
    redact_url,
    standard,
)
from otel_tts.settings.misspelt import misspelt

_SECRET = re.compile(r"HEADERS|KEY|TOKEN|SECRET|PASSWORD")
_WIDEST = 40  # columns; a longer value moves what follows it


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Print the settings in force and where each comes from.

    What may be a secret is not printed: headers, keys, and the user part of a URL. The last lines say where a program that these
    variables are set for sends its telemetry; and which path spans and histograms take, and why: the direct one, which costs less, or that
    of the OpenTelemetry SDK.
    """
    standard.check(os.environ)  # before the SDK is imported, which reads some of them and raises
    if as_json:
        settings = [dict(zip(("variable", "value", "from"), row, strict=True)) for row in in_force(os.environ)]
        destinations = dict(places(os.environ))
        print_json(
            "config",
            {
                "settings": settings,
                "destinations": destinations,
                "paths": dict(paths(os.environ)),
                "grpc_methods": mapped(os.environ),
            },
        )
        return
    rows = [("variable", "value", "from"), *in_force(os.environ)]
    name_width, value_width = (min(_WIDEST, max(len(row[column]) for row in rows)) for column in (0, 1))
    for name, value, source in rows:
        line = f"{name:<{name_width}}  {value:<{value_width}}  {source}"
        click.secho(line, dim=source == "default", bold=source == "from")
    click.echo()
    for signal, destination in places(os.environ):
        click.echo(f"{signal} go to: {destination}")
    for signal, path in paths(os.environ):
        click.echo(f"path of {signal}: {path}")
    if methods := mapped(os.environ):
        click.echo(f"gRPC methods of the mapping: {', '.join(methods)}")
        click.echo("A path that a message has not is named in the service's log, at the method's first call.")


def mapped(environ: Mapping[str, str]) -> Sequence[str]:
    """Give the gRPC methods that the user's mapping names. Whether their messages have its paths is known at their first call only.

    Args:
        environ: the environment variables.

    Raises:
        SettingError: the mapping cannot be used.
    """
    from otel_tts.instrumentation.protos import load

    settings = Settings.load(environ)
    return load(settings).own if settings.grpc_mapping else ()


def in_force(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Give name, value without secrets, and source of all settings: ours first, then the ``OTEL_*`` variables that are set.

    Args:
        environ: the environment variables.

    Raises:
        SettingError: a variable has a value that is not allowed.
    """
    names = set()
    for _, settings in by_section(environ):
        for setting in settings:
            names.add(setting.variable.name)
            yield setting.variable.name, shown(in_its_unit(setting.variable, setting.value)), setting.source
    unread = dict(misspelt(environ))
    for name in sorted(environ):
        if name.startswith("OTEL_") and name not in names:
            hidden = environ[name] and _SECRET.search(name)
            nearest = f"; the nearest is {unread[name]}" if unread.get(name) else ""
            source = f"environment, and nothing reads it{nearest}" if name in unread else "environment"
            yield name, "(set, not shown)" if hidden else redact_url(environ[name]), source


def by_section(environ: Mapping[str, str]) -> Iterator[tuple[type[Section], Sequence[InForce]]]:
    """Give each section with its settings in force; a variable that several sections have stands in the first of them.

    Args:
        environ: the environment variables.

    Raises:
        SettingError: a variable has a value that is not allowed.
    """
    names: set[str] = set()
    for section in sections():
        own = [setting for setting in section.load(environ).in_force() if setting.variable.name not in names]
        names |= {setting.variable.name for setting in own}
        yield section, own


def places(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give where each signal goes in a program that these variables are set for.

    Args:
        environ: the environment variables.

    Raises:
        SettingError: a variable has a value that is not allowed.
    """
    from otel_tts.files import SIGNALS
    from otel_tts.sdk.exporters import destinations, exporter_names

    settings = Settings.load(environ)
    for signal in SIGNALS:
        ways = [
            redact_url(way.description) for way in destinations(signal, settings, local=settings.keeps_files, environ=environ)
        ]
        if not ways and exporter_names(signal, environ) is None:
            ways = [f"nowhere; with `otel-tts run`, `otel-tts serve` or configure(local=True) files in {settings.data_dir}"]
        yield signal, ", ".join(ways) or "nowhere: switched off"


def paths(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give the path that spans and histograms take where `otel_tts.configure` sets the providers up, and why it is not the direct one.

    Args:
        environ: the environment variables.

    Raises:
        SettingError: a variable has a value that is not allowed.
    """
    from otel_tts.sdk.direct.path import path_of_histograms, path_of_spans
    from otel_tts.sdk.exporters import destinations

    settings = Settings.load(environ)
    yield "spans", str(path_of_spans(destinations("traces", settings, local=True, environ=environ), settings, environ))
    ways = destinations("metrics", settings, local=True, environ=environ)
    yield "histograms", str(path_of_histograms(ways, settings, environ))


def sections() -> Sequence[type[Section]]:
    """Give the groups of settings, in the order in which people read them; the service's come with its extra."""
    ours = (
        Settings,
        ObjectiveSettings,
        MonitorSettings,
        HistorySettings,
        ReportSettings,
        LiveSettings,
        GrafanaSettings,
        DoctorSettings,
    )
    try:
        from otel_tts.service.config import ServiceConfig
        from otel_tts.service.providers.config import EspeakSettings, OpenAISettings, PiperSettings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("otel_tts"):
            raise
        return ours
    return (*ours, ServiceConfig, PiperSettings, EspeakSettings, OpenAISettings)


def in_its_unit(variable: Variable, value: Any) -> Any:
    """Give a value in the unit that its variable takes: milliseconds are kept as seconds.

    Args:
        variable: the variable.
        value: the setting's value.
    """
    return round(value * 1000, 6) if variable.parse is milliseconds else value


def shown(value: Any) -> str:
    """Give a value as people read it, near the way in which the environment has it, and without secrets.

    Args:
        value: the setting's value.
    """
    if isinstance(value, Hidden):
        return "(set, not shown)" if value else ""
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else redact_url(str(value))
