"""Colours of all charts: those of Okabe and Ito, for people with any kind of colour vision (https://jfly.uni-koeln.de/color/).

A colour is never the only sign: a word, a shape or a position says the same. All are used on light and on dark backgrounds.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_tts.semconv import AUDIO_FORMAT, GRPC_STATUS_CODES, CacheResult, LookupResult, Outcome, RequestKind

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
STREAMS: Mapping[str, str] = {"stream: true": SKY, "stream: false": ORANGE}
CAUSES: Mapping[str, str] = {"provider": ORANGE, "consumer": SKY}
AUDIO: Mapping[str, str] = {
    "generated.*": ORANGE, "delivered · provider": SKY, "delivered · cache": GREEN, "heard.*": PURPLE
}  # fmt: skip
CHARACTERS: Mapping[str, str] = {"synthesized": SKY, "cached": GREEN, "wasted": VERMILION}
EVICTIONS: Mapping[str, str] = {"size": ORANGE, "expired": SKY, "invalid": VERMILION, "_OTHER": GREY}
KINDS: Mapping[str, str] = {RequestKind.INTERACTIVE: SKY, RequestKind.PREFETCH: ORANGE, RequestKind.BATCH: PURPLE}
FORMATS: Mapping[str, str] = {str(name): CYCLE[number % len(CYCLE)] for number, name in enumerate(AUDIO_FORMAT.values)}
SIGNALS: Mapping[str, str] = {"spans": SKY, "metric_points": ORANGE, "log_records": GREEN}
STATUS: Mapping[str, str] = {
    **dict.fromkeys(GRPC_STATUS_CODES, GREY), "OK": GREEN, "CANCELLED": SKY, "DEADLINE_EXCEEDED": PURPLE, "RESOURCE_EXHAUSTED": YELLOW,
    "UNAVAILABLE": ORANGE, "INTERNAL": VERMILION, "UNKNOWN": BLUE, "DATA_LOSS": BLUE,
}  # fmt: skip
"""Of gRPC's status codes; those that only a caller's mistake has are alike."""
WINDOWS: Mapping[str, str] = {"over 1 hour": ORANGE, "over 6 hours": SKY}
REFERENCE = GREY
GOOD, BAD, UNKNOWN = GREEN, VERMILION, GREY
