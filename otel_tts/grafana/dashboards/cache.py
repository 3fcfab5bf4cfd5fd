"""Cache: what does it save, and does it work?"""

from __future__ import annotations

from otel_tts.grafana.layout import PanelSection
from otel_tts.grafana.links import TO_REQUESTS
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import WHOLE, PanelQuery
from otel_tts.palette import CACHE, EVICTIONS


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard.

    Args:
        panels: makes the panels.
    """
    now = [
        panels.silence(),
        panels.stat(
            "Request hit rate, last $window",
            "A sudden fall: a tier was lost or restarted, or a voice changed. A slow fall: the texts are different from before.",
            PanelQuery(query="hit_rate"),
            absent="the cache is off, or was not asked",
            width=5,
        ),
        panels.stat(
            "Audio from the cache in this time",
            "0 with traffic: every request waits for a provider. Is the cache on, and does it answer?",
            PanelQuery(query="cached_audio", window=WHOLE),
            width=5,
        ),
        panels.stat(
            "Money saved in this time",
            "No data: no price is configured for what the cache served; see docs/telemetry.md.",
            PanelQuery(query="cost_avoided", window=WHOLE),
            absent="no prices configured",
            width=5,
        ),
        panels.stat(
            "Entries",
            "0 with traffic: nothing is stored. Look for errors in the look-ups below.",
            PanelQuery(query="cache_entries"),
            width=5,
        ),
    ]
    hits = [
        panels.chart(
            "Request hit rate",
            "The alert compares it with the day before. The panel of look-ups by tier shows whether a tier lost its entries.",
            PanelQuery(query="hit_rate", legend="hit rate"),
            near="nothing",
        ),
        panels.chart(
            "Requests by cache result",
            "coalesced: the request waited for another synthesis of the same text. bypass: the cache was not "
            "asked, because the caller forbade it or the cache is off.",
            PanelQuery(query="requests_by_cache"),
            colours=CACHE,
            stacked=True,
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Look-ups by tier and result",
            "error: the tier cannot be reached, and every request pays for the attempt: repair it or take it out of TTS_CACHE_URL.",
            PanelQuery(query="lookup_rate"),
            colours=CACHE,
            stacked=True,
        ),
        panels.chart(
            "Hit rate by tier",
            "A lower tier is asked only after a miss of the tiers above it, so its hit rate is lower.",
            PanelQuery(query="tier_hit_rate"),
            near="nothing",
        ),
        panels.chart(
            "Duration, p50: hits against misses",
            "Hits as slow as misses: the tier is slow or far away. Dots open traces.",
            PanelQuery(query="duration_by_cache_p50", exemplars=True),
            colours=CACHE,
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Duration, p95: hits against misses",
            "A slow tail of hits: a tier answers late, or long audio takes long to encode.",
            PanelQuery(query="duration_by_cache_p95", exemplars=True),
            colours=CACHE,
            links=[TO_REQUESTS],
        ),
    ]
    room = [
        panels.chart(
            "Entries by tier",
            "A flat line at the top: the tier is full and evicts. A fall to 0: a restart or a flush.",
            PanelQuery(query="cache_entries"),
        ),
        panels.chart(
            "Size by tier",
            "A tier at its limit, with evictions and a falling hit rate, is too small: raise its limit in TTS_CACHE_URL.",
            PanelQuery(query="cache_size"),
        ),
        panels.chart(
            "Evictions by tier and reason",
            "size: the tier is too small for its traffic. expired: entries reached their maximum age. invalid: "
            "entries could not be read; the service's log says why.",
            PanelQuery(query="eviction_rate"),
            colours=EVICTIONS,
            stacked=True,
        ),
    ]
    return [PanelSection("", now), PanelSection("Hits and misses", hits), PanelSection("Contents", room)]
