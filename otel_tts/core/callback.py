"""Callbacks of the host that are called for a value at every export.

Each is called in a thread of its own: if one hangs, raises or exits, its own data point is missing. Called in the thread of the export,
it would stop all metrics, and the SDK's locks would stay held.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from otel_tts.core import clean
from otel_tts.core.fork import ForkAware, register
from otel_tts.core.guard import MisuseError, guard

PATIENCE_S = 0.5
"""The longest time that the callbacks of one metric, all together, may delay an export, in seconds."""

_SITE = "a value read at export"


@dataclass(slots=True)
class _CallbackResult:
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: BaseException | None = None


_Question = tuple[Callable[[], Any], _CallbackResult]


class Callback(ForkAware):
    """One function of the host, with the thread that calls it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        """Start the thread now: while the interpreter shuts down, some Python releases (3.12) cannot start one for the last export.

        Raises:
            MisuseError: ``function`` cannot be called.
        """
        self._function = _callable(function)
        self._answer: _CallbackResult | None = None
        self._late = False
        self._start()
        register(self)

    def after_fork_in_child(self) -> None:
        """Start a new thread: threads, and a call that was running in one, exist in the parent only."""
        self._start()

    def ask(self) -> None:
        """Start a call, unless the one before it still hangs."""
        if self._answer is None or self._answer.done.is_set():
            self._answer = _CallbackResult()
            self._asked.put((self._function, self._answer))
            self._late = False
        else:
            self._late = True

    def answer(self, deadline: float) -> Any:
        """Return what the call returned before ``deadline``, a reading of ``time.monotonic()``; None for no data point."""
        answer = self._answer
        if answer is None or self._late or not answer.done.wait(max(0.0, deadline - time.monotonic())):
            guard.caught(_SITE, TimeoutError("no answer in time"))
            return None
        if answer.error is not None:
            error = answer.error
            guard.caught(_SITE, error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
        return answer.value

    def replace(self, function: Callable[[], Any]) -> None:
        """Call another function from now on.

        Raises:
            MisuseError: ``function`` cannot be called.
        """
        self._function = _callable(function)
        if self._answer is not None and not self._answer.done.is_set():
            self._asked.put(None)  # the thread is left to the call that hangs, and ends with it
            self._start()

    def __del__(self) -> None:
        # The thread refers to the queue only: if it referred to this object, this would never be freed and the thread never end. A
        # finaliser may run in the middle of any code, so only a SimpleQueue will do: the put of other queues takes a lock, for which
        # this thread could wait for ever.
        asked = getattr(self, "_asked", None)
        if asked is not None:
            asked.put(None)

    def _start(self) -> None:
        # The class is looked up here: where gevent has replaced threads since, the thread is a greenlet, and needs gevent's queue.
        self._asked: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._answer, self._late = None, False
        threading.Thread(target=_serve, args=(self._asked,), name="otel-tts-callback", daemon=True).start()


def _callable(function: Callable[[], Any]) -> Callable[[], Any]:
    if not callable(function):
        raise MisuseError(f"A value that is read at export is given by a function, not by {clean.type_name(function)}.")
    return function


def _serve(asked: queue.SimpleQueue[_Question | None]) -> None:
    while (question := asked.get()) is not None:
        function, answer = question
        try:
            answer.value = function()
        except BaseException as error:  # noqa: BLE001 - the host's function: SystemExit ends no thread of ours either
            answer.error = error
        answer.done.set()
