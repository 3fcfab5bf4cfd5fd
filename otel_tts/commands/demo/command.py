"""The command itself: starts everything, sends the traffic, stops everything, and says what happened."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import click
import grpc
from rich.console import Console

from otel_tts.commands import terminal
from otel_tts.commands.demo import cloud
from otel_tts.commands.demo.dashboard import Dashboard, dashboard
from otel_tts.commands.demo.listener import ListenerRecord
from otel_tts.commands.demo.process import ProcessFailedError, ServiceProcess, free_port, running
from otel_tts.commands.demo.progress import Progress
from otel_tts.commands.demo.summary import Sent, summary
from otel_tts.commands.load.caller import Caller, calling, exchange
from otel_tts.commands.load.traffic import Mix, plan
from otel_tts.commands.report.suggestion import suggestion
from otel_tts.history import open_history
from otel_tts.service import providers as engines_there_are
from otel_tts.service.config import ServiceConfig
from otel_tts.service.providers import MissingEngineError
from otel_tts.settings import LiveSettings, Settings

SERVICE_NAME = "otel-tts-demo"
"""``service.name`` of the demo's service."""

_MIX = Mix(fresh=0.14, repeated=0.06, invalid=0.07, hang_ups=0.015, impatient=0.008)
_SEED = 1  # the same traffic every time
_RATE = 40.0  # requests a second: enough to see much soon, and little enough to leave it running
_CONCURRENCY = 16
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", *(f"OTEL_EXPORTER_OTLP_{kind}_ENDPOINT" for kind in ("TRACES", "METRICS", "LOGS")))
_LOCAL_ENGINES = ("hibari", "piper", "espeak")


@click.command()
@click.option(
    "--duration", "duration_s", type=click.FloatRange(min=1), metavar="SECONDS", help="End after so long; else at Ctrl-C."
)
@click.option(
    "--dashboard/--no-dashboard", "watched", default=True, help="Show it live in a browser; on where Streamlit is installed."
)
@click.option(
    "--agents", is_flag=True, help="Show voice agents instead: conversations, interruptions, fallbacks, speech made ahead."
)
@click.option("--speed", type=click.FloatRange(min=0.1), default=1.0, hidden=True)
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), hidden=True)
def demo(duration_s: float | None, watched: bool, agents: bool, speed: float, record: Path | None) -> None:
    """Try it: real speech, real telemetry, and a summary of that telemetry.

    Runs the reference service with every engine that is installed, and with a speech server over HTTP that is sometimes unavailable.
    Sends it traffic: streams and files, many cached, some invalid, some cancelled by the caller. At the end it
    prints a summary from telemetry alone; the live dashboard shows it meanwhile. A second Ctrl-C ends it at once.

    With --agents it runs voice agents on the telephone. Their listeners keep a record of their own, with which telemetry is compared.
    """
    console = terminal.console()
    settings = LiveSettings.load()
    if endpoint := next((name for name in _ENDPOINTS if os.environ.get(name)), None):
        console.print(
            f"The demo keeps its telemetry in local files: {endpoint} is not used. To send traffic through your pipeline, run "
            "`otel-tts serve` with it, and `otel-tts verify`.",
            soft_wrap=True,
        )
    if agents:
        _agents(console, settings, duration_s, watched=watched, speed=speed, record=record)
        return
    start = time.time()
    try:
        sent = asyncio.run(_run(console, settings, duration_s, watched=watched))
    except MissingEngineError as error:
        raise click.ClickException(f"{error} For all that the demo can show: pip install 'otel-tts[demo]'") from None
    except ProcessFailedError as error:
        raise click.ClickException(str(error)) from None
    except asyncio.CancelledError:
        raise SystemExit(130) from None  # as of a process that SIGINT ended
    console.print()
    history, end = open_history(settings), time.time()
    console.print(summary(history, SERVICE_NAME, start, end, sent, console=console))
    console.print()
    for line in suggestion(history, SERVICE_NAME, start, end):
        console.print(line, soft_wrap=True)


def _agents(
    console: Console, settings: LiveSettings, duration_s: float | None, *, watched: bool, speed: float, record: Path | None
) -> None:
    try:
        _installed()
        from otel_tts.commands.demo import calls
    except (MissingEngineError, ImportError) as error:
        raise click.ClickException(f"{error} For all that the demo can show: pip install 'otel-tts[demo]'") from None

    async def run() -> list[ListenerRecord]:
        task, stopped = asyncio.current_task(), asyncio.Event()
        assert task is not None  # noqa: S101 - asyncio.run made it

        def interrupt() -> None:
            _on_signals(task.cancel)
            console.print("The calls under way go on to their end. Ctrl-C once more cuts them off.")
            stopped.set()

        _on_signals(interrupt)
        log = settings.data_dir / "dashboard.log"
        async with dashboard(settings.dashboard_port, log) if watched else nullcontext() as live, _announced(live, console):
            console.print(f"Two agents are on the telephone; telemetry in {settings.data_dir}.", soft_wrap=True)
            return await calls.run(duration_s, speed, stopped)

    try:
        records = asyncio.run(run())
    except asyncio.CancelledError:
        raise SystemExit(130) from None  # as of a process that SIGINT ended
    if record is not None:
        calls.keep(records, record)
    console.print()
    console.print(calls.summary(open_history(settings), records))


async def _run(console: Console, settings: LiveSettings, duration_s: float | None, *, watched: bool) -> Sent:
    """Everything up to the end of the service; gives what was sent."""
    whole = asyncio.current_task()
    assert whole is not None  # noqa: S101 - asyncio.run made it
    _on_signals(whole.cancel)
    began = time.monotonic()
    engines = _installed()
    port = _port("gRPC", ServiceConfig.load().port, console)
    metrics_port = _port("metrics", Settings.load().prometheus_port, console)
    log = settings.data_dir / "demo.log"
    with cloud.cloud() as server:
        environ = {
            "OTEL_SERVICE_NAME": SERVICE_NAME,
            "PROMETHEUS_PORT": str(metrics_port),
            "OTEL_METRIC_EXPORT_INTERVAL": "2000",  # so that of 20 seconds, the later half can be told from the earlier
            "TTS_PROVIDERS": ",".join((*engines, "openai")),
            "TTS_OPENAI_BASE_URL": server.base_url,
            "TTS_OPENAI_MODEL": cloud.MODEL,
            "TTS_OPENAI_VOICES": f"{cloud.VOICE}:en-US",
            "TTS_CIRCUIT_COOLDOWN": "1",  # the speech server is never away for long
        }
        context = dashboard(settings.dashboard_port, log.with_name("dashboard.log")) if watched else nullcontext()
        async with context as live, running(port, environ, log) as service:
            console.print(f"Starting the service with {', '.join(engines)} and an unreliable speech server ...")
            await service.ready()
            console.print(f"gRPC on {service.target}, metrics on http://127.0.0.1:{metrics_port}/metrics,", soft_wrap=True)
            console.print(f"telemetry in {settings.data_dir}, log in {log.name} there.", soft_wrap=True)
            stopped = asyncio.Event()

            def interrupt() -> None:
                _on_signals(whole.cancel)
                stopped.set()

            _on_signals(interrupt)
            async with calling(service.target) as caller, _watched(service, stopped), _announced(live, console):
                progress = Progress(console, duration_s, began)
                try:
                    await _traffic(caller, progress, duration_s, stopped)
                except grpc.aio.AioRpcError:  # it did not even say which voices it has
                    raise service.death() from None
            console.print("Stopping the service ...")
            await service.stop()
    return Sent(progress.requests, progress.unanswered)


async def _traffic(caller: Caller, progress: Progress, duration_s: float | None, stopped: asyncio.Event) -> None:
    calls = plan(await caller.voices(), _MIX, _SEED)
    if duration_s is not None:
        asyncio.get_running_loop().call_later(duration_s, stopped.set)
    with progress.shown():
        await exchange(caller, calls, progress.record, concurrency=_CONCURRENCY, rate=_RATE, stopped=stopped)


@asynccontextmanager
async def _watched(service: ServiceProcess, stopped: asyncio.Event) -> AsyncIterator[None]:
    """Stops the traffic when there is nobody left to hear it."""
    watch = asyncio.create_task(service.ended())
    watch.add_done_callback(lambda _: stopped.set())
    try:
        yield
    finally:
        watch.cancel()


@asynccontextmanager
async def _announced(live: Dashboard | None, console: Console) -> AsyncIterator[None]:
    """Says where the dashboard is as soon as it answers. Nothing waits for it."""

    async def announce() -> None:
        if live is not None and (address := await live.ready()):
            console.print(f"Watch it live on {address}", style="bold", soft_wrap=True)

    task = asyncio.create_task(announce())
    try:
        yield
    finally:
        task.cancel()


def _on_signals(action: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, action)


def _installed() -> list[str]:
    """The engines that can be used here, the preferred one first.

    Raises:
        MissingEngineError: the first one is not there, without which there is no demo.
    """
    engines: list[str] = []
    for name in _LOCAL_ENGINES:
        try:
            engines_there_are.create(name, {})
        except MissingEngineError:
            if not engines:  # the shaky server speaks with the first one too
                raise
        else:
            engines.append(name)
    return engines


def _port(purpose: str, wanted: int, console: Console) -> int:
    port = free_port(wanted)
    if wanted not in (0, port):
        console.print(f"Port {wanted} is in use: {purpose} is on {port}.")
    return port
