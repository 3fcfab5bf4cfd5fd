"""Verdicts on all services: each is judged by itself, as the alerts do, so that none hides another's trouble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from otel_tts import semconv
from otel_tts.conditions import Severity, figure
from otel_tts.conditions.telemetry import ABSENT
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.judgement import Judge, Verdict
from otel_tts.live.view import Period
from otel_tts.semconv import Metric
from otel_tts.settings import LiveSettings


def seen(history: CachedHistory, period: Period, metric: Metric = semconv.SYNTHESIS_DURATION) -> Mapping[str, float]:
    """The services that sent metrics of requests within the hour, each with the moment of its newest.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        metric: by which services are known: by default that of requests for which somebody waits.
    """
    return history.last_seen(period.now - ABSENT.window_s, period.now, metric)


def newest_of(history: CachedHistory, period: Period, service: str = "") -> float | None:
    """The moment of the newest metrics, of one service or of all; None when none is known.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        service: the name of the service.
    """
    return seen(history, period).get(service) if service else history.newest()


def received(history: CachedHistory, period: Period) -> bool:
    """Whether any metrics came in a period. Where none did, its counts are unknown, and not 0.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
    """
    newest = history.newest()
    if newest is not None and period.start <= newest <= period.now:
        return True
    return any(history.last_seen(period.start, period.now, m) for m in (semconv.SYNTHESIS_DURATION, semconv.BACKGROUND_DURATION))


def unknown(verdicts: Iterable[Verdict]) -> Mapping[str, Sequence[str]]:
    """The services of which conditions could not be judged, by name, each with the reasons.

    Args:
        verdicts: on all services.
    """
    reasons: dict[str, dict[str, None]] = {}
    for verdict in verdicts:
        if verdict.unknown:
            reasons.setdefault(verdict.service, {})[verdict.unknown] = None
    return {service: list(reasons[service]) for service in sorted(reasons)}


def judged(history: CachedHistory, period: Period, settings: LiveSettings, service: str = "") -> list[Verdict]:
    """Judge one service, or each that sent metrics within the hour; the most urgent condition first, services by name.

    Drift is the batch job's judgement, not a service's own: it is there once.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        settings: the settings.
        service: the name of the service.
    """
    names = [service] if service else sorted(seen(history, period)) or [""]
    of_conditions = zip(*(Judge(history, period, settings, name).verdicts() for name in names), strict=True)
    verdicts_of_all = [
        verdict if verdict.condition.figure is figure.DRIFT else replace(verdict, service=name)
        for verdicts in of_conditions
        for name, verdict in zip(names, verdicts, strict=True)
        if name == names[0] or verdict.condition.figure is not figure.DRIFT
    ]
    urgency = list(Severity)
    return sorted(verdicts_of_all, key=lambda verdict: urgency.index(verdict.condition.severity))
