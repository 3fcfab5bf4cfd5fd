"""Docstrings of what users call: every argument, and every exception that is raised."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

MODULES = ("", ".audio", ".errors", ".grpc", ".history", ".sdk", ".semconv", ".settings", ".testing")
MADE_BY_US = {"Attempt", "Synthesis", "Pipeline", "Capture"}
"""Users get these from `Telemetry`, `Synthesis`, `configure` and pytest: what makes them is not for users."""
RAISES_LATER = {ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef}


def public() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Each public function and method with its name and the docstring that users read; a constructor's is its class's."""
    seen = set()
    for suffix in MODULES:
        module = importlib.import_module(f"otel_tts{suffix}")
        names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
        for name in names:
            value = getattr(module, name)
            if not getattr(value, "__module__", "").startswith("otel_tts") or value in seen:
                continue
            seen.add(value)
            if inspect.isclass(value):
                yield from methods(value)
            elif inspect.isfunction(value):
                yield f"{value.__module__}.{name}", value, inspect.getdoc(value) or ""


def methods(cls: type) -> Iterator[tuple[str, Callable[..., Any], str]]:
    """What may be called of a class, with what it has from ours above it."""
    for base in cls.__mro__:
        if not base.__module__.startswith("otel_tts"):
            continue
        for name, member in vars(base).items():
            function = inspect.unwrap(getattr(member, "__func__", member))
            if inspect.isfunction(function) and function.__code__.co_filename == inspect.getsourcefile(base):
                if name == "__init__" and cls.__name__ not in MADE_BY_US:
                    yield f"{cls.__module__}.{cls.__name__}", function, f"{inspect.getdoc(cls) or ''}\n{function.__doc__ or ''}"
                elif not name.startswith("_"):
                    yield f"{base.__module__}.{base.__name__}.{name}", function, inspect.getdoc(function) or ""


def is_documented(parameter: str, docstring: str) -> bool:
    """Whether a docstring says something of a parameter: in its Args, or in its text."""
    name = re.escape(parameter)
    return re.search(rf"^ *\**{name}:|``{name}``|\b{name}( and \w+)?: ", docstring, re.MULTILINE) is not None


def raised(function: Callable[..., Any]) -> set[str]:
    """The exceptions that a function raises itself, by name; not what it raises again, or what stands in a function inside."""
    pending: list[ast.AST] = list(ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body)  # type: ignore[attr-defined]
    names = set()
    while pending:
        node = pending.pop()
        if type(node) in RAISES_LATER:
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(error).rpartition(".")[2]
            if name.endswith("Error"):
                names.add(name)
        pending += ast.iter_child_nodes(node)
    return names


ALL = {name: (function, docstring) for name, function, docstring in public()}


def test_the_whole_surface_is_looked_at() -> None:
    """Functions, constructors, methods and those of base classes."""
    assert {
        "otel_tts.sdk.configure",
        "otel_tts.core.telemetry.Telemetry",
        "otel_tts.core.synthesis.Synthesis.attempt",
    } <= ALL.keys()
    assert len(ALL) > 60


@pytest.mark.parametrize("name", ALL)
def test_every_argument_is_explained(name: str) -> None:
    """Each parameter of a public function stands in its docstring."""
    function, docstring = ALL[name]
    parameters = [parameter for parameter in inspect.signature(function).parameters if parameter not in ("self", "cls")]
    assert [parameter for parameter in parameters if not is_documented(parameter, docstring)] == []


@pytest.mark.parametrize("name", ALL)
def test_every_exception_is_named(name: str) -> None:
    """Each exception that a public function raises stands under Raises."""
    function, docstring = ALL[name]
    section = docstring.partition("Raises:")[2]
    assert [error for error in raised(function) if f"{error}:" not in section] == []
