"""All benchmarks, one after the other, into one file: the tables of docs/performance.md are of one such run.

    python -m benchmarks.all [--out build/benchmarks.txt] [--only overhead,latency] [--environments build/peers]

It takes about five minutes on a quiet machine and says how busy it was: figures of time are worth what the load average beside them
allows. Instructions (``make bench-exact``) do not depend on it, and take longer.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = {
    "overhead": ["overhead", "--rounds", "7", "--requests", "1000"],
    "latency": ["latency", "--seconds", "3", "--rounds", "4"],
    "chunk": ["chunk", "--rounds", "9"],
    "startup": ["startup", "--rounds", "5"],
    "peers": ["peers", "--calls", "200", "--rounds", "5"],
    "pause": ["pause", "--paths", "direct"],
    "history": ["history", "100000"],
    "memory": ["memory"],
    "exact": ["exact", "--requests", "300"],
    "report": ["report", "100000"],
}
USUAL = "overhead,latency,chunk,startup,peers,pause,history"
"""The rest takes long, and hardly depends on how busy the machine is: instructions, memory, CPU time of minutes."""
_LONGEST_S = 1800


def machine() -> str:
    """What the figures were measured on."""
    git = shutil.which("git") or "git"
    commit = subprocess.run([git, "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return f"commit {commit.strip()}, Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"


def busy() -> str:
    """The time, and how busy the machine is."""
    return f"{time.strftime('%H:%M:%S')}, load average {os.getloadavg()[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks.txt")
    parser.add_argument("--only", default=USUAL, help=f"of {', '.join(PARTS)}; by default {USUAL}")
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "peers", help="of the peers")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", encoding="utf-8") as out:

        def say(text: str) -> None:
            print(text, flush=True)
            out.write(text + "\n")
            out.flush()

        say(machine())
        for name in options.only.split(","):
            module, *arguments = PARTS[name]
            if name == "peers":
                arguments += ["--environments", str(options.environments)]
            say(f"\n== {name}: python -m benchmarks.{module} {' '.join(arguments)} ({busy()})")
            command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
            try:
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
            except subprocess.TimeoutExpired:
                say(f"not done within {_LONGEST_S} s")
                continue
            say(done.stdout.rstrip() if done.returncode == 0 else f"failed with {done.returncode}: {done.stderr[-2000:]}")
        say(f"\nended {busy()}")


if __name__ == "__main__":
    main()
