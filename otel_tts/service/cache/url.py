"""Cache tiers as the environment names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from otel_tts.settings import seconds, size

T = TypeVar("T")

_ALLOWED = (
    "off, or a comma-separated list, each kind once, of memory://?size=64MB&ttl=3600, file:///directory?size=1GB&ttl=86400 "
    "and redis://host:6379/0?ttl=86400"
)
_KINDS = {"memory": "memory", "file": "files", "redis": "redis", "rediss": "redis", "unix": "redis"}
_SIZES = {"memory": 64 * 10**6, "files": 10**9, "redis": 0}
_TTLS = {"memory": 3600.0, "files": 86400.0, "redis": 86400.0}


@dataclass(frozen=True, slots=True, repr=False)
class TierURL:
    """One cache tier."""

    kind: str
    """``memory``, ``files`` or ``redis``: the name of the tier in telemetry."""
    location: str
    """The directory, or the Redis server's URL, which may hold a password; empty for memory."""
    most_bytes: int
    """The most bytes it may hold; 0 for Redis, which is bounded by its own configuration."""
    ttl: float
    """Seconds an entry lives."""

    def __repr__(self) -> str:
        """For people: without credentials."""
        if self.kind != "redis":
            return " ".join(filter(None, (self.kind, self.location)))
        url = urlsplit(self.location)
        return f"{url.scheme}://{url.hostname or ''}{f':{url.port}' if url.port else ''}{url.path}"


def positive(value: str) -> float:
    """A number of seconds above 0.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: it cannot be used.
    """
    number = seconds(value)
    if number > 0:
        return number
    raise ValueError("a number of seconds above 0")


def cache_tiers(value: str) -> tuple[TierURL, ...]:
    """The tiers in the order in which they are asked; ``off`` is none. Each kind at most once: its name is a metric label.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: with what is allowed.
    """
    if value.strip().lower() == "off":
        return ()
    tiers = tuple(_tier(urlsplit(url.strip())) for url in value.split(","))
    if len({tier.kind for tier in tiers}) < len(tiers):
        raise ValueError(_ALLOWED)
    return tiers


def _tier(url: SplitResult) -> TierURL:
    kind = _KINDS.get(url.scheme, "")
    fits = {"memory": not url.netloc + url.path, "files": not url.netloc and bool(url.path.strip("/")), "redis": _server(url)}
    if not fits.get(kind):
        raise ValueError(_ALLOWED)
    query = dict(parse_qsl(url.query))
    ttl = _parameter(query, "ttl", positive, _TTLS[kind])
    if kind == "redis":  # every other parameter is the Redis client's
        return TierURL(kind, url._replace(query=urlencode(query)).geturl(), 0, ttl)
    tier = TierURL(kind, unquote(url.path), _parameter(query, "size", size, _SIZES[kind]), ttl)
    if query or not tier.most_bytes:
        raise ValueError(_ALLOWED)
    return tier


def _server(url: SplitResult) -> bool:
    try:
        return bool(url.hostname or url.path) and url.port != 0
    except ValueError:  # not a port
        return False


def _parameter(query: dict[str, str], name: str, parse: Callable[[str], T], default: T) -> T:
    return parse(query.pop(name)) if name in query else default
