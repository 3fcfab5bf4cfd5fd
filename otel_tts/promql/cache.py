"""The cache: how often it has the audio, what it holds, and what that saves."""

from __future__ import annotations

from otel_tts.promql.expressions import CACHE_ASKED, OK, among, growth, level, none, percentiles, rate, share
from otel_tts.promql.query import Queries, Scope
from otel_tts.semconv import (
    AUDIO_SOURCE,
    AUDIO_STATE,
    CACHE_ENTRIES,
    CACHE_EVICTION_REASON,
    CACHE_EVICTIONS,
    CACHE_LOOKUP_RESULT,
    CACHE_LOOKUPS,
    CACHE_RESULT,
    CACHE_SIZE,
    CACHE_TIER,
    SYNTHESIS_AUDIO,
    SYNTHESIS_DURATION,
    USAGE_COST_AVOIDED,
    CacheResult,
    LookupResult,
)

QUERIES = Queries()

percentiles(
    QUERIES,
    ("p50", "p95"),
    "duration_by_cache",
    "Duration of successful requests",
    SYNTHESIS_DURATION,
    OK,
    labels=(CACHE_RESULT,),
)


@QUERIES.query("1")
def hit_rate(scope: Scope) -> str:
    """Share of requests that the cache had: hit of hit, miss and coalesced."""
    hits = rate(scope, SYNTHESIS_DURATION, among(CACHE_RESULT, CacheResult.HIT))
    return share(hits, rate(scope, SYNTHESIS_DURATION, CACHE_ASKED))


@QUERIES.query("{request}/s", CACHE_RESULT)
def requests_by_cache(scope: Scope) -> str:
    """Requests a second, by how the cache served them."""
    return rate(scope, SYNTHESIS_DURATION, by=(CACHE_RESULT,))


@QUERIES.query("{lookup}/s", CACHE_TIER, CACHE_LOOKUP_RESULT)
def lookup_rate(scope: Scope) -> str:
    """Look-ups a second in each tier, by what they gave. A request may look up several keys in several tiers."""
    return rate(scope, CACHE_LOOKUPS, by=(CACHE_TIER, CACHE_LOOKUP_RESULT))


@QUERIES.query("1", CACHE_TIER)
def tier_hit_rate(scope: Scope) -> str:
    """Share of a tier's look-ups that it had."""
    hits = rate(scope, CACHE_LOOKUPS, among(CACHE_LOOKUP_RESULT, LookupResult.HIT), by=(CACHE_TIER,))
    return share(hits, rate(scope, CACHE_LOOKUPS, by=(CACHE_TIER,)))


@QUERIES.query("{entry}", CACHE_TIER)
def cache_entries(scope: Scope) -> str:
    """Entries in each tier, summed over replicas: those of a tier that replicas share count once for each."""
    return level(scope, CACHE_ENTRIES, by=(CACHE_TIER,))


@QUERIES.query("By", CACHE_TIER)
def cache_size(scope: Scope) -> str:
    """Bytes in each tier, summed over replicas: those of a tier that replicas share count once for each."""
    return level(scope, CACHE_SIZE, by=(CACHE_TIER,))


@QUERIES.query("{entry}/s", CACHE_TIER, CACHE_EVICTION_REASON)
def eviction_rate(scope: Scope) -> str:
    """Entries a second that left a tier, by why; 0 for a tier that none has left."""
    quiet = none(rate(scope, CACHE_LOOKUPS, by=(CACHE_TIER,)), CACHE_EVICTION_REASON)
    return f"{rate(scope, CACHE_EVICTIONS, by=(CACHE_TIER, CACHE_EVICTION_REASON))} or on ({scope.labels(CACHE_TIER)}) {quiet}"


@QUERIES.query("s")
def cached_audio(scope: Scope) -> str:
    """Seconds of audio in the window that came from the cache."""
    cached = growth(scope, SYNTHESIS_AUDIO, among(AUDIO_STATE, "delivered"), among(AUDIO_SOURCE, "cache"))
    return f"{cached} or {growth(scope, SYNTHESIS_DURATION)} * 0"


@QUERIES.query("{USD}")
def cost_avoided(scope: Scope) -> str:
    """US dollars in the window that cached and coalesced audio would have cost, where prices are known."""
    return growth(scope, USAGE_COST_AVOIDED)
