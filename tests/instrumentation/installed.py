"""What holds of a library where it is installed: here, or in an environment of its own, which `make tools` makes and which runs this file.

``python -m tests.instrumentation.installed tts_pipecat`` prints it as JSON.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import getattr_static
from pathlib import Path

from packaging.requirements import Requirement
from wrapt import FunctionWrapper, resolve_path

from otel_tts.instrumentation.registry import LIBRARIES, Library

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {
    "tts_aiobotocore": (Path(sys.executable), ROOT / ".tools" / "aiobotocore"),
    "tts_pipecat": (ROOT / ".tools" / "pipecat" / "bin" / "python", None),
    "tts_gtts": (Path(sys.executable), ROOT / ".tools" / "apart"),
    "tts_realtimetts": (Path(sys.executable), ROOT / ".tools" / "apart"),
}
"""The Python of each library that does not fit into the developers' environment, and the folder that it is in, beside that environment."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What was found in one environment.

    missing: targets that are not there or cannot be called. wrapped: how many functions were to be wrapped. unwrapped: those that were
    not. kept: those that were not put back.
    """

    version: str
    missing: list[str]
    wrapped: int
    unwrapped: list[str]
    kept: list[str]


def distribution(library: Library) -> str:
    """Its name."""
    return Requirement(library.instrumentor.requires).name


def inspect(library: Library) -> Installed:
    """What holds of it in this environment.

    Raises:
        PackageNotFoundError: it is not installed here.
    """
    installed = version(distribution(library))
    missing = [f"{target.module}.{target.name}" for target in library.instrumentor.targets if not _is_callable(target)]
    instrumentor = library.instrumentor()
    instrumentor.instrument()
    try:
        places = [resolve_path(import_module(patch._module), patch._name)[:2] for patch in instrumentor._patches]
        wrappers = [vars(owner)[name] for owner, name in places]
    finally:
        instrumentor.uninstrument()
    unwrapped, kept = [], []
    for (owner, name), wrapper in zip(places, wrappers, strict=True):
        if not isinstance(wrapper, FunctionWrapper):
            unwrapped.append(f"{owner}.{name}")
        elif getattr_static(owner, name) is not wrapper.__wrapped__:  # of the class, or of one that it inherits from
            kept.append(f"{owner}.{name}")
    return Installed(installed, missing, len(wrappers), unwrapped, kept)


def _is_callable(target: object) -> bool:
    member = import_module(target.module)  # type: ignore[attr-defined]  # of whichever kind
    for name in target.name.split("."):  # type: ignore[attr-defined]  # likewise
        member = getattr(member, name, None)
    return callable(member)


@functools.cache
def inspect_where_installed(entry_point: str) -> Installed | None:
    """The same of a library by its name, in the environment that has it; None where it is in none."""
    [library] = [library for library in LIBRARIES if library.entry_point == entry_point]
    python, folder = ENVIRONMENTS.get(entry_point, (None, None))
    if python is None:
        try:
            return inspect(library)
        except PackageNotFoundError:
            return None
    if not (folder or python).exists() and os.environ.get("REQUIRE_TOOLS") != "1":
        return None
    command = [str(python), "-m", "tests.instrumentation.installed", entry_point]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, filter(None, (ROOT, folder))))}
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return Installed(**json.loads(ran.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(asdict(inspect(next(library for library in LIBRARIES if library.entry_point == sys.argv[1])))))
