"""A lock that nobody leaves taken: neither a caller that may not wait, nor an exception of a signal handler."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock


def run_alone(lock: RLock, work: Callable[[], object], timeout_s: float = 0.0) -> bool:
    """Run ``work`` with the lock, and return whether that was possible.

    It is not if another thread keeps the lock, or if this thread has it: then a signal handler or a finaliser has interrupted the work.

    A signal handler of the host may raise: the time limit of a job. Python runs it when a function begins and when a call returns: so
    also behind the call that takes a lock, before a ``try`` that follows. ``with lock:`` has no such gap, but waits without limit.

    Args:
        lock: for ``work``, and nothing else that this thread does.
        work: what to do.
        timeout_s: how long to wait for the lock, in seconds.
    """
    if lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - as threading.Condition
        return False
    try:
        if not lock.acquire(timeout=timeout_s):
            return False
        work()
    except BaseException:
        try:  # noqa: SIM105 - `suppress` is a call, before which Python looks for signals again
            lock.release()
        except RuntimeError:  # it was not taken yet
            pass
        raise
    lock.release()
    return True
