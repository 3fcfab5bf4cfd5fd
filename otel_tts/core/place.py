"""Place: where code runs. What is waited for in one place keeps no other from going on."""

from __future__ import annotations

import asyncio
from threading import get_ident

Place = tuple[int, int]
"""A thread, and the task that runs in it."""


def here() -> Place:
    """Where the caller runs."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        task = None
    return get_ident(), id(task) if task is not None else 0
