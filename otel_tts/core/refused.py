"""Refused calls: Python lets one thread or task at a time into a generator, and refuses others."""

from __future__ import annotations

from collections.abc import Collection
from types import CodeType

_REFUSALS: dict[type[BaseException], tuple[str, ...]] = {
    ValueError: ("generator already executing",),
    RuntimeError: tuple(f"{method}(): asynchronous generator is already running" for method in ("anext", "aclose")),
}


def is_refused(error: BaseException, between: Collection[CodeType]) -> bool:
    """Return whether a generator refused a call because another thread or task is in it: nothing of it ran, and it goes on.

    Args:
        error: what the call raised.
        between: the functions that only pass the call on.
    """
    if len(error.args) != 1 or error.args[0] not in _REFUSALS.get(type(error), ()):
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code in between:
        traceback = traceback.tb_next
    return traceback is None  # else a generator of the host's met it inside, and has ended
