"""Polly through aiobotocore: the tests of the vendors' SDKs, with the older botocore that it wants, and tests of its own."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.instrumentation.installed import ENVIRONMENTS, ROOT
from tests.instrumentation.test_registry import PROVED

PYTHON, FOLDER = ENVIRONMENTS["tts_aiobotocore"][0], ROOT / ".tools" / "aiobotocore"
HERE = "tests/instrumentation"

pytestmark = [
    pytest.mark.vendors,
    pytest.mark.skipif(
        not FOLDER.exists() and os.environ.get("REQUIRE_TOOLS") != "1", reason="`make tools` installs aiobotocore"
    ),
]


def passed(*arguments: str) -> list[str]:
    """The tests that passed, in a process of their own, since this one has the newer botocore. None of them fails or is skipped."""
    command = [str(PYTHON), "-m", "pytest", "-rA", "-p", "no:cacheprovider", *arguments]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(FOLDER), str(ROOT)))}
    environ = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    assert " skipped" not in ran.stdout.splitlines()[-1]
    return re.findall(rf"^PASSED {HERE}/(\S+)", ran.stdout, re.MULTILINE)


def test_all_that_holds_of_a_vendor_s_sdk() -> None:
    """Whole, left, refused, given up, broken off, cancelled, sent again: every test that stands for a cell of the table has passed."""
    tests = passed(f"{HERE}/test_vendors.py", f"{HERE}/test_resends.py", "-k", "aiobotocore or Aiobotocore")
    functions = {test.partition("[")[0] for test in tests}
    proofs = set(PROVED["tts_aiobotocore"].values()) - {"test_formats.py::test_polly"}
    assert proofs <= functions
    assert "test_resends.py::test_a_failure_that_the_sdk_makes_good" in functions


def test_its_bodies() -> None:
    """Read in all ways, kept or not, over both of its HTTP clients."""
    tests = passed(f"{HERE}/aiobotocore_bodies.py")
    assert {"[aiohttp]", "[httpx]"} <= {f"[{client}]" for test in tests for client in re.findall(r"aiohttp|httpx", test)}
