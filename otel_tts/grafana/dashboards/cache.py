"""Cache: what does it save, and is it well?"""

from __future__ import annotations

from otel_tts.grafana.layout import Section
from otel_tts.grafana.panels import WHOLE, Line, Panels, link
from otel_tts.palette import CACHE

_TO_REQUESTS = link("Requests of this time", "requests")


def sections(panels: Panels) -> list[Section]:
    """Its sections."""
    now = [
        panels.stat(
            "Request hit rate",
            "Fallen at once: a lost or restarted tier, or a changed voice. Fallen slowly: other texts than before.",
            Line(query="hit_rate"),
            width=6,
        ),
        panels.stat(
            "Audio from the cache in this time",
            "0 with traffic: every request waits for a provider. Is the cache on, and does it answer?",
            Line(query="cached_audio", window=WHOLE),
            width=6,
        ),
        panels.stat(
            "Money saved in this time",
            "No data: no prices are known for what the cache served; docs/telemetry.md says how to give them.",
            Line(query="cost_avoided", window=WHOLE),
            width=6,
        ),
        panels.stat(
            "Entries",
            "0 with traffic: nothing is kept. Look for errors in the look-ups below.",
            Line(query="cache_entries"),
            width=6,
        ),
    ]
    hits = [
        panels.chart(
            "Request hit rate",
            "The alert compares it with the day before. Look-ups by tier, beside, tell whether a tier lost its entries.",
            Line(query="hit_rate", legend="hit rate"),
            share=True,
        ),
        panels.chart(
            "Requests by cache result",
            "coalesced waited for somebody else's synthesis of the same text; bypass did not ask: callers forbid it, or the cache is off.",
            Line(query="requests_by_cache"),
            colours=CACHE,
            stacked=True,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Look-ups by tier and result",
            "error: the tier cannot be reached, and every request pays for the attempt: repair it or take it out of TTS_CACHE_URL.",
            Line(query="lookup_rate"),
            colours=CACHE,
            stacked=True,
        ),
        panels.chart(
            "Hit rate by tier",
            "A lower tier sees only what the ones above it missed, so its rate is lower by nature.",
            Line(query="tier_hit_rate"),
            share=True,
        ),
        panels.chart(
            "Duration, p50: hits against misses",
            "Hits as slow as misses: the tier is slow or far away. Dots open traces.",
            Line(query="duration_by_cache_p50", exemplars=True),
            colours=CACHE,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Duration, p95: hits against misses",
            "A slow tail of hits is a tier that answers late, or audio so long that encoding it takes the time.",
            Line(query="duration_by_cache_p95", exemplars=True),
            colours=CACHE,
            links=[_TO_REQUESTS],
        ),
    ]
    room = [
        panels.chart(
            "Entries by tier",
            "A flat line at the top is a full tier, which evicts; a fall to 0 is a restart or a flush.",
            Line(query="cache_entries"),
        ),
        panels.chart(
            "Size by tier",
            "At its bound with evictions and a falling hit rate, it is too small: raise the bound in TTS_CACHE_URL.",
            Line(query="cache_size"),
        ),
        panels.chart(
            "Evictions by tier and reason",
            "size: the tier is too small for its traffic. expired: as told. invalid: entries that could not be read, find out why.",
            Line(query="eviction_rate"),
            stacked=True,
        ),
    ]
    return [Section("Now", now), Section("Hits and misses", hits), Section("What it holds", room)]
