"""Dashboard: the live dashboard, running beside the demo for its data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from otel_tts.commands.demo.process import free_port
from otel_tts.live.server import command, url

HOST = "127.0.0.1"
_READY = 30.0  # seconds
_POLL = 0.1


class Dashboard:
    """A dashboard that is about to run on ``port``.

    Args:
        process: the dashboard's.
        port: the port to listen on.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process

    async def ready(self) -> str:
        """Wait until it answers; gives its address, or nothing when it does not come up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY):
                while self._process.returncode is None:
                    with suppress(OSError):
                        _, writer = await asyncio.open_connection(HOST, self.port)
                        writer.close()
                        return url(HOST, self.port)
                    await asyncio.sleep(_POLL)
        return ""


@asynccontextmanager
async def dashboard(preferred: int, log: Path) -> AsyncIterator[Dashboard | None]:
    """A dashboard for the length of the block, on that port or, where it is in use, another one; None where Streamlit is not installed.

    Args:
        preferred: the port, if it is free.
        log: the file for what it prints.
    """
    if find_spec("streamlit") is None:
        yield None
        return
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = free_port(preferred)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command(HOST, port),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the demo
        )
    try:
        yield Dashboard(process, port)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
        if process.returncode is None:
            process.kill()
            await process.wait()
