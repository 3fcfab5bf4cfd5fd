"""Whether an exception says that the service itself ends: its process, or the event loop of its tasks."""

from __future__ import annotations

import sys
from types import FrameType

_CANCEL_ALL = frozenset(("_cancel_all_tasks", "_cancel_tasks"))
"""The functions that cancel the tasks that are left when an event loop ends: of asyncio, uvloop and hypercorn, and of aiohttp."""


def service_ends(error: BaseException) -> bool:
    """Return whether the service ends, by ``sys.exit``, Ctrl-C or the end of its event loop: then no caller has left it.

    Call it where the exception passes: of a cancellation the stack says who did it.

    Args:
        error: what leaves a block or stream; other than a subclass of ``Exception``.
    """
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return True
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup((SystemExit, KeyboardInterrupt)) is not None
    return type(error).__name__ == "CancelledError" and _loop_ends()


def _loop_ends() -> bool:
    """Return whether the event loop cancels all its tasks, or Ctrl-C cancelled the main one: `asyncio.run` raises that at its end only."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    while frame is not None:
        name = frame.f_code.co_name
        if name in _CANCEL_ALL:
            return True
        if name == "run" and frame.f_globals.get("__name__") == "asyncio.runners":
            return bool(getattr(frame.f_locals.get("self"), "_interrupt_count", 0))
        frame = frame.f_back
    return False
