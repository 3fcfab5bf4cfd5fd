"""A group of settings: fields that environment variables set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self, TypeVar

from otel_tts.errors import SettingError
from otel_tts.settings.values import Hidden, quoted

S = TypeVar("S", bound="Section")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable.

    parse: makes the value from the text, or raises ValueError with what is allowed. hidden: whether the text must not be shown.
    """

    name: str
    parse: Callable[[str], Any]
    description: str
    hidden: bool = False


def setting(name: str, parse: Callable[[str], T], default: T | Callable[[], T], description: str) -> T:
    """Declare a field of a :class:`Section` that an environment variable sets.

    Args:
        name: the variable.
        parse: makes the value from its text, or raises ValueError with what is allowed; see ``otel_tts.settings.values``.
        default: the value without the variable, or a function that makes it.
        description: what the setting does, for docs/configuration.md.
    """
    variable = {"variable": Variable(name, parse, description, isinstance(default, Hidden))}
    if callable(default):
        return field(default_factory=default, metadata=variable)
    return field(default=default, metadata=variable)


def nested(section: type[S]) -> S:
    """Declare a field of a :class:`Section` that is a section of its own.

    Args:
        section: the class of that section.
    """
    return field(default_factory=section, metadata={"section": section})


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting as it is in force, and where it comes from: ``argument``, ``environment`` or ``default``."""

    variable: Variable
    value: Any
    source: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A group of settings. Subclasses declare their fields with :func:`setting`, and sections in them with :func:`nested`."""

    _sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Self:
        """Read the settings in force.

        Args:
            environ: the environment; by default that of the process. An empty variable counts as not set.
            arguments: values that go before it, by the names of fields; of a nested section as ``section_field``. None counts as
                not given.

        Raises:
            SettingError: a variable has a value that is not allowed.
            TypeError: an argument that is no setting.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, variable in cls._variables():
            given = arguments.pop(name, None)
            if given is not None:
                values[name], sources[name] = given, "argument"
            elif (text := environ.get(variable.name, "")).strip():
                values[name], sources[name] = _parsed(variable, text), "environment"
        for name, section in cls._nested():
            own = {key.removeprefix(f"{name}_"): arguments.pop(key) for key in [*arguments] if key.startswith(f"{name}_")}
            values[name] = section.load(environ, **own)
        if arguments:
            raise TypeError(f"{cls.__name__} has no setting named {', '.join(sorted(arguments))}.")
        return cls(**values, _sources=sources)

    @classmethod
    def _variables(cls) -> Iterator[tuple[str, Variable]]:
        return ((f.name, f.metadata["variable"]) for f in fields(cls) if "variable" in f.metadata)

    @classmethod
    def _nested(cls) -> Iterator[tuple[str, type[Section]]]:
        return ((f.name, f.metadata["section"]) for f in fields(cls) if "section" in f.metadata)

    @classmethod
    def all_variables(cls) -> Iterator[Variable]:
        """Give the variables of this section and of those in it."""
        yield from (variable for _, variable in cls._variables())
        for _, section in cls._nested():
            yield from section.all_variables()

    @classmethod
    def variable(cls, name: str) -> str:
        """Give the environment variable that sets a setting.

        Args:
            name: the name of its field.
        """
        return next(variable.name for setting, variable in cls._variables() if setting == name)

    def source(self, name: str) -> str:
        """Tell where a setting comes from: ``argument``, ``environment`` or ``default``.

        Args:
            name: the name of its field.
        """
        return self._sources.get(name, "default")

    def in_force(self) -> list[InForce]:
        """List all settings of this section and of those in it, for people."""
        own = [InForce(variable, getattr(self, name), self.source(name)) for name, variable in self._variables()]
        return own + [inner for name, _ in self._nested() for inner in getattr(self, name).in_force()]


def _parsed(variable: Variable, text: str) -> Any:
    try:
        return variable.parse(text)
    except ValueError as error:
        shown = "" if variable.hidden else f"={quoted(text)}"
        raise SettingError(f"{variable.name}{shown} is not allowed: it takes {error}.") from None
