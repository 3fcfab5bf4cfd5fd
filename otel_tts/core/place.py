"""Place: the thread and task in which code runs. A wait in one place does not stop the work in another."""

from __future__ import annotations

import asyncio
from threading import get_ident

Place = tuple[int, int]
"""The identity of a thread, and that of the asyncio task that runs in it, 0 without one."""


def here() -> Place:
    """Return the thread and task of the caller."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        task = None
    return get_ident(), id(task) if task is not None else 0
