"""Turn: the lock of one request, with a queue for callers that must not wait for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import RLock
from typing import Any, Protocol, TypeVar, cast

_Lock = type(RLock())
"""The class of reentrant locks: `RLock` is a function, which is a call more for every request."""


class Turn:
    """The lock for the state of one request, and of everything inside it.

    Threads of the host take it with ``with turn:``, each only to note a fact. Callers that must not wait pass their work to
    :meth:`leave`: gRPC's own thread, which would stop all RPCs, and finalisers and signal handlers, which may run while their own thread
    is in the middle of a change: with an ordinary lock they would hang, and with a reentrant one see a state that is half changed.
    """

    __slots__ = ("_left", "_lock", "take")

    def __init__(self) -> None:
        self._lock = lock = _Lock()
        self._left: list[Callable[[], object]] = []
        self.take = lock.acquire
        """Takes it, as ``with`` does: where two calls cost less than a block."""

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release it, and run what others left in the meantime."""
        self._lock.release()
        if self._left:
            self.leave()

    def leave(self, work: Callable[[], object] | None = None) -> None:
        """Run ``work``: now, if the lock is free, else in the thread that holds it, when it releases it. ``work`` must not raise.

        None: run only what was left by others.
        """
        left, lock = self._left, self._lock
        if work is not None:
            left.append(work)
        # A thread that holds the lock already runs the work when it leaves its outermost block.
        while left and not lock._is_owned() and lock.acquire(False):  # type: ignore[attr-defined]  # noqa: SLF001 - as threading.Condition
            try:
                while left:
                    left.pop(0)()
            finally:
                lock.release()


class HasTurn(Protocol):
    """An object with a turn."""

    turn: Turn


Method = TypeVar("Method", bound=Callable[..., Any])


def in_turn(method: Method) -> Method:
    """Make a method take the ``turn`` of its object while it runs.

    Args:
        method: of an object that has a turn.
    """

    @functools.wraps(method)
    def taking_turns(self: HasTurn, *args: Any, **kwargs: Any) -> Any:
        turn = self.turn
        try:
            # A call that takes the lock would leave a gap behind it, in which a signal handler of the host may raise: then nobody would
            # release the lock, and the next thread would wait for ever.
            with turn._lock:  # noqa: SLF001
                return method(self, *args, **kwargs)
        finally:
            if turn._left:  # noqa: SLF001
                turn.leave()

    return cast("Method", taking_turns)
