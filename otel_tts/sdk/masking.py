"""Masking of log records while text capture is off.

An engine may put the text to speak into an exception, and engines and SDKs log texts, requests and responses at DEBUG. So a record is
exported without the message of any exception that can be reached from its arguments and extras, at any depth, and records of installed
packages below INFO are not exported. For what the host's own code writes into a message, the host is responsible.
"""

from __future__ import annotations

import copy
import functools
import gc
import logging
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType, TracebackType
from typing import Any

from otel_tts import semconv
from otel_tts.core.guard import guard
from otel_tts.core.privacy import class_name, exception_attributes

_STANDARD = frozenset(vars(logging.makeLogRecord({})))
_DEEPEST = 8  # levels of lists and maps
_MOST = 500  # objects that are visited from one value
SHORTEST = 4
"""Characters at least of a message that is searched for in text."""

_SPEECH = frozenset(
    ("piper", "kokoro", "kokoro_onnx", "hibari", "phonemizer", "espeakng", "openai", "elevenlabs", "deepgram", "cartesia", "boto3",
     "botocore", "urllib3", "edge_tts", "google", "grpc", "httpx", "httpcore", "websockets", "aiohttp", "azure", "livekit", "pipecat")
)  # fmt: skip
"""Packages that get the text to speak, wherever they are installed."""
_JOB_QUEUES = frozenset(
    ("celery", "rq", "dramatiq", "huey", "arq", "taskiq", "saq", "apscheduler", "procrastinate", "django-q", "luigi-interface")
)
"""Packages that log with which arguments they call a job, and so the text to speak."""
_JOB = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_INSTALLED = tuple(
    {
        str(Path(path).resolve())
        for path in (
            *site.getsitepackages(),
            site.getusersitepackages(),
            *(sysconfig.get_path(p) for p in ("purelib", "platlib", "stdlib")),
        )
        if path
    }
)
_OURS = "otel_tts"


def masked(record: logging.LogRecord) -> logging.LogRecord | None:
    """Return a copy of the record without messages of exceptions; None if it must not be exported at all.

    The text of a record that reports an exception is dropped completely: the exception may have been formatted into it already.

    Args:
        record: the log record.
    """
    if record.levelno < logging.INFO and is_of_a_package(record.name, record.pathname):
        return None
    error = record.exc_info[1] if record.exc_info else None
    if record.name.partition(".")[0] in _JOB_QUEUES:
        if record.levelno < logging.WARNING:
            return None
        record = _of_a_job(record)
    else:
        record = copy.copy(record)  # the host's other handlers get the original
    record.exc_text = None
    extras = {key: named(value) for key, value in vars(record).items() if key not in _STANDARD}
    vars(record).update(extras)
    if error is not None:
        attributes = exception_attributes(error, capture_text=False)
        record.msg = f"{record.name}: {class_name(error)}\n{attributes[semconv.EXCEPTION_STACKTRACE.key]}"
        record.args = record.exc_info = None
        vars(record).update(attributes)
        return record
    record.exc_info = None
    record.msg = named(record.msg)
    if isinstance(record.args, Mapping):
        record.args = {named(key): named(value) for key, value in record.args.items()}
    elif record.args:
        record.args = tuple(map(named, record.args))
    # The host may have formatted them into the text already: f"failed: {error}". The longest first: one may be part of another.
    for message in sorted(messages_of(sys.exc_info()[1]), key=len, reverse=True):
        record.msg, record.args = _message(record).replace(message, "..."), None
        vars(record).update({key: without(vars(record)[key], message) for key in extras})
    return record


def _of_a_job(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy with numbers and the job's id only: anything else may hold the job's arguments."""
    copied = logging.makeLogRecord({key: value for key, value in vars(record).items() if key in _STANDARD})
    if isinstance(record.args, Mapping):
        copied.args = {key: _without_text(value) for key, value in record.args.items()}
    elif record.args:
        copied.args = tuple(map(_without_text, record.args))
    return copied


def _without_text(value: Any) -> Any:
    if isinstance(value, bool | int | float | BaseException) or (isinstance(value, str) and _JOB.fullmatch(value)):
        return value
    return _Name("...")


def is_of_a_package(name: str, path: str | None = None) -> bool:
    """Return whether an installed package wrote a record, not the host's own code or ours.

    Args:
        name: the logger's, or that of the instrumentation scope.
        path: the source file that the record names.
    """
    package = name.partition(".")[0]
    if package == _OURS:
        return False
    if package in _SPEECH:
        return True
    return any(_is_installed(place) for place in (path, getattr(sys.modules.get(package), "__file__", None)) if place)


@functools.lru_cache(1024)
def _is_installed(path: str) -> bool:
    return str(Path(path).resolve()).startswith(_INSTALLED)


class _Name(str):
    """The name of an object in its place; shown without quotes in a list."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def named(value: Any, depth: int = 0) -> Any:
    """Return the value with a class name in place of every exception inside it, and of objects that have too much inside to check.

    Args:
        value: an argument of the log call.
        depth: how many containers it is in.
    """
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return value
    if isinstance(value, BaseException):
        return _Name(class_name(value))
    if depth < _DEEPEST:
        if type(value) is dict or (isinstance(value, Mapping) and _reaches_exception(value)):
            return {named(key, depth + 1): named(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(named(item, depth + 1) for item in value)
        if isinstance(value, AbstractSet):
            return [named(item, depth + 1) for item in value]
    return _Name(f"<{type(value).__module__}.{type(value).__qualname__}>") if _reaches_exception(value) else value


_PASSED = (type, ModuleType, FunctionType, CodeType, FrameType, TracebackType, str, bytes, int, float, logging.Logger)


def _reaches_exception(value: Any) -> bool:
    """Return whether an exception can be reached from a value (a task, a partial, an object's fields), or there is too much to check.

    It asks the garbage collector for references: reading attributes would run code of the host.
    """
    seen = {id(value)}
    waiting = [value]
    while waiting:
        for item in gc.get_referents(waiting.pop()):
            if isinstance(item, BaseException):
                return True
            if id(item) in seen or isinstance(item, _PASSED):
                continue
            if len(seen) > _MOST:
                return True
            seen.add(id(item))
            waiting.append(item)
    return False


def messages_of(error: BaseException | None) -> Iterator[str]:
    """Yield the messages of an exception with its notes, and of those chained to it or grouped in it.

    Args:
        error: the exception at hand; None without one.
    """
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += (error.__cause__, error.__context__)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        notes = _state_of(error).get("__notes__")
        for message in map(_text, (error, *_arguments_of(error), *(notes if isinstance(notes, list | tuple) else ()))):
            for words in {message, *message.splitlines()}:  # a stack trace of a group begins each line anew
                if len(words) >= SHORTEST:
                    yield words
                    yield repr(words)[1:-1]


# As the interpreter reads them: a class of the host may define others, which may raise.
_arguments_of = BaseException.args.__get__  # type: ignore[attr-defined]
_state_of = BaseException.__dict__["__dict__"].__get__


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - the host's object: nobody else can have formatted it either
        guard.pass_on(error)
        return ""


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - the host's format and arguments: logging itself would only print the mistake
        guard.pass_on(error)
        return str(record.msg)


def without(value: Any, message: str) -> Any:
    """Return the value with the message removed from all text in it.

    Args:
        value: an argument of the log call.
        message: what the exception says.
    """
    if isinstance(value, str):
        return value.replace(message, "...")
    if isinstance(value, dict):
        return {key: without(item, message) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without(item, message) for item in value]
    return value
