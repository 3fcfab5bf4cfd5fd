"""Names that stand for several members of a cluster.

They are in a hosts file that lies over /etc/hosts in a mount namespace of each program, so that nothing of the machine changes. Where
namespaces may not be made, in many containers, the lines are put into /etc/hosts itself for the length of the run.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

HOSTS = Path("/etc/hosts")
_UNSHARE = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]


class Names:
    """Each name with ".test" stands for the addresses of a tier.

    Args:
        members: the addresses by the name.
        directory: where the hosts file is written.
        closing: when it is closed, what was put into the machine's own file is taken out again.
        hosts: the machine's own file.
        private: whether namespaces may be made; found out if not said.

    Raises:
        PermissionError: neither a namespace nor the machine's file may be changed.
    """

    def __init__(
        self,
        members: Mapping[str, Sequence[str]],
        directory: Path,
        closing: ExitStack,
        hosts: Path = HOSTS,
        private: bool | None = None,
    ) -> None:
        if private is None:
            private = subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode == 0
        self._private = private
        self._members = dict(members)
        self._file = directory / "hosts" if private else hosts
        self._mark = f"  # otel-tts tests, process {os.getpid()}\n"
        if private:
            self._file.write_text("127.0.0.1 localhost\n")
        else:
            closing.callback(self._write, [])
        self.resolve()

    def resolve(self, **members: Sequence[str]) -> None:
        """Have names stand for other addresses, from now on."""
        self._members |= members
        self._write([f"{address} {name}.test" for name, addresses in self._members.items() for address in addresses])

    def _write(self, lines: Sequence[str]) -> None:
        with self._file.open("r+") as file:  # in its place: it is mounted, and cannot be replaced
            kept = "".join(line for line in file if not line.endswith(self._mark))
            text = kept + ("" if kept.endswith("\n") else "\n") + "".join(f"{line}{self._mark}" for line in lines)
            file.seek(0)
            file.write(text)
            file.truncate()

    def within(self, command: Sequence[str]) -> list[str]:
        """A command that sees the names."""
        if not self._private:
            return list(command)
        return [*_UNSHARE, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(self._file), *command]
