"""The lock: one job at a time. It is a lock of the operating system, which releases it when the job is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from otel_tts.errors import OtelTtsError
from otel_tts.settings import ReportSettings


class LockError(OtelTtsError):
    """The lock cannot be had. The message says why."""


class AnotherJobError(OtelTtsError):
    """Another job holds the lock. The message says which."""


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Hold the lock on ``what`` for the length of the block.

    It keeps apart jobs that share ``directory``, the place of the telemetry that they read.

    Raises:
        AnotherJobError: another process holds it.
        LockError: the directory cannot be written to.
    """
    path = directory / f"report-{sha256(what.encode()).hexdigest()[:12]}.lock"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise LockError(
            f"The lock of report jobs cannot be written to {directory}: {error.strerror}. "
            f"Set {ReportSettings.variable('data_dir')} to a directory that this user may write to."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AnotherJobError(
                f"Another report job (process {holder}) writes to {what}. Wait for its end, or end it."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
