"""Generates the Python code of ``tts.proto``: ``python -m tools.proto``.

The generated files are committed, so that nobody needs the compiler; a test holds that they are current. The proto keeps its
canonical path ``yap/tts/v1/tts.proto``, which a client that compiles it on its own has too: two copies in one process agree.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "otel_tts" / "service" / "proto"
PROTO = "yap/tts/v1/tts.proto"


def generate(out: Path = ROOT) -> list[Path]:
    """Write the modules and their type stubs below ``out``; returns their paths.

    Raises:
        RuntimeError: the compiler refused the proto; it has said why on stderr.
    """
    from grpc_tools import protoc  # a tool of the developers: no run-time dependency

    well_known = str(resources.files("grpc_tools") / "_proto")
    code = [f"--{kind}_out={out}" for kind in ("python", "grpc_python")]
    scripts = Path(sys.executable).parent  # mypy-protobuf's, also where the environment is not activated
    for kind in ("mypy", "mypy_grpc"):
        code += [f"--plugin=protoc-gen-{kind}={scripts / f'protoc-gen-{kind}'}", f"--{kind}_out=quiet:{out}"]
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *code, PROTO]):
        raise RuntimeError(f"{PROTO} does not compile.")
    written = sorted((out / PROTO).parent.glob("tts_pb2*.py*"))
    for path in written:  # the compiler knows no packages around its root
        path.write_text(
            path.read_text().replace("from yap.tts.v1 import", "from . import").replace("import yap.tts.v1.", "from . import ")
        )
    return written


if __name__ == "__main__":
    generate()
