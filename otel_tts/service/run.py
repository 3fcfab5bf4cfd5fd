"""The service as a program: ``otel-tts serve`` and ``python -m otel_tts.service``."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence

import click

import otel_tts
from otel_tts.sdk import configure
from otel_tts.service import log
from otel_tts.service import providers as engines_there_are
from otel_tts.service.config import ServiceConfig
from otel_tts.service.providers import MissingEngineError, Provider
from otel_tts.service.server import PortTakenError, RunningService, serve
from otel_tts.settings import SettingError, Settings
from otel_tts.version import __version__

NAME = "otel-tts-service"
"""``service.name``, unless the environment says otherwise."""


def main() -> None:
    """Serve until SIGINT or SIGTERM, configured by the environment."""
    log.configure()
    try:
        asyncio.run(_serve(ServiceConfig.load(), Settings.load()))
    except (SettingError, MissingEngineError, PortTakenError) as error:
        raise SystemExit(f"otel-tts: {error}") from None


async def _serve(config: ServiceConfig, settings: Settings) -> None:
    providers = [engines_there_are.create(name) for name in config.providers]
    resource_attributes = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in resource_attributes
    pipeline = configure(
        service_name=None if named else NAME,
        resource=None if "service.version=" in resource_attributes else {"service.version": __version__},
        settings=settings,
        prometheus_port=settings.prometheus_port,
        local=True,
        monitor=settings.monitor or settings.source("monitor") == "default",
    )
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # ours, not the pipeline's: what is under way ends before telemetry is flushed
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        async with serve(config, telemetry(providers, settings), providers=providers) as service:
            for line in (*describe(service, config, providers), *pipeline.describe(), "Ctrl-C stops it."):
                click.echo(line)
            await stopped.wait()
    finally:
        await asyncio.to_thread(pipeline.shutdown)


def telemetry(providers: Sequence[Provider], settings: Settings | None = None) -> otel_tts.Telemetry:
    """Telemetry that keeps all voices, languages and models of the providers apart, and nothing else that callers send.

    Args:
        providers: in the order of preference.
        settings: of telemetry; None: those of the environment.
    """
    voices = [voice for provider in providers for voice in provider.voices]
    languages = {voice.language for voice in voices}
    return otel_tts.Telemetry(
        voices={voice.id for voice in voices},
        languages=languages | {language.partition("-")[0] for language in languages},
        providers={provider.name for provider in providers},
        models={voice.model for voice in voices},
        settings=settings,
    )


def describe(service: RunningService, config: ServiceConfig, providers: Sequence[Provider]) -> Iterator[str]:
    """What is served, a line each, for people.

    Args:
        service: the running service.
        config: of the service.
        providers: in the order of preference.
    """
    yield f"otel-tts {__version__}"
    yield f"gRPC: {service.address} (yap.tts.v1.TextToSpeech, grpc.health.v1, reflection)"
    voices = (f"{provider.name} (voices: {len(provider.voices)})" for provider in providers)
    yield f"providers: {', '.join(voices)}"
    yield f"cache: {', '.join(map(repr, config.cache)) or 'off'}"
