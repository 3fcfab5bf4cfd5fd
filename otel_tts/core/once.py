"""Once: something that happens a single time, whoever comes first."""

from __future__ import annotations

from threading import Lock


class Once:
    """A lock that is taken by the first who comes and never released.

    Nobody ever waits for it. So a finaliser, a signal handler or another thread may try it in the middle of the very code that took
    it, and a forked child that inherits it taken has nothing to wait for: with a lock that is released, each of these could hang.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()

    def claim(self) -> bool:
        """Whether the caller is the first, and so the one who has to do it."""
        return self._lock.acquire(blocking=False)

    @property
    def done(self) -> bool:
        """Whether somebody has claimed it."""
        return self._lock.locked()
