"""Files that settings name: read whole, and only if they are what such a file can be."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from otel_tts.errors import SettingError
from otel_tts.settings.values import quoted

LARGEST = 16 << 20
"""The most bytes of such a file."""


def check_kind(path: str | Path) -> None:
    """Check that a file can be read without waiting for anybody.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be opened, or is a directory, a pipe or a socket.
    """
    os.close(_open(path))


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be read, is larger than `LARGEST`, or is a directory, a pipe or a socket.
    """
    with open(_open(path), "rb") as file:
        content = file.read(LARGEST + 1) or b""  # None from a terminal
    if len(content) > LARGEST:
        raise OSError(errno.EFBIG, f"It has more than {LARGEST >> 20} MiB")
    return content


def read_toml(variable: str, kind: str, path: str | Path) -> dict[str, Any]:
    """Return the tables of a TOML file in UTF-8, with or without a byte order mark.

    Args:
        variable: which names the file, for messages.
        kind: what the file is, for messages: ``price file``.
        path: of the file; ``~`` is the home directory.

    Raises:
        SettingError: it cannot be read, or is no TOML; the message names the variable and the file, and says why.
    """
    try:
        return tomllib.loads(read_bytes(Path(path).expanduser()).decode("utf-8-sig"))
    except OSError as error:
        raise SettingError(f"{variable}: the {kind} {quoted(path)} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise SettingError(f"{variable}: the {kind} {quoted(path)} is no text in UTF-8.") from None
    except RecursionError:  # a RuntimeError itself
        raise SettingError(f"{variable}: the {kind} {quoted(path)} is nested too deeply.") from None
    except RuntimeError:
        raise SettingError(
            f"{variable}: the {kind} {quoted(path)} cannot be read: it has a ~, and this user has no home."
        ) from None
    except ValueError as error:  # or a number with more digits than Python reads
        raise SettingError(f"{variable}: the {kind} {quoted(path)} is no TOML: {error}.") from None


def _open(path: str | Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would be waited for
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind) or stat.S_ISCHR(kind):  # `/dev/null` is an empty file
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, os.strerror(errno.EISDIR) if stat.S_ISDIR(kind) else "It is a pipe or a socket, not a file")
