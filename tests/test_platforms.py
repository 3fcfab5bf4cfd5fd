"""Where the library runs: Python's versions, the wheel alone, and not on Windows."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
NO_INDEX = ("Could not connect", "error sending request", "dns error", "Failed to fetch", "Connect")


USERS = ["--extra", "all", "--extra", "demo", "--only-binary", ":all:"]
DEVELOPERS = ["--extra", "dev", "--constraint", "constraints.txt"]


def resolve(version: str, options: list[str]) -> subprocess.CompletedProcess[str]:
    """Resolve dependencies for a version of Python, which need not be here; 3.11 is 3.11.0."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--python-version", version]
    quiet = ["--quiet", "--no-header", "--no-annotate"]
    return subprocess.run([*command, *options, *quiet], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("options", [pytest.param(USERS, id="pip install"), pytest.param(DEVELOPERS, id="make install")])
def test_dependencies_resolve_for_every_python(options: list[str]) -> None:
    """From its first release on, each Python has all that users install, as wheels, and all versions that `make install` pins."""
    with ThreadPoolExecutor(len(VERSIONS)) as threads:
        resolved = dict(zip(VERSIONS, threads.map(lambda version: resolve(version, options), VERSIONS), strict=True))
    if any(word in result.stderr for result in resolved.values() for word in NO_INDEX) and not os.environ.get("REQUIRE_TOOLS"):
        pytest.skip("The package index does not answer, and only it knows which wheels there are.")
    assert {version: result.stderr for version, result in resolved.items() if result.returncode} == {}
    assert all("opentelemetry-sdk==" in result.stdout for result in resolved.values())


def test_windows_is_refused_with_one_line() -> None:
    """There the import says where it runs, instead of failing somewhere inside."""
    program = "import sys; sys.platform = 'win32'; import otel_tts"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "ImportError: otel-tts runs on Linux and macOS, and not on Windows. Use WSL or a container."
    )


PROGRAM = """
import otel_tts
from otel_tts import PCM16
pipeline = otel_tts.configure(service_name="wheel", local=True)
with otel_tts.Telemetry().synthesis(text="Hello.", voice="tone") as synthesis, synthesis.attempt("my-engine") as attempt:
    attempt.audio(bytes(48_000), PCM16(24_000))
pipeline.shutdown()
print(otel_tts.__file__)
"""


def from_wheel(directory: Path) -> list[str]:
    """What pip is given for a wheel, which is built into a directory."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "--directory", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = directory.glob("*.whl")
    return ["--no-index", str(wheel)]


def from_git(directory: Path) -> list[str]:
    """What pip is given for the last commit, by the URL of the repository."""
    return ["--no-build-isolation", f"otel-tts @ git+file://localhost{ROOT.as_uri().removeprefix('file://')}"]


def needed(requirements: Iterable[str], extras: Iterable[str] = ("",)) -> dict[str, Distribution]:
    """The distributions that pip would install for requirements, with all that these need, by name."""
    chosen_by_key: dict[str, Distribution] = {}
    waiting = [(requirement, tuple(extras)) for requirement in requirements]
    while waiting:
        text, chosen = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in chosen):
            continue
        its_extras = ("", *sorted(requirement.extras))
        key = f"{requirement.name}{its_extras}"
        if key not in chosen_by_key:
            chosen_by_key[key] = distribution(requirement.name)
            waiting += [(each, its_extras) for each in chosen_by_key[key].requires or ()]
    return chosen_by_key


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has what the package declares that it needs, and nothing else of this environment."""
    directory = tmp_path_factory.mktemp("needed")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for each in needed(project["dependencies"]).values():
        home = Path(str(each.locate_file("")))
        for file in each.files or ():
            target = directory / file
            if ".." not in file.parts and not target.is_symlink():  # packages of one namespace may each bring a file of it
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(home / file)
    return directory


@pytest.mark.parametrize("source", [from_wheel, from_git])
def test_the_package_alone_gives_the_first_trace(
    source: Callable[[Path], list[str]], empty_environment: Path, tmp_path: Path
) -> None:
    """With what it declares and nothing else, without the checkout, the library records a trace and the command draws it."""
    installed = tmp_path / "installed"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(installed),
        *source(tmp_path / "dist"),
    ]
    subprocess.run(install, check=True, capture_output=True)
    path = os.pathsep.join([str(installed), str(empty_environment)])
    environ = os.environ | {"PYTHONPATH": path, "OTEL_TTS_DATA_DIR": str(tmp_path / "data")}
    run = [sys.executable, "-S", "-c", PROGRAM]
    program = subprocess.run(run, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert Path(program.stdout.strip()).is_relative_to(installed)
    command = [sys.executable, "-S", str(installed / "bin" / "otel-tts"), "trace"]
    trace = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert "tts.synthesize" in trace.stdout
    assert "my-engine" in trace.stdout


@pytest.mark.parametrize("requirement", ["otel-tts", "otel-tts[rules]", "otel-tts[report,live]"])
def test_pip_adds_an_extra_to_what_is_installed(requirement: str) -> None:
    """`pip install 'otel-tts[...]'`, as pages and messages say it, needs no index that has otel-tts: the one that is here serves."""
    install = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--disable-pip-version-check", requirement]
    result = subprocess.run(install, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Requirement already satisfied: otel-tts" in result.stdout
    assert "Would install" not in result.stdout


def test_nothing_deprecated_is_imported() -> None:
    """No module of the library that the core needs uses what Python has deprecated."""
    modules = ["otel_tts", "otel_tts.sdk", "otel_tts.grpc", "otel_tts.core.telemetry", "otel_tts.history", "otel_tts.cli"]
    program = f"import importlib; [importlib.import_module(name) for name in {modules}]"
    options = ["-W", "error::DeprecationWarning:otel_tts", "-W", "error::PendingDeprecationWarning:otel_tts"]
    result = subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
