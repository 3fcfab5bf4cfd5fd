"""What the environment says about the service. Each provider has settings of its own, in its module."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts.service.cache.url import TierURL, cache_tiers, positive
from otel_tts.service.providers import ENGINES
from otel_tts.settings import Section, count, port, seconds, setting, text


def provider_names(value: str) -> tuple[str, ...]:
    """Names of providers, the preferred one first.

    Args:
        value: what the variable holds.

    Raises:
        ValueError: it cannot be used.
    """
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if names and len(set(names)) == len(names) and set(names) <= set(ENGINES):
        return names
    raise ValueError(f"a comma-separated list, each once, of {', '.join(sorted(ENGINES))}")


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(Section):
    """The settings of the service."""

    host: str = setting("TTS_HOST", text, "127.0.0.1", "Address the service binds to.")
    port: int = setting("TTS_PORT", port, 50053, "gRPC port of the service.")
    providers: tuple[str, ...] = setting(
        "TTS_PROVIDERS",
        provider_names,
        ("hibari",),
        "Providers, the preferred one first; the others are its fallback, in this order.",
    )
    cache: tuple[TierURL, ...] = setting(
        "TTS_CACHE_URL", cache_tiers, cache_tiers("memory://"), "Cache tiers in the order in which they are asked, or off."
    )
    concurrency: int | None = setting(
        "TTS_CONCURRENCY", count, None, "Syntheses at once per provider; not set: each provider's own default."
    )
    queue_size: int = setting("TTS_QUEUE_SIZE", count, 64, "Requests that may wait per provider; more are refused at once.")
    max_text: int = setting("TTS_MAX_TEXT", count, 5000, "The longest text, in Unicode code points.")
    attempt_timeout: float = setting(
        "TTS_ATTEMPT_TIMEOUT", positive, 20.0, "Seconds without any audio after which an attempt at a provider has failed."
    )
    circuit_failures: int = setting(
        "TTS_CIRCUIT_FAILURES", count, 3, "Failures in a row after which a provider gets no requests until a probe succeeds."
    )
    circuit_cooldown: float = setting(
        "TTS_CIRCUIT_COOLDOWN", positive, 10.0, "Seconds between probes of a provider that gets no requests."
    )
    probe_interval: float = setting(
        "TTS_PROBE_INTERVAL",
        seconds,
        60.0,
        "Seconds without news of a provider after which it is probed; 0: never while it works.",
    )
    stop_grace: float = setting(
        "TTS_STOP_GRACE", seconds, 5.0, "Seconds that requests under way get to end when the service stops."
    )
