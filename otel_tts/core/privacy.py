"""Privacy: what is recorded of an exception while text capture is off - its class and its frames, never its message.

An engine may put the text to speak into the message, and into that of every chained exception.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterator
from typing import Any

from otel_tts import semconv
from otel_tts.core import clean
from otel_tts.core.guard import guard

_LINKS = 32
"""Exceptions of a chain that are described, the newest: a loop that tries again inside its handlers makes chains without end."""
_DEPTH = 8
"""Groups inside groups that are described."""
_LEFT_OUT = "(earlier ones are left out)\n"
# As the class of all exceptions has them: a class of the host may compute or refuse them.
_CAUSE, _CONTEXT, _SUPPRESSED, _FRAMES = (
    vars(BaseException)[name].__get__ for name in ("__cause__", "__context__", "__suppress_context__", "__traceback__")
)
_MEMBERS = vars(BaseExceptionGroup)["exceptions"].__get__
_NAME, _MODULE = (vars(type)[name].__get__ for name in ("__qualname__", "__module__"))


def class_name(error: BaseException) -> str:
    """Return the qualified name of the exception's class; builtins without their module, as in the OpenTelemetry SDK.

    Args:
        error: the exception.
    """
    module: object = _MODULE(type(error))
    return str(_NAME(type(error))) if module == "builtins" or type(module) is not str else f"{module}.{_NAME(type(error))}"


def stacktrace(error: BaseException) -> str:
    """Return the frames of an exception and of those chained to it, formatted as a traceback, without any message.

    Args:
        error: the exception. Of a long chain, the newest count.
    """
    return _described(error, {id(error)}, 0)


def exception_attributes(error: BaseException, *, capture_text: bool) -> dict[str, str]:
    """Return the attributes of an ``exception`` span event.

    Args:
        error: the exception.
        capture_text: whether the message is included: it may contain the text to speak.
    """
    attributes = {semconv.EXCEPTION_TYPE.key: class_name(error)}
    if capture_text:
        attributes[semconv.EXCEPTION_MESSAGE.key] = clean.text(error)
    attributes[semconv.EXCEPTION_STACKTRACE.key] = clean.text(_with_messages(error) if capture_text else stacktrace(error))
    return attributes


def _with_messages(error: BaseException) -> str:
    is_long = next(itertools.islice(_chain(error, {id(error)}), _LINKS, None), None) is not None
    try:
        return stacktrace(error) if is_long else "".join(traceback.format_exception(error))
    except Exception as fault:  # noqa: BLE001 - of a class of the host that Python cannot format
        guard.pass_on(fault)
        return stacktrace(error)


def _chain(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """Give an exception and those that led to it, the newest first."""
    link: Any = error
    while link is not None:
        yield link
        cause = _CAUSE(link)
        link = cause if cause is not None else None if _SUPPRESSED(link) else _CONTEXT(link)
        if id(link) in seen:  # a chain may be circular
            return
        seen.add(id(link))


def _described(error: BaseException, seen: set[int], depth: int) -> str:
    described: list[str] = []
    size = 0
    for link in list(itertools.islice(_chain(error, seen), _LINKS + 1)):  # a group may have one of them as a member
        if len(described) == _LINKS or size > clean.LONGEST_TEXT:
            described.append(_LEFT_OUT)
            break
        described.append("".join(_one(link, seen, depth)))
        size += len(described[-1])
    return "\n(led to)\n\n".join(reversed(described))


def _one(error: BaseException, seen: set[int], depth: int) -> Iterator[str]:
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(_FRAMES(error))
    yield f"{class_name(error)}\n"
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH:
        for member in itertools.islice(_MEMBERS(error), _LINKS):
            if id(member) not in seen:
                seen.add(id(member))
                yield _described(member, seen, depth + 1)
