"""What every tier of the cache looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from otel_tts.errors import OtelTtsError
from otel_tts.service.cache.entry import Entry

Evicted = Callable[[str], None]
"""Told of each entry that a tier drops, with the reason: ``size``, ``expired`` or ``invalid``."""


class TierError(OtelTtsError):
    """A tier could not be asked. A request goes on without it."""


class Tier(Protocol):
    """One place where entries are kept. An entry that is too big for it is not kept, which is no error."""

    name: ClassVar[str]
    """The tier in telemetry."""
    remote: ClassVar[bool]
    """Whether writing takes time, so that nobody should wait for it."""

    async def get(self, key: str) -> Entry | None:
        """The entry, or None; a corrupt one is dropped.

        Args:
            key: the key.

        Raises:
            TierError: the tier does not work.
        """

    async def put(self, key: str, entry: Entry) -> None:
        """Keep the entry.

        Args:
            key: the key.
            entry: the audio, and who made it.

        Raises:
            TierError: the tier does not work.
        """

    async def close(self) -> None:
        """Let go of connections."""
