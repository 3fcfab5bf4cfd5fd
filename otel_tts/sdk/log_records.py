"""Log records on their way to our exporters, whoever made them: through `logging`, or through OpenTelemetry's Logs API as libraries do.

`logs` masks what comes through `logging`, where exceptions are still objects. What libraries emit by themselves passes only here.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from otel_tts import semconv
from otel_tts.core.guard import guard
from otel_tts.core.privacy import exception_attributes
from otel_tts.sdk import content, queries
from otel_tts.sdk.masking import SHORTEST, is_of_a_package, messages_of, named, without
from otel_tts.sdk.tracebacks import without_messages


class Masked(LogRecordProcessor):
    """Hands records on to another processor without what exceptions say. Other processors of the provider get them as they were.

    Args:
        processor: gets the record without messages of exceptions.
    """

    def __init__(self, processor: LogRecordProcessor) -> None:
        self._processor = processor

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Hand the record on, unless nothing of it may leave."""
        scope = log_record.instrumentation_scope
        try:
            if scope is not None and _is_detail(log_record.log_record) and is_of_a_package(scope.name):
                return
            leaving = copy.copy(log_record)
            leaving.log_record = _masked(log_record.log_record, scope.name if scope is not None else "")
        except Exception as error:  # noqa: BLE001 - whoever emits goes on, and what cannot be masked stays here
            guard.pass_on(error)
            return
        self._processor.on_emit(leaving)

    def shutdown(self) -> None:
        """Shut the other processor down."""
        self._processor.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other processor."""
        return self._processor.force_flush(timeout_millis)


def _is_detail(record: LogRecord) -> bool:
    severity = record.severity_number
    return severity is not None and 0 < severity.value < SeverityNumber.INFO.value


def _masked(record: LogRecord, scope: str) -> LogRecord:
    is_message = content.is_message(record.event_name or str((record.attributes or {}).get("event.name")))  # as it was before
    attributes = {} if is_message else dict(content.without(queries.attributes(record.attributes or {}), scope))
    dropped = getattr(record.attributes, "dropped", 0)
    body: Any = None if is_message else named(record.body)
    messages = {*messages_of(sys.exc_info()[1]), *messages_of(record.exception)}
    messages.update(_words(attributes.pop(semconv.EXCEPTION_MESSAGE.key, None)))
    stacktrace = attributes.get(semconv.EXCEPTION_STACKTRACE.key)
    if record.exception is not None:
        attributes.update(exception_attributes(record.exception, capture_text=False))
    elif stacktrace is not None:
        attributes[semconv.EXCEPTION_STACKTRACE.key] = without_messages(stacktrace) if isinstance(stacktrace, str) else ""
    for message in sorted(messages, key=len, reverse=True):
        body = without(body, message)
        attributes = {
            key: value if key in (semconv.EXCEPTION_TYPE.key, semconv.EXCEPTION_STACKTRACE.key) else without(value, message)
            for key, value in attributes.items()
        }
    leaving = copy.copy(record)
    leaving.body, leaving.exception = body, None
    leaving.attributes = BoundedAttributes(attributes=attributes, immutable=False)
    leaving.attributes.dropped = dropped
    return leaving


def _words(message: object) -> Iterator[str]:
    if isinstance(message, str):
        if len(message) >= SHORTEST:
            yield message
    elif isinstance(message, Mapping):
        yield from (word for value in message.values() for word in _words(value))
    elif isinstance(message, Sequence) and not isinstance(message, bytes):
        yield from (word for value in message for word in _words(value))
