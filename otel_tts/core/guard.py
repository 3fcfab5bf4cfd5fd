"""Guard: it catches exceptions of telemetry code, so that a fault of ours loses telemetry and never the host's request.

It is used at the boundary only: on the methods that a host calls, and around the callbacks that we pass to others.
"""

from __future__ import annotations

import functools
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, ParamSpec, TypeVar, cast

from otel_tts.errors import OtelTtsError

P = ParamSpec("P")
T = TypeVar("T")

_logger = logging.getLogger(__name__)


class MisuseError(OtelTtsError, ValueError):
    """Error of a value that an application gave and that cannot be used. Its message may be logged: it contains no text to speak."""


class Guard:
    """Handler that catches and logs exceptions of telemetry code: the first at a site as a warning, later ones at debug level.

    What the application did wrong is a warning for each place in its code: each of them has to be mended.

    With ``strict`` they are raised: test suites set it, so that a fault of ours fails a test.
    """

    def __init__(self) -> None:
        self.strict = False
        self._warned: set[str] = set()

    def caught(self, site: str, error: Exception) -> None:
        """Report ``error``, raised in telemetry code at ``site``. Call it from an ``except`` block.

        The log line names the exception's class only: its message may contain the text to speak. That of a :class:`MisuseError` does not,
        nor does Python's of arguments that the called method has not.
        """
        if self.strict:
            raise error
        self.pass_on(error)
        place = caller()
        misuse = f"{error} " if isinstance(error, MisuseError) else f"{error}. " if _is_of_the_call(error) else ""
        warned = f"{site} at {place}" if misuse else site
        level = logging.DEBUG if warned in self._warned else logging.WARNING
        self._warned.add(warned)
        _logger.log(
            level,
            "Telemetry failed in %s (%s), called at %s. %sThe service is not affected; this telemetry is missing.",
            site,
            type(error).__name__,
            place,
            misuse,
        )

    def pass_on(self, error: BaseException) -> None:
        """Raise ``error`` on if a signal handler of the host raised it in the middle of our code: the time limit of a job, say.

        Args:
            error: the exception that was caught.
        """
        if isinstance(error, MemoryError):  # without memory, CPython may crash in further calls
            return
        if _is_from_signal_handler(error):
            raise error

    def is_new(self, site: str, error: Exception) -> bool:
        """Return whether an exception of this class is the first at ``site``: only that one is logged with its stack trace.

        Args:
            site: the name of the place in which telemetry failed.
            error: the exception.
        """
        place = f"{type(error).__name__} in {site}"
        if place in self._warned:
            return False
        self._warned.add(place)
        return True

    def misused(
        self,
        argument: str,
        value: str,
        allowed: str,
        consequence: str = "It counts as a failure of an unknown kind.",
        place: str | None = None,
    ) -> None:
        """Report that the application gave ``value``, which cannot be used, for ``argument``: one warning, with its file and line.

        Args:
            argument: the name of the argument.
            value: the value, as text.
            allowed: what is allowed.
            consequence: what happens instead.
            place: the file and line where it was given; by default those of the call in progress.

        Raises:
            ValueError: in strict mode.
        """
        place = place or caller()
        message = f"{argument}={value} at {place} cannot be used: {allowed}"
        if self.strict:
            raise ValueError(message)
        site = f"{argument} at {place}"  # not the value: there may be a new one in each request
        if site not in self._warned:
            self._warned.add(site)
            _logger.warning("%s %s", message, consequence)

    def unreadable(self, declared: object, error: Exception) -> None:
        """Report audio that is not what it was declared to be: one warning for each place, also in strict mode, since an engine may do it.

        Args:
            declared: its format.
            error: what is wrong with it; the message contains nothing of the audio.
        """
        place = caller()
        site = f"audio at {place}"
        if site not in self._warned:
            self._warned.add(site)
            _logger.warning(
                "The audio of %s cannot be read as %s: %s Declare the format that the engine gives, or convert the audio. "
                "Its duration, loudness and first audio are unknown.",
                place,
                declared,
                error,
            )


def _is_of_the_call(error: Exception) -> bool:
    """Return whether Python refused the arguments of a call of ours: nothing of the called method ran, and the message names no value."""
    traceback = error.__traceback__
    return isinstance(error, TypeError) and traceback is not None and traceback.tb_next is None


def _is_from_signal_handler(error: BaseException) -> bool:
    """Return whether one of the handlers that are set raised it."""
    handlers = set(_handlers())
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        for function in (handler, getattr(type(handler), "__call__", None)):  # noqa: B004 - a function or method, or an object with one
            if isinstance(code := getattr(function, "__code__", None), CodeType):
                yield code


_BETWEEN = frozenset(
    ("otel_tts", "functools", "contextlib", "wrapt", "httpx", "httpx2", "openai", "cartesia", "elevenlabs", "deepgram")
)
"""Packages that stand between the application and us: audio is read through HTTP clients and the SDKs of vendors."""


def caller() -> str:
    """Return the file and line in the application that called us."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _BETWEEN:
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


guard = Guard()
"""The guard of this process."""


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """Make a method of ours that returns nothing safe to call from the host.

    A ``BaseException`` that is not an ``Exception`` is never caught: asyncio's cancellation would be lost, and the task run on.

    Args:
        function: may raise; it returns nothing.
    """
    return guarded_or(_nothing)(function)


def guarded_or(default: Callable[..., Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a method of ours safe to call from the host: when it fails, ``default`` gives the result, from the same arguments."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        site = function.__qualname__

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the host goes on
                guard.caught(site, error)
                return cast("T", default(*args, **kwargs))  # a NoOp has another type, which callers need not know

        return wrapper

    return decorate


def _nothing(*args: object, **kwargs: object) -> None:
    """Return None, in place of a function that returns nothing."""
