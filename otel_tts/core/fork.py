"""Fork: the one registry of all objects that must act when the process forks.

A forked child has one thread, and copies of its parent's locks in their state at that moment: a lock that another thread held stays
held for ever, and the child hangs at its next request. So every owner of a lock, of a thread or of totals is registered here, and
creates them again in the child.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from otel_tts.core.guard import guard


class ForkAware(ABC):
    """An object that must act when the process forks. :func:`register` it."""

    def before_fork(self) -> None:  # noqa: B027 - most have nothing to stop
        """Stop, in the parent, what another thread may be in the middle of: the child would get a copy that is half done."""

    def after_fork_in_parent(self) -> None:  # noqa: B027 - nor to continue
        """Continue, in the parent, what was stopped. If a signal handler of the host raises meanwhile, this is called again."""

    @abstractmethod
    def after_fork_in_child(self) -> None:
        """Create locks, threads and totals again, in the child. Take no lock that was not created here: it may be held for ever."""


class _Generation:
    """The generation of this process: how many forks lie between the first one and it."""

    number = 0


GENERATION = _Generation()
"""What was begun in another generation than this, the parent ends and counts: a child has a copy of it only."""
_owners: dict[int, weakref.ref[ForkAware]] = {}
_numbers = itertools.count()


def register(owner: ForkAware) -> None:
    """Call the methods of ``owner`` at every fork, as long as it exists.

    After a fork, owners are called in the order of registration, so that those that an object uses are ready before it; before a fork
    in the opposite order. If one raises, that is reported and the others are called all the same.
    """
    number = next(_numbers)

    # A weak reference, else a Telemetry that is dropped would stay in memory for ever. The entry is removed without a lock, since the
    # garbage collector may do that at any point, also in the middle of a fork: with a lock, it could wait for its own thread.
    def forget(_: object) -> None:
        _owners.pop(number, None)

    _owners[number] = weakref.ref(owner, forget)


def registered() -> list[ForkAware]:
    """Return all that are registered and still exist, in the order of registration."""
    # Copying is one atomic operation. A loop over the original would raise RuntimeError if an entry is removed during it.
    return [owner for reference in _owners.copy().values() if (owner := reference()) is not None]


def _tell(hook: Callable[[ForkAware], None], owners: Iterable[ForkAware]) -> None:
    for owner in owners:
        try:
            hook(owner)
        except Exception as error:  # noqa: BLE001 - the boundary: the fork is the host's, and goes on
            guard.caught("a fork", error)


class _Fork(threading.local):
    has_stopped = False
    """Whether this thread forks, and what was stopped for that does not continue yet."""


_fork = _Fork()


def _before() -> None:
    _fork.has_stopped = True
    _tell(lambda owner: owner.before_fork(), reversed(registered()))


def _in_parent() -> None:
    if _fork.has_stopped:
        _tell(lambda owner: owner.after_fork_in_parent(), registered())
        _fork.has_stopped = False


def _in_child() -> None:
    GENERATION.number += 1
    _tell(lambda owner: owner.after_fork_in_child(), registered())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
    # Twice: a signal handler of the host may raise as soon as the first begins. Python ignores that here, but what is held would stay so.
    os.register_at_fork(after_in_parent=_in_parent)
