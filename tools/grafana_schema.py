"""Makes the JSON Schema that tests validate dashboards against, and prints where it is: part of `make tools`.

It is made of the types that Grafana publishes for its dashboards, in the versions of tests/grafana/package.json, and kept outside the clone
(${XDG_CACHE_HOME:-~/.cache}/otel-tts/grafana-schema) under their version and a hash of everything that decides what comes out. What
was downloaded for it is not kept. A second run takes what is there, without network or Node.js.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "tests" / "grafana"
PACKAGE, GENERATOR = SOURCES / "package.json", SOURCES / "schema.mjs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tts" / "grafana-schema"
UNITS = "package/dist/esm/valueFormats/categories.mjs"
PATIENCE_S = 600  # seconds for npm


class SchemaError(Exception):
    """The schema cannot be made; the message is for people."""


def schema() -> Path:
    """Where the schema is; made now if it is not there.

    Raises:
        SchemaError: Node.js is missing, or the packages cannot be had.
    """
    version: str = json.loads(PACKAGE.read_text())["dependencies"]["@grafana/schema"]
    decides = b"\0".join(path.read_bytes() for path in (PACKAGE, GENERATOR, Path(__file__)))
    kept = CACHE / f"{version}-{hashlib.sha256(decides).hexdigest()[:12]}.json"
    if not kept.exists():
        for program in ("node", "npm"):
            if not shutil.which(program):
                raise SchemaError(f"the schema of Grafana's dashboards is made with Node.js, and there is no {program} on PATH.")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            make(Path(work), version).replace(kept)
    return kept


def make(work: Path, version: str) -> Path:
    """Make the schema in an empty directory. Of @grafana/data only one file is wanted, and none of its hundred dependencies.

    Args:
        work: an empty directory.
        version: of Grafana.

    Raises:
        SchemaError: a program fails, or takes too long.
    """
    for source in (PACKAGE, GENERATOR):
        shutil.copy(source, work)
    run(work, "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    run(work, "npm", "pack", f"@grafana/data@{version}", "--ignore-scripts", "--loglevel=error")
    (packed,) = work.glob("grafana-data-*.tgz")
    with tarfile.open(packed) as archive, (work / "categories.mjs").open("wb") as units:
        units_file = archive.extractfile(UNITS)
        if units_file is None:
            raise SchemaError(f"@grafana/data {version} has no file {UNITS}.")
        shutil.copyfileobj(units_file, units)
    run(work, "node", GENERATOR.name)
    return work / "schema.json"


def run(work: Path, *command: str) -> None:
    """Run a program there. Raises SchemaError, with what it said last, when it fails or takes too long.

    Args:
        work: an empty directory.
        command: the program and its arguments.

    Raises:
        SchemaError: a program fails, or takes too long.
    """
    try:
        subprocess.run(command, cwd=work, check=True, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.CalledProcessError as error:
        raise SchemaError(f"{' '.join(command)} failed: {error.stderr.strip()[-2000:]}") from None
    except subprocess.TimeoutExpired:
        raise SchemaError(f"{' '.join(command)} took longer than {PATIENCE_S} s.") from None


if __name__ == "__main__":
    try:
        print(schema())
    except SchemaError as error:
        sys.exit(f"otel-tts: {error}")
