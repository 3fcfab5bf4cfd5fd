"""Audio in this process's memory: bounded in bytes, the least recently used goes first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from cachetools import TTLCache

from otel_tts.service.cache.entry import Entry
from otel_tts.service.cache.tier import Evicted

_OVERHEAD = 512  # of the objects around the audio, so that many tiny entries cannot pass the bound


class _Entries(TTLCache[str, Entry]):
    def __init__(self, most_bytes: int, ttl: float, evicted: Evicted, timer: Callable[[], float]) -> None:
        super().__init__(maxsize=most_bytes, ttl=ttl, timer=timer, getsizeof=lambda entry: len(entry.pcm) + _OVERHEAD)
        self._evicted = evicted

    def popitem(self) -> tuple[str, Entry]:
        item = super().popitem()
        self._evicted("size")
        return item

    def expire(self, time: float | None = None) -> list[tuple[str, Entry]]:
        gone = list(super().expire(time))
        for _ in gone:
            self._evicted("expired")
        return gone


class MemoryTier:
    """At most ``most_bytes`` bytes of entries, each for ``ttl`` seconds. Used by one event loop.

    Args:
        most_bytes: the bytes of all entries at most.
        ttl: of an entry, in seconds.
        evicted: is called with the reason when an entry is dropped.
        timer: returns a monotonic time in seconds.
    """

    name: ClassVar[str] = "memory"
    remote: ClassVar[bool] = False

    def __init__(self, most_bytes: int, ttl: float, evicted: Evicted, timer: Callable[[], float] = time.monotonic) -> None:
        self._entries = _Entries(most_bytes, ttl, evicted, timer)

    async def get(self, key: str) -> Entry | None:
        """The entry, or None.

        Args:
            key: the key.
        """
        return self._entries.get(key)

    async def put(self, key: str, entry: Entry) -> None:
        """Keep the entry, if it is not larger than the whole tier.

        Args:
            key: the key.
            entry: the audio, and who made it.
        """
        if self._entries.getsizeof(entry) <= self._entries.maxsize:
            self._entries[key] = entry

    def entries(self) -> int:
        """How many entries it holds."""
        return len(self._entries)

    def size_bytes(self) -> int:
        """How many bytes it holds."""
        return int(self._entries.currsize)

    async def close(self) -> None:
        """Nothing to let go of."""
