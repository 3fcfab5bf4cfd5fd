"""What is declared, what is imported, what is pinned and what is documented are the same."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution, files
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import weigh

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "otel_tts"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
CONSTRAINTS = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")]
SOURCES = sorted(PACKAGE.rglob("*.py"))
AROUND = sorted(path for directory in ("benchmarks", "examples", "tests") for path in (ROOT / directory).rglob("*.py"))

GPL = {"espeakng-loader", "piper-tts"}


def declared(*extras: str) -> set[str]:
    """The distributions that the core and these extras name for this Python, with the extras that extras name."""
    names: set[str] = set()
    for requirement in map(Requirement, [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]):
        if requirement.name == PROJECT["name"]:
            names |= declared(*requirement.extras)
        elif requirement.marker is None or requirement.marker.evaluate():
            names.add(canonicalize_name(requirement.name))
    return names


@cache
def modules(distribution: str) -> frozenset[str]:
    """The modules that a distribution installs, as paths without suffix."""
    return frozenset(
        re.sub(r"(/__init__)?(\.abi3|\.cpython[^.]*)?\.(py|so)$", "", path.as_posix()).replace("/", ".")
        for path in files(distribution) or ()
        if path.suffix in (".py", ".so")
    )


def imports(path: Path) -> Iterator[set[str]]:
    """A module's third-party imports, each as the module or what may be a module in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            candidates = [{name.name} for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            candidates = [{node.module, f"{node.module}.{name.name}"} for name in node.names]
        else:
            continue
        for names in candidates:
            if min(names).partition(".")[0] not in sys.stdlib_module_names | {
                "otel_tts",
                "benchmarks",
                "examples",
                "tests",
                "tools",
                "pipecat",  # in an environment of its own, see `make tools`
                "loguru",  # which comes with it
                "RealtimeTTS",  # beside ours, in `.tools/apart`
                "gtts",  # likewise
                "aiobotocore",  # likewise, in `.tools/aiobotocore`
                "pyaudio",  # which comes with it
            }:
                yield names


def extras_for(path: Path) -> set[str]:
    """Which extras a module may count on: the service its own, and a package, command or module that is named like an extra that one."""
    if not path.is_relative_to(PACKAGE):
        return {"dev", "kubernetes"} if "kubernetes" in path.parts or path.stem == "chart" else {"dev"}
    parts = path.relative_to(PACKAGE).parts
    if parts[0] == "service":
        return {"service", path.stem} & set(EXTRAS)
    owner = path.stem if parts[0] == "monitor" else parts[parts[0] == "commands"].removesuffix(".py")
    if owner in EXTRAS:
        return {owner}
    if parts == ("history", "frames.py"):
        return {"live"}  # pandas, for notebooks: whoever calls it has it
    return {"test"} if parts[0] == "testing" else set()


@pytest.mark.parametrize("path", [*SOURCES, *AROUND], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_import_is_declared(path: Path) -> None:
    """Each third-party import comes from a distribution that the core, or the extra this module belongs to, names itself."""
    declared_modules = set().union(*map(modules, declared(*extras_for(path))))
    for names in imports(path):
        assert names & declared_modules, f"{path.relative_to(ROOT)} imports {min(names)}, which no declared distribution provides"


def test_every_dependency_is_imported() -> None:
    """Nothing is declared that nothing imports, but the exporters, which the environment chooses by their entry points."""
    imported = {name for path in SOURCES for names in imports(path) for name in names}
    unused = {name for name in declared("all", "piper", "espeak") if not modules(name) & imported}
    assert unused == {"opentelemetry-exporter-otlp-proto-grpc", "opentelemetry-exporter-otlp-proto-http"}


READING = "from otel_tts.cli import main; from otel_tts.commands import requests, trace; main(['config'])"


@pytest.mark.parametrize(
    ("blocked", "script"),
    [
        (["espeakng_loader", "hibari", "onnxruntime", "piper", "redis"], "import otel_tts.service.server"),
        (
            ["cachetools", "google.rpc", "grpc_health", "httpx", "soundfile", "soxr"],
            "from otel_tts.cli import main; main(['config'])",
        ),
    ],
    ids=["the service without engines and Redis", "the commands that read without the service's extra"],
)
def test_what_is_optional_is_imported_when_it_is_used(blocked: list[str], script: str) -> None:
    """What an extra brings is not needed by those who did not ask for it."""
    block = f"import sys; sys.modules |= dict.fromkeys({blocked})"  # None: importing it raises ModuleNotFoundError
    run = subprocess.run([sys.executable, "-c", f"{block}; {script}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_gpl_engines_are_never_pulled_in_silently() -> None:
    """Only the extras that say so bring GPL code; the core, the service and ``all`` do not."""
    assert {extra for extra in EXTRAS if declared(extra) & GPL} == {"demo", "dev", "espeak", "piper", "test"}
    assert not declared() & GPL


def test_constraints_pin_exactly_and_name_no_place() -> None:
    """The constraints are plain ``name==version`` lines, without addresses, hashes or paths, and pin all that is declared."""
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in CONSTRAINTS)}
    assert sorted(declared("dev") - set(pinned)) == []
    for requirement in map(Requirement, [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]):
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)], prereleases=True), str(requirement)


def test_every_dependency_is_explained() -> None:
    """docs/dependencies.md has a line for each distribution that is declared."""
    explained = set(re.findall(r"`([a-z0-9._-]+)`", (ROOT / "docs" / "dependencies.md").read_text("utf-8")))
    assert sorted(declared("dev") - explained) == []


def test_what_an_extra_costs_is_told_for_each() -> None:
    """The table of megabytes and milliseconds has every extra for users, and counts what a package really has on disk."""
    table = re.findall(
        r"^\| `?\(?([a-z]+)\)?`? \| \d+ \| \d+ \| \d+ \|$", (ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.MULTILINE
    )
    assert table == ["none", *(extra for extra in weigh.MODULES if extra)]
    assert set(EXTRAS) - set(table) == {"all", "core-test", "dev", "docs", "kubernetes", "test", "vendors"}
    weighed = dict(
        re.findall(
            r"^\| `?\(?([a-z]+)\)?`? \| \d+ \| (\d+) \| \d+ \|$",
            (ROOT / "docs" / "dependencies.md").read_text("utf-8"),
            re.MULTILINE,
        )
    )
    readme = (ROOT / "README.md").read_text("utf-8")
    for extra in ("none", "live", "report", "notify", "service", "demo"):
        assert re.search(rf"^\| \(?`?{extra}`?\)? \|.*\| {weighed[extra]} \|$", readme, re.MULTILINE), (
            f"README has another size for {extra}"
        )
    assert weigh.closure(["redis"]) - weigh.closure([]) == {"redis"}
    assert {"numpy", "opentelemetry-semantic-conventions"} < weigh.closure([])
    numpy = Path(distribution("numpy").locate_file("numpy"))
    on_disk = sum(file.stat().st_size for file in numpy.rglob("*") if file.is_file() and file.suffix != ".pyc") / 1e6
    assert on_disk <= weigh.size_mb("numpy") < 3 * on_disk
