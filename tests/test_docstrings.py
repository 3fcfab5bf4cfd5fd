"""Docstrings: every argument, its unit, and every exception that is raised; of what users call, and of every room, tools included."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

import otel_tts
from otel_tts.cli import main
from otel_tts.history import open_history
from otel_tts.settings import HistorySettings

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
    return raised_in(ast.parse(textwrap.dedent(inspect.getsource(function))).body[0])


def raised_in(definition: ast.AST) -> set[str]:
    """The same of a function's source."""
    pending: list[ast.AST] = list(definition.body)  # type: ignore[attr-defined]
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


# -- every room ---------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
MODULE_FILES = sorted(
    path for folder in ("otel_tts", "tools") for path in (ROOT / folder).rglob("*.py") if "_pb2" not in path.name
)
FIXED = re.compile(r"\b(click|QUERIES|overload)\b|\.(command|group|query|add|callback)\b")
"""Decorators of functions whose arguments are explained elsewhere: options by their help, which a test below reads; a query's scope by
`promql.query.Scope`; and overloads by the function itself."""
UNITS = {"_s": "second", "_ms": "millisecond", "_ns": "nanosecond", "_bytes": "byte"}


class Documented(NamedTuple):
    """A function in a module, and what its readers are told of it."""

    name: str
    definition: ast.FunctionDef | ast.AsyncFunctionDef
    docstring: str
    cls: str

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters."""
        arguments = self.definition.args
        every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        return [one.arg for one in every if one is not None and one.arg not in ("self", "cls", "_")]

    def is_documented_above(self, module: str) -> bool:
        """Whether it is a method of a class above it, ours or a library's, which says what the arguments are."""
        cls = getattr(importlib.import_module(module), self.cls, object)
        return self.name != "__init__" and any(self.name in vars(base) for base in cls.__mro__[1:-1])


def documented(tree: ast.Module) -> Iterator[Documented]:
    """The public functions and methods of a module; a constructor's docstring is its class's."""
    places: list[tuple[ast.Module | ast.ClassDef, str, str]] = [(tree, "", "")]
    places += [
        (cls, cls.name, ast.get_docstring(cls) or "") for cls in tree.body if isinstance(cls, ast.ClassDef) and cls.name[0] != "_"
    ]
    for place, name, above in places:
        for node in place.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if any(FIXED.search(ast.unparse(decorator)) for decorator in node.decorator_list):
                continue
            docstring = ast.get_docstring(node) or ""
            if node.name == "__init__":
                yield Documented(node.name, node, f"{above}\n{docstring}", name)
            elif not node.name.startswith("_"):
                yield Documented(node.name, node, docstring, name)


def omissions(function: Documented) -> list[str]:
    """The arguments, units and exceptions of which the docstring says nothing. Without one it imitates another class's method."""
    arguments, _, errors = function.docstring.partition("Raises:")
    missing = [name for name in function.parameters if not is_documented(name, function.docstring)]
    for name, ending, text in re.findall(
        r"^ *(\w+?)(_s|_ms|_ns|_bytes): (.*(?:\n {8,}.*)*)", arguments.partition("Args:")[2], re.MULTILINE
    ):
        if UNITS[ending] not in text:
            missing.append(f"{name}{ending}: no unit")
    missing += [error for error in raised_in(function.definition) if f"{error}:" not in errors]
    return missing if function.docstring.strip() else []


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_room_explains_its_functions(path: Path) -> None:
    """Each parameter of a public function or constructor has a line, with a unit where its name has one; each exception is named."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    unexplained = {
        f"{function.cls}.{function.name}".lstrip("."): missing
        for function in documented(ast.parse(path.read_text("utf-8")))
        if (missing := omissions(function)) and not function.is_documented_above(module)
    }
    assert unexplained == {}


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ('def f(a: int): """Do it."""', ["a"]),
        ('def f(*a: int, **b: int): """Do it.\n\nArgs:\n    a: many."""', ["b"]),
        ('def f(wait_s: float): """Do it.\n\nArgs:\n    wait_s: how long."""', ["wait_s: no unit"]),
        ('def f(wait_s: float): """Do it.\n\nArgs:\n    wait_s: how long,\n        in seconds."""', []),
        ('def f():\n    """Do it."""\n    raise ValueError("no")', ["ValueError"]),
        ('def f():\n    """Do it.\n\n    Raises:\n        ValueError: no.\n    """\n    raise ValueError("no")', []),
        ('class A:\n    """It."""\n    def __init__(self, a: int): ...', ["a"]),
        ('class A:\n    """It.\n\n    Args:\n        a: one.\n    """\n    def __init__(self, a: int): ...', []),
    ],
)
def test_what_is_left_out_is_noticed(code: str, missing: list[str]) -> None:
    """An argument, a unit or an exception of which nothing is said, of functions and constructors."""
    assert [name for function in documented(ast.parse(code)) for name in omissions(function)] == missing


def commands(group: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """A command and all below it."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            if (command := group.get_command(context, name)) is not None:
                yield from commands(command, f"{path} {name}".strip())


@pytest.mark.parametrize(("name", "command"), [pytest.param(*one, id=one[0]) for one in commands(main)])
def test_every_option_has_a_help(name: str, command: click.Command) -> None:
    """What `--help` says of a command covers each option, and names each argument in capitals."""
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not (parameter.help or parameter.hidden)
    ]
    text = command.help or ""
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    assert [option.name for option in options] == []
    assert [one.name for one in arguments if one.make_metavar(click.Context(command)).strip("[].") not in text] == []


def test_help_of_the_package_runs(tmp_path: Path) -> None:
    """Its program runs as it stands, with an engine, and records a request; each public name has a word there."""
    page = inspect.getdoc(otel_tts) or ""
    assert [name for name in otel_tts.__all__ if name != "__version__" and f"`{name}`" not in page] == []
    program = textwrap.dedent(page.partition("::\n")[2].partition("\n- ")[0])
    begin, end = program.split("pipeline.shutdown()")
    code = f"def engine(text):\n    return bytes(48_000)\n\n{begin}speak('Hello.')\npipeline.shutdown(){end}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ["OTEL_TTS_DATA_DIR"] = str(tmp_path)
    result = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    [request] = open_history(HistorySettings.load({}, data_dir=tmp_path)).requests()
    assert (request.service, request.voice, request.provider, request.audio_duration) == ("my-speech", "joe", "my-engine", 1.0)
