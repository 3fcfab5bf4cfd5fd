"""What the real systemd does to a service that is restarted and stopped: a user's manager in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grpc.servers import wait_for
from tests.sdk.test_ending import REQUESTS, requests

SYSTEMD = "/lib/systemd/systemd"
NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--cgroup"]
ENTER = ["nsenter", "--user", "--pid", "--mount", "--cgroup", "--preserve-credentials"]
BOOT = f"""
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user
mount -t cgroup2 cgroup2 /sys/fs/cgroup
{SYSTEMD} --user --unit=basic.target --log-target=console &
wait
"""
"""What a user's manager needs in a namespace: a machine that says it runs systemd, and the one hierarchy of control groups."""


class Manager:
    """A systemd of its own.

    Args:
        directory: of its units and the service's files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sockets = tempfile.TemporaryDirectory()  # the name of a socket may have 107 characters
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(directory), "XDG_RUNTIME_DIR": self.sockets.name, "XDG_CONFIG_HOME": str(directory),
        }  # fmt: skip
        self.log = (directory / "log").open("w")
        self.outer = subprocess.Popen([*NAMESPACE, "sh", "-c", BOOT], env=self.environ, stdout=self.log, stderr=self.log)
        wait_for(lambda: self.outer.poll() is not None or Path(self.sockets.name, "systemd/private").exists())

    def ctl(self, *arguments: str) -> str:
        """Run ``systemctl --user`` beside it, and return what it prints."""
        (first,) = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
        command = [*ENTER, "--target", first, "systemctl", "--user", *arguments]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr + (self.directory / "log").read_text()
        return done.stdout

    def close(self) -> None:
        """End it, with all that it runs."""
        self.outer.kill()
        self.outer.wait(30)
        self.log.close()
        self.sockets.cleanup()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Manager]:
    """A manager with the service ``speech``, which speaks five times and says so."""
    if not Path(SYSTEMD).exists() or not shutil.which("systemctl"):
        pytest.skip("this machine has no systemd")
    if subprocess.run(
        [*NAMESPACE, "mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine allows no namespaces of control groups")
    (tmp_path / "program.py").write_text(f"{REQUESTS}speak()\nopen('ready', 'w').close()\ntime.sleep(600)\n")
    (tmp_path / "systemd/user").mkdir(parents=True)
    (tmp_path / "systemd/user/speech.service").write_text(
        f"[Service]\nExecStart={sys.executable} program.py\nWorkingDirectory={tmp_path}\nEnvironment=OTEL_TTS_DATA_DIR={tmp_path}\n"
        "ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS >> ended'\n"
    )
    manager = Manager(tmp_path)
    try:
        yield manager
    finally:
        manager.close()


def test_systemctl_stop_loses_nothing(systemd: Manager, tmp_path: Path) -> None:
    """`systemctl restart`, then `stop`: the requests of both processes are counted, and systemd sees a service that ended well."""
    ready = tmp_path / "ready"
    systemd.ctl("start", "speech")
    wait_for(ready.exists)
    ready.unlink()
    systemd.ctl("restart", "speech")
    wait_for(ready.exists)
    systemd.ctl("stop", "speech")
    assert (tmp_path / "ended").read_text().splitlines() == ["success killed TERM"] * 2
    assert sorted(requests(tmp_path).values()) == [5, 5]
