"""The house stands as docs/architecture.md draws it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

import pytest

import otel_tts

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


PUBLIC = {"otel_tts", "otel_tts.grpc", "otel_tts.sdk", "otel_tts.settings", "otel_tts.version"}


def imports_from(package: str, path: Path) -> Iterator[tuple[str, str]]:
    """What a module imports from a package, anywhere in it: module and name, no name where it imports the module itself."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names if name.name.partition(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            yield from ((str(node.module), name.name) for name in node.names)


def test_import_contracts() -> None:
    """The contracts in pyproject.toml hold: two wings on one ground floor."""
    lint_imports = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint_imports, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


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
