"""How long importing takes, each in a fresh interpreter, in turns with an empty one.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

STATEMENTS = {
    "import otel_tts": "import otel_tts",
    "Telemetry and audio formats": "from otel_tts import PCM16, Telemetry",
    "gRPC interceptors": "from otel_tts.grpc import aio_server_interceptor",
    "configure": "from otel_tts import configure",
    "the pytest plugin": "import otel_tts.testing",
    "otel-tts --help": "import otel_tts.cli",
}


def seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(arguments.rounds):
        empty = seconds("pass")
        for name, statement in STATEMENTS.items():
            times[name].append(seconds(statement) - empty)
    for name, values in times.items():
        print(f"{name:30}{statistics.median(values) * 1000:8.0f} ms beyond an empty interpreter")


if __name__ == "__main__":
    main()
