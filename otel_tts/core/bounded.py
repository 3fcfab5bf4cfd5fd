"""A bounded memory of what can be made anew at any time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from otel_tts.core.fork import ForkAware, register

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(ForkAware, Generic[K, V]):
    """Values by key. With more than ``most`` it begins anew, and so it does in a forked child.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[K, V] = {}
        register(self)

    def after_fork_in_child(self) -> None:
        """Begin anew."""
        self._values = {}

    def get(self, key: K) -> V | None:
        """What is kept under a key; None without it."""
        return self._values.get(key)

    def keep(self, key: K, value: V) -> None:
        """Keep a value."""
        if len(self._values) >= self._most:
            self._values = {}
        self._values[key] = value
