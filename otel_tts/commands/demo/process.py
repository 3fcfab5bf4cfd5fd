"""Process: the reference service, running beside the demo."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from otel_tts.errors import OtelTtsError

FOREIGN = re.compile(r"TTS_|METRICS_|PROMETHEUS_|OTEL_(?!TTS_)")
"""Variables that are for another service than the demo's. Where telemetry is kept stays as it is: that is where it is read."""
_READY = 60.0  # seconds for the engines to load
_POLL = 0.05
_STOP = 20.0  # seconds for requests under way to end and telemetry to be written


class ProcessFailedError(OtelTtsError):
    """The service did not serve or stop as it should; the message holds the last it said."""


def free_port(preferred: int) -> int:
    """``preferred``, or where that is in use, one that is not.

    Raises:
        OSError: no port is free.
    """
    for port in (preferred, 0):
        with socket.socket() as listener, suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that were closed lately don't hinder
            listener.bind(("127.0.0.1", port))
            listener.listen()
            bound: int = listener.getsockname()[1]
            return bound
    raise OSError("There is no free port on 127.0.0.1.")


class ServiceProcess:
    """A running service. ``target`` is where it listens.

    Args:
        process: the service's.
        target: where it listens: host and port.
        log: the file for what it prints.
    """

    def __init__(self, process: asyncio.subprocess.Process, target: str, log: Path) -> None:
        self.target = target
        self._process = process
        self._log = log

    async def ready(self) -> None:
        """Wait until it serves.

        Raises:
            ProcessFailedError: it will not.
        """
        async with grpc.aio.insecure_channel(self.target, options=[("grpc.enable_http_proxy", 0)]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            with suppress(TimeoutError):
                async with asyncio.timeout(_READY):
                    while self._process.returncode is None:
                        with suppress(grpc.aio.AioRpcError):
                            await health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
                            return
                        await asyncio.sleep(_POLL)
        raise self.death()

    async def ended(self) -> None:
        """Wait until it has ended, for whatever reason."""
        await self._process.wait()

    def death(self) -> ProcessFailedError:
        """What to say when it did not serve or stop as it should."""
        code = self._process.returncode
        end = "does not answer" if code is None else f"ended with exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        return ProcessFailedError("\n".join((f"The service {end}. The last lines of {self._log}:", *lines)))

    async def stop(self) -> None:
        """Have it end what is under way and write its telemetry.

        Raises:
            ProcessFailedError: it had ended before, or does not end well.
        """
        if self._process.returncode is None:
            self._process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP):
                    if not await self._process.wait():
                        return
        raise self.death()


@asynccontextmanager
async def running(port: int, environ: Mapping[str, str], log: Path) -> AsyncIterator[ServiceProcess]:
    """A service on ``port`` of this machine; what is still there of it at the end of the block is killed.

    environ: its variables, beside those that are nobody else's. log: the file for what it says.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "otel_tts.service"),
            env={**inherited, **environ, "TTS_PORT": str(port)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the demo, which stops the service when nobody is speaking any more
        )
    try:
        yield ServiceProcess(process, f"127.0.0.1:{port}", log)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
