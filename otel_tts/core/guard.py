"""The one guard between telemetry and the host: a fault of ours costs telemetry, never the host's request.

It stands at the boundary only: on the methods that a host calls, and around the callbacks that we hand to others.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_logger = logging.getLogger(__name__)


class Guard:
    """Swallows and reports exceptions of telemetry code: a warning once per site, then debug.

    ``strict`` lets them through: test suites set it, so that a fault of ours fails a test.
    """

    def __init__(self) -> None:
        self.strict = False
        self._warned: set[str] = set()

    def caught(self, site: str, error: Exception) -> None:
        """Report ``error``, raised in telemetry code at ``site``. Call it from an ``except`` block.

        The log line names the exception's class only: its message may hold the host's text.
        """
        if self.strict:
            raise error
        level = logging.DEBUG if site in self._warned else logging.WARNING
        self._warned.add(site)
        _logger.log(
            level,
            "Telemetry failed in %s (%s), called at %s. The service is not affected; this telemetry is missing.",
            site,
            type(error).__name__,
            caller(),
        )

    def is_new(self, site: str, error: Exception) -> bool:
        """Whether an exception of this class is the first at ``site``: its stack trace is logged once, and lines after that."""
        place = f"{type(error).__name__} in {site}"
        if place in self._warned:
            return False
        self._warned.add(place)
        return True

    def misused(
        self, argument: str, value: str, allowed: str, consequence: str = "It counts as a failure of an unknown kind."
    ) -> None:
        """Report that the application gave ``value``, which cannot be used, for ``argument``: one warning, with its file and line.

        Args:
            argument: its name.
            value: as it is shown.
            allowed: what it takes.
            consequence: what becomes of it.

        Raises:
            ValueError: in strict mode.
        """
        place = caller()
        message = f"{argument}={value} at {place} cannot be used: {allowed}"
        if self.strict:
            raise ValueError(message)
        site = f"{argument} at {place}"  # not the value: there may be a new one in each request
        if site not in self._warned:
            self._warned.add(site)
            _logger.warning("%s %s", message, consequence)


def caller() -> str:
    """The file and line in the application that called us."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("otel_tts", "functools"):
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


guard = Guard()
"""The process's guard."""


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """Make a method of ours that returns nothing safe to call from the host.

    A ``BaseException`` that is no ``Exception`` (a cancellation) is never touched.
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
                return cast("T", default(*args, **kwargs))  # a stand-in is of no type that callers should see

        return wrapper

    return decorate


def _nothing(*args: object, **kwargs: object) -> None:
    """What a procedure returns."""
