"""The licences of all that `make tools`, the extras and CI install: nothing is under the AGPL, the SSPL, the BUSL or none."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.e2e.stack import ROOT, program
from tests.grafana.test_queries import GRAMMAR
from tests.licences import GPL, badness, of_name, of_text
from tools.programs import PROGRAMS

COMMANDS = [command for make in PROGRAMS.values() for command in make().commands]
LICENCE = re.compile(r"(?i)(un)?licen[sc]e|copying")
GPL_EXTRAS = {"piper", "espeak", "demo", "test", "vendors", "dev"}
"""The extras that hold GPL engines, as docs/dependencies.md says."""
READ_BY_US: Mapping[str, str] = {
    "espeakng-loader": "GPL-3.0-or-later",  # its wheel says nothing; it holds eSpeak NG
    "docutils": "BSD-2-Clause",  # of the files under the GPL, an editor's mode, its wheel has none
}
"""What a wheel leaves unsaid or says of more than it holds."""


def required(name: str) -> str:
    """A program on PATH; without it the test is skipped, or fails where REQUIRE_TOOLS says that it must be there."""
    if path := shutil.which(name):
        return path
    reason = f"there is no {name} on PATH, which knows what is installed."
    if os.environ.get("REQUIRE_TOOLS"):
        pytest.fail(reason)
    pytest.skip(reason)


# --- Go ----------------------------------------------------------------------------------------------------------------------


def linked(command: str) -> set[tuple[str, str]]:
    """The modules that a program was linked with, each by path and version, as the program itself says."""
    run = subprocess.run([required("go"), "version", "-m", program(command)], check=True, capture_output=True, text=True)
    modules: list[tuple[str, str]] = []
    for line in run.stdout.splitlines():
        match line.split("\t"):
            case ["", "dep", path, version, *_]:
                modules.append((path, version))
            case ["", "=>", path, version, *_]:
                modules[-1] = (path, version)  # it stands in for the one before
    return set(modules)


def source(path: str, version: str, cache: Path) -> Path:
    """Where the module cache has a module, downloaded now if it is not there."""
    directory = cache / re.sub("[A-Z]", lambda letter: f"!{letter[0].lower()}", f"{path}@{version}")
    if not directory.is_dir():
        subprocess.run([required("go"), "mod", "download", f"{path}@{version}"], check=True, capture_output=True, cwd=cache)
    return directory


def in_directory(directory: Path) -> set[str]:
    """The families of the licence files in a directory."""
    files = [file for file in directory.iterdir() if LICENCE.match(file.name) and file.is_file()]
    return set().union(*(of_text(file.read_text("utf-8", "replace")) for file in files))


def test_the_modules_of_the_programs() -> None:
    """Every module that is linked into a program of `make tools`, and the program's own, has a licence that allows it."""
    environment = subprocess.run([required("go"), "env", "GOMODCACHE"], check=True, capture_output=True, text=True)
    cache = Path(environment.stdout.strip())
    modules = set().union(*map(linked, COMMANDS))
    modules |= {(made.path, made.version) for made in (make() for make in PROGRAMS.values()) if hasattr(made, "path")}
    assert len(modules) > 300
    families = {module: in_directory(source(*module, cache)) for module in sorted(modules)}
    assert {module: families_found for module, families_found in families.items() if badness(families_found)} == {}
    assert {"github.com/dgraph-io/badger/v4", "github.com/jaegertracing/jaeger"} <= {path for path, _ in modules}


# --- wheels ------------------------------------------------------------------------------------------------------------------


def of_wheel(wheel: Distribution) -> set[str]:
    """The families of an installed distribution: as its metadata names them, else as its licence files read."""
    metadata = wheel.metadata
    if reading := READ_BY_US.get(canonicalize_name(metadata["Name"])):
        return of_name(reading)
    classifiers = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    for name in (metadata.get("License-Expression"), metadata.get("License"), " ".join(classifiers)):
        if name and (families := of_name(name) or of_text(name)):
            return families
    files = [Path(str(file.locate())) for file in wheel.files or () if LICENCE.match(file.name)]
    return set().union(*(of_text(file.read_text("utf-8", "replace")) for file in files if file.is_file()))


def closure(*extras: str) -> set[str]:
    """All that ``pip install 'otel-tts[EXTRAS]'`` has brought here, by name; of an extra that nobody installed nothing is known."""
    seen: set[tuple[str, str]] = set()
    pending = [("otel-tts", extra) for extra in ("", *extras)]
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            requires = distribution(name).requires or ()
        except PackageNotFoundError:
            continue
        for text in requires:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                pending += [(canonicalize_name(requirement.name), given) for given in ("", *requirement.extras)]
    return {name for name, _ in seen} & {canonicalize_name(wheel.metadata["Name"]) for wheel in distributions()}


def installed() -> Iterator[Distribution]:
    """Every distribution here, and in the environment that `make tools` makes for a server of the tests."""
    yield from distributions()
    for directory in (ROOT / ".tools" / "ovos").glob("lib/python*/site-packages"):
        yield from distributions(path=[str(directory)])


def test_wheels() -> None:
    """Whatever is installed for tests and development has a licence, and none of those that are refused."""
    families = {wheel.metadata["Name"]: of_wheel(wheel) for wheel in installed()}
    assert len(families) > 150
    assert {name: families_found for name, families_found in families.items() if badness(families_found) > 1} == {}


def test_gpl_stands_only_in_extras_that_say_so() -> None:
    """The library and each extra but those of GPL engines are free of it; docs/dependencies.md names these extras and what is GPL there."""
    extras = set(distribution("otel-tts").metadata.get_all("Provides-Extra") or ())
    clean = closure(*(extras - GPL_EXTRAS))
    assert {name for name in clean if GPL in of_wheel(distribution(name))} == set()
    docs = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    for extra in GPL_EXTRAS:
        assert f"`{extra}`" in docs
    for name in {wheel.metadata["Name"] for wheel in installed() if GPL in of_wheel(wheel)}:
        assert any(name in line and "GPL" in line for line in docs.splitlines()), name


# --- npm ---------------------------------------------------------------------------------------------------------------------


def packages() -> Mapping[str, str]:
    """Every package of npm that `make tools` and the tests install, with the licence that the registry has; kept in the user's cache."""
    manifest = json.loads((ROOT / "tests" / "grafana" / "package.json").read_text("utf-8"))
    name, _, version = GRAMMAR.rpartition("@")
    wanted = {**manifest["dependencies"], name: version}
    data = f"@grafana/data@{wanted['@grafana/schema']}"  # of which a file is taken, and no dependency
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tts" / f"npm-licences-{key}.json"
    if not kept.exists():
        npm, work = required("npm"), kept.with_suffix("")
        work.mkdir(parents=True, exist_ok=True)
        (work / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
        subprocess.run(
            [npm, "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=work,
            check=True,
            capture_output=True,
            timeout=300,
        )
        locked = json.loads((work / "package-lock.json").read_text("utf-8"))["packages"]
        licences = {path.rpartition("node_modules/")[2]: package.get("license", "") for path, package in locked.items() if path}
        view = subprocess.run([npm, "view", data, "license"], cwd=work, check=True, capture_output=True, text=True, timeout=300)
        kept.write_text(json.dumps({**licences, data: view.stdout.strip()}, indent=1))
        shutil.rmtree(work)
    return json.loads(kept.read_text("utf-8"))  # type: ignore[no-any-return]


@pytest.mark.timeout(600)
def test_npm() -> None:
    """Grafana's types and grammar, what makes a schema of them, and all that these bring; Grafana itself is not among them."""
    licences = packages()
    assert len(licences) > 10
    assert {name: licence for name, licence in licences.items() if badness(of_name(licence))} == {}


# --- images ------------------------------------------------------------------------------------------------------------------


def test_images_are_named_with_their_licence() -> None:
    """Each image that Compose pulls, or builds on, stands in docs/dependencies.md beside a licence."""
    texts = [(ROOT / name).read_text("utf-8") for name in ("docker-compose.yml", "Dockerfile")]
    images = {
        image for text in texts for image in re.findall(r"(?:^\s*image: |^\s*FROM |^ARG \w+=)([\w./-]+):", text, re.MULTILINE)
    }
    pulled = {image for image in images if not image.startswith("otel-tts")}
    assert len(pulled) >= 7
    section = (ROOT / "docs" / "dependencies.md").read_text("utf-8").partition("\n## Images\n")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in section.splitlines() if row.startswith("| `")]
    named = {image for row in rows for image in re.findall(r"`([\w./-]+)`", row[1])}
    assert named - {"redis"} == pulled - {"redis"}
    assert [row[1] for row in rows if not of_name(row[2])] == []


# --- that it would be found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("AGPL-3.0-only", 3), ("GNU Affero General Public License v3", 3), ("SSPL-1.0", 3), ("BUSL-1.1", 3), ("Elastic-2.0", 3), ("", 2),
        ("Proprietary", 2), ("GPL-3.0-or-later", 1), ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", 1),
        ("AGPL-3.0-only AND MIT", 3), ("GPL-2.0-only OR MIT", 0), ("LGPL-3.0-only", 0), ("Apache-2.0", 0), ("MPL-2.0 AND MIT", 0),
    ],
)  # fmt: skip
def test_a_name_is_judged(name: str, bad: int) -> None:
    """Refused, none, GPL, or fine; of alternatives the best counts, of all that hold together the worst."""
    assert badness(of_name(name)) == bad


def test_a_text_is_judged(tmp_path: Path) -> None:
    """A directory with a refused text is found, one that only mentions it is not, and one without any is one without a licence."""
    assert badness(in_directory(tmp_path)) == 2
    (tmp_path / "LICENSE").write_text("Apache License\nVersion 2.0. Not the GNU Affero General Public License.")
    assert in_directory(tmp_path) == {"Apache"}
    (tmp_path / "COPYING.agpl").write_text("GNU AFFERO GENERAL\n   PUBLIC LICENSE\nVersion 3")
    assert badness(in_directory(tmp_path)) == 3
