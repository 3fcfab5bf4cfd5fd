"""The audio cache: tiers that are asked in their order."""

from __future__ import annotations

from otel_tts.service.cache.entry import Entry, key
from otel_tts.service.cache.tiers import Cache
from otel_tts.service.cache.url import TierURL, cache_tiers

__all__ = ["Cache", "Entry", "TierURL", "cache_tiers", "key"]
