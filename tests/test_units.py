"""Units in names: a number of seconds or of bytes says so, where people do not know it by a name of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_tts

PACKAGE = Path(otel_tts.__file__).parent
ROOT = PACKAGE.parent
QUANTITIES = {
    "absence", "age", "allowance", "backoff", "delay", "delivered", "duration", "elapsed", "every", "first", "floor", "gap", "grace",
    "heard", "interval", "lag", "late", "latency", "length", "memory", "off", "onset", "patience", "pause", "pending", "period", "played",
    "quiet", "remaining", "silence", "silent", "size", "than", "timeout", "took", "underrun", "voiced", "wait", "waited", "width", "window",
}  # fmt: skip
"""Names, and last words of names (`max_age`, `cut_off`, `slower_than`), for times and sizes that leave the unit open."""
NUMBERS = {"float", "int", "float | None", "int | None", "None | float", "None | int"}
PUBLIC = {
    ("core/cache.py", "duration"): "an argument of `CacheLookup.found`, by which users pass it",
    ("core/synthesis.py", "heard"): "an argument of `Synthesis.interrupt`, by which users pass it",
    ("sdk/pipeline.py", "timeout"): "an argument of `Pipeline.flush` and `Pipeline.shutdown`, by which users pass it",
    **{
        (file, "interval"): "a property or an argument of the public `History`, `LocalHistory` and `RemoteHistory`"
        for file in ("history/__init__.py", "history/counted.py", "history/local.py", "history/remote.py", "history/prometheus.py")
    },
    **{
        (file, "interval"): "what the dashboard asks a `History` for"
        for file in ("live/cached_history.py", "live/judgement.py", "live/onset.py")
    },
    **{(file, "slower_than"): "as `RequestFilter` has it" for file in ("live/view.py", "commands/requests.py")},
    ("history/traces.py", "duration"): "a field of the public `Span`",
    **{
        ("history/requests.py", name): "a field of the public `Request` or `RequestFilter`, and a column of data frames: docs say the unit"
        for name in (
            "duration", "audio_duration", "queue_wait", "trailing_silence", "delivered", "heard", "silent", "underrun", "slower_than",
        )
    },
    ("history/rows.py", "request_audio_delivered"): "a column of the public data frames, as docs name it",
    **{
        (file, name): "a setting: called like its variable, whose text says the unit"
        for file, names in {
            "settings/emitting.py": ("export_interval", "data_max_age", "data_max_size", "deadline_floor", "shutdown_timeout"),
            "settings/judging.py": ("monitor_window",),
            "settings/server.py": ("timeout",),
            "service/config.py": ("queue_size", "attempt_timeout", "probe_interval", "stop_grace"),
            "service/providers/config.py": ("timeout",),
        }.items()
        for name in names
    },
    ("settings/standard.py", "timeout"): "reads a setting's text",
    ("settings/values.py", "allowance"): "reads a setting's text",
    ("settings/values.py", "size"): "reads a setting's text",
    ("history/columns.py", "size"): "how many requests: numpy's word",
    ("service/queue.py", "size"): "how many requests wait",
    ("instrumentation/result.py", "size"): "the argument of Python's `read`",
    ("commands/demo/listener.py", "cut_off"): "an action, which gives the seconds that were played",
    ("report/job.py", "pending"): "a moment, not a length of time",
    ("commands/terminal.py", "gap"): "blanks between two columns",
    ("commands/doctor/command.py", "_GAP"): "blanks between two columns",
    ("grafana/layout.py", "width"): "columns of Grafana's grid",
    ("grafana/panels.py", "width"): "columns of Grafana's grid",
}  # fmt: skip
"""Names without a unit, and why they stay: users know them, or they count something that has no unit."""
FILES = sorted(
    path for folder in (PACKAGE, ROOT / "tools", ROOT / "examples") for path in folder.rglob("*.py") if "_pb2" not in path.name
)


def place(path: Path) -> str:
    """A file as the list of exceptions names it: from the package, or else from the repository."""
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()


def numbers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every parameter, field, constant and result of a function that is a plain number, and its line."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if ast.unparse(annotation) in NUMBERS:
                yield name, node.lineno
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name)) if ast.unparse(node.annotation) in NUMBERS:
                yield name, node.lineno
            case (
                ast.FunctionDef(name=name, returns=ast.expr() as returns)
                | ast.AsyncFunctionDef(name=name, returns=ast.expr() as returns)
            ):
                if ast.unparse(returns) in NUMBERS:
                    yield name, node.lineno
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=float() | int())) if name.isupper():
                yield name, node.lineno


def without_unit(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Those among them whose names leave the unit open."""
    return ((name, line) for name, line in numbers(tree) if name.strip("_").lower().rpartition("_")[2] in QUANTITIES)


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_number_with_a_unit_has_it_in_its_name(path: Path) -> None:
    """A time or a size is called `..._s`, `..._ms`, `..._ns` or `..._bytes`."""
    assert [
        (name, line) for name, line in without_unit(ast.parse(path.read_text("utf-8"))) if (place(path), name) not in PUBLIC
    ] == []


def test_every_exception_is_needed() -> None:
    """Nothing stands on the list of exceptions that is no longer there."""
    there = {(place(path), name) for path in FILES for name, _ in without_unit(ast.parse(path.read_text("utf-8")))}
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
