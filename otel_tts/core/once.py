"""Once: a flag that exactly one caller can set."""

from __future__ import annotations

from threading import Lock

from otel_tts.core.fork import GENERATION


class Once:
    """A lock that the first caller takes and that is never released.

    Nobody ever waits for it. So a finaliser, a signal handler or another thread may try it in the middle of the code that took it, and
    so may a forked child that inherits it. With a lock that others wait for, each of these could hang.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()

    def claim(self) -> bool:
        """Return whether the caller is the first, and so the one that has to act."""
        return self._lock.acquire(blocking=False)

    @property
    def done(self) -> bool:
        """Whether somebody has claimed it."""
        return self._lock.locked()


class OnceInProcess(Once):
    """One that nobody can claim in a forked child that has a copy of it."""

    __slots__ = ("_generation",)

    def __init__(self) -> None:
        super().__init__()
        self._generation = GENERATION.number

    def claim(self) -> bool:
        """Return whether the caller is the first, in the process in which it was created."""
        return self._generation == GENERATION.number and super().claim()
