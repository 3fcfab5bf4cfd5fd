"""The oldest versions that the table in the README claims, each in an environment of its own: ``python -m tests.instrumentation.oldest``.

An environment is a layer over this one that holds the old version and what that needs older. Names of instrumentations, such as
``tts_openai``, as arguments: only these. It downloads packages, so it is no test; it is run whenever a range changes.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

from otel_tts.instrumentation.registry import LIBRARIES
from otel_tts.instrumentation.servers import GrpcServerInstrumentor
from tests.instrumentation.test_registry import PROVED

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What has the same version numbers, and is what the tests call.
_BESIDE = {
    "botocore": ["boto3"],
    "livekit-agents": [f"livekit-plugins-{name}" for name in ("cartesia", "deepgram", "elevenlabs", "openai")],
}
_PROGRAMS = "test_programs.py"  # they are started by the commands of the environment below


def claims() -> Iterator[tuple[str, Requirement, Sequence[str]]]:
    """Of each instrumentation its name, what it requires, and the tests that prove it."""
    for library in LIBRARIES:
        proofs = dict.fromkeys(PROVED[library.entry_point].values())
        tests = [str(HERE / proof) for proof in proofs if not proof.startswith(_PROGRAMS)]
        shared = any("test_vendors.py" in test for test in tests)
        only = ["-k", library.entry_point.removeprefix("tts_")] if shared else []
        yield library.entry_point, Requirement(library.instrumentor.requires), [*tests, *only]
    yield "tts_grpc_server", Requirement(GrpcServerInstrumentor.requires), [str(HERE / "test_servers.py")]


def run(requirement: Requirement, tests: Sequence[str], directory: str) -> bool:
    """Whether the tests pass with the oldest version, in an environment in this directory."""
    (oldest,) = (specifier.version for specifier in requirement.specifier if specifier.operator == ">=")
    venv.create(directory, with_pip=True)
    python = str(Path(directory) / "bin" / "python")
    process = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    )
    Path(process.stdout.strip(), "below.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    names = [requirement.name, *_BESIDE.get(requirement.name, [])]
    wanted = [f"{name}=={oldest}" for name in names]
    print(*wanted, flush=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], cwd=ROOT, check=False).returncode == 0


def main(names: Sequence[str]) -> int:
    """How many failed."""
    failed = 0
    for name, requirement, tests in claims():
        if not names or name in names:
            with TemporaryDirectory() as directory:
                failed += not run(requirement, tests, directory)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
