"""Input cleaning: what a host, a caller or an engine passes in becomes bounded text or a finite number before it is telemetry.

Without it, one string that cannot be encoded, or one number that is not finite, would make an exporter lose a complete batch, file or
scrape.
"""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Container, Mapping
from enum import Enum, StrEnum
from numbers import Number
from typing import Any, TypeVar

from otel_tts.core.guard import MisuseError, caller, guard
from otel_tts.semconv import OTHER, Instrument, Metric
from otel_tts.semconv.identifiers import ELLIPSIS, LONGEST_NAME, NOT_IN_A_NAME, REPLACEMENT, UNPRINTABLE, recorded_id

E = TypeVar("E", bound=StrEnum)

LONGEST_TEXT = 1 << 15
"""The most code points of a text: a log body, an exception's message, the text of a request."""
LARGEST = 1 << 53
"""The largest number: up to here every integer is exact as a float, and sums stay within what OTLP can carry."""

_NOT_IN_A_TEXT = re.compile(f"\r(?!\n)|[{UNPRINTABLE}]")
_LONGEST_WORD = 64  # characters; what is longer, or has a space in it, may be a text to speak
_SPACE = re.compile(r"\s")
_type_name = type.__dict__["__name__"].__get__

_logger = logging.getLogger(__name__)


def name(value: object) -> str:
    """Return ``value`` as a short text on one line: for a label, an attribute, the name of a span."""
    if type(value) is str and len(value) <= LONGEST_NAME and value.isascii() and value.isprintable():
        return value
    return NOT_IN_A_NAME.sub(REPLACEMENT, _cut(_plain(value), LONGEST_NAME))


def missing(argument: str) -> str:
    """Return the name of what has none, and say so: a host without a type checker may give None.

    Args:
        argument: the name of the argument that was given so.
    """
    guard.misused(argument, "None", "give a name.", "It is called None.")
    return "None"


def optional_name(value: object) -> str | None:
    """Return ``value`` as :func:`name` does; None if it is missing or empty."""
    if type(value) is str and 0 < len(value) <= LONGEST_NAME and value.isascii() and value.isprintable():
        return value  # the same as `name` returns, without the call: each request makes several
    return None if value is None else name(value) or None


def identifier(value: object) -> str | None:
    """Return ``value`` as the id of a conversation is recorded; None if it is missing or empty. Ids that differ stay different."""
    if type(value) is str and 0 < len(value) <= LONGEST_NAME and value.isascii() and value.isprintable():
        return value  # as `recorded_id` does, without the calls
    return None if value is None else recorded_id(_plain(value)) or None


def text(value: object) -> str:
    """Return ``value`` as a text of any number of lines: a log body, an exception's message, the text of a request."""
    if type(value) is str and len(value) <= LONGEST_TEXT and value.isascii() and value.isprintable():
        return value
    return _NOT_IN_A_TEXT.sub(REPLACEMENT, _cut(_plain(value), LONGEST_TEXT))


def spoken(value: object) -> str:
    """Return the text of a request unchanged, so that its characters are counted right. What is not a text is empty, and reported.

    Args:
        value: what the application passed.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if is_a(value, str):
        return str.__str__(value)  # a subclass may change what its methods do
    if is_a(value, (bytes, bytearray)):
        return str(value, "utf-8", "replace")  # type: ignore[call-overload, no-any-return]
    error = MisuseError(f"A text is str, not {type_name(value)}: its length, and what it costs, are unknown.")
    guard.caught("the text of a request", error)
    return ""


def is_text(value: object) -> bool:
    """Return whether a text of a request is one, so that its length is known: :func:`spoken` reads it.

    Args:
        value: what the application passed.
    """
    return is_a(value, (str, bytes, bytearray))


def number(value: Any) -> float:
    """Return ``value`` as exactly ``int`` or ``float``. Numbers of any library are accepted, also an array with a single value.

    Raises:
        MisuseError: it is not a number, not finite, or larger than `LARGEST`.
    """
    if (type(value) is float or type(value) is int) and -LARGEST <= value <= LARGEST:
        return value
    try:
        plain = _exact(value)
    except Exception as error:  # noqa: BLE001 - the host's object: whatever it raises, it gives no number
        guard.pass_on(error)
        plain = None
    if plain is None or not -LARGEST <= plain <= LARGEST:  # a comparison with NaN is always false
        raise MisuseError(f"{_shown_number(value)} is no finite number from {-LARGEST:,} to {LARGEST:,}.")
    return plain


def is_a(value: object, kinds: type | tuple[type, ...]) -> bool:
    """Return whether ``value`` is of these types. Unlike ``isinstance``, it does not read ``__class__``, which may raise anything.

    Args:
        value: what the application passed.
        kinds: the types, one of which it must have.
    """
    return issubclass(type(value), kinds)


def type_name(value: object) -> str:
    """Return the name of the type of ``value``, which its metaclass may hide."""
    return str(_type_name(type(value)))


def choice(kind: type[E], argument: str, value: object, consequence: str = "") -> E | None:
    """Return the member of an enumeration that an application names; None, reported with the caller's line, if there is none.

    Args:
        kind: the enumeration.
        argument: the name of the argument, for the warning.
        value: what the application passed.
        consequence: a further sentence of the warning: what happens instead.
    """
    if is_a(value, str):
        word = _plain(value)
        if word in tuple(kind):
            return kind(word)
    guard.misused(argument, shown(value), f"use one of {', '.join(kind)}.", *([consequence] if consequence else []))
    return None


def one_of(allowed: Container[object], value: object) -> str:
    """Return ``value`` if it is an allowed label, else ``_OTHER``.

    Args:
        allowed: the values that can be used.
        value: what the application passed.
    """
    label = _plain(value) if is_a(value, str) else ""
    return label if label in allowed else OTHER


def flag(argument: str, value: object) -> bool:
    """Return the truth value; False, reported with the caller's line, if it has none.

    Args:
        argument: the name of the argument, for the warning.
        value: what the application passed.
    """
    try:
        return bool(value)
    except Exception as error:  # noqa: BLE001 - the host's object: an array of several, say
        guard.pass_on(error)
        guard.misused(argument, shown(value), "use True or False.", "It counts as False.")
        return False


def seconds(argument: str, value: object) -> float | None:
    """Return a number of seconds, 0 or more; None, reported with the caller's line, for anything else.

    Args:
        argument: the name of the argument, for the warning.
        value: what the application passed.
    """
    try:
        plain = float(number(value))
    except ValueError:
        plain = -1.0
    if plain < 0:
        guard.misused(argument, _shown_number(value), "use a number of seconds, 0 or more.", "It is left out.")
        return None
    return plain


def exception(value: object) -> BaseException | None:
    """Return an exception that an application reports; None, reported with the caller's line, for what is not an exception.

    Args:
        value: what the application passed.
    """
    if value is None or is_a(value, BaseException):
        return value  # type: ignore[return-value]
    # Not the value: it may be the message of an exception, and contain the text to speak.
    guard.misused("error", f"<{type_name(value)}>", "pass the exception itself.")
    return None


def shown(value: object) -> str:
    """Return ``value`` for a message: short, on one line. Of what may contain the text to speak, as exceptions do, only the type."""
    try:
        if is_a(value, (str, bytes)):
            word = _plain(value)
            if len(word) > _LONGEST_WORD or _SPACE.search(word):
                return f"<{type_name(value)}, length {len(word)}>"
            return name(repr(word if is_a(value, str) else value))
        if value is None or is_a(value, (Number, Enum, type)):
            return name(repr(value))
    except Exception as error:  # noqa: BLE001 - the host's object
        guard.pass_on(error)
    return f"<{type_name(value)}>"


def _shown_number(value: object) -> str:
    """Return what was passed in place of a number, for a message: of what may hold text, as a string does, only the type."""
    return shown(value) if value is None or is_a(value, Number) else f"<{type_name(value)}>"


class Range:
    """The numbers that one metric accepts: finite, not negative but for gauges, integers if it counts things.

    Args:
        metric: the metric whose unit and instrument decide which values it takes.
    """

    __slots__ = ("_metric", "_warned", "least", "whole")

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self.least = -LARGEST if metric.instrument is Instrument.GAUGE else 0
        self.whole = metric.instrument is Instrument.COUNTER and metric.unit.startswith("{") and metric.unit != "{USD}"
        self._warned = False

    def accept(self, value: object, point: Mapping[str, object] | None = None) -> float | None:
        """Return the number to record; None, with one warning per metric, if it is left out.

        Args:
            value: what the application passed.
            point: the attributes of the point for which a function of the application returned it; None: it was passed in a call.
        """
        if type(value) is int and self.least <= value <= LARGEST:
            return value
        if type(value) is float and not self.whole and self.least <= value <= LARGEST:
            return value
        try:
            plain = number(value)
            if self.whole and plain == int(plain):
                plain = int(plain)
            if plain >= self.least and (isinstance(plain, int) or not self.whole):
                return plain
        except ValueError:
            pass
        self._warn(value, point)
        return None

    def _warn(self, value: object, point: Mapping[str, object] | None) -> None:
        kind = "whole numbers" if self.whole else "finite numbers"
        least = " of 0 or more" if self.least == 0 else ""
        labels = ", ".join(f"{key}={value}" for key, value in (point or {}).items())
        given = f"given at {caller()}" if point is None else f"returned by the function for {labels}"
        message = f"{_shown_number(value)} is left out of {self._metric.name}, which takes {kind}{least}: {given}."
        if guard.strict:
            raise ValueError(message)
        if not self._warned:
            self._warned = True
            _logger.warning("%s This is said once.", message)


def _plain(value: object) -> str:
    """Return exactly ``str``: for a member of an enumeration its value, so that the member and its value are one label."""
    try:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, bytes | bytearray):
            return bytes(value[: LONGEST_TEXT + 1]).decode("utf-8", "replace")
        if isinstance(value, Enum):
            return _plain(value.value)
        return str.__str__(str(value))
    except Exception as error:  # noqa: BLE001 - the host's object
        guard.pass_on(error)
        return f"<{type_name(value)}>"


def _cut(value: str, longest: int) -> str:
    return value if len(value) <= longest else value[:longest] + ELLIPSIS


def _exact(value: Any) -> float | None:
    if isinstance(value, str | bytes | bytearray | memoryview) or getattr(value, "shape", ()) != ():
        return None
    try:
        return operator.index(value)
    except TypeError:
        return float(value)
