"""CONTRIBUTING.md: the recipes name files that are there, and the site and the distributions are built as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from otel_tts.version import __version__

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def recipes() -> Iterator[tuple[str, str, str]]:
    """Each row of the recipes: the recipe's heading, the file, and what of the example stands in it."""
    section = PAGE.partition("## Recipes")[2].partition("\n## ")[0]
    for recipe in section.split("\n### ")[1:]:
        heading = recipe.partition("\n")[0]
        for path, example in re.findall(r"^\| `([^`]+)` \| [^|]+ \| `([^`]+)` \|$", recipe, re.MULTILINE):
            yield heading, path, example


ROWS = list(recipes())


def test_there_are_four_recipes() -> None:
    """A metric, an instrumentor, a provider of the service, a condition; each touches several files."""
    headings = [heading for heading, _, _ in ROWS]
    assert len(set(headings)) == 4
    assert min(headings.count(heading) for heading in headings) >= 4


@pytest.mark.parametrize(("recipe", "path", "example"), ROWS, ids=[f"{path}-{example}" for _, path, example in ROWS])
def test_a_recipe_s_example_is_where_it_says(recipe: str, path: str, example: str) -> None:
    """Each file that a recipe names is there, and holds its part of the example."""
    assert example in (ROOT / path).read_text("utf-8"), f"{recipe}: {path} does not hold {example}"


def test_a_recipe_names_every_file_of_its_metric() -> None:
    """What defines, records and queries the example's metric is named in the recipe."""
    modules = [path for path in (ROOT / "otel_tts").rglob("*.py") if "semconv.PROVIDER_FALLBACKS" in path.read_text("utf-8")]
    named = {path for _, path, _ in ROWS}
    assert {path.relative_to(ROOT).as_posix() for path in modules if path.is_relative_to(ROOT / "otel_tts" / "core")} <= named


def test_the_parts_of_the_suite_are_there() -> None:
    """Every folder in the table of test parts exists, and every folder of tests is in the table."""
    named = set(re.findall(r"tests/([a-z0-9]+)", PAGE.partition("| part |")[2].partition("\n\n")[0]))
    assert named == {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}


def test_a_release_has_one_version() -> None:
    """The chart and what it installs have the package's version: a release that forgets one of them fails."""
    chart = yaml.safe_load((ROOT / "deploy/kubernetes/chart/Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_a_run_ends_with_the_time_of_each_part() -> None:
    """The seconds that the tests of each folder took, so that nobody has to believe a table."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/core/test_once.py",
        "tests/test_formatting.py",
    ]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"seconds by part: (core|files) [0-9.]+, (core|files) [0-9.]+", output), output


def test_what_make_runs_is_there() -> None:
    """Each file and folder that a recipe of the Makefile names exists; `make check` is all that a change must pass."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipes = {
        match["target"]: match["recipe"].replace("\\\n", " ")
        for match in re.finditer(r"^(?P<target>[a-z-]+):.*\n(?P<recipe>(?:\t.*\n)+)", makefile, re.MULTILINE)
    }
    named = {path for recipe in recipes.values() for path in re.findall(r"\b(?:tests|tools|deploy)/[\w/.]+", recipe)}
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    assert re.search(r"^check: lint typecheck ", makefile, re.MULTILINE)
    assert "tools.generate --check" in recipes["check"]
    assert "test" in recipes["check"].rpartition("$(MAKE)")[2]
    assert "tests/test_docs.py" in recipes["quick"]


def build_site(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run what `make docs` runs, in a checkout."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "tools/site", "docs", "build/site"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the site is built from, to be changed."""
    for name in ("docs", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if not (tmp_path / path.name).exists() and path.name not in (".git", "build"):
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def test_the_site_is_built_without_a_warning(checkout: Path) -> None:
    """`make docs` passes: every page is in the navigation, every link leads somewhere, and the public names have their places."""
    result = build_site(checkout)
    assert (result.returncode, result.stderr) == (0, "")
    reference = (checkout / "build/site/reference/otel_tts.html").read_text("utf-8")
    assert all(f'id="otel_tts.{name}"' in reference for name in ("Telemetry", "Synthesis", "Attempt", "configure"))
    for page in (checkout / "build/site").glob("*.html"):
        text = page.read_text("utf-8")
        shown = re.findall(r'<img alt="[^"]*" class="only-(light|dark)" src="_images/([\w-]+)-(light|dark)\.png"', text)
        assert len(shown) == len(re.findall(r"_images/[\w-]+-(?:light|dark)\.png", text)), page  # a picture goes with its page
        assert all(scheme == taken for scheme, _, taken in shown), page
        assert {name for scheme, name, _ in shown if scheme == "light"} == {name for scheme, name, _ in shown if scheme == "dark"}
    first = (checkout / "build/site/index.html").read_text("utf-8")
    assert "Copyright &#169; the otel-tts authors; Apache License 2.0" in first
    body = first.partition('<article role="main"')[2].partition("</article>")[0]
    pages = {
        "start",
        "zero-code",
        "concepts",
        "troubleshooting",
        "deployment",
        "live",
        "commands",
        "runbooks",
        "telemetry",
        "configuration",
    }
    assert pages <= {
        link.partition(".html")[0] for link in re.findall('href="([^"]+)"', body)
    }  # it leads on where no menu is seen


def test_a_broken_link_fails_the_site(checkout: Path) -> None:
    """A link to a page, to a part of a page or to a file of the repository that is not there is named, and the build fails."""
    page = checkout / "docs/live.md"
    links = ["no-such-page.md", "telemetry.md#no-such-part", "../no/such.py"]
    page.write_text(page.read_text("utf-8") + "".join(f"\n[x]({link})\n" for link in links), "utf-8")
    result = build_site(checkout)
    assert result.returncode != 0
    assert [link for link in ("no-such-page", "no-such-part", "../no/such.py") if link not in result.stderr] == []


def test_distributions_are_the_same_each_time(tmp_path: Path) -> None:
    """Built twice, wheel and source distribution have the same bytes; neither holds tests, tools or what git ignores."""
    digests = []
    for name in ("first", "second"):
        command = [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path / name)]
        environ = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)
        digests.append({path.name: sha256(path.read_bytes()).hexdigest() for path in (tmp_path / name).iterdir()})
    assert digests[0] == digests[1]
    [wheel] = (tmp_path / "first").glob("*.whl")
    [source] = (tmp_path / "first").glob("*.tar.gz")
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top == {"otel_tts", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
    with tarfile.open(source) as archive:
        folders = {name.split("/")[1] for name in archive.getnames() if name.count("/") > 1}
    assert folders == {"otel_tts", "docs", "examples"}
