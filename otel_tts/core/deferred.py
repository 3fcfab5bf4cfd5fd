"""What cannot be done where it is noticed: in a finaliser, and in whatever the garbage collector runs.

The collector runs in the middle of any code that allocates, a lock of ours, of the SDK or of an exporter held. A generator that it
closes would finish its request right there, and wait for ever for the lock that its own thread holds. So what the collector runs only
notes what is to be done, and when it was; it is done before the next request and before every export.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Any, ParamSpec, TypeVar, cast

from otel_tts.core.guard import guard, guarded, guarded_or

P = ParamSpec("P")
T = TypeVar("T")

_jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()  # may be put into from inside itself; nothing else may
_collector: int | None = None  # the thread that collects; there is one collection at a time


def collecting() -> bool:
    """Whether the garbage collector is what runs the caller."""
    return _collector is not None and _collector == get_ident()


def defer(job: Callable[[], None]) -> None:
    """Have ``job`` done later. Takes no lock."""
    _jobs.put(job)


def run_deferred() -> None:
    """Do what was deferred; nothing while the collector runs the caller."""
    while not (_jobs.empty() or collecting()):
        try:
            job = _jobs.get_nowait()
        except Empty:  # another thread was faster
            return
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the boundary: runs before others' requests, and before exports
            guard.caught("running what was deferred", error)


def deferrable(function: Callable[P, None]) -> Callable[P, None]:
    """Make a procedure of ours safe to call from the host, as `guarded` does, and from whatever the collector runs."""
    safe = guarded(function)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        if collecting():
            defer(functools.partial(safe, *args, **kwargs))
        else:
            safe(*args, **kwargs)

    return wrapper


def outside_collections(default: Callable[..., Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """As `guarded_or`; ``default`` also stands in where the collector is what asks: nothing is begun there."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        safe = guarded_or(default)(function)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            return cast("T", default(*args, **kwargs)) if collecting() else safe(*args, **kwargs)

        return wrapper

    return decorate


def after_fork_in_child() -> None:
    """What was deferred is the parent's."""
    global _jobs, _collector
    _jobs, _collector = SimpleQueue(), None


def _on_collection(phase: str, _: object) -> None:
    global _collector
    _collector = get_ident() if phase == "start" else None


gc.callbacks.append(_on_collection)
