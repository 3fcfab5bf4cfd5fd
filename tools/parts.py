"""Runs parts of `make stack`, lines of a Procfile, as honcho does; but a part that ends is named, and the others go on.

python -m tools.parts PROCFILE NAME...
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from honcho.environ import parse_procfile
from honcho.manager import Manager


class Parts(Manager):  # type: ignore[misc] # honcho has no types
    """Processes of which each may end by itself. Ctrl-C and SIGTERM end them all, and so does the end of the last one."""

    def __init__(self) -> None:
        super().__init__()
        self._named: set[str] = set()

    def _any_stopped(self) -> bool:
        """Name the parts that have ended. honcho asks this after each line of output, and ends all others when it is true."""
        for name, part in self._processes.items():
            if part.get("returncode") is not None and name not in self._named and not self._terminating:
                self._named.add(name)
                self._system_print(_ended(name, part["returncode"]))
        return bool(self._terminating)


def _ended(name: str, code: int) -> str:
    reason = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}, its last lines say why"
    return f"{name} HAS ENDED: {reason}. The other parts go on. Start it again: deploy/native/stack {name}\n"


def main() -> None:
    """Run the named parts until all have ended."""
    procfile, *names = sys.argv[1:]
    commands = parse_procfile(Path(procfile).read_text("utf-8")).processes
    parts = Parts()
    for name in names:
        if name not in commands:
            raise SystemExit(f"There is no part {name!r}. The parts are {', '.join(commands)}.")
        parts.add_process(name, commands[name])
    parts.loop()
    raise SystemExit(parts.returncode)


if __name__ == "__main__":
    main()
