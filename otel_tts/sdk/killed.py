"""Forked children that are killed: nothing can be flushed in them, so their parent says it, once."""

from __future__ import annotations

import itertools
import logging
import mmap
import os
import time

from otel_tts.core.fork import ForkAware, register
from otel_tts.core.underway import UNDER_WAY

_logger = logging.getLogger(__name__)
_PLACES = 1024
_DYING_S = 0.1
"""The most seconds that the end of a process waits for children which it may just have killed: the kernel ends them a moment later."""


class Children(ForkAware):
    """The children of this process, and its place among those of its parent.

    A child writes its process id into memory that it shares with its parent when its first request or RPC starts, and takes it out when
    it has flushed at its end. A place whose process is gone was left by one that was killed.
    """

    def __init__(self) -> None:
        self._places: memoryview | None = None
        self._numbers = itertools.count()
        self._next = 0
        self._warned = False
        self._own: tuple[memoryview, int] | None = None
        register(self)

    def before_fork(self) -> None:
        """Choose the place of the child."""
        if self._places is None:
            self._places = memoryview(mmap.mmap(-1, 4 * _PLACES)).cast("i")
        self._next = next(self._numbers) % _PLACES

    def after_fork_in_parent(self) -> None:
        """Look for children that were killed: a pool has often forked because it lost one."""
        self.look()

    def after_fork_in_child(self) -> None:
        """Take the place when the first request or RPC of this process starts."""
        places, self._places = self._places, None
        self._numbers, self._warned = itertools.count(), False
        self._own = None if places is None or places[self._next] else (places, self._next)
        if self._own is not None:
            UNDER_WAY.on_first(self._begin)

    def end(self) -> None:
        """Give back the place of this process, which has flushed, and look for children that were killed."""
        if self._own is not None:
            places, place = self._own
            if places[place] == os.getpid():
                places[place] = 0
        self.look()

    def look_at_end(self) -> None:
        """Look for children that were killed, also for those that the host kills just before it ends itself, as gunicorn does."""
        places, deadline = self._places, time.monotonic() + _DYING_S
        while places is not None and time.monotonic() < deadline:
            if all(_has_ended(process) for process in places.tolist() if process):
                break
            time.sleep(0.005)
        self.look()

    def look(self) -> None:
        """Log a warning if a child has ended and left its place: the first time in this process."""
        places = self._places
        if places is None:
            return
        for place, process in enumerate(places.tolist()):
            if process and _has_ended(process):
                places[place] = 0
                if not self._warned:
                    self._warned = True
                    _logger.warning(
                        "Process %d, a child of this one, ended without a flush: it was killed, or it crashed. What it recorded after its "
                        "last export is lost. Further ones are not reported.",
                        process,
                    )

    def _begin(self) -> None:
        if self._own is not None:
            places, place = self._own
            places[place] = os.getpid()


def _has_ended(process: int) -> bool:
    """Return whether a child has ended, whether or not its status was read; that is left to the host."""
    try:
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
    except AttributeError:  # macOS before Python 3.13
        return False
