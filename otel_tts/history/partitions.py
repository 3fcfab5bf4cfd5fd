"""The files of a history, whichever user owns them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from otel_tts import files
from otel_tts.files import Partition, Signal
from otel_tts.history.unavailable import HistoryUnavailableError
from otel_tts.settings import HistorySettings


def partitions(directory: Path, signal: Signal, since: float | None = None, until: float | None = None) -> list[Partition]:
    """See `files.partitions`.

    Args:
        directory: of local files.
        signal: traces, metrics or logs.
        since: from when on, in seconds since the Unix epoch; None: from the beginning.
        until: up to when, in seconds since the Unix epoch; None: up to now.

    Raises:
        HistoryUnavailableError: the directory may not be read.
    """
    try:
        return files.partitions(directory, signal, since, until)
    except OSError as error:
        raise HistoryUnavailableError(
            f"{directory / signal} cannot be read: {error.strerror}. It may belong to another user: run this as that one, or set "
            f"{HistorySettings.variable('data_dir')} to a directory of your own."
        ) from None


def readable(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """See `files.lines`; a file that may not be read has none, as `is_readable` says.

    Args:
        path: the file.
        offset: in bytes.
    """
    try:
        yield from files.lines(path, offset)
    except OSError:
        return


def is_readable(path: Path) -> bool:
    """Whether a file may be read, or is gone.

    Args:
        path: the file.
    """
    try:
        path.open("rb").close()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
