"""The log of the service: each stack trace once, so that other lines stay visible."""

from __future__ import annotations

import logging
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass
from typing import TextIO

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_EXPORTERS = "opentelemetry."
"""OpenTelemetry's exporters warn at each retry, for as long as nobody takes what they send."""
_AGAIN_S = 3600.0  # a log that was rotated shall have the trace, too
_QUIET_S = 60.0
_MOST = 500  # traces and warnings that are remembered


def configure() -> None:
    """Print the process's log records from INFO on to stderr."""
    logging.basicConfig(level=logging.INFO, handlers=[FoldingHandler()])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request


@dataclass(slots=True)
class _Printed:
    at: float
    repeats: int = 0

    @property
    def clock(self) -> str:
        return time.strftime("%H:%M:%S", time.localtime(self.at))


class FoldingHandler(logging.StreamHandler[TextIO]):
    """Prints a stack trace in full once an hour, and a line for each repetition; a warning of an exporter once a minute.

    Args:
        stream: to write to; None: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.setFormatter(logging.Formatter(_FORMAT))
        self._traces: OrderedDict[str, _Printed] = OrderedDict()
        self._warnings: OrderedDict[str, _Printed] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, or count it where an exporter said the same in the last minute."""
        if record.name.startswith(_EXPORTERS):
            printed = self._warnings.get(_place(record))
            if printed is not None and record.created - printed.at < _QUIET_S:
                printed.repeats += 1
                return
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text: a line where its stack trace was printed before."""
        text = super().format(record)
        first, _, trace = text.partition("\n")
        if record.name.startswith(_EXPORTERS):
            before = self._warnings.get(_place(record))
            _remember(self._warnings, _place(record), record.created)
            if before is not None and before.repeats:
                first += f" ({before.repeats} more like this since {before.clock})"
        key = _raised_at(record.exc_info[1]) if record.exc_info else trace
        if '  File "' not in trace:
            return f"{first}\n{trace}" if trace else first
        printed = self._traces.get(key)
        if printed is None or record.created - printed.at >= _AGAIN_S:
            _remember(self._traces, key, record.created)
            return f"{first}\n{trace}"
        printed.repeats += 1
        if record.exc_info:
            first += f": {traceback.format_exception_only(record.exc_info[1])[-1].splitlines()[0]}"
        return f"{first} (repetition {printed.repeats} of the stack trace of {printed.clock})"


def _place(record: logging.LogRecord) -> str:
    return f"{record.pathname}:{record.lineno}"


def _raised_at(error: BaseException | None) -> str:
    """The classes and lines of an exception and those behind it, without their messages, which differ from time to time."""
    places, waiting, seen = [], [error], set[int]()
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        places += [type(error).__name__]
        places += [f"{frame.f_code.co_filename}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
        waiting += [error.__cause__, error.__context__]
        waiting += error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return " ".join(places)


def _remember(memory: OrderedDict[str, _Printed], key: str, at: float) -> None:
    memory.pop(key, None)
    memory[key] = _Printed(at)
    if len(memory) > _MOST:
        memory.popitem(last=False)
