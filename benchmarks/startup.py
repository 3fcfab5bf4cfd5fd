"""What starting takes, in CPU time, each in a fresh interpreter, in turns with an empty one.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

STATEMENTS = {
    "import otel_tts": "import otel_tts",
    "Telemetry and audio formats": "from otel_tts import PCM16, Telemetry",
    "gRPC interceptors": "from otel_tts.grpc import aio_server_interceptor",
    "configure": "from otel_tts import configure",
    "the pytest plugin": "import otel_tts.testing",
    "otel-tts --help": "import otel_tts.cli",
}


PROGRAMS = {
    "opentelemetry-instrument": [
        "opentelemetry-instrument",
        "--traces_exporter=none",
        "--metrics_exporter=none",
        "--logs_exporter=none",
    ],
    "otel-tts run": ["otel-tts", "run", "--"],
}
"""What starts a program that does nothing."""
NOWHERE = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}


def seconds(*command: str) -> float:
    """The CPU time, of user and system, that a process and its children take."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=os.environ | NOWHERE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    scripts = Path(sysconfig.get_path("scripts"))
    commands = {name: [sys.executable, "-c", statement] for name, statement in STATEMENTS.items()} | {
        name: [str(scripts / program[0]), *program[1:], sys.executable, "-c", "pass"] for name, program in PROGRAMS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        empty = seconds(sys.executable, "-c", "pass")
        for name, command in commands.items():
            times[name].append(seconds(*command) - empty)
    print(f"{'ms of CPU time beyond an empty interpreter':44}{'median':>8}{'least':>8}")
    for name, values in times.items():
        print(f"{name:44}{statistics.median(values) * 1000:8.0f}{min(values) * 1000:8.0f}")


if __name__ == "__main__":
    main()
