"""Export of log records: with trace and span id, as plain text, and without the messages of exceptions (see ``masking``)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from functools import cache, wraps
from typing import Any

from opentelemetry._logs import LoggerProvider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.deferred import deferrable
from otel_tts.core.enclosing import purpose_here
from otel_tts.core.guard import guard
from otel_tts.core.privacy import exception_attributes
from otel_tts.sdk.masking import masked

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_DEEPEST = 8
"""The most levels of lists and maps in an extra; deeper ones become text."""


_attached: list[logging.Handler] = []


class ExportHandler(LoggingHandler):
    """Handler that exports the records that reach the root logger, and changes nothing for its other handlers.

    Args:
        provider: exports the records.
        capture_text: whether texts and messages of exceptions may be exported.
    """

    def __init__(self, provider: LoggerProvider, *, capture_text: bool) -> None:
        super().__init__(logger_provider=provider)
        self._capture_text = capture_text

    def emit(self, record: logging.LogRecord) -> None:
        """Export the record, unless an exporter wrote it: a failed export would log a record whose export fails, without end."""
        if is_instrumentation_enabled():
            self._export(record)

    @deferrable
    def _export(self, record: logging.LogRecord) -> None:
        leaving = record if self._capture_text else masked(record)
        if leaving is None:
            return
        leaving = cleaned(leaving)
        conversation = purpose_here().conversation
        if conversation:
            leaving = copy.copy(leaving)  # the host's other handlers get the original
            vars(leaving)[semconv.CONVERSATION.key] = conversation
        super().emit(leaving)

    def flush(self) -> None:
        """Do nothing: the pipeline flushes, with a time limit. The base class would start a thread, which is not possible at exit."""


def is_attached() -> bool:
    """Return whether log records are exported already, by a handler of any OpenTelemetry package."""
    return bool(_attached) or any(
        kind.__name__ == LoggingHandler.__name__ for handler in logging.getLogger().handlers for kind in type(handler).__mro__
    )


def attach(handler: logging.Handler) -> None:
    """Give a handler every record that reaches the root logger, without being one of the root logger's handlers.

    What looks at those handlers sees none of ours: `basicConfig`, which does nothing where there is one; `dictConfig` and Celery, which
    remove them; RQ and others, which print only where nobody else does; and Python's own handler of last resort.

    Args:
        handler: gets the records.
    """
    _attached.append(handler)
    _extend_logging()


@cache
def _extend_logging() -> None:
    call_handlers = logging.Logger.callHandlers

    @wraps(call_handlers)
    def and_ours(logger: logging.Logger, record: logging.LogRecord) -> None:
        for handler in tuple(_attached):
            if record.levelno >= handler.level and _reaches_root(logger):
                handler.handle(record)
        call_handlers(logger, record)

    logging.Logger.callHandlers = and_ours  # type: ignore[method-assign, assignment]


def detach(handler: logging.Handler) -> None:
    """Give a handler no more records.

    Args:
        handler: was attached.
    """
    if handler in _attached:
        _attached.remove(handler)


def _reaches_root(logger: logging.Logger) -> bool:
    while logger.parent is not None:
        if not logger.propagate:
            return False
        logger = logger.parent
    return True


def cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy that every exporter can encode: body, logger and extras as plain text and finite numbers.

    Args:
        record: the log record.
    """
    try:
        body = record.getMessage()
    except Exception as fault:  # noqa: BLE001 - the host's format and arguments: logging itself would only print the mistake
        guard.pass_on(fault)
        body = record.msg
    error = record.exc_info[1] if record.exc_info else None
    copied = logging.makeLogRecord({key: value for key, value in vars(record).items() if key in _STANDARD})
    copied.msg, copied.args, copied.exc_info, copied.name = clean.text(body), None, None, clean.name(record.name)
    extras = {clean.name(key): _attribute(value) for key, value in vars(record).items() if key not in _STANDARD}
    vars(copied).update(extras if error is None else extras | exception_attributes(error, capture_text=True))
    return copied


def _attribute(value: Any, depth: int = 0) -> Any:
    """Return a value that an attribute of a log record may have: text, a boolean, a number, or lists and maps of these."""
    if value is None or isinstance(value, bool) or (type(value) is int and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {clean.name(key): _attribute(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_attribute(item, depth + 1) for item in value]
    try:
        return clean.number(value)
    except ValueError:
        return clean.text(value)
