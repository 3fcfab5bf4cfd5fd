"""Flush at the ends of a process where no ``atexit`` function runs: SIGTERM's default action, and ``os._exit``.

Both are wrapped: first the flush, then what they did before. A handler of the host for SIGTERM is not changed and never called by us, and
``signal.getsignal`` returns the handler that the host has set. Servers set their own handler while they run, restore the default when
they have stopped, and then end by the signal: that is when telemetry is flushed.
"""

from __future__ import annotations

import atexit
import functools
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from otel_tts.core.fork import ForkAware, register

_INIT = 1
"""The process id for which the kernel ignores a signal without a handler, as in containers."""
_UNTIL_KILLED_S = 1.0
"""Seconds between two flushes of such a process after it was told to end."""
_MOST_S = 60.0
"""The most seconds that the end of a program waits for the signal that it was sent."""


class Ending(ForkAware):
    """The flush before such an end.

    Args:
        end: exports what has been recorded and stops, within a time limit.
        flush: exports what has been recorded, if the process goes on afterwards.
    """

    def __init__(self, end: Callable[[], object], flush: Callable[[], object]) -> None:
        self._end_telemetry, self._flush = end, flush
        self._exit: Callable[[int], NoReturn] = os._exit
        os._exit = self._flush_and_exit
        self._set_signal, self._get_signal = signal.signal, signal.getsignal
        self._start()
        register(self)
        atexit.register(self._end_by_signal)

    def after_fork_in_child(self) -> None:
        """Start a new thread: that of the parent does not exist in the child."""
        self._start()

    def take_sigterm(self) -> None:
        """Flush also if SIGTERM would end the process at once.

        Raises:
            ValueError: called in another thread than the main one, where Python allows no signal handlers.
        """
        if self._get_signal(signal.SIGTERM) is signal.SIG_DFL:
            self._set_signal(signal.SIGTERM, self._terminated)
        elif threading.current_thread() is not threading.main_thread():
            raise ValueError("signal handlers are set in the main thread only")
        self._stand_before_signal()

    def _start(self) -> None:
        # The thread is started in advance, and gets the signal by a SimpleQueue. A signal handler runs in the middle of any code of the
        # main thread: a flush inside it would wait for ever if that code holds a lock of the SDK or of an exporter.
        # The queue's class is looked up here: where gevent has replaced threads since, this one is a greenlet, and needs gevent's queue.
        self._terminations: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._flushed = self._signalled = False
        threading.Thread(target=self._end, args=(self._terminations,), name="otel-tts-end", daemon=True).start()

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        if not self._flushed:
            self._signalled = True
            self._terminations.put(number)  # a supervisor may send it twice: both wait for the flush, which has a time limit
        else:
            self._set_signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _end(self, terminations: queue.SimpleQueue[int]) -> None:
        number = terminations.get()
        while os.getpid() == _INIT:  # it goes on until it is killed
            self._flush()
            with suppress(queue.Empty):
                terminations.get(timeout=_UNTIL_KILLED_S)
        while True:
            self._end_telemetry()
            self._flushed = True
            os.kill(os.getpid(), number)
            number = terminations.get()

    def _end_by_signal(self) -> None:
        """Wait at the end of a program that was sent SIGTERM: it ends by the signal, and not with the status of its last line.

        A server that has stopped sends itself the signal once more, and goes on for some instructions while the thread flushes.
        """
        deadline = time.monotonic() + _MOST_S
        while self._signalled and os.getpid() != _INIT and time.monotonic() < deadline:
            if self._get_signal(signal.SIGTERM) != self._terminated:
                return  # the host has set a handler since, or ignores the signal: it ends as it would
            time.sleep(0.01)

    def _flush_and_exit(self, status: int) -> NoReturn:
        try:
            self._end_telemetry()
        finally:
            self._exit(status)

    def _stand_before_signal(self) -> None:
        """Wrap ``signal.signal`` and ``getsignal``, so that the default is set and returned as if our handler did not exist.

        Without this, a server that restores the default would remove our handler, and one that looks for the default would find ours.
        """
        set_signal, get_signal, terminated = self._set_signal, self._get_signal, self._terminated

        def seen(handler: Any) -> Any:
            return signal.SIG_DFL if handler == terminated else handler

        @functools.wraps(set_signal)
        def set_(signalnum: int, handler: Any) -> Any:
            if signalnum == signal.SIGTERM and handler == signal.SIG_DFL:
                handler = terminated
            return seen(set_signal(signalnum, handler))

        @functools.wraps(get_signal)
        def get(signalnum: int) -> Any:
            return seen(get_signal(signalnum))

        signal.signal = set_
        signal.getsignal = get
