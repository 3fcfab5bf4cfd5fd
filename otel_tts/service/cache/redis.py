"""Audio in Redis, shared by all processes of the service.

How many entries a Redis holds, and which it evicts, is told by its own exporter: it may serve others too, and bounds itself by
its own configuration (``maxmemory``).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar

import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError

from otel_tts.errors import OtelTtsError
from otel_tts.service.cache.entry import SCHEMA, CorruptEntryError, Entry
from otel_tts.service.cache.tier import Evicted, TierError


class _OtherKindError(OtelTtsError):
    """Something else than bytes stands under the key: a list, a set."""


class RedisTier:
    """Entries live for ``ttl`` seconds. Never holds a request up for long: a Redis that doesn't answer is done without.

    Args:
        url: of the server, with its password.
        ttl: of an entry, in seconds.
        evicted: is called with the reason when an entry is dropped.

    Raises:
        ValueError: the URL has a parameter that the client does not take.
    """

    name: ClassVar[str] = "redis"
    remote: ClassVar[bool] = True

    def __init__(self, url: str, ttl: float, evicted: Evicted) -> None:
        self._ttl = ttl
        self._evicted = evicted
        self._redis = client.Redis.from_url(
            url,
            socket_connect_timeout=0.25,
            socket_timeout=0.5,
            retry=Retry(NoBackoff(), 1, (Disconnected,)),  # once: the server may have closed the pooled connection since
        )
        if self._redis.connection_pool.connection_kwargs.get("decode_responses"):
            raise ValueError("audio is no text, so decode_responses cannot be used")
        try:
            # Connects to nothing: it checks the parameters, which nothing else does before the first request.
            self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # the client's own omission
        except TypeError as error:
            raise ValueError(f"the Redis client does not take all of its parameters ({error})") from None

    async def get(self, key: str) -> Entry | None:
        """The entry, or None; a corrupt one is deleted.

        Args:
            key: the key.
        """
        try:
            data = await self._ask(self._redis.get(_name(key)))
            if data is None:
                return None
            return Entry.parse(data if isinstance(data, bytes) else b"", key)
        except (CorruptEntryError, _OtherKindError):
            await self._ask(self._redis.delete(_name(key)))
            self._evicted("invalid")
            return None

    async def put(self, key: str, entry: Entry) -> None:
        """Keep the entry.

        Args:
            key: the key.
            entry: the audio, and who made it.
        """
        await self._ask(self._redis.set(_name(key), entry.written(key), px=max(1, round(self._ttl * 1000))))

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise _OtherKindError from error
            raise TierError(f"Redis refuses ({type(error).__name__})") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise TierError(f"Redis does not answer ({type(error).__name__})") from error


def _name(key: str) -> str:
    return f"otel-tts:audio:{SCHEMA}:{key}"
