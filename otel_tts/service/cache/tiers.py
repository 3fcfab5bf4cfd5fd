"""The tiers as one cache."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_tts import PCM16, Telemetry
from otel_tts.service.cache.entry import Entry
from otel_tts.service.cache.files import FileTier
from otel_tts.service.cache.memory import MemoryTier
from otel_tts.service.cache.tier import Evicted, Tier, TierError
from otel_tts.service.cache.url import TierURL
from otel_tts.service.circuit import Circuit
from otel_tts.settings import SettingError

if TYPE_CHECKING:
    from otel_tts import Synthesis

_logger = logging.getLogger(__name__)

TRIES = 3
"""Failures in a row after which a tier is left alone for a while: each may cost a request as long as the tier's timeout."""
PAUSE_S = 5.0
"""Seconds of that while."""
MAX_WRITES = 64
"""Writes under way at once; beyond it entries are not kept, rather than pile up behind a slow disk or server."""


class Cache:
    """Looks entries up tier by tier; what a slower tier had is put into the faster ones before it.

    Args:
        tiers: the fastest first.
    """

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self._tiers = tiers
        self._circuits = {tier.name: Circuit(TRIES, PAUSE_S, lambda _: None) for tier in tiers}
        self._writes: set[asyncio.Task[None]] = set()

    @classmethod
    def open(cls, urls: Sequence[TierURL], tts: Telemetry) -> Cache:
        """The tiers that the settings name, reporting what they hold and evict.

        Args:
            urls: of the tiers, the fastest first.
            tts: the Telemetry that records.

        Raises:
            SettingError: one of them cannot be used.
        """
        tiers = [_open(url, partial(tts.cache_evicted, url.kind)) for url in urls]
        for tier in tiers:
            if isinstance(tier, MemoryTier | FileTier):  # what a Redis holds is told by its own exporter
                tts.observe_cache(tier.name, entries=tier.entries, size=tier.size_bytes)
        return cls(tiers)

    def __bool__(self) -> bool:
        """Whether there is any tier."""
        return bool(self._tiers)

    async def find(self, s: Synthesis, key: str) -> Entry | None:
        """The entry, from the first tier that has it. A tier that does not work is a failed look-up and nothing more.

        Args:
            s: the request, in telemetry.
            key: the key.
        """
        for depth, tier in enumerate(self._tiers):
            circuit = self._circuits[tier.name]
            if not circuit.closed and circuit.probe_in():
                continue
            try:
                with s.lookup(tier.name) as lookup:
                    entry = await tier.get(key)
                    if entry is not None:
                        lookup.found(
                            entry,
                            provider=entry.provider,
                            model=entry.model,
                            audio=PCM16(entry.sample_rate),
                            duration=entry.duration_s,
                        )
            except TierError as error:
                _logger.debug("Cache tier %s: %s.", tier.name, error)
                circuit.failed()
                continue
            circuit.succeeded()
            if entry is not None:
                await self._write(s, self._tiers[:depth], key, entry)
                return entry
        return None

    async def store(self, s: Synthesis, key: str, entry: Entry) -> None:
        """Keep the entry, made for the request ``s``, in all tiers: in memory at once, elsewhere in the background.

        Args:
            s: the request, in telemetry.
            key: the key.
            entry: the audio, and who made it.
        """
        await self._write(s, self._tiers, key, entry)

    async def close(self) -> None:
        """Finish the writes under way and let go of connections."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=1.0)
        for tier in self._tiers:
            await tier.close()

    async def _write(self, s: Synthesis, tiers: Sequence[Tier], key: str, entry: Entry) -> None:
        for tier in tiers:
            if not tier.remote:
                await tier.put(key, entry)
            elif len(self._writes) < MAX_WRITES and self._circuits[tier.name].closed:
                self._in_background(self._put(s, tier, key, entry))

    async def _put(self, s: Synthesis, tier: Tier, key: str, entry: Entry) -> None:
        try:
            with s.cache_write(tier.name):
                await tier.put(key, entry)
        except TierError as error:
            _logger.debug("Cache tier %s: %s.", tier.name, error)

    def _in_background(self, write: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def _open(url: TierURL, evicted: Evicted) -> Tier:
    try:
        match url.kind:
            case "memory":
                return MemoryTier(url.most_bytes, url.ttl, evicted)
            case "files":
                return FileTier(Path(url.location), url.most_bytes, url.ttl, evicted)
            case _:
                from otel_tts.service.cache.redis import RedisTier  # the Redis client is an extra

                return RedisTier(url.location, url.ttl, evicted)
    except ModuleNotFoundError:
        raise SettingError('TTS_CACHE_URL has a redis:// URL, which needs: pip install "otel-tts[redis]"') from None
    except (OSError, ValueError) as error:
        raise SettingError(f"The cache {url!r} of TTS_CACHE_URL cannot be used: {error}.") from None
