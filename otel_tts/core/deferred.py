"""Deferred work: what finalisers, and code that the garbage collector runs, must not do at once.

The collector runs in the middle of any code that allocates memory, also while its thread holds a lock of ours, of the SDK or of an
exporter. Without deferral, a generator that the collector closes would finish its request right there, and wait for ever for the lock
that its own thread holds. So such code only notes what is to be done, and the time; it is done before the next request and before
every export.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Any, ParamSpec, TypeVar, cast

from otel_tts.core.guard import guard, guarded

P = ParamSpec("P")
T = TypeVar("T")

# The put of a SimpleQueue is reentrant: a finaliser may run in the middle of another put. With any other queue it would hang.
_jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
_collector: int | None = None  # the thread that collects; there is one collection at a time


def collecting() -> bool:
    """Return whether the caller is run by the garbage collector."""
    return _collector is not None and _collector == get_ident() and _phases.get("stop") is _last_stop


def defer(job: Callable[[], None]) -> None:
    """Run ``job`` later. Takes no lock."""
    _jobs.put(job)


def run_deferred() -> None:
    """Run the deferred jobs; do nothing if the garbage collector runs the caller."""
    while not _jobs.empty() and not collecting():
        try:
            job = _jobs.get_nowait()
        except Empty:  # another thread was faster
            return
        try:
            job()
        except Exception as error:  # noqa: BLE001 - the boundary: runs before others' requests, and before exports
            guard.caught("running what was deferred", error)


def deferrable(function: Callable[P, None]) -> Callable[P, None]:
    """Make a function of ours that returns nothing safe to call from the host, as `guarded` does, and from the garbage collector.

    Args:
        function: does the work; it returns nothing.
    """
    safe, site = guarded(function), function.__qualname__

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        if _collector is not None and collecting():
            defer(functools.partial(safe, *args, **kwargs))
            return
        try:  # as `guarded` does, without another call
            function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the boundary, as there
            guard.caught(site, error)

    return wrapper


def outside_collections(default: Callable[..., Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function safe as `guarded_or` does; inside a garbage collection, ``default`` gives the result and nothing is started."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        site = function.__qualname__

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            if _collector is not None and collecting():
                return cast("T", default(*args, **kwargs))
            try:  # as `guarded_or` does, without another call
                return function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the boundary, as there
                guard.caught(site, error)
                return cast("T", default(*args, **kwargs))

        return wrapper

    return decorate


def after_fork_in_child() -> None:
    """Drop the deferred jobs, which the parent runs. The child would record the same requests a second time."""
    global _jobs, _collector
    _jobs, _collector = SimpleQueue(), None


_phases: dict[str, object] = {}
"""What collections last said at each phase. Written without Python code, which an exception of a signal handler could cut off."""
_last_stop: object = None
"""The end of the collection before the one that a thread is in."""


def _on_collection(phase: str, _: object) -> None:
    global _collector, _last_stop
    if phase == "start":
        _last_stop = _phases.get("stop")
        _collector = get_ident()
    else:
        _collector = None


gc.callbacks += [_phases.__setitem__, _on_collection]
