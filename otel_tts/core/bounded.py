"""Bounded: a dictionary of limited size, for values that can be created again at any time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from otel_tts.core.fork import ForkAware, register

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(ForkAware, Generic[K, V]):
    """Values by key. It is emptied when it is full, and in a forked child.

    No lock: each change is one operation on a dictionary, and two threads that create the same value lose nothing but time.

    Args:
        most: how many values are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.release()
        register(self)

    def after_fork_in_child(self) -> None:
        """Empty it: the values may refer to sums that the child has replaced."""
        self.release()

    def release(self) -> None:
        """Empty it."""
        self._values: dict[K, V] = {}
        self.get: Callable[[K], V | None] = self._values.get
        """Returns the value of a key, or None: the dictionary's own method, so that hot paths need no call besides."""

    def keep(self, key: K, value: V) -> None:
        """Keep a value under a key.

        Args:
            key: the key.
            value: the value.
        """
        if len(self._values) >= self._most:
            self.release()
        self._values[key] = value
