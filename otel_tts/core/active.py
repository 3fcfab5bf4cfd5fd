"""Active: the requests that are under way, counted when the gauge of them is exported.

A request adds itself to a set and removes itself at its end: both are single operations, which need no lock. A sum would need one each
time, and could be wrong in a forked child, in which a request of its parent ends.
"""

from __future__ import annotations

from functools import partial

from otel_tts.core.fork import ForkAware, register
from otel_tts.core.total import Total


class ActiveRequests(ForkAware):
    """The requests under way on one meter provider.

    Args:
        gauge: `active` of the instruments, which exports how many there are.
    """

    def __init__(self, gauge: Total) -> None:
        self._gauge = gauge
        self._ids: dict[bool, set[int]] = {}
        register(self)

    def after_fork_in_child(self) -> None:
        """Forget all requests: those under way are the parent's."""
        self._ids = {}

    def ids(self, stream: bool) -> set[int]:
        """Return the set to which a request adds its id, and from which it removes it.

        It does so itself: Python raises the exception of a signal handler when a call returns, and then the request knows the set.

        Args:
            stream: whether its audio is delivered in pieces.
        """
        ids = self._ids.get(stream)
        if ids is None:
            self._gauge.observe(partial(self._count, stream), (stream,), self)
            ids = self._ids.setdefault(stream, set())  # one operation: another thread may do the same
        return ids

    def _count(self, stream: bool) -> int | None:
        ids = self._ids.get(stream)
        return None if ids is None else len(ids)
