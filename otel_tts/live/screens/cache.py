"""Cache: how much it saves, and how much faster hits are."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from otel_tts import formatting, palette, semconv
from otel_tts.history import Row, Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.screens import chart
from otel_tts.live.view import Period, View
from otel_tts.semconv import COUNTED, CacheResult
from otel_tts.settings import LiveSettings

_HIT_RATE = "Request hit rate: hits among the requests that asked the cache (hit, miss, coalesced)."
_COMPARED = {semconv.CACHE_RESULT: (CacheResult.HIT, CacheResult.MISS), semconv.OUTCOME: COUNTED}


def draw(history: CachedHistory, period: Period, view: View, settings: LiveSettings) -> None:
    """Draw what was saved, the hit rate over time, look-ups by tier, and the latency of hits and misses.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
    """
    service = view.service
    total, rows = history.total(period, service=service), history.rows(period, service=service)
    cached_audio = history.over(
        semconv.SYNTHESIS_AUDIO, period.start, period.now, where={semconv.AUDIO_SOURCE: ("cache",)}, service=service
    )
    sizes = [
        history.series(metric, period, (semconv.CACHE_TIER,), service=service)
        for metric in (semconv.CACHE_ENTRIES, semconv.CACHE_SIZE)
    ]
    st.html(tiles.grid([*numbers(total, cached_audio), *kept(*sizes)]))
    left, right = st.columns(2)
    with left:
        line = charts.of_rows(rows, "request_hit_rate", "hit rate", palette.GREEN)
        chart(
            "Hit rate",
            charts.course([line], "share", period),
            "cache-rate",
            _HIT_RATE,
            "No interactive request asked the cache in this time range.",
        )
    with right:
        results = history.series(semconv.SYNTHESIS_DURATION, period, (semconv.CACHE_RESULT,), service=service)
        chart(
            "Requests by cache result",
            charts.bars(charts.of_timelines(results, semconv.CACHE_RESULT, charts.rate, palette.CACHE), "1/s", period),
            "cache-results",
            formatting.definition(semconv.CACHE_RESULT),
            "No interactive request ended in this time range.",
        )
    latency = history.series(semconv.SYNTHESIS_DURATION, period, (semconv.CACHE_RESULT,), _COMPARED, service=service)
    left, right = st.columns(2)
    for column, q, name in ((left, 0.5, "median"), (right, 0.95, "p95")):
        with column:
            chart(
                f"Latency of hits and misses, {name}",
                charts.course(charts.of_timelines(latency, semconv.CACHE_RESULT, charts.quantile(q), palette.CACHE), "s", period),
                f"cache-latency-{name}",
                formatting.definition(semconv.SYNTHESIS_DURATION),
                "No interactive request was a hit or a miss in this time range.",
            )
    tiers(history, period, service)


def numbers(total: Row, cached_audio: Sequence[Timeline]) -> list[str]:
    """Make the tiles of hits and savings.

    Args:
        total: the figures of all requests.
        cached_audio: seconds from the cache, over time.
    """
    saved = next((charts.amount(timeline.points[0]) for timeline in cached_audio), None)
    return [
        tiles.tile(
            "Hit rate",
            formatting.percent(total.request_hit_rate),
            formatting.counted(total.request_cache_hit, "hit"),
            definition=_HIT_RATE,
        ),
        tiles.tile(
            "Misses",
            formatting.count(total.request_cache_miss),
            f"{formatting.count(total.request_cache_coalesced)} coalesced, {formatting.count(total.request_cache_bypass)} bypass",
            definition="Coalesced: the request waited for another request that was already making the same audio. Bypass: "
            "the cache was not asked.",
        ),
        tiles.tile(
            "Audio from the cache",
            formatting.duration(saved),
            f"of {formatting.duration(total.request_audio_delivered)} delivered",
            definition="Audio that no provider had to make.",
        ),
        tiles.tile(
            "Cost avoided",
            formatting.dollars(total.request_cost_avoided),
            _spent(total),
            definition=formatting.definition(semconv.USAGE_COST_AVOIDED),
        ),
        tiles.tile(
            "Characters from the cache",
            formatting.count(total.request_characters_cached),
            f"{formatting.count(total.request_characters_synthesized)} synthesized",
            definition=formatting.definition(semconv.CHARACTERS_STATE),
        ),
    ]


def _spent(total: Row) -> str:
    """What was spent beside what was avoided or, where that is unknown, why."""
    if total.request_cost_avoided is None and total.request_cost is None:
        return "no price is configured" if total.request_count else "no request"
    return f"{formatting.dollars(total.request_cost)} spent" + (
        "" if total.request_cost_avoided is not None else "; no hit has a price"
    )


def kept(entries: Sequence[Timeline], sizes: Sequence[Timeline]) -> list[str]:
    """Make a tile for each tier: entries and bytes.

    Args:
        entries: in each tier, over time.
        sizes: bytes in each tier, over time.
    """
    bytes_kept = {timeline.attributes[semconv.CACHE_TIER.key]: timeline.points[-1].value for timeline in sizes}
    tiles_shown = []
    for timeline in entries:
        tier, number = timeline.attributes[semconv.CACHE_TIER.key], timeline.points[-1].value
        size = bytes_kept.get(tier)
        if isinstance(number, float):
            note = formatting.value(size, "By") if isinstance(size, float) else ""
            tiles_shown.append(
                tiles.tile(
                    f"Entries in {tier}", formatting.count(number), note, definition=formatting.definition(semconv.CACHE_ENTRIES)
                )
            )
    return tiles_shown


def tiers(history: CachedHistory, period: Period, service: str) -> None:
    """Draw a table of look-ups by tier and result.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        service: the name of the service.
    """
    by = semconv.CACHE_TIER, semconv.CACHE_LOOKUP_RESULT
    lookups: dict[str, dict[str, float]] = {}
    for timeline in history.over(semconv.CACHE_LOOKUPS, period.start, period.now, by, service=service):
        tier, result = (str(timeline.attributes[attribute.key]) for attribute in by)
        lookups.setdefault(tier, {})[result] = charts.amount(timeline.points[0]) or 0
    st.subheader("Look-ups by tier", help=formatting.definition(semconv.CACHE_LOOKUPS), anchor=False)
    if not lookups:
        st.caption("No tier was asked in this time range.")
        return
    rows = [
        (
            tier,
            *(formatting.count(results.get(str(result), 0)) for result in semconv.CACHE_LOOKUP_RESULT.values),
            _answered(results),
        )
        for tier, results in sorted(lookups.items())
    ]
    st.html(tiles.table("Look-ups by tier", ("tier", *map(str, semconv.CACHE_LOOKUP_RESULT.values), "hit rate"), rows))


def _answered(results: dict[str, float]) -> str:
    total = sum(results.values())
    return formatting.percent(results.get("hit", 0) / total if total else None)
