"""Objects that a forked child cannot share with its parent: connections, their locks, open files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from otel_tts.core.fork import ForkAware, register

T = TypeVar("T")


class PerProcess(ForkAware, Generic[T]):
    """An object that each process has for itself. A forked child builds it at its first use, so a child that never uses it has no cost.

    Two processes that write to one connection would mix up their messages.

    Args:
        build: builds the object.
    """

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._value = build()
        self._is_inherited = False
        register(self)

    def after_fork_in_child(self) -> None:
        """Mark the object as the parent's, so that the next call builds another one."""
        self._is_inherited = True

    def __call__(self) -> T:
        """Return the object of this process."""
        if self._is_inherited:
            self._value = self._build()
            self._is_inherited = False
        return self._value
