"""Now: whether all is well, at a glance."""

from __future__ import annotations

import streamlit as st

from otel_tts import formatting, palette, semconv
from otel_tts.history import Row, Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.charts import Line
from otel_tts.live.judgement import Judge, Verdict
from otel_tts.live.reading import Reading
from otel_tts.live.screens import chart
from otel_tts.live.screens.providers import cards
from otel_tts.live.view import Period, View
from otel_tts.settings import LiveSettings

_MOODS = {"page": "bad", "ticket": "warn", "info": "unknown"}


def draw(reading: Reading, period: Period, view: View, settings: LiveSettings) -> None:
    """Conditions that hold, the most important numbers, their course, and the providers."""
    total = reading.total(period, service=view.service)
    rows = reading.rows(period, service=view.service)
    active = reading.series(semconv.SYNTHESIS_ACTIVE, period, service=view.service)
    conditions(Judge(reading, period, settings, view.service).verdicts())
    st.html(tiles.grid(numbers(total, active, period, settings)))
    outcomes = reading.series(semconv.SYNTHESIS_DURATION, period, (semconv.OUTCOME,), service=view.service)
    left, right = st.columns(2)
    with left:
        chart(
            "Requests by outcome",
            charts.bars(charts.of_timelines(outcomes, semconv.OUTCOME, charts.rate, palette.OUTCOMES), "1/s", period),
            "now-outcomes",
            f"Requests per second that ended, by how. {formatting.definition(semconv.OUTCOME)}",
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
            "Share of the requests that were neither cancelled nor rejected that delivered all of their audio.",
        )
    cards(reading, period, view)


def conditions(verdicts: list[Verdict]) -> None:
    """Those that hold, in plain words; or that none does."""
    found = [
        tiles.notice(_MOODS[verdict.condition.severity], f"{'; '.join(sentences)}.", verdict.condition.meaning)
        for verdict in verdicts
        if (sentences := list(verdict.sentences()))
    ]
    well = tiles.notice("good", "All is well.", f"None of {len(verdicts)} conditions holds.")
    st.html(tiles.notices(found or [well]))


def numbers(total: Row, active: list[Timeline], period: Period, settings: LiveSettings) -> list[str]:
    """The tiles."""
    judged = total.request_count - total.request_rejected - total.request_cancelled
    rate = total.request_success_rate
    under_way = [timeline.points[-1].value for timeline in active]
    return [
        tiles.tile(
            "Success rate",
            formatting.percent(rate),
            f"{formatting.count(total.request_ok)} of {formatting.count(judged)}",
            definition="Share of the requests that were neither cancelled nor rejected that delivered all of their audio.",
            accent=palette.UNKNOWN if rate is None else palette.GOOD if rate >= settings.slo_success else palette.BAD,
        ),
        tiles.tile(
            "Requests",
            formatting.count(total.request_count),
            f"{total.request_count / period.length:.1f}/s",
            definition=formatting.definition(semconv.SYNTHESIS_DURATION),
        ),
        tiles.tile(
            "Under way",
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
            "Not counted as failed",
            formatting.count(total.request_rejected + total.request_cancelled),
            f"{formatting.count(total.request_rejected)} rejected, {formatting.count(total.request_cancelled)} cancelled",
            definition="Requests whose input was refused, and those whose caller went away.",
        ),
        tiles.tile(
            "Audio delivered",
            formatting.duration(total.request_audio_delivered),
            f"{formatting.duration(total.request_audio_generated)} made",
            definition=formatting.definition(semconv.SYNTHESIS_AUDIO),
        ),
    ]


def quantiles(rows: list[Row], of: str) -> list[Line]:
    """The three quantiles of a latency over time."""
    return [charts.of_rows(rows, f"{of}_{name}", name, colour) for name, colour in palette.QUANTILES.items()]


def _latency(label: str, total: Row, of: str, metric: semconv.Metric, settings: LiveSettings) -> str:
    p50, p95, p99 = (getattr(total, f"{of}_{name}") for name in palette.QUANTILES)
    limit = settings.reference_latency_p95
    return tiles.tile(
        label,
        formatting.quantile(p95, metric),
        f"p50 {formatting.quantile(p50, metric)} · p99 {formatting.quantile(p99, metric)}",
        definition=f"{formatting.definition(metric)} The reference for p95 is {formatting.duration(limit)}.",
        accent=palette.UNKNOWN if p95 is None else palette.GOOD if p95 <= limit else palette.BAD,
    )
