"""Now: whether anything is wrong, at a glance."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from urllib.parse import urlencode

import streamlit as st

from otel_tts import formatting, palette, semconv
from otel_tts.distribution import AtLeast, AtMost
from otel_tts.history import Row, Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.behind import behind, steps
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import Line
from otel_tts.live.judgement import MOODS, Verdict, is_ahead, is_late
from otel_tts.live.onset import Onset, onset
from otel_tts.live.screens import chart
from otel_tts.live.screens.providers import cards
from otel_tts.live.verdicts import judged, newest_of, received, unknown
from otel_tts.live.view import DAY, RANGES, Period, View
from otel_tts.settings import LiveSettings

_ON_TOP = 3
"""Services for which a condition has its notice at once; those of more are behind a line."""
_NAMED, _NAME = 6, 40
"""Services that this line names, and the letters of a name."""


def draw(history: CachedHistory, period: Period, view: View, settings: LiveSettings) -> None:
    """Draw the conditions that are met, the most important figures, these over time, and the providers.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
    """
    service = view.service
    history.ask_ahead(
        (
            lambda: history.total(period, service=service),
            lambda: history.rows(period, service=service),
            lambda: history.series(semconv.SYNTHESIS_ACTIVE, period, service=service),
            lambda: history.series(semconv.SYNTHESIS_DURATION, period, (semconv.OUTCOME,), service=service),
            lambda: history.series(semconv.PROVIDER_AVAILABLE, period, (semconv.PROVIDER,), service=service),
            lambda: history.providers(period, service=service),
            lambda: history.over(semconv.PROVIDER_FALLBACKS, period.start, period.now, (semconv.FALLBACK_FROM,), service=service),
            lambda: judged(history, period, settings, service),
        )
    )
    verdicts = judged(history, period, settings, view.service)
    banners(history, period, view, settings, verdicts)
    if not received(history, period):
        return  # the page says so
    total = history.total(period, service=view.service)
    rows = history.rows(period, service=view.service)
    active = history.series(semconv.SYNTHESIS_ACTIVE, period, service=view.service)
    st.html(tiles.grid(numbers(total, active, period, settings)))
    outcomes = history.series(semconv.SYNTHESIS_DURATION, period, (semconv.OUTCOME,), service=view.service)
    left, right = st.columns(2)
    with left:
        chart(
            "Requests by outcome",
            charts.bars(charts.of_timelines(outcomes, semconv.OUTCOME, charts.rate, palette.OUTCOMES), "1/s", period),
            "now-outcomes",
            f"Requests per second, by outcome. {formatting.definition(semconv.OUTCOME)}",
            _NO_REQUEST,
        )
    with right:
        chart(
            "Latency of whole requests",
            charts.course(
                quantiles(rows, "request_duration"), "s", period, reference={"reference p95": settings.reference_latency_p95}
            ),
            "now-duration",
            formatting.definition(semconv.SYNTHESIS_DURATION),
            _NO_REQUEST,
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
            "No first audio of a stream was measured in this time range.",
        )
    with right:
        chart(
            "Success rate",
            charts.course([charts.of_rows(rows, "request_success_rate", "success", palette.SKY)], "share", period),
            "now-success",
            "Share of requests that delivered all of their audio. Cancelled and rejected requests are not counted.",
            "No interactive request that counts ended in this time range.",
        )
    cards(history, period, view, verdicts)


def banners(history: CachedHistory, period: Period, view: View, settings: LiveSettings, verdicts: list[Verdict]) -> None:
    """Draw a notice for each condition that is met, or one notice that none is.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
        verdicts: the judged conditions.
    """
    notices: list[str] = []
    for name, of_condition in groupby(filter(_is_met, verdicts), key=lambda verdict: verdict.condition.name):
        met = list(of_condition)
        drawn = [_banner(history, period, view, settings, verdict) for verdict in met]
        first = len(met) if len(met) <= _ON_TOP + 1 else _ON_TOP
        notices += drawn[:first]
        if first < len(met):
            names = ", ".join(formatting.shortened(verdict.service, _NAME) for verdict in met[first : first + _NAMED])
            others = formatting.counted(len(met) - first, "more service")
            more = f"The same of {others}: {names}{', ...' if len(met) > first + _NAMED else ''}"
            notices.append(tiles.folded(f"more {name}", more, drawn[first:]))
    for service, reasons in unknown(verdicts).items():
        notices.append(tiles.notice("unknown", f"{service}: unknown." if service else "Unknown.", " ".join(reasons)))
    st.html(tiles.notices(notices or [well(history, period, verdicts, view.service)]))


def _is_met(verdict: Verdict) -> bool:
    return any(verdict.sentences())


def _banner(history: CachedHistory, period: Period, view: View, settings: LiveSettings, verdict: Verdict) -> str:
    condition = verdict.condition
    began = [onset(history, period, settings, verdict.service, condition, each) for each in verdict.holds]
    return tiles.banner(
        f"{condition.name} {verdict.service}",
        MOODS[condition.severity],
        f"{'; '.join(verdict.sentences())}.",
        when(verdict, began, period),
        condition.meaning,
        requests_page(verdict, period, view, settings),
        condition.runbook(settings.runbooks_url),
        steps(verdict, settings),
    )


def well(history: CachedHistory, period: Period, verdicts: list[Verdict], service: str = "") -> str:
    """Make the notice that no condition is met: only while there is anything to judge.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        verdicts: the judged conditions.
        service: the name of the service.
    """
    newest, conditions = newest_of(history, period, service), len({verdict.condition.name for verdict in verdicts})
    if newest is not None and is_ahead(period.now - newest):
        ahead = (
            f"The newest telemetry is {formatting.elapsed(newest - period.now)} ahead of this clock, so nothing can be judged."
        )
        return tiles.notice("unknown", "Unknown.", ahead)
    if newest is None or is_late(period.now - newest, history.interval):
        since = "" if newest is None else f" for {formatting.elapsed(period.now - newest)}"
        return tiles.notice("unknown", "Unknown.", f"Nothing has been received{since}, so nothing can be judged.")
    if period.past:
        return tiles.notice(
            "good",
            "No problem.",
            f"None of {formatting.counted(conditions, 'condition')} was met at {formatting.date(period.now)}.",
        )
    return tiles.notice("good", "No problem.", f"None of {formatting.counted(conditions, 'condition')} is met.")


def when(verdict: Verdict, onsets: list[Onset], period: Period) -> str:
    """Say since when a condition is met, for the subject of which it has been longest, and over which window.

    Args:
        verdict: the judged condition.
        onsets: when each subject began to be met.
        period: the period that is shown.
    """
    first = min(onsets, key=lambda each: each.since)
    lasted_s = period.now - first.since
    longer = "more than " if first.before else "at least " if first.earliest < first.since else ""
    words = first.words(lambda moment: formatting.clock(moment, period.now), formatting.zone(first.since))
    lasted = f" ({longer}{formatting.elapsed(lasted_s)})" if lasted_s >= 1 else ""
    return ", ".join(filter(None, (f"{words}{lasted}", verdict.over)))


def requests_page(verdict: Verdict, period: Period, view: View, settings: LiveSettings) -> str:
    """Give the address of the page with the requests behind a condition; empty where there are none.

    Args:
        verdict: the judged condition.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
    """
    requests = behind(verdict, settings)
    if requests is None:
        return ""
    shown = replace(
        View(refresh=view.refresh, source=view.source, service=requests.service or view.service),
        problem=requests.problem or "",
        slower="" if requests.slower_than_s is None else f"{requests.slower_than_s:g}",
        provider=requests.provider,
        **({"since": view.since, "until": view.until} if period.past else {"range": _range(verdict.condition.window_s)}),
    )
    return f"requests?{urlencode(shown.params(('problem', 'slower', 'provider')))}"


def _range(window_s: float) -> str:
    """The shortest range that a condition's window is within."""
    return next((name for name, (length, _) in RANGES.items() if length >= min(max(window_s, 1), 7 * DAY)), "7d")


_NO_REQUEST = "No interactive request ended in this time range."


def numbers(total: Row, active: list[Timeline], period: Period, settings: LiveSettings) -> list[str]:
    """Make the tiles.

    Args:
        total: the figures of all requests.
        active: requests under way, over time.
        period: the period that is shown.
        settings: the settings.
    """
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
            formatting.frequency(total.request_count / period.length_s),
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
            formatting.counted(total.request_cache_hit, "request"),
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
    """Make a line for each quantile of a latency.

    Args:
        rows: rows of figures.
        column: the figure, a field of `Row`.
    """
    return [charts.of_rows(rows, f"{column}_{name}", name, colour) for name, colour in palette.QUANTILES.items()]


def _latency(label: str, total: Row, column: str, metric: semconv.Metric, settings: LiveSettings) -> str:
    p50, p95, p99 = (getattr(total, f"{column}_{name}") for name in palette.QUANTILES)
    limit = settings.reference_latency_p95
    return tiles.tile(
        label,
        formatting.duration(p95),
        f"p50 {formatting.duration(p50)} · p99 {formatting.duration(p99)}",
        definition=f"{formatting.definition(metric)} The reference for p95 is {formatting.duration(limit)}.",
        accent=_within(p95, limit) if total.request_ok else palette.UNKNOWN,
    )


def _within(value: float | None, limit: float) -> str:
    """Give the colour of a latency; a value that is at least something below the limit may be on either side of it."""
    if value is None or (isinstance(value, AtLeast) and value <= limit) or (isinstance(value, AtMost) and value.bound > limit):
        return palette.UNKNOWN
    return palette.GOOD if value <= limit else palette.BAD
