"""The package is built as docs/architecture.md says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from importlib.metadata import files
from pathlib import Path

import pytest
from grimp import build_graph

import otel_tts
from otel_tts import semconv
from otel_tts.promql.naming import series

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "otel_tts"
API = {
    path.as_posix().removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path in files("opentelemetry-api") or ()
    if path.suffix == ".py" and "_internal" not in path.parts
}
# What a service that has no SDK imports: everything below and beside `Telemetry`.
COMPOSED = {
    "cli", "commands", "files", "grafana", "history", "instrumentation", "live", "monitor", "report", "rules", "sdk", "service", "testing",
}  # fmt: skip
CORE = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in COMPOSED]


PUBLIC = {
    "otel_tts",
    "otel_tts.audio",
    "otel_tts.errors",
    "otel_tts.grpc",
    "otel_tts.sdk",
    "otel_tts.settings",
    "otel_tts.version",
}


def imports_from(package: str, path: Path) -> Iterator[tuple[str, str]]:
    """What a module imports from a package, anywhere in it: module and name, no name where it imports the module itself."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names if name.name.partition(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            yield from ((str(node.module), name.name) for name in node.names)


def test_import_contracts() -> None:
    """The contracts in pyproject.toml hold: each part imports what stands below it and nothing else."""
    lint_imports = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint_imports, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_module_imports_itself_through_others() -> None:
    """The graph of imports, those for annotations included, has no circle: each module can be read after those that it imports.

    So the modules of each room stand in layers, too, without a list of them.
    """
    graph = build_graph("otel_tts", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # names the circle, if there is one


MOST_LINES = 300


def lines(path: Path) -> int:
    """The lines of a module without its docstrings."""
    text = path.read_text("utf-8")
    strings = [
        node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return len(text.splitlines()) - sum(
        (node.end_lineno or 0) - node.lineno + 1 for node in strings if isinstance(node.value, str)
    )


def test_modules_are_short() -> None:
    """A module holds one concept: none has more lines beside its docstrings."""
    paths = [path for folder in ("otel_tts", "tools") for path in (ROOT / folder).rglob("*.py") if "_pb2" not in path.name]
    assert {path.relative_to(ROOT).as_posix() for path in paths if lines(path) > MOST_LINES} == set()


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_needs_the_opentelemetry_api_only(path: Path) -> None:
    """A library depends on the API; the SDK is the application's choice."""
    imported = imports_from("opentelemetry", path)
    assert [name for name in imported if name[0] not in API and ".".join(name) not in API] == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "service").rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_service_uses_the_public_api_only(path: Path) -> None:
    """What the reference service needs and the API lacks, the API lacks for every user."""
    imported = {(module, name) for module, name in imports_from("otel_tts", path) if not module.startswith("otel_tts.service")}
    assert [name for name in imported if name[0] not in PUBLIC] == []
    assert {name for module, name in imported if module == "otel_tts" and name} <= {*otel_tts.__all__, "service"}


def test_nothing_calls_strptime() -> None:
    """It holds a lock that no fork renews: in a child that is forked meanwhile, the host's own calls of it would wait for ever."""
    calling = [
        path for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8"))) if is_strptime(node)
    ]
    assert calling == []


def is_strptime(node: ast.AST) -> bool:
    """Whether the code names the function, whichever module it takes it from."""
    return "strptime" in (getattr(node, name, None) for name in ("attr", "id", "name"))


def tables() -> Iterator[list[str]]:
    """The cells of every row of the page's tables, heads included."""
    for line in (ROOT / "docs" / "architecture.md").read_text("utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip("| ").split(" | ")]


def named(cell: str) -> list[Path]:
    """The files that a cell names: a folder before a colon holds for the names up to a semicolon."""
    named_paths = []
    for part in cell.split(";"):
        folder = ""
        for name in re.findall(r"`([^`]+)`", part):
            if name.endswith("/"):
                folder = name
            else:
                named_paths.append(PACKAGE / (folder + name))
    return named_paths


def test_the_page_says_where_each_metric_is() -> None:
    """Each metric has one row; its files exist and name it, its instrument or its constant; its dashboards draw it."""
    rows = [row for row in tables() if len(row) == 5 and row[1] == "`semconv/metrics.py`"]
    constants = {metric.name: name for name, metric in vars(semconv).items() if isinstance(metric, semconv.Metric)}
    instruments = dict(re.findall(r"self\.(\w+) = \w+\(semconv\.(\w+)\)", (PACKAGE / "core/instruments.py").read_text("utf-8")))
    attributes = {constant: attribute for attribute, constant in instruments.items()}
    shown = {path.stem: path.read_text("utf-8") for path in (ROOT / "dashboards").glob("*.json")}
    drawn_by_row: dict[str, tuple[set[str], set[str]]] = {}
    used: set[Path] = set()
    for metric in semconv.METRICS:
        matching = [row for row in rows if any(fnmatch(metric.name, name) for name in re.findall(r"`([^`]+)`", row[0]))]
        assert len(matching) == 1, metric.name
        constant = constants[metric.name]
        _, _, recorded, queried, drawn = (named(cell) for cell in matching[0])
        words = rf"\b({attributes.get(constant)}|{constant})\b"
        recorders = [path for path in recorded if re.search(words, path.read_text("utf-8"))]
        readers = [path for path in queried if re.search(rf"\b{constant}\b", path.read_text("utf-8"))]
        assert recorders, f"{metric.name} is not recorded where the page says"
        assert readers, f"{metric.name} is not queried where the page says"
        assert all(path.is_file() for path in drawn)
        drawing = {name for name, queries in shown.items() if re.search(rf"\b{series(metric)}(_bucket|_count|_sum)?\b", queries)}
        boards = {path.stem for path in drawn if path.parent.name == "dashboards"}
        assert drawing <= boards, f"{metric.name} is drawn on dashboards of which the page says nothing"
        drawn_by_row.setdefault(matching[0][0], (boards, set()))[1].update(drawing)
        used |= {*recorders, *readers}
    assert {row: boards for row, (boards, _) in drawn_by_row.items()} == {
        row: drawing for row, (_, drawing) in drawn_by_row.items()
    }
    assert {path for row in rows for cell in row[2:4] for path in named(cell)} == used, (
        "a file is named that records or queries nothing"
    )


def test_the_page_names_every_part() -> None:
    """Each folder and module of the package stands in the table of parts, in the order of the import contract."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "rooms")
    rank = {part: number for number, layer in enumerate(layers) for part in re.split(r" [:|] ", layer)}
    rows = [row for row in tables() if len(row) == 3 and row[0] != "part"]
    order = [part.rstrip("/") for row in rows for part in re.findall(r"`([\w/]+)`", row[0])]
    assert sorted(order) == sorted(rank)
    assert [rank[part] for part in order] == sorted(rank[part] for part in order)


def test_every_file_that_the_page_names_is_there() -> None:
    """A path on the page leads somewhere."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.\w+)?)`", text))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not ((PACKAGE / path).exists() or (ROOT / path).exists())] == []
