"""Providers: which engine is up, how well it does, and where requests went instead."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from otel_tts import formatting, semconv
from otel_tts.history import Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.reading import Reading
from otel_tts.live.screens import chart
from otel_tts.live.standing import standings
from otel_tts.live.view import Period, View
from otel_tts.settings import LiveSettings


def draw(reading: Reading, period: Period, view: View, settings: LiveSettings) -> None:
    """Cards, when each could be used, how its attempts went, and what they fell back to."""
    cards(reading, period, view)
    available = reading.series(semconv.PROVIDER_AVAILABLE, period, (semconv.PROVIDER,), service=view.service)
    chart(
        "Availability",
        charts.states(available, semconv.PROVIDER, period),
        "providers-available",
        formatting.definition(semconv.PROVIDER_AVAILABLE),
    )
    rows = reading.rows(period, by="provider", service=view.service)
    left, right = st.columns(2)
    with left:
        chart(
            "Success rate of attempts",
            charts.course(charts.by_provider(rows, "attempt_success_rate"), "share", period, top=1.05),
            "providers-success",
            "Share of the attempts that were neither cancelled nor rejected that went well; probes are left out.",
        )
    with right:
        chart(
            "Latency of attempts, p95",
            charts.course(charts.by_provider(rows, "attempt_duration_p95"), "s", period),
            "providers-duration",
            formatting.definition(semconv.ATTEMPT_DURATION),
        )
    left, right = st.columns(2)
    with left:
        fallbacks(reading, period, view)
    with right:
        errors(reading, period, view)


def cards(reading: Reading, period: Period, view: View) -> None:
    """A card for each provider."""
    available = reading.series(semconv.PROVIDER_AVAILABLE, period, (semconv.PROVIDER,), service=view.service)
    hops = reading.over(semconv.PROVIDER_FALLBACKS, period.start, period.now, (semconv.FALLBACK_FROM,), service=view.service)
    left = {timeline.attributes[semconv.FALLBACK_FROM.key]: charts.amount(timeline.points[0]) for timeline in hops}
    st.subheader(
        "Providers",
        anchor=False,
        help="What was asked of each, and whether it can be used. RTF: the median real-time factor, below 1 is faster than speech. "
        f"Since when something is so is known to {formatting.elapsed(period.step)}: choose a shorter range to know it better.",
    )
    found = standings(available, reading.providers(period, service=view.service))
    st.html(tiles.cards(tiles.card(standing, period.now, left.get(standing.provider, 0.0)) for standing in found))


def fallbacks(reading: Reading, period: Period, view: View) -> None:
    """From which provider to which, and why."""
    by = semconv.FALLBACK_FROM, semconv.FALLBACK_TO, semconv.ERROR_TYPE
    hops = reading.over(semconv.PROVIDER_FALLBACKS, period.start, period.now, by, service=view.service)
    st.subheader("Fallbacks", help=formatting.definition(semconv.PROVIDER_FALLBACKS), anchor=False)
    rows = _counted(hops)
    if rows:
        st.html(tiles.table("Fallbacks", ("from", "to", "because of", "hops"), rows, words=3))
    else:
        st.caption("No request had to be spoken by another provider.")


def errors(reading: Reading, period: Period, view: View) -> None:
    """What attempts failed of."""
    by = semconv.PROVIDER, semconv.ERROR_TYPE
    kinds = reading.over(semconv.ATTEMPT_DURATION, period.start, period.now, by, service=view.service)
    rows = _counted(timeline for timeline in kinds if timeline.attributes[semconv.ERROR_TYPE.key])
    st.subheader("Error types of attempts", help=formatting.definition(semconv.ERROR_TYPE), anchor=False)
    if rows:
        st.html(tiles.table("Error types of attempts", ("provider", "error type", "attempts"), rows, words=2))
    else:
        st.caption("No attempt failed.")


def _counted(timelines: Iterable[Timeline]) -> list[tuple[str, ...]]:
    """What is told apart and how often it was, the most frequent first."""
    counted = [(charts.amount(timeline.points[0]) or 0.0, timeline) for timeline in timelines]
    counted.sort(key=lambda item: item[0], reverse=True)
    return [(*map(str, timeline.attributes.values()), formatting.count(number)) for number, timeline in counted if number]
