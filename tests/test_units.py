"""Units in names: a number of seconds or of bytes says so, where people do not know it by a name of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_tts

PACKAGE = Path(otel_tts.__file__).parent
ROOMS = ("core", "history", "report", "live", "commands")
QUANTITIES = {
    "absence", "age", "audio_duration", "backoff", "cut_off", "delay", "delivered", "duration", "elapsed", "every", "first", "gap", "grace",
    "heard", "interval", "lag", "late", "latency", "length", "memory", "onset", "patience", "pause", "period", "played", "queue_wait",
    "quiet", "remaining", "silence", "silent", "size", "slower_than", "timeout", "took", "trailing_silence", "underrun", "voiced", "wait",
    "waited", "width", "window",
}  # fmt: skip
"""Names for times and sizes that leave the unit open."""
NUMBERS = {"float", "int", "float | None", "int | None", "None | float", "None | int"}
PUBLIC = {
    ("core/cache.py", "duration"): "an argument of `CacheLookup.found`, by which users pass it",
    ("core/synthesis.py", "heard"): "an argument of `Synthesis.interrupt`, by which users pass it",
    ("history/__init__.py", "interval"): "a property of the public `History`",
    ("history/counted.py", "interval"): "the same property",
    ("history/local.py", "interval"): "an argument of the public `LocalHistory`",
    ("history/remote.py", "interval"): "an argument of the public `RemoteHistory`",
    ("history/prometheus.py", "interval"): "as `RemoteHistory` has it",
    ("live/cached_history.py", "interval"): "what the dashboard asks a `History` for",
    ("live/judgement.py", "interval"): "what the dashboard asks a `History` for",
    ("live/onset.py", "interval"): "what the dashboard asks a `History` for",
    ("live/view.py", "slower_than"): "as `RequestFilter` has it",
    ("commands/requests.py", "slower_than"): "as `RequestFilter` has it",
    ("history/traces.py", "duration"): "a field of the public `Span`",
    **{
        ("history/requests.py", name): "a field of the public `Request` or `RequestFilter`, and a column of data frames: docs say the unit"
        for name in (
            "duration", "audio_duration", "queue_wait", "trailing_silence", "delivered", "heard", "silent", "underrun", "slower_than",
        )
    },
    ("history/columns.py", "size"): "how many requests: numpy's word",
    ("commands/terminal.py", "gap"): "blanks between two columns",
    ("commands/doctor/command.py", "_GAP"): "blanks between two columns",
}  # fmt: skip
"""Names without a unit, and why they stay: users know them, or they count something that has no unit."""
FILES = sorted(
    path for room in ROOMS for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0].removesuffix(".py") == room
)


def numbers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every parameter, field, property and constant that is a plain number, and its line."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if ast.unparse(annotation) in NUMBERS:
                yield name, node.lineno
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name)) if ast.unparse(node.annotation) in NUMBERS:
                yield name, node.lineno
            case ast.FunctionDef(name=name, returns=ast.expr() as returns, decorator_list=[ast.Name(id="property"), *_]):
                if ast.unparse(returns) in NUMBERS:
                    yield name, node.lineno
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=float() | int())) if name.isupper():
                yield name, node.lineno


def without_unit(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Those among them whose names leave the unit open."""
    return ((name, line) for name, line in numbers(tree) if name.strip("_").lower() in QUANTITIES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_number_with_a_unit_has_it_in_its_name(path: Path) -> None:
    """A time or a size is called `..._s`, `..._ms`, `..._ns` or `..._bytes`."""
    file = path.relative_to(PACKAGE).as_posix()
    assert [(name, line) for name, line in without_unit(ast.parse(path.read_text("utf-8"))) if (file, name) not in PUBLIC] == []


def test_every_exception_is_needed() -> None:
    """Nothing stands on the list of exceptions that is no longer there."""
    there = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in FILES
        for name, _ in without_unit(ast.parse(path.read_text("utf-8")))
    }
    assert set(PUBLIC) - there == set()


@pytest.mark.parametrize(
    "code",
    [
        "def f(patience: float): ...",
        "async def f(*, timeout: int): ...",
        "class A:\n    age: float | None = None",
        "class A:\n    @property\n    def width(self) -> float: ...",
        "class A:\n    def __init__(self):\n        self._size: int = 0",
        "_PAUSE = 0.2",
    ],
)
def test_such_names_are_noticed(code: str) -> None:
    """A number without a unit is noticed wherever it can stand; the same with its unit is not."""
    assert len(list(without_unit(ast.parse(code)))) == 1
    for name in QUANTITIES:
        code = code.replace(f"{name}:", f"{name}_s:").replace(f"{name}(", f"{name}_s(")
    assert list(without_unit(ast.parse(code.replace("_PAUSE", "_PAUSE_S")))) == []
