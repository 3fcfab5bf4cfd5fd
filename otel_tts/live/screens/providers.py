"""Providers: which are available, how their attempts went, and fallbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from otel_tts import formatting, semconv
from otel_tts.conditions import Comparison
from otel_tts.history import Timeline
from otel_tts.live import charts, tiles
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import Line
from otel_tts.live.judgement import MOODS, Verdict
from otel_tts.live.screens import chart
from otel_tts.live.standing import Standing, standings
from otel_tts.live.verdicts import judged
from otel_tts.live.view import Period, View
from otel_tts.settings import LiveSettings

_NAME = 40
"""Letters of a service's name on a card."""
_NOT_ASKED = "No provider was asked for an interactive request in this time range."


def draw(history: CachedHistory, period: Period, view: View, settings: LiveSettings) -> None:
    """Draw cards, availability, success and latency of attempts, fallbacks and errors.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
    """
    cards(history, period, view, judged(history, period, settings, view.service))
    available = history.series(semconv.PROVIDER_AVAILABLE, period, (semconv.PROVIDER,), service=view.service)
    chart(
        "Availability",
        charts.states(available, semconv.PROVIDER, period),
        "providers-available",
        formatting.definition(semconv.PROVIDER_AVAILABLE),
        "No provider reported whether it is available in this time range.",
    )
    rows = history.rows(period, by="provider", service=view.service)
    asked = any(row.attempt_count for row in rows)
    success, latency = (charts.by_provider(rows, f"attempt_{figure}") for figure in ("success_rate", "duration_p95"))
    failing, slow = charts.worst(success, lowest=True), charts.worst(latency)
    left, right = st.columns(2)
    with left:
        chart(
            "Success rate of attempts",
            charts.course(failing, "share", period),
            "providers-success",
            "Share of attempts that succeeded. Cancelled and rejected attempts and probes are not counted.",
            _NOT_ASKED,
        )
        _some(failing, success, "lowest success rate")
    with right:
        chart(
            "Latency of attempts, p95",
            charts.course(slow, "s", period),
            "providers-duration",
            formatting.definition(semconv.ATTEMPT_DURATION),
            _NOT_ASKED,
        )
        _some(slow, latency, "highest latency")
    left, right = st.columns(2)
    with left:
        fallbacks(history, period, view, asked=asked)
    with right:
        errors(history, period, view, asked=asked)


def _some(drawn: Sequence[Line], every: Sequence[Line], which: str) -> None:
    """Say which providers are drawn, where they are not all."""
    if len(drawn) < len(every):
        providers = formatting.counted(len(every), "provider")
        st.caption(f"Drawn are the {len(drawn)} of {providers} with the {which}.")


def cards(history: CachedHistory, period: Period, view: View, verdicts: Iterable[Verdict]) -> None:
    """Draw a card for each provider; ``verdicts`` has the conditions that are met for some.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        verdicts: the judged conditions.
    """
    problems = problems_of(verdicts)
    available = history.series(semconv.PROVIDER_AVAILABLE, period, (semconv.PROVIDER,), service=view.service)
    fallbacks_counted = history.over(
        semconv.PROVIDER_FALLBACKS, period.start, period.now, (semconv.FALLBACK_FROM,), service=view.service
    )
    fallbacks_by_provider = {
        timeline.attributes[semconv.FALLBACK_FROM.key]: charts.amount(timeline.points[0]) for timeline in fallbacks_counted
    }
    st.subheader(
        "Providers",
        anchor=False,
        help="Attempts at each provider, and whether it is available. RTF: the median real-time factor; below 1, "
        "audio is made faster than it is played. "
        f"The time of a change is exact to {formatting.elapsed(period.step_s)}; a shorter range is more exact.",
    )
    left_over = None if semconv.OTHER in fallbacks_by_provider else 0.0  # of which provider those are, nobody knows

    def urgency(standing: Standing) -> int:
        return -tiles.MOODS.index(tiles.judgement(standing, period.now, problems.get(standing.provider, ()))[0])

    standings_shown = sorted(standings(available, history.providers(period, service=view.service)), key=urgency)
    if not standings_shown:
        st.caption("No provider is known in this time range.")
        return
    st.html(
        tiles.cards(
            tiles.card(
                standing,
                period.now,
                fallbacks_by_provider.get(standing.provider, left_over),
                problems.get(standing.provider, ()),
            )
            for standing in standings_shown
        )
    )


def problems_of(verdicts: Iterable[Verdict]) -> Mapping[str, Sequence[tuple[str, str]]]:
    """For each provider, the mood and the sentence of each condition that is met for it, once, with the services of which it is said.

    Args:
        verdicts: the judged conditions, of one service or of several.
    """
    verdicts = list(verdicts)
    several = len({verdict.service for verdict in verdicts if verdict.service}) > 1
    met: dict[tuple[str, str], list[tuple[float, Verdict]]] = {}
    for verdict in verdicts:
        for subject in verdict.holds:
            if (provider := subject.attributes.get(semconv.PROVIDER.key)) and subject.value is not None:
                met.setdefault((provider, verdict.condition.name), []).append((subject.value, verdict))
    problems: dict[str, list[tuple[str, str]]] = {}
    for (provider, _), subjects in met.items():
        condition = subjects[0][1].condition
        worst = max if condition.comparison is Comparison.ABOVE else min
        value, verdict = worst(subjects, key=lambda subject: subject[0])
        others = formatting.counted(len(subjects) - 1, "more service")
        whose = f"in {formatting.shortened(verdict.service, _NAME)}" if several and verdict.service else ""
        whose += f" and {others}" if whose and len(subjects) > 1 else ""
        sentence = " ".join(filter(None, (condition.sentence(value), verdict.over, whose)))
        problems.setdefault(provider, []).append((MOODS[condition.severity], f"{sentence[0].lower()}{sentence[1:]}"))
    return problems


def fallbacks(history: CachedHistory, period: Period, view: View, *, asked: bool) -> None:
    """Draw a table of fallbacks: from, to, error type.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        asked: whether any provider was asked at all.
    """
    by = semconv.FALLBACK_FROM, semconv.FALLBACK_TO, semconv.ERROR_TYPE
    fallbacks_counted = history.over(semconv.PROVIDER_FALLBACKS, period.start, period.now, by, service=view.service)
    st.subheader("Fallbacks", help=formatting.definition(semconv.PROVIDER_FALLBACKS), anchor=False)
    rows = _counted(fallbacks_counted)
    if rows:
        st.html(tiles.table("Fallbacks", ("from", "to", "error type", "fallbacks"), rows, words=3))
    else:
        st.caption("No request fell back to another provider." if asked else _NOT_ASKED)


def errors(history: CachedHistory, period: Period, view: View, *, asked: bool) -> None:
    """Draw a table of the error types of attempts.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        asked: whether any provider was asked at all.
    """
    by = semconv.PROVIDER, semconv.ERROR_TYPE
    kinds = history.over(semconv.ATTEMPT_DURATION, period.start, period.now, by, service=view.service)
    rows = _counted(timeline for timeline in kinds if timeline.attributes[semconv.ERROR_TYPE.key])
    st.subheader("Error types of attempts", help=formatting.definition(semconv.ERROR_TYPE), anchor=False)
    if rows:
        st.html(tiles.table("Error types of attempts", ("provider", "error type", "attempts"), rows, words=2))
    else:
        st.caption("No attempt failed." if asked else _NOT_ASKED)


def _counted(timelines: Iterable[Timeline]) -> list[tuple[str, ...]]:
    """Make rows of attributes and counts, the highest count first."""
    counted = [(charts.amount(timeline.points[0]) or 0.0, timeline) for timeline in timelines]
    counted.sort(key=lambda item: item[0], reverse=True)
    return [(*map(str, timeline.attributes.values()), formatting.count(number)) for number, timeline in counted if number]
