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
        lines = [f"{address} {name}.test" for name, addresses in members.items() for address in addresses]
        if private is None:
            private = subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode == 0
        self._file: Path | None = None
        if private:
            self._file = directory / "hosts"
            self._file.write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")
            return
        mark = f"  # otel-tts tests, process {os.getpid()}\n"
        with hosts.open("r+") as file:  # in its place: in containers it is a mount, which cannot be replaced
            text = file.read()
            file.write("".join(["" if text.endswith("\n") else "\n", *(f"{line}{mark}" for line in lines)]))
        closing.callback(_without, hosts, mark)

    def within(self, command: Sequence[str]) -> list[str]:
        """A command that sees the names."""
        if self._file is None:
            return list(command)
        return [*_UNSHARE, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(self._file), *command]


def _without(hosts: Path, mark: str) -> None:
    with hosts.open("r+") as file:
        kept = [line for line in file if not line.endswith(mark)]
        file.seek(0)
        file.truncate()
        file.writelines(kept)
