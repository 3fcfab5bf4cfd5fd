"""The door: whatever a host, a caller or an engine passes in becomes plain, bounded text or a finite number before it is telemetry.

A single string that cannot be encoded, or one number that is not finite, would cost a whole batch, file or scrape further on.
"""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Container
from enum import Enum, StrEnum
from typing import Any, TypeVar

from otel_tts.core.guard import caller, guard
from otel_tts.semconv import OTHER, Instrument, Metric

E = TypeVar("E", bound=StrEnum)

LONGEST_NAME = 128
"""Code points of a name (a voice, a model, a cache tier): what is longer is cut, and ends in an ellipsis."""
LONGEST_TEXT = 1 << 15
"""Code points of a text: a log body, an exception's message, what was spoken."""
LARGEST = 1 << 53
"""Up to here every whole number is a float too, and no sum of them leaves what OTLP carries."""

_ELLIPSIS = "…"
# Controls, lone surrogates, and what turns the direction of the characters around it or breaks the line.
_UNPRINTABLE = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069"
_NOT_IN_A_NAME = re.compile(f"[\t\n\r{_UNPRINTABLE}]")
_NOT_IN_A_TEXT = re.compile(f"\r(?!\n)|[{_UNPRINTABLE}]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_logger = logging.getLogger(__name__)


def name(value: object) -> str:
    """``value`` as a short text on one line: of a label, an attribute, a span's name."""
    if type(value) is str and len(value) <= LONGEST_NAME and value.isascii() and value.isprintable():
        return value
    return _NOT_IN_A_NAME.sub(_REPLACEMENT, _cut(_plain(value), LONGEST_NAME))


def optional_name(value: object) -> str | None:
    """The same; None for what is missing or empty."""
    if type(value) is str and 0 < len(value) <= LONGEST_NAME and value.isascii() and value.isprintable():
        return value  # as `name` would say, in a call less: there are a few of them in each request
    return None if value is None else name(value) or None


def text(value: object) -> str:
    """``value`` as a text of any number of lines: a log body, an exception's message, what was spoken."""
    if type(value) is str and len(value) <= LONGEST_TEXT and value.isascii() and value.isprintable():
        return value
    return _NOT_IN_A_TEXT.sub(_REPLACEMENT, _cut(_plain(value), LONGEST_TEXT))


def spoken(value: object) -> str:
    """The text of a request, as it is: it is counted before it is shown. What is no text has no characters, and is reported."""
    if value is None:
        return ""
    if is_a(value, str):
        return value  # type: ignore[return-value]
    if is_a(value, (bytes, bytearray)):
        return str(value, "utf-8", "replace")  # type: ignore[call-overload, no-any-return]
    guard.caught("the text of a request", TypeError(f"A text is str, not {type(value).__name__}."))
    return ""


def number(value: Any) -> float:
    """``value`` as an exact ``int`` or ``float``: numbers of any library, a single value of an array too.

    Raises:
        ValueError: it is no number, not finite, or beyond `LARGEST`.
    """
    if (type(value) is float or type(value) is int) and -LARGEST <= value <= LARGEST:
        return value
    try:
        plain = _exact(value)
    except Exception:  # noqa: BLE001 - the host's object: whatever it raises, it gives no number
        plain = None
    if plain is None or not -LARGEST <= plain <= LARGEST:  # not a number is in no range
        raise ValueError(f"{shown(value)} is no finite number up to {LARGEST:,}")
    return plain


def is_a(value: object, kinds: type | tuple[type, ...]) -> bool:
    """Whether it is of these types; the object itself is not asked, which may raise anything."""
    return issubclass(type(value), kinds)


def choice(kind: type[E], argument: str, value: object, consequence: str = "") -> E | None:
    """The member of a closed set that an application names; None, reported with the caller's line, for what is none of it."""
    if is_a(value, str):
        word = _plain(value)
        if word in tuple(kind):
            return kind(word)
    guard.misused(argument, shown(value), f"use one of {', '.join(kind)}.", *([consequence] if consequence else []))
    return None


def one_of(allowed: Container[object], value: object) -> str:
    """A label of a closed set; ``_OTHER`` for what is none of it."""
    label = _plain(value) if is_a(value, str) else ""
    return label if label in allowed else OTHER


def flag(argument: str, value: object) -> bool:
    """Yes or no; no, reported with the caller's line, for what cannot say which."""
    try:
        return bool(value)
    except Exception:  # noqa: BLE001 - the host's object: an array of several, say
        guard.misused(argument, shown(value), "use True or False.", "It counts as False.")
        return False


def seconds(argument: str, value: object) -> float | None:
    """A time of 0 or more; None, reported with the caller's line, for what is no number."""
    try:
        return max(0.0, float(number(value)))
    except ValueError:
        guard.misused(argument, shown(value), "use a number of seconds.", "It is left out.")
        return None


def exception(value: object) -> BaseException | None:
    """An exception that an application reports; None, reported with the caller's line, for what is none."""
    if value is None or is_a(value, BaseException):
        return value  # type: ignore[return-value]
    # Not the value: it may be the message of an exception, and hold the text.
    guard.misused("error", f"<{type(value).__name__}>", "pass the exception itself.")
    return None


def shown(value: object) -> str:
    """``value`` for a message: short, on one line."""
    try:
        return name(repr(value))
    except Exception:  # noqa: BLE001 - the host's object
        return f"<{type(value).__name__}>"


class Range:
    """The numbers that one metric takes: finite, not negative where it only grows, whole where it counts things."""

    __slots__ = ("_least", "_metric", "_warned", "_whole")

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._least = 0 if metric.instrument in (Instrument.COUNTER, Instrument.HISTOGRAM) else -LARGEST
        self._whole = metric.instrument is Instrument.COUNTER and metric.unit.startswith("{") and metric.unit != "{USD}"
        self._warned = False

    def accept(self, value: object) -> float | None:
        """The number to record; None, with one warning a metric, when it is left out."""
        if type(value) is int and self._least <= value <= LARGEST:
            return value
        if type(value) is float and not self._whole and self._least <= value <= LARGEST:
            return value
        try:
            plain = number(value)
            if self._whole and plain == int(plain):
                plain = int(plain)
            if plain >= self._least and (isinstance(plain, int) or not self._whole):
                return plain
        except ValueError:
            pass
        self._warn(value)
        return None

    def _warn(self, value: object) -> None:
        kind = "whole numbers" if self._whole else "finite numbers"
        least = " of 0 or more" if self._least == 0 else ""
        message = f"{shown(value)} is left out of {self._metric.name}, which takes {kind}{least}: given at {caller()}."
        if guard.strict:
            raise ValueError(message)
        if not self._warned:
            self._warned = True
            _logger.warning("%s This is said once.", message)


def _plain(value: object) -> str:
    """As exactly ``str``, whatever it is: of an enumeration's member the value, so that it is one label however it was written."""
    try:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, bytes | bytearray):
            return bytes(value[: LONGEST_TEXT + 1]).decode("utf-8", "replace")
        if isinstance(value, Enum):
            return _plain(value.value)
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001 - the host's object
        return f"<{type(value).__name__}>"


def _cut(value: str, longest: int) -> str:
    return value if len(value) <= longest else value[:longest] + _ELLIPSIS


def _exact(value: Any) -> float | None:
    if isinstance(value, str | bytes | bytearray | memoryview) or getattr(value, "shape", ()) != ():
        return None
    try:
        return operator.index(value)
    except TypeError:
        return float(value)
