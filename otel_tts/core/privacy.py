"""Privacy: what is recorded of an exception while text capture is off - its class and its frames, never its message.

An engine may put the text to speak into the message, and into that of every chained exception.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from otel_tts import semconv
from otel_tts.core import clean


def class_name(error: BaseException) -> str:
    """Return the qualified name of the exception's class; builtins without their module, as in the OpenTelemetry SDK.

    Args:
        error: the exception.
    """
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def stacktrace(error: BaseException) -> str:
    """Return the frames of an exception and of those chained to it, formatted as a traceback, without any message.

    Args:
        error: the exception.
    """
    return "".join(_lines(error, set()))


def exception_attributes(error: BaseException, *, capture_text: bool) -> dict[str, str]:
    """Return the attributes of an ``exception`` span event.

    Args:
        error: the exception.
        capture_text: whether the message is included: it may contain the text to speak.
    """
    if capture_text:
        return {
            semconv.EXCEPTION_TYPE.key: class_name(error),
            semconv.EXCEPTION_MESSAGE.key: clean.text(error),
            semconv.EXCEPTION_STACKTRACE.key: clean.text("".join(traceback.format_exception(error))),
        }
    return {
        semconv.EXCEPTION_TYPE.key: class_name(error),
        semconv.EXCEPTION_STACKTRACE.key: clean.text(stacktrace(error)),
    }


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))  # a chain may be circular, which would never end
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in seen:
        yield from _lines(earlier, seen)
        yield "\n(led to)\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{class_name(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            if id(member) not in seen:
                yield from _lines(member, seen)
