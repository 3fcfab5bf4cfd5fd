"""Files that settings name: read whole, and only if they are what such a file can be."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from otel_tts.errors import SettingError
from otel_tts.settings.values import quoted

LARGEST = 16 << 20
"""The most bytes of such a file."""


class NamedFile(NamedTuple):
    """A kind of file, which a setting names."""

    variable: str
    kind: str
    """What it is, for people."""

    def refused(self, path: str | Path, problem: str) -> SettingError:
        """Return the error for one that cannot be used.

        Args:
            path: of the file.
            problem: what is wrong, as the end of a sentence whose subject is the file.
        """
        return SettingError(f"{self.variable}: the {self.kind} {quoted(path)} {problem}")


PRICES = NamedFile("OTEL_TTS_PRICES", "price file")
GRPC_MAPPING = NamedFile("OTEL_TTS_GRPC_MAPPING", "gRPC mapping")


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


def read_toml(file: NamedFile, path: str | Path) -> dict[str, Any]:
    """Return the tables of a TOML file in UTF-8, with or without a byte order mark.

    Args:
        file: what it is.
        path: of the file; ``~`` is the home directory.

    Raises:
        SettingError: it cannot be read, or is no TOML; the message names the variable and the file, and says why.
    """
    try:
        return tomllib.loads(read_bytes(Path(path).expanduser()).decode("utf-8-sig"))
    except OSError as error:
        raise file.refused(path, f"cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise file.refused(path, "is no text in UTF-8.") from None
    except RecursionError:  # a RuntimeError itself
        raise file.refused(path, "is nested too deeply.") from None
    except RuntimeError:
        raise file.refused(path, "cannot be read: it has a ~, and this user has no home.") from None
    except ValueError as error:  # or a number with more digits than Python reads
        raise file.refused(path, f"is no TOML: {error}.") from None


def _open(path: str | Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would be waited for
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind) or stat.S_ISCHR(kind):  # `/dev/null` is an empty file
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, os.strerror(errno.EISDIR) if stat.S_ISDIR(kind) else "It is a pipe or a socket, not a file")
