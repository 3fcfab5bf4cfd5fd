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

    __slots__ = ("_depth", "_left", "_lock")

    def __init__(self) -> None:
        self._lock = _Lock()
        self._depth = 0  # how often the thread that holds the lock has entered
        self._left: list[Callable[[], object]] = []

    def take(self) -> None:
        """Take it, as ``with`` does: where a call of a method costs less than a block."""
        self._lock.acquire()
        self._depth += 1

    __enter__ = take

    def release(self, *_: object) -> None:
        """Release it, and run what others left."""
        left = self._left
        try:
            if left and self._depth == 1:
                self._work()
        finally:
            self._depth -= 1
            self._lock.release()
        # Work that another thread left between the check above and the release would else wait until somebody takes the next turn.
        if left:
            self.leave()

    __exit__ = release

    def leave(self, work: Callable[[], object] | None = None) -> None:
        """Run ``work``: now, if the lock is free, else in the thread that holds it, when it releases it. ``work`` must not raise.

        None: run only what was left by others.
        """
        left, lock = self._left, self._lock
        if work is not None:
            left.append(work)
        while left and lock.acquire(False):
            try:
                if self._depth:  # this thread holds the lock already: it runs the work when it leaves its outermost block
                    return
                self._depth = 1
                try:
                    while left:
                        left.pop(0)()
                finally:
                    self._depth = 0
            finally:
                lock.release()

    def _work(self) -> None:
        while self._left:
            self._left.pop(0)()


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
        # The same as ``with self.turn``, without a Python call: a request comes here eight times or more.
        turn = self.turn
        lock, left = turn._lock, turn._left  # noqa: SLF001
        lock.acquire()
        turn._depth += 1  # noqa: SLF001
        try:
            return method(self, *args, **kwargs)
        finally:
            if left:
                turn.release()
            else:
                turn._depth -= 1  # noqa: SLF001
                lock.release()
                if left:
                    turn.leave()

    return cast("Method", taking_turns)
