"""``otel-tts serve``: the reference service."""

from __future__ import annotations

import click

from otel_tts.service.run import main


@click.command()
def serve() -> None:
    """Run the speech service until Ctrl-C, configured by the environment.

    \b
    TTS_PORT          gRPC port of the service, 50053 by default
    TTS_PROVIDERS     speech engines, the preferred one first: hibari,piper
    PROMETHEUS_PORT   metrics for Prometheus to pull, 8002 by default
    METRICS_ENABLED   false switches metrics off, and with them that port

    `otel-tts config` prints every variable with its value in force; docs/configuration.md explains them.
    """  # noqa: D301 - \b keeps click from joining the lines
    main()
