"""Arguments: what the calls that set telemetry up are given is checked first, and refused with what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from otel_tts.core import clean
from otel_tts.errors import SettingError
from otel_tts.settings import Settings


class Rule(NamedTuple):
    """What an argument may be. None is always allowed: it takes the default."""

    accepts: Callable[[Any], bool]
    """Says so of a value."""
    allowed: str
    """The same for people, as the end of "Give ..."."""


def has(method: str, what: str) -> Rule:
    """A rule for an object with a method.

    Args:
        method: the name of the method.
        what: the object, for people.
    """
    return Rule(
        lambda value: callable(getattr(value, method, None)) and not isinstance(value, type), f"{what} (it has {method}())"
    )


NAMES = Rule(
    lambda value: isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview), "a list of names"
)
SETTINGS = Rule(lambda value: isinstance(value, Settings), "what otel_tts.settings.Settings.load() returns")
TRACER_PROVIDER = has("get_tracer", "a tracer provider of OpenTelemetry")
METER_PROVIDER = has("get_meter", "a meter provider of OpenTelemetry")
LOGGER_PROVIDER = has("get_logger", "a logger provider of OpenTelemetry")


def check(call: str, arguments: Mapping[str, object], rules: Mapping[str, Rule]) -> None:
    """Check arguments, in the order of the rules.

    Args:
        call: what they are passed to, for the message.
        arguments: by name.
        rules: by name; an argument without one is not checked.

    Raises:
        SettingError: an argument has a value that is not allowed.
    """
    for name, rule in rules.items():
        value = arguments.get(name)
        if value is not None and not rule.accepts(value):
            raise SettingError(f"{call}({name}={clean.shown(value)}) is not possible. Give {rule.allowed}, or leave it out.")
