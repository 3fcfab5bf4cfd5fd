"""What a forked child cannot share with its parent: connections, their locks, open files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from otel_tts.core.fork import ForkAware, register

T = TypeVar("T")


class PerProcess(ForkAware, Generic[T]):
    """Something of this process's own. A forked child builds another when it first asks, so that one which never does pays nothing.

    Args:
        build: builds it.
    """

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._value = build()
        self._is_inherited = False
        register(self)

    def after_fork_in_child(self) -> None:
        """Leave what is the parent's."""
        self._is_inherited = True

    def __call__(self) -> T:
        """Give it, of this process."""
        if self._is_inherited:
            self._value = self._build()
            self._is_inherited = False
        return self._value
