"""Several processes with one pull endpoint: a scrape reaches only the process that owns the port, without what the others count.

Prometheus would take the owner's series for all of the service. So each other process locks a file that belongs to the port, as soon as
it has something to count, and while such a process exists, the owner answers scrapes with an error.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from otel_tts.core.underway import UNDER_WAY

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_logger = logging.getLogger(__name__)

REFUSED = (
    "Several processes of this service count, and only one of them can be scraped here. Have each push its own: set "
    "OTEL_EXPORTER_OTLP_ENDPOINT instead of PROMETHEUS_PORT, or run one worker."
)


class WorkerProcesses:
    """The other processes of a service, as the owner of the port sees them.

    Args:
        port: of the pull server that the worker processes share.
    """

    def __init__(self, port: int) -> None:
        self._file = _file(port)
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)

    def count(self) -> bool:
        """Return whether another process counts, or a forked child of this one has counted."""
        if self._file is None:
            return False
        try:
            if os.pread(self._file, 1, 0):
                return True
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self._file, fcntl.LOCK_UN)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


def announce(port: int, *, forked: bool) -> None:
    """Announce this process to the owner of the port, from its first request or RPC on.

    Args:
        port: of the endpoint that another process owns.
        forked: whether this is a child of the owner, whose totals are missing even after it has ended.
    """

    def begun() -> None:
        file = _file(port)
        if file is None:
            return
        with suppress(OSError, RuntimeError):  # the second: no thread can be started
            if forked:
                os.pwrite(file, b"1", 0)
            _lock(file)
        _logger.warning("The metrics of this process cannot be scraped on port %d, which another one owns. %s", port, REFUSED)

    UNDER_WAY.on_first(begun)


def _lock(file: int) -> None:
    """Lock the file until the process ends, at which its descriptor is closed. A request of the host never waits for the lock.

    The owner of the port holds it for moments, but it may be stopped in one of them, and any program of this user can lock the file.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        threading.Thread(target=fcntl.flock, args=(file, fcntl.LOCK_SH), name="otel-tts-worker", daemon=True).start()


def _file(port: int) -> int | None:
    """Return a descriptor of this user's file that belongs to the port; None if there can be none."""
    if fcntl is None:
        return None
    path = Path(tempfile.gettempdir(), f"otel-tts-{os.getuid()}-pull-{port}")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    if os.fstat(file).st_uid != os.getuid():
        os.close(file)
        return None
    return file
