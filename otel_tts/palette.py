"""Colours of all charts: those of Okabe and Ito, for people with any kind of colour vision (https://jfly.uni-koeln.de/color/).

A colour is never the only sign: a word, a shape or a position says the same. All are used on light and on dark backgrounds.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_tts.semconv import CacheResult, LookupResult, Outcome

ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"
CYCLE = (SKY, ORANGE, GREEN, PURPLE, VERMILION, BLUE, YELLOW, GREY)
"""The colours for series without a colour of their own, in this order."""

OUTCOMES: Mapping[str, str] = {
    Outcome.OK: GREEN,
    Outcome.REJECTED: GREY,
    Outcome.CANCELLED: SKY,
    Outcome.DEADLINE: PURPLE,
    Outcome.PARTIAL: ORANGE,
    Outcome.EMPTY: YELLOW,
    Outcome.ERROR: VERMILION,
}
CACHE: Mapping[str, str] = {
    CacheResult.HIT: GREEN,
    CacheResult.MISS: ORANGE,
    CacheResult.COALESCED: SKY,
    CacheResult.BYPASS: GREY,
    LookupResult.ERROR: VERMILION,
}
QUANTILES: Mapping[str, str] = {"p50": SKY, "p95": ORANGE, "p99": VERMILION}
REFERENCE = GREY
GOOD, BAD, UNKNOWN = GREEN, VERMILION, GREY
