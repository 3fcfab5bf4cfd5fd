"""Messages for people: a count and its noun agree, and no wording that readers stumbled over comes back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_tts import formatting

ROOT = Path(__file__).parents[1]
MACHINES = {"otel_tts/history/jaeger.py", "otel_tts/files.py", "otel_tts/service/log.py"}
"""Modules that write times for programs: queries, names of files, lines of a log."""
SPOKEN = ROOT / "otel_tts" / "commands" / "load" / "texts.py"
"""What engines are given to speak; no message."""
SOURCES = {
    path: path.read_text("utf-8")
    for path in sorted((ROOT / "otel_tts").rglob("*.py"))
    if path != SPOKEN and not path.name.endswith(("_pb2.py", "_grpc.py"))
}
VERBS = frozenset(
    {
        "accepts", "answers", "as", "asks", "begins", "belongs", "calls", "comes", "cannot", "costs", "counts", "does",
        "drops", "ends", "exists", "exports", "fails", "follows", "gives", "has", "holds", "is", "its", "keeps",
        "lacks", "listens", "makes", "means", "names", "needs", "reads", "remains", "returns", "runs", "says", "shows", "speaks",
        "spoke", "stands", "starts", "stays", "succeeds", "takes", "this", "times", "uses", "was", "redirects", "ms",
        "us", "dBFS", "success", "bypass", "points",
    }
)  # fmt: skip
"""Words with an s at their end that may follow a value: verbs, units, and those of values that are no counts."""
COUNT = re.compile(r"^ (?:(?:more|other|further|comparable) )?([a-z]+s)\b")
TEMPLATE = re.compile(r"%d (?:more |other )?([a-z]+s)\b")
CRYPTIC = re.compile(
    r"holds now|since-when|hung up on|in pieces|read as audio|graver condition|is it whole|sent once more|over after 0|"
    r"how it goes there|by an overlay of yours|exit code is that of a check",
    re.IGNORECASE,
)


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """The texts of a module that may be shown: docstrings are for developers, but those of commands are their help."""
    of_developers: set[int] = set()
    for node in ast.walk(tree):
        for statement in getattr(node, "body", None) or () if isinstance(getattr(node, "body", None), list) else ():
            if isinstance(statement, ast.Expr) and not any(map(is_command, getattr(node, "decorator_list", ()))):
                of_developers.add(id(statement.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in of_developers:
            yield node


def is_command(decorator: ast.expr) -> bool:
    """Whether a decorator makes a command of click."""
    return "click" in ast.unparse(decorator) or ".command" in ast.unparse(decorator)


def plurals(source: str) -> Iterator[str]:
    """The places where a noun in the plural stands behind a number that may be 1."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant) and not is_constant(value.value):
                match = COUNT.match(str(text.value))
                if match and match[1] not in VERBS:
                    yield f"line {node.lineno}: {ast.unparse(value.value)}{match[0]}"
    for literal in literals(tree):
        if match := TEMPLATE.search(literal.value):
            yield f"line {literal.lineno}: {match[0]}"


def is_constant(value: ast.expr) -> bool:
    """Whether it is a constant of the module, which is not 1, a percentage, or has its noun already."""
    if ".percent(" in ast.unparse(value):
        return True
    name = value.func if isinstance(value, ast.Call) else value
    shown = name.attr if isinstance(name, ast.Attribute) else name.id if isinstance(name, ast.Name) else ""
    return shown.strip("_").isupper() or shown == "counted"


def test_a_noun_agrees_with_its_count() -> None:
    """No message says "1 windows": a noun behind a number comes from `formatting.counted`."""
    assert [f"{path.relative_to(ROOT)}, {place}" for path, source in SOURCES.items() for place in plurals(source)] == []


def test_no_message_is_a_riddle() -> None:
    """Wording that readers had to guess at stays away."""
    riddles = [
        f"{path.relative_to(ROOT)}:{literal.lineno}: {match[0]}"
        for path, source in SOURCES.items()
        for literal in literals(ast.parse(source))
        if (match := CRYPTIC.search(literal.value))
    ]
    assert riddles == []


def test_percentages_and_times_have_one_format() -> None:
    """Only `formatting` rounds shares to percent, and writes times for people: 99.96 % is never 100 %, and no time lacks its zone."""
    elsewhere = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, source in SOURCES.items()
        if path.name != "formatting.py"
        for node in ast.walk(ast.parse(source))
        if is_own_format(node) and str(path.relative_to(ROOT)) not in MACHINES
    ]
    assert elsewhere == []


def is_own_format(node: ast.AST) -> bool:
    """Whether a module formats a percentage or a time by itself."""
    if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
        return ast.unparse(node.format_spec).rstrip("'\"").endswith("%")
    return isinstance(node, ast.Attribute) and node.attr in ("strftime", "ctime")


def test_what_is_looked_for() -> None:
    """The test sees what it is for, and leaves verbs, constants and counted nouns alone."""
    assert list(plurals('f"{n} windows written"'))
    assert list(plurals('f"{len(values):,} comparable values"'))
    assert list(plurals('log("%d spans were dropped", n)'))
    assert any(map(is_own_format, ast.walk(ast.parse('f"{share:.1%}"'))))
    assert any(map(is_own_format, ast.walk(ast.parse('time.strftime("%H", now)'))))
    assert not list(
        plurals('f"{name} answers"; f"{LEAST} values"; f"{formatting.counted(n, \'value\')} values"; f"{n} requested"')
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 misses"),
        (1, "1 miss"),
        (1.2, "1 miss"),
        (0.6, "1 miss"),
        (2, "2 misses"),
        (1200, "1,200 misses"),
        (None, "- misses"),
    ],
)
def test_counted(number: float | None, text: str) -> None:
    """The noun agrees with the number as it is shown."""
    assert formatting.counted(number, "miss", "misses") == text
    assert formatting.counted(number, "hit") == text.replace("misses", "hits").replace("miss", "hit")


def test_percent_is_written_in_one_way() -> None:
    """Pages, dashboards and docstrings write 92.2% as the output does: without a space."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    apart = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*pages, *SOURCES, *(ROOT / "dashboards").glob("*.json")]
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"[0-9][ \u00a0]%(?! ?[\w(])|[0-9] % (?:of|and|to|that|where|on)\b", line)
    ]
    assert apart == []
