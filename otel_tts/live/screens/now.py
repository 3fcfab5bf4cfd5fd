"""Now: whether all is well, at a glance."""

from __future__ import annotations

import streamlit as st

from otel_tts import formatting, palette, semconv
from otel_tts.history import Row, Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import Line
from otel_tts.live.judgement import Judge, Verdict
from otel_tts.live.screens import chart
from otel_tts.live.screens.providers import cards
from otel_tts.live.view import Period, View
from otel_tts.settings import LiveSettings

_MOODS = {"page": "bad", "ticket": "warn", "info": "unknown"}


def draw(history: CachedHistory, period: Period, view: View, settings: LiveSettings) -> None:
    """Draw the conditions that are met, the most important figures, these over time, and the providers."""
    total = history.total(period, service=view.service)
    rows = history.rows(period, service=view.service)
    active = history.series(semconv.SYNTHESIS_ACTIVE, period, service=view.service)
    conditions(Judge(history, period, settings, view.service).verdicts())
    st.html(tiles.grid(numbers(total, active, period, settings)))
    outcomes = history.series(semconv.SYNTHESIS_DURATION, period, (semconv.OUTCOME,), service=view.service)
    left, right = st.columns(2)
    with left:
        chart(
            "Requests by outcome",
            charts.bars(charts.of_timelines(outcomes, semconv.OUTCOME, charts.rate, palette.OUTCOMES), "1/s", period),
            "now-outcomes",
            f"Requests per second, by outcome. {formatting.definition(semconv.OUTCOME)}",
        )
    with right:
        chart(
            "Latency of whole requests",
            charts.course(
                quantiles(rows, "request_duration"), "s", period, reference={"reference p95": settings.reference_latency_p95}
            ),
            "now-duration",
            formatting.definition(semconv.SYNTHESIS_DURATION),
        )
    left, right = st.columns(2)
    with left:
        chart(
            "First audio of streams",
            charts.course(
                quantiles(rows, "request_first_audio"), "s", period, reference={"reference p95": settings.reference_latency_p95}
            ),
            "now-first-audio",
            formatting.definition(semconv.SYNTHESIS_FIRST_AUDIO),
        )
    with right:
        chart(
            "Success rate",
            charts.course([charts.of_rows(rows, "request_success_rate", "success", palette.GREEN)], "share", period, top=1.05),
            "now-success",
            "Share of requests that delivered all of their audio. Cancelled and rejected requests are not counted.",
        )
    cards(history, period, view)


def conditions(verdicts: list[Verdict]) -> None:
    """Draw a notice for each condition that is met, or one notice that none is."""
    notices = [
        tiles.notice(_MOODS[verdict.condition.severity], f"{'; '.join(sentences)}.", verdict.condition.meaning)
        for verdict in verdicts
        if (sentences := list(verdict.sentences()))
    ]
    well = tiles.notice("good", "No problem.", f"None of the {len(verdicts)} conditions is met.")
    st.html(tiles.notices(notices or [well]))


def numbers(total: Row, active: list[Timeline], period: Period, settings: LiveSettings) -> list[str]:
    """Make the tiles."""
    judged = total.request_count - total.request_rejected - total.request_cancelled
    rate = total.request_success_rate
    under_way = [timeline.points[-1].value for timeline in active]
    return [
        tiles.tile(
            "Success rate",
            formatting.percent(rate),
            f"{formatting.count(total.request_ok)} of {formatting.count(judged)}",
            definition="Share of requests that delivered all of their audio. Cancelled and rejected requests are not counted.",
            accent=palette.UNKNOWN if rate is None else palette.GOOD if rate >= settings.slo_success else palette.BAD,
        ),
        tiles.tile(
            "Requests",
            formatting.count(total.request_count),
            f"{total.request_count / period.length:.1f}/s",
            definition=formatting.definition(semconv.SYNTHESIS_DURATION),
        ),
        tiles.tile(
            "Active requests",
            formatting.count(next((value for value in under_way if isinstance(value, float)), None)),
            "at the last export",
            definition=formatting.definition(semconv.SYNTHESIS_ACTIVE),
        ),
        _latency("Whole request, p95", total, "request_duration", semconv.SYNTHESIS_DURATION, settings),
        _latency("First audio, p95", total, "request_first_audio", semconv.SYNTHESIS_FIRST_AUDIO, settings),
        tiles.tile(
            "Cache hits",
            formatting.percent(total.request_hit_rate),
            f"{formatting.count(total.request_cache_hit)} requests",
            definition="Request hit rate: hits among the requests that asked the cache (hit, miss, coalesced).",
        ),
        tiles.tile(
            "Rejected and cancelled",
            formatting.count(total.request_rejected + total.request_cancelled),
            f"{formatting.count(total.request_rejected)} rejected, {formatting.count(total.request_cancelled)} cancelled",
            definition="Requests with invalid input, and requests that the caller cancelled. They do not count in the success rate.",
        ),
        tiles.tile(
            "Audio delivered",
            formatting.duration(total.request_audio_delivered),
            f"{formatting.duration(total.request_audio_generated)} generated",
            definition=formatting.definition(semconv.SYNTHESIS_AUDIO),
        ),
    ]


def quantiles(rows: list[Row], column: str) -> list[Line]:
    """Make a line for each quantile of a latency."""
    return [charts.of_rows(rows, f"{column}_{name}", name, colour) for name, colour in palette.QUANTILES.items()]


def _latency(label: str, total: Row, column: str, metric: semconv.Metric, settings: LiveSettings) -> str:
    p50, p95, p99 = (getattr(total, f"{column}_{name}") for name in palette.QUANTILES)
    limit = settings.reference_latency_p95
    return tiles.tile(
        label,
        formatting.duration(p95),
        f"p50 {formatting.duration(p50)} · p99 {formatting.duration(p99)}",
        definition=f"{formatting.definition(metric)} The reference for p95 is {formatting.duration(limit)}.",
        accent=palette.UNKNOWN if p95 is None else palette.GOOD if p95 <= limit else palette.BAD,
    )
