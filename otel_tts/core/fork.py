"""Forks: the one registry of everything that must be put right when the process forks.

A forked child has one thread, and the locks of its parent in whatever state they were in: one that another thread held stays held
for ever. So every owner of a lock, of a thread or of totals is registered here, and makes them anew in the child.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable, Iterable

from otel_tts.core.guard import guard


class ForkAware:
    """An object that has something to do when the process forks. :func:`register` it."""

    def before_fork(self) -> None:
        """In the parent, before: bring what another thread may be in the middle of to a rest."""

    def after_fork_in_parent(self) -> None:
        """In the parent, afterwards: let it go on."""

    def after_fork_in_child(self) -> None:
        """In the child: make locks, threads and totals anew. It may take no lock that it has not just made."""
        raise NotImplementedError


_owners: dict[int, weakref.ref[ForkAware]] = {}
_numbers = itertools.count()


def register(owner: ForkAware) -> None:
    """Have ``owner`` told of every fork, as long as it exists.

    Owners are told in the order of registration, so that an object finds those ready that it was made from; before a fork in the
    opposite order. One that raises is reported and costs the others nothing.
    """
    number = next(_numbers)

    # Held weakly, else a Telemetry that is dropped would stay for ever. The entry is removed without a lock, since that happens
    # wherever the garbage collector runs, be it in the middle of a fork.
    def forget(_: object) -> None:
        _owners.pop(number, None)

    _owners[number] = weakref.ref(owner, forget)


def _registered() -> list[ForkAware]:
    # The copy is one step for the interpreter; an iteration over the original could meet an entry that is just removed.
    return [owner for reference in _owners.copy().values() if (owner := reference()) is not None]


def _tell(hook: Callable[[ForkAware], None], owners: Iterable[ForkAware]) -> None:
    for owner in owners:
        try:
            hook(owner)
        except Exception as error:  # noqa: BLE001 - the boundary: the fork is the host's, and goes on
            guard.caught("a fork", error)


def _before() -> None:
    _tell(lambda owner: owner.before_fork(), reversed(_registered()))


def _in_parent() -> None:
    _tell(lambda owner: owner.after_fork_in_parent(), _registered())


def _in_child() -> None:
    _tell(lambda owner: owner.after_fork_in_child(), _registered())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
