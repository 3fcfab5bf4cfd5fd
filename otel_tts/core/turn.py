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

    Methods of an object with a turn take it with :func:`in_turn`, each only to note a fact; where a call less matters, they do the same
    themselves. Callers that must not wait pass their work to :meth:`leave`: gRPC's own thread, which would stop all RPCs, and finalisers
    and signal handlers, which may run while their own thread is in the middle of a change: with an ordinary lock they would hang, and
    with a reentrant one see a state that is half changed.

    A signal handler of the host may raise: the time limit of a job. Python runs it when a function begins and when a call returns. So
    the lock is taken with ``with turn.lock:`` alone, which takes and releases it without a call: behind a call that takes it, and in
    a function that releases it, such an exception would leave it taken, and the next thread would wait for ever.
    """

    __slots__ = ("left", "lock")

    def __init__(self) -> None:
        self.lock = _Lock()
        """The lock itself. Whoever had it runs what is :attr:`left` afterwards."""
        self.left: list[Callable[[], object]] = []
        """Work that others left in the meantime: for :meth:`leave`."""

    def leave(self, work: Callable[[], object] | None = None) -> None:
        """Run ``work``: now, if the lock is free, else in the thread that holds it, when it releases it. ``work`` must not raise.

        None: run only what was left by others.
        """
        left, lock = self.left, self.lock
        if work is not None:
            left.append(work)
        # A thread that holds the lock already runs the work when it leaves its outermost block.
        while left and not lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - as threading.Condition
            try:  # as `run_alone` does, without a call: each RPC comes here
                if not lock.acquire(False):
                    return
                while left:
                    left.pop(0)()
            except BaseException:
                try:  # noqa: SIM105 - `suppress` is a call, before which Python looks for signals again
                    lock.release()
                except RuntimeError:  # it was not taken yet
                    pass
                raise
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
            with turn.lock:
                return method(self, *args, **kwargs)
        finally:
            if turn.left:
                turn.leave()

    return cast("Method", taking_turns)
