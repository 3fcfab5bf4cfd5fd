"""A PostgreSQL of a test's own, from Debian's package."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.stack import Process
from tests.ports import free_port

_ADDRESS = "127.0.0.61"
_USER = "speech"
_SETTINGS = ("fsync=off", "shared_buffers=32MB", "max_connections=50", "unix_socket_directories=")


@contextmanager
def database(log: Path) -> Iterator[str]:
    """Run a server with an empty database for the length of the block.

    PostgreSQL refuses to run as root: there, it runs as the user `nobody`, in a directory that is that user's.

    Args:
        log: where its output goes.

    Yields:
        The address of the database, as SQLAlchemy takes it.
    """
    # Not below TMPDIR, which may be closed to other users.
    directory = Path(tempfile.mkdtemp(prefix="otel-tts-postgresql-", dir="/tmp"))
    try:
        lesser, initdb, postgres = _lesser(directory), _program("initdb"), _program("postgres")
        port = free_port()
        options = ["--auth=trust", f"--username={_USER}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        with log.open("ab") as output:
            command = [*lesser, initdb, *options, f"--pgdata={directory}/data"]
            subprocess.run(command, stdout=output, stderr=output, check=True, cwd=directory)

        def listens() -> bool:
            try:
                socket.create_connection((_ADDRESS, port), 1).close()
            except OSError:
                return False
            return True

        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        command = [*lesser, postgres, "-D", f"{directory}/data", "-h", _ADDRESS, "-p", str(port), *settings]
        server = Process(command, {}, listens, log)
        server.start()
        try:
            yield f"postgresql+pg8000://{_USER}@{_ADDRESS}:{port}/postgres"
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _program(name: str) -> str:
    """Where PostgreSQL's program is: on PATH, else where Debian puts it. Without it the test is skipped, or fails where it must run."""
    if path := shutil.which(name):
        return path
    if paths := sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4])):
        return str(paths[-1])
    reason = f"There is no {name}. On Debian and Ubuntu, as root: apt install postgresql"
    return (pytest.fail if os.environ.get("REQUIRE_TOOLS") else pytest.skip)(reason)


def _lesser(directory: Path) -> list[str]:
    """What a command begins with to run as a user that is not root; the directory becomes that user's."""
    if os.geteuid():
        return []
    shutil.chown(directory, "nobody", "nogroup")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
