"""Audio in files, one per entry, named by its key: it outlives the process, and several processes may share a directory."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, TypeVar, TypeVarTuple

from otel_tts.service.cache.entry import CorruptEntryError, Entry
from otel_tts.service.cache.tier import Evicted, TierError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_SUFFIX = ".audio"
_PARTIAL = ".partial"
_AHEAD = 60.0  # seconds that a file may be newer than now: clocks of processes that share a directory differ
_ABANDONED = 3600.0  # seconds after which a file that nobody finished was left by a process that died


class FileTier:
    """At most ``most_bytes`` bytes of files in ``directory``, each for ``ttl`` seconds.

    A file's modification time is when it was written, its access time when it was last asked for: set by us, as file systems are
    mounted without. The bound holds for what this process knows of; what others write is found when asked for, or at the next
    start.

    Args:
        directory: the folder.
        most_bytes: the bytes of all files at most.
        ttl: of an entry, in seconds.
        evicted: is called with the reason when an entry is dropped.
        clock: returns the seconds since the Unix epoch.

    Raises:
        OSError: the directory cannot be made or read.
    """

    name: ClassVar[str] = "files"
    remote: ClassVar[bool] = True

    def __init__(
        self, directory: Path, most_bytes: int, ttl: float, evicted: Evicted, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._ttl = ttl
        self._evicted = evicted
        self._clock = clock
        self._lock = threading.Lock()  # calls come from worker threads
        self._sizes: dict[str, int] = {}  # least recently used first
        self._total = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_stock()

    async def get(self, key: str) -> Entry | None:
        """The entry, or None; a file that is too old or corrupt is deleted.

        Args:
            key: the key.
        """
        return await self._in_thread(self._read, key)

    async def put(self, key: str, entry: Entry) -> None:
        """Write the entry, whole or not at all, and delete the least recently used beyond the bound.

        Args:
            key: the key.
            entry: the audio, and who made it.
        """
        await self._in_thread(self._write, key, entry.written(key))

    def entries(self) -> int:
        """How many entries it knows of."""
        return len(self._sizes)

    def size_bytes(self) -> int:
        """How many bytes it knows of."""
        return self._total

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _in_thread(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        try:
            return await asyncio.to_thread(function, *args)
        except OSError as error:
            raise TierError(f"the cache directory does not work: {error.strerror}") from error

    def _read(self, key: str) -> Entry | None:
        path = self._path(key)
        try:
            status = path.lstat()
        except FileNotFoundError:
            self._forget(key)
            return None
        now, written = self._clock(), status.st_mtime
        if now - written >= self._ttl:
            self._drop(key, "expired")
            return None
        try:
            ours = stat.S_ISREG(status.st_mode) and status.st_size <= self._most_bytes and written - now <= _AHEAD
            data = path.read_bytes() if ours else b""
            entry = Entry.parse(data, key)
        except FileNotFoundError:
            self._forget(key)
            return None
        except (
            CorruptEntryError,
            OSError,
        ):  # what cannot be read now may never be read, and would keep the text from being cached
            self._drop(key, "invalid")
            return None
        with suppress(FileNotFoundError):  # another process may just have evicted it
            os.utime(path, (now, written))
        self._know(key, len(data))
        return entry

    def _write(self, key: str, data: bytes) -> None:
        if len(data) > self._most_bytes:
            return
        partial = self._directory / f"{key}.{uuid.uuid4().hex}{_PARTIAL}"
        try:
            partial.write_bytes(data)
            now = self._clock()
            os.utime(partial, (now, now))
            partial.replace(self._path(key))
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise
        self._know(key, len(data))
        for victim in self._surplus():
            self._drop(victim, "size")

    def _take_stock(self) -> None:
        entries = []
        for file in self._directory.iterdir():
            with suppress(FileNotFoundError):  # another process may just have deleted it
                status = file.lstat()
                if file.suffix == _SUFFIX:
                    entries.append((status.st_atime, file.stem, status.st_size))
                elif file.suffix == _PARTIAL and self._clock() - status.st_mtime > _ABANDONED:
                    file.unlink()
        for _, key, size in sorted(entries):
            self._know(key, size)

    def _know(self, key: str, size_bytes: int) -> None:
        with self._lock:
            self._total += size_bytes - self._sizes.pop(key, 0)
            self._sizes[key] = size_bytes  # now the most recently used

    def _forget(self, key: str) -> None:
        with self._lock:
            self._total -= self._sizes.pop(key, 0)

    def _surplus(self) -> list[str]:
        """The least recently used entries that have to go."""
        with self._lock:
            excess, victims = self._total - self._most_bytes, []
            for key, size in self._sizes.items():
                if excess <= 0:
                    break
                victims.append(key)
                excess -= size
            return victims

    def _drop(self, key: str, reason: str) -> None:
        path = self._path(key)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        self._forget(key)
        self._evicted(reason)

    def _path(self, key: str) -> Path:
        return self._directory / (key + _SUFFIX)
