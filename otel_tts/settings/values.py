"""What variables may hold: a parser for each kind of value, and what of a value may be shown.

The first line of a parser's docstring is the column "takes" of docs/configuration.md.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from otel_tts.semconv import SYNTHESIS_FIRST_AUDIO

# A user and a password before the host; also a password with a slash in it, which ends the host too early: then no port follows the colon.
_USER = re.compile(r"(?<=://)(?:[^/\s]*@|[^/\s:@\[]*:(?!\d{1,5}(?:[/?#\s]|$))\S*@)")
_SECRET_PARAMETER = re.compile(r"([?&][^=&\s]*(?:token|key|secret|password|signature)[^=&\s]*=)[^&\s]+", re.IGNORECASE)
_LONGEST = 10**9  # seconds or milliseconds; a larger number overflows the timers of the platform
_HOST_NAME = re.compile(r"(\*\.)?[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_MOST_SHOWN = 200  # characters of a value that a message quotes


def redact_url(text: str) -> str:
    """Remove user and password, and hide secret parameters, of every URL in a text.

    Args:
        text: a URL, or a message that holds some.

    Returns:
        The same without them; ``...`` in place of a parameter.
    """
    return _SECRET_PARAMETER.sub(r"\1...", _USER.sub("", text))


def quoted(value: object) -> str:
    """Quote what somebody set, for a message: without secrets of URLs, and at most 200 characters of it.

    Args:
        value: what was set; its text is quoted.

    Returns:
        The text in quotation marks; after one that is cut, its length.
    """
    text = redact_url(str(value))
    return repr(text) if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]!r}... (length {len(text)})"


def boolean(text: str) -> bool:
    """``true`` or ``false``, in upper or lower case; also 1/0, yes/no, on/off.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def port(text: str) -> int:
    """A TCP port; 0 asks the system for a free one.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    if text.strip().isdecimal() and int(text) <= 65535:
        return int(text)
    raise ValueError("a port from 0 to 65535")


def count(text: str) -> int:
    """A whole number of at least 1.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    if text.strip().isdecimal() and int(text) >= 1:
        return int(text)
    raise ValueError("a whole number of at least 1")


def allowance(text: str) -> int:
    """A whole number, 0 or more.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    if text.strip().isdecimal():
        return int(text)
    raise ValueError("a whole number, 0 or more")


def seconds(text: str) -> float:
    """A finite, non-negative number of seconds.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= _LONGEST:
        return value
    raise ValueError(f"a number of seconds from 0 to {_LONGEST}")


def some_seconds(text: str) -> float:
    """A finite number of seconds above 0.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    with suppress(ValueError):
        if 0 < float(text) <= _LONGEST:
            return float(text)
    raise ValueError(f"a number of seconds above 0 and up to {_LONGEST}")


def first_audio_bound(text: str) -> float:
    """Seconds: a bound of the buckets in which time to first audio is counted.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    with suppress(ValueError):
        if float(text) in SYNTHESIS_FIRST_AUDIO.buckets:
            return float(text)
    raise ValueError(f"one of {', '.join(f'{bound:g}' for bound in SYNTHESIS_FIRST_AUDIO.buckets)}")


def share(text: str) -> float:
    """A share, above 0 and below 1.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    with suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise ValueError("a share above 0 and below 1, such as 0.95")


def factor(text: str) -> float:
    """A finite number above 1.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    with suppress(ValueError):
        if 1 < float(text) < math.inf:
            return float(text)
    raise ValueError("a number above 1")


def milliseconds(text: str) -> float:
    """A number of milliseconds above 0.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    with suppress(ValueError):
        if 0 < float(text) <= _LONGEST:
            return float(text) / 1000
    raise ValueError(f"a number of milliseconds above 0 and up to {_LONGEST}")


def size(text: str) -> int:
    """A number of bytes, with an optional unit: ``500MB``, ``1GiB``.

    Args:
        text: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    digits = text.strip().rstrip("BKMGTi" + "bkmgt")
    unit = text.strip()[len(digits) :].lower().removesuffix("b")
    factors = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
    if digits.strip().isdecimal() and unit in factors:
        return int(digits) * factors[unit]
    raise ValueError("a number of bytes such as 1000000, 500MB or 1GiB")


def text(value: str) -> str:
    """Any text.

    Args:
        value: what the variable holds.
    """
    return value


def host_names(value: str) -> tuple[str, ...]:
    """Names of hosts with commas between; ``*.`` before a name stands for all below it, ``*`` alone for all.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if all(name == "*" or _HOST_NAME.fullmatch(name) for name in names):
        return names
    raise ValueError("names of hosts without port, commas between, such as metrics.example.org or *.example.org; * for all")


def url(value: str) -> str:
    """An HTTP address, without a slash at its end.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    if re.fullmatch(r"https?://[^\s/]+(/\S*)?", value.strip()):
        return value.strip().rstrip("/")
    raise ValueError("an address that begins with http:// or https://")


def path(value: str) -> Path:
    """A path in the file system; ``~`` is the home directory.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    try:
        return Path(value).expanduser()
    except RuntimeError:  # a user without one, as in many containers
        raise ValueError("a path without ~ here: this user has no home directory") from None


class Hidden(ABC):
    """A value that is used and never shown."""

    __slots__ = ()

    @abstractmethod
    def __bool__(self) -> bool: ...

    def __repr__(self) -> str:
        return "(set)" if self else ""

    __str__ = __repr__


@dataclass(frozen=True, slots=True, repr=False)
class Secret(Hidden):
    """Any text. It is a secret: no output shows it."""

    value: str

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True, slots=True, repr=False)
class Headers(Hidden):
    """HTTP headers, which may hold tokens."""

    fields: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fields)


def header_list(text: str) -> Headers:
    """``name=value``, commas between, values percent-encoded.

    Args:
        text: what the variable or the file holds.

    Raises:
        ValueError: it is something else. The message does not hold the value.
    """
    return Headers(dict(_header(item, "=", unquote) for item in text.split(",") if item.strip()))


def header_lines(text: str) -> Headers:
    """``Name: value`` on each line; lines that begin with # are comments.

    Args:
        text: what the variable or the file holds.

    Raises:
        ValueError: it is something else. The message does not hold the value.
    """
    lines = (line.strip() for line in text.splitlines())
    return Headers(dict(_header(line, ":", str) for line in lines if line and not line.startswith("#")))


def _header(text: str, separator: str, decode: Callable[[str], str]) -> tuple[str, str]:
    name, separated, value = text.partition(separator)
    name, value = name.strip(), decode(value.strip())
    if separated and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value):
        return name, value
    if separator == "=":
        raise ValueError("headers as name=value, with commas between and values percent-encoded (a space is %20)")
    raise ValueError("headers as Name: value, one a line")
