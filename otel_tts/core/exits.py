"""What an exception is before its meaning is looked at: the end of the service, a cancellation, or a group of others."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_CANCEL_ALL = frozenset(("_cancel_all_tasks", "_cancel_tasks"))
"""The functions that cancel the tasks that are left when an event loop ends: of asyncio, uvloop and hypercorn, and of aiohttp."""
_CLOSE_ALL = frozenset(("uvicorn.server", "uvicorn.lifespan.on"))
"""Where uvicorn is from the moment on in which it closes all WebSockets."""
_TELL_APPLICATION = frozenset(("uvicorn.lifespan.on",))
"""Where it is when the time of grace is over, and it has cancelled the requests that are left."""
_GOING_AWAY, _LOST, _RESTART = 1001, 1006, 1012
"""Close codes of WebSockets. Servers that stop send 1001 (websockets) or 1012 (uvicorn)."""


_CUT_OFF = ("Abort", "Cancel", "Exit", "Halt", "Interrupt", "Kill", "Shutdown", "Stop", "Terminat")
"""Parts of the names of exceptions that cut work off: of asyncio, Trio, curio, generators, greenlets, Dramatiq, gunicorn, Airflow."""
_MEMBERS = vars(BaseExceptionGroup)["exceptions"].__get__
"""Returns the exceptions in a group: past a property of a subclass, which may raise."""
_MOST = 100
"""Exceptions of a group that are looked at: it may have any number, at any depth."""


def members(error: BaseException) -> list[BaseException]:
    """Return what went wrong: the exceptions in a group and in the groups inside it, else the exception itself.

    Task groups of asyncio, Trio and anyio raise a group also for a single exception, which then stands for the whole.

    Args:
        error: the exception.
    """
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    single: list[BaseException] = []
    groups: list[BaseException] = [error]
    while groups and len(single) < _MOST:
        for member in _MEMBERS(groups.pop()):
            (groups if isinstance(member, BaseExceptionGroup) else single).append(member)
    return single[:_MOST]


def cuts_off(error: BaseException) -> bool:
    """Return whether an exception that is no ``Exception`` cuts work off in which nothing failed, as a cancellation does.

    Python's own and those of libraries are told by their names. Any other one is a fault of what raised it, such as the panic of an
    engine in Rust, whose ``PanicException`` is no ``Exception`` either.

    Args:
        error: the exception; no group.
    """
    return not isinstance(error, Exception) and any(part in cls.__name__ for cls in type(error).__mro__ for part in _CUT_OFF)


def is_fault(error: BaseException | None) -> bool:
    """Return whether something failed, and was not only cut off.

    Args:
        error: what ended the work; None without an exception.
    """
    return error is not None and not any(map(cuts_off, members(error)))


def service_ends(error: BaseException) -> bool:
    """Return whether the service ends, by ``sys.exit``, Ctrl-C or the end of its event loop: then no caller has left it.

    Call it where the exception passes: of a cancellation the stack says who did it.

    Args:
        error: what leaves a block or stream; other than a subclass of ``Exception``.
    """
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return True
    return type(error).__name__ == "CancelledError" and _loop_ends()


def server_closed(error: BaseException) -> bool:
    """Return whether a WebSocket was closed by the server under the service, since that ends: then no caller has left it, either.

    Call it where the exception passes, as above.

    Args:
        error: what receiving or sending raised.
    """
    if not isinstance(error, Exception):
        return False
    name = type(error).__name__
    code = getattr(error, "code", None) if name == "WebSocketDisconnect" else _LOST
    if code != _LOST:  # 1001 is also what a browser says that leaves a page
        return bool(code == _RESTART)
    if name in ("WebSocketDisconnect", "ClientDisconnected"):  # Starlette's and uvicorn's where sending fails, which say no more
        return _loop_ends(_CLOSE_ALL)
    if not getattr(error, "rcvd_then_sent", True):  # websockets': this side was the first to say so, or the only one
        return getattr(getattr(error, "sent", None), "code", None) in (_GOING_AWAY, _RESTART)
    return False


def _loop_ends(stopping: frozenset[str] = _TELL_APPLICATION) -> bool:
    """Return whether the event loop cancels all its tasks, or what it runs is over: at Ctrl-C, at its end, when its server stops.

    Args:
        stopping: the modules of uvicorn in whose ``shutdown`` it is over for the caller who was served.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    while frame is not None:
        name = frame.f_code.co_name
        if name in _CANCEL_ALL:
            return True
        if name == "run" and frame.f_globals.get("__name__") == "asyncio.runners":
            runner, main = map(frame.f_locals.get, ("self", "task"))
            return bool(getattr(runner, "_interrupt_count", 0)) or _is_over(main, stopping)
        frame = frame.f_back
    return False


def _is_over(main: asyncio.Task[Any] | None, stopping: frozenset[str]) -> bool:
    """Return whether the main task has ended, or is a server that stops."""
    if main is None or main.done():
        return main is not None
    coroutine: Any = main.get_coro()
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        if frame.f_code.co_name == "shutdown" and frame.f_globals.get("__name__") in stopping:
            return True
        coroutine = coroutine.cr_await
    return False
