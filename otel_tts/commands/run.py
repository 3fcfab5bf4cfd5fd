"""``otel-tts run``: a program that was never changed, observed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import click

from otel_tts import instrumentation
from otel_tts.instrumentation import NAME
from otel_tts.settings import SettingError, plugins


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...]) -> None:
    """Run the program COMMAND with telemetry for the speech engines, speech SDKs and gRPC servers in it.

    \b
    otel-tts run -- python service.py

    The program itself needs no change. Telemetry goes where OTEL_EXPORTER_OTLP_ENDPOINT says; without it, to local files, which
    `otel-tts requests` and `otel-tts trace` read. docs/configuration.md has all variables.
    """  # noqa: D301 - \b keeps click from joining the lines
    executable = shutil.which(command[0])
    if executable is None:
        raise click.ClickException(
            f"There is no program {command[0]!r}. A script needs its interpreter: otel-tts run -- python …"
        )
    os.execve(executable, command, _environment())  # noqa: S606 - what is asked for


def _environment() -> Mapping[str, str]:
    """The variables that have a Python program observed.

    Where OpenTelemetry cannot be imported as it is wanted, those that let it be imported, and observe nothing.
    """
    try:
        plugins.check(os.environ)
    except SettingError as error:
        click.echo(f"otel-tts: telemetry is off: {error}", err=True)
        importable = {name: value for name, value in os.environ.items() if name not in plugins.VARIABLES}
        return {**importable, "OTEL_SDK_DISABLED": "true"}
    # Python runs the `sitecustomize` of this directory before the program, which sets OpenTelemetry up.
    hook = str(Path(instrumentation.__file__).with_name("hook"))
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != hook]
    ours = {"OTEL_PYTHON_DISTRO": NAME, "OTEL_PYTHON_CONFIGURATOR": NAME}
    unset = {name: value for name, value in ours.items() if name not in os.environ}
    return {**os.environ, **unset, "PYTHONPATH": os.pathsep.join([hook, *paths])}
