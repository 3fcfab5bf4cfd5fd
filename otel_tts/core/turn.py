"""Turn: one thread at a time touches the facts of a request, and nobody who must not wait ever does."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from threading import RLock
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast


class Turn:
    """Whose turn it is to touch the facts of one request, and of everything inside it.

    The host's threads take turns with ``with turn:``, each for as long as noting a fact takes. Others leave their work with
    :meth:`leave`: gRPC's own thread, finalisers and signal handlers, which may have come in the middle of somebody's turn.
    """

    __slots__ = ("_depth", "_left", "_lock")

    def __init__(self) -> None:
        self._lock = RLock()
        self._depth = 0  # of the blocks of the thread whose turn it is
        self._left: deque[Callable[[], object]] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        left = self._left
        try:
            if left and self._depth == 1:
                self._work()
        finally:
            self._depth -= 1
            self._lock.release()
        if left:
            self._take()

    def leave(self, work: Callable[[], object]) -> None:
        """Have ``work`` done: now, if it is nobody's turn, else by whoever's turn it is, at its end. It may not raise."""
        self._left.append(work)
        self._take()

    def _take(self) -> None:
        while self._left and self._lock.acquire(blocking=False):
            try:
                if self._depth:  # this very thread, in the middle of its turn
                    return
                self._depth = 1
                try:
                    self._work()
                finally:
                    self._depth = 0
            finally:
                self._lock.release()

    def _work(self) -> None:
        while self._left:
            self._left.popleft()()


class HasTurn(Protocol):
    """What threads take turns at."""

    turn: Turn


Method = TypeVar("Method", bound=Callable[..., Any])


def in_turn(method: Method) -> Method:
    """Make a method of an object that :class:`HasTurn` wait for its turn."""

    @functools.wraps(method)
    def taking_turns(self: HasTurn, *args: Any, **kwargs: Any) -> Any:
        # What ``with self.turn`` does, in no call of Python's: a request comes here eight times and more.
        turn = self.turn
        lock, left = turn._lock, turn._left  # noqa: SLF001
        lock.acquire()
        turn._depth += 1  # noqa: SLF001
        try:
            return method(self, *args, **kwargs)
        finally:
            if left:
                turn.__exit__(None, None, None)
            else:
                turn._depth -= 1  # noqa: SLF001
                lock.release()
                if left:
                    turn._take()  # noqa: SLF001

    return cast("Method", taking_turns)
