"""Place: the thread and task in which code runs. A wait in one place does not stop the work in another."""

from __future__ import annotations

import sys
from threading import get_ident

Place = tuple[int, int]
"""The identity of a thread, and that of the asyncio task that runs in it, 0 without one."""


def here() -> Place:
    """Return the thread and task of the caller."""
    asyncio = sys.modules.get("asyncio")  # a tenth of a second to load: where nobody has, no task runs
    try:
        task = asyncio.current_task() if asyncio is not None else None
    except (RuntimeError, AttributeError):  # no event loop runs here, or another thread is still loading asyncio
        task = None
    return get_ident(), id(task) if task is not None else 0
