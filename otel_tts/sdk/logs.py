"""Log records on their way out: with trace and span id, and without what an exception says.

An engine may put the text it was asked to speak into an exception, and gRPC logs the exceptions of its servicers. While text
capture is off, a record that carries one leaves as the exception's type and frames, never its message.
"""

from __future__ import annotations

import copy
import logging
import logging.config
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from opentelemetry._logs import LoggerProvider
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.guard import guarded
from otel_tts.core.privacy import class_name, exception_attributes

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_DEEPEST = 8
"""Levels of lists and maps in an extra; what is deeper becomes text."""


class ExportHandler(LoggingHandler):
    """Exports the records that reach the root logger, and changes nothing for its other handlers."""

    def __init__(self, provider: LoggerProvider, *, capture_text: bool) -> None:
        super().__init__(logger_provider=provider)
        self._capture_text = capture_text

    def emit(self, record: logging.LogRecord) -> None:
        """Export the record, unless an exporter wrote it: its failure would be exported, fail, and so on."""
        if is_instrumentation_enabled():
            self._export(record)
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level and self._is_alone(record):
            # A program that has not configured logging sees its warnings on stderr. This handler shall not take them away.
            logging.lastResort.handle(record)

    @guarded
    def _export(self, record: logging.LogRecord) -> None:
        super().emit(cleaned(record if self._capture_text else without_messages(record)))

    def flush(self) -> None:
        """Nothing: the pipeline flushes, bounded; the parent would start a thread, which is not allowed at exit."""

    def _is_alone(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


def is_attached() -> bool:
    """Whether log records are exported already, by a handler of OpenTelemetry's, whichever package it comes from."""
    return any(
        kind.__name__ == LoggingHandler.__name__ for handler in logging.getLogger().handlers for kind in type(handler).__mro__
    )


def attach(handler: logging.Handler) -> None:
    """Add a handler to the root logger that stays there, unseen, when the host configures logging afterwards.

    ``logging.basicConfig()`` does nothing when the root logger has a handler, and the others drop those that they find.
    """
    root = logging.getLogger()
    root.addHandler(handler)

    def keeping(configure: Callable[..., None]) -> Callable[..., None]:
        @wraps(configure)
        def configured(*args: Any, **kwargs: Any) -> None:
            attached = handler in root.handlers
            root.removeHandler(handler)
            try:
                configure(*args, **kwargs)
            finally:
                if attached:
                    root.addHandler(handler)

        return configured

    logging.basicConfig = keeping(logging.basicConfig)
    logging.config.dictConfig = keeping(logging.config.dictConfig)
    logging.config.fileConfig = keeping(logging.config.fileConfig)


def cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """The record with nothing in it that an exporter cannot encode: body, logger and extras as plain text and finite numbers."""
    try:
        body = record.getMessage()
    except Exception:  # noqa: BLE001 - the host's format and arguments: logging itself would only print the mistake
        body = record.msg
    error = record.exc_info[1] if record.exc_info else None
    copied = logging.makeLogRecord({key: value for key, value in vars(record).items() if key in _STANDARD})
    copied.msg, copied.args, copied.exc_info, copied.name = clean.text(body), None, None, clean.name(record.name)
    extras = {clean.name(key): _attribute(value) for key, value in vars(record).items() if key not in _STANDARD}
    vars(copied).update(extras if error is None else extras | exception_attributes(error, capture_text=True))
    return copied


def _attribute(value: Any, depth: int = 0) -> Any:
    """What an attribute of a log record may be: text, truth, numbers, and lists and maps of them."""
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


def without_messages(record: logging.LogRecord) -> logging.LogRecord:
    """The record without what exceptions say: those being handled, and those among its arguments.

    The text of a record that reports an exception is dropped as a whole: ``exception`` in it may have been formatted already.
    """
    error = record.exc_info[1] if record.exc_info else None
    record = copy.copy(record)  # the host's other handlers get the original
    if error is not None:
        said = exception_attributes(error, capture_text=False)
        record.msg = f"{record.name}: {class_name(error)}\n{said[semconv.EXCEPTION_STACKTRACE.key]}"
        record.args = record.exc_info = None
        vars(record).update(said)
    else:
        record.msg = _named(record.msg)
        if isinstance(record.args, Mapping):
            record.args = {key: _named(value) for key, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_named, record.args))
    return record


def _named(value: Any) -> Any:
    return class_name(value) if isinstance(value, BaseException) else value
