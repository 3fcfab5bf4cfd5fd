"""``otel-tts live``: the live dashboard."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec

import click

from otel_tts.live.server import command, url
from otel_tts.settings import LiveSettings


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen; DASHBOARD_HOST, or 127.0.0.1, which only this machine reaches.")
@click.option("--port", type=click.IntRange(0, 65535), help="DASHBOARD_PORT, or 8501; 0 takes a free one.")
def live(host: str | None, port: int | None) -> None:
    """Show telemetry live in a browser. It only reads.

    From local files in the data directory, or from Prometheus and Jaeger where OTEL_TTS_PROMETHEUS_URL and OTEL_TTS_JAEGER_URL say so.
    It has no authentication: whoever reaches its port sees everything.
    """
    if find_spec("streamlit") is None:
        raise click.ClickException("The live dashboard needs Streamlit. Install it with: pip install 'otel-tts[live]'")
    settings = LiveSettings.load(dashboard_host=host, dashboard_port=port)
    _ = settings.trace_backend  # two of them are refused before a page is
    host, port = settings.dashboard_host, settings.dashboard_port
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
            port = free.getsockname()[1]
    except OSError as error:
        raise click.ClickException(
            f"Port {port} of {host} cannot be used: {_reason(error)}. Give --port, or set DASHBOARD_PORT."
        ) from None
    click.echo(f"The dashboard is on {url(host, port)}; Ctrl-C ends it.")
    program = command(host, port, settings.dashboard_allowed_hosts)
    os.execv(program[0], program)  # noqa: S606 - it becomes Streamlit, so that signals reach it


def _reason(error: OSError) -> str:
    """Why an address cannot be used, without what Python adds to it."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error.strerror or error)
