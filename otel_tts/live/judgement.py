"""Judgement: which conditions are met now, computed from metrics. The conditions themselves are in `otel_tts.conditions`.

What only the Collector or Prometheus knows (its queue, missing series) is left to alerts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from otel_tts import formatting, semconv
from otel_tts.conditions import CONDITIONS, MINIMUM_REFERENCE, Condition, figure
from otel_tts.conditions.figure import Figure
from otel_tts.conditions.telemetry import SILENT_AFTER
from otel_tts.history import Distribution, Timeline
from otel_tts.live.cached_history import FiguresUnknownError, Where
from otel_tts.live.standing import UNNAMED
from otel_tts.live.view import DAY, Period
from otel_tts.semconv import COUNTED, REQUEST_ATTEMPTS, Metric, Outcome
from otel_tts.settings import LiveSettings

MOODS: Mapping[str, str] = {"page": "bad", "ticket": "warn", "info": "unknown"}
"""How a condition looks, by its severity."""


@dataclass(frozen=True, slots=True)
class SubjectFigure:
    """A figure of one subject (by attribute key). traffic: the count that it is computed from; None where that does not matter."""

    attributes: Mapping[str, str]
    value: float | None
    traffic: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one condition. holds: the subjects for which it is met, each with its figure. service: whose; all, when empty.

    unknown: why it cannot be judged, in a sentence; empty where it was.
    """

    condition: Condition
    holds: tuple[SubjectFigure, ...]
    service: str = ""
    unknown: str = ""

    @property
    def over(self) -> str:
        """The window that the figure was taken over, in words; empty for a state, and where the condition's title names it."""
        words = f"over the last {formatting.elapsed(self.condition.window_s)}"
        is_said = words in self.condition.title
        return words if self.condition.window_s and self.condition.figure.traffic and not is_said else ""

    def sentences(self) -> Iterator[str]:
        """Give a sentence for each subject."""
        for finding in self.holds:
            if finding.value is not None:
                yield self.condition.sentence(finding.value, finding.attributes, self.service)


class Figures(Protocol):
    """The part of `CachedHistory` that a judge uses."""

    @property
    def interval(self) -> float:
        """Seconds between exports of metrics."""

    def last_seen(self, start: float, end: float) -> Mapping[str, float]:
        """The moment of the newest metrics of each service.

        Args:
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
        """

    def series(
        self,
        metric: Metric,
        period: Period,
        by: Sequence[semconv.Attribute] = (),
        where: Where | None = None,
        *,
        service: str = "",
    ) -> list[Timeline]:
        """A metric over time.

        Args:
            metric: the metric.
            period: the period that is shown.
            by: the attributes whose values are told apart.
            where: the values that attributes must have; None: any.
            service: the name of the service.
        """

    def over(
        self,
        metric: Metric,
        start: float,
        end: float,
        by: Sequence[semconv.Attribute] = (),
        where: Where | None = None,
        *,
        service: str = "",
    ) -> list[Timeline]:
        """A metric between two moments, in one window.

        Args:
            metric: the metric.
            start: from when on, in seconds since the Unix epoch.
            end: up to when, in seconds since the Unix epoch.
            by: the attributes whose values are told apart.
            where: the values that attributes must have; None: any.
            service: the name of the service.
        """


class Judge:
    """Judges the conditions by the metrics up to the end of a period.

    Args:
        history: where the figures come from; a `CachedHistory`, or one of its past.
        period: the moment that counts is its ``now``.
        settings: references and objectives.
        service: whose requests; all, when it is empty.
    """

    def __init__(self, history: Figures, period: Period, settings: LiveSettings, service: str = "") -> None:
        self._history = history
        self._period = period
        self._settings = settings
        self._service = service
        self._figures: Mapping[Figure, Callable[[float], Iterable[SubjectFigure]]] = {
            figure.SUCCESS_RATE: self._success,
            figure.GAP_SHARE: self._gaps,
            figure.PROVIDER_SUCCESS_RATE: self._attempts,
            figure.PROVIDER_AVAILABLE: self._available,
            figure.PROVIDER_DEGRADED: self._degraded,
            figure.FIRST_AUDIO_P95: self._first_audio,
            figure.DURATION_P95: self._duration,
            figure.SUCCESS_BURN: self._burn,
            figure.DRIFT: self._drift,
            figure.ABSENT: self._absent,
        }

    def verdicts(self) -> list[Verdict]:
        """Judge every condition that can be judged here, the most important first."""
        verdicts: dict[str, Verdict] = {}
        for condition in CONDITIONS:
            if condition.figure in self._figures:
                try:
                    holding = self.holding(condition)
                except FiguresUnknownError as error:
                    verdicts[condition.name] = Verdict(condition, (), unknown=str(error))
                    continue
                explained = [f.attributes for cause in condition.causes if cause in verdicts for f in verdicts[cause].holds]
                verdicts[condition.name] = Verdict(condition, tuple(f for f in holding if f.attributes not in explained))
        return list(verdicts.values())

    def holding(self, condition: Condition) -> list[SubjectFigure]:
        """The subjects for which a condition is met, whatever else explains it.

        Args:
            condition: the condition.
        """
        figures = self._figures[condition.figure]
        holding = [f for f in figures(condition.window_s) if condition.holds(f.value, f.traffic)]
        if holding and condition.short_window_s:
            lately = [f for f in figures(condition.short_window_s) if condition.holds(f.value, None)]
            holding = [f for f in holding if f.attributes in [late.attributes for late in lately]]
        return holding

    def reference(self, provider: str, stream: bool) -> float:
        """Give the reference for a provider's p95 of latency, in seconds: the setting, else what the batch job published.

        Args:
            provider: the provider.
            stream: whether audio was delivered in pieces.
        """
        if self._settings.source("reference_latency_p95") == "default":
            published = self._over(
                semconv.REFERENCE_LATENCY, DAY, by=(semconv.PROVIDER,), where={semconv.STREAM: (stream,)}, own=False
            )
            for timeline in published:
                if timeline.attributes[semconv.PROVIDER.key] == provider and isinstance(timeline.points[0].value, float):
                    return max(timeline.points[0].value, MINIMUM_REFERENCE)
        return self._settings.reference_latency_p95

    def _over(
        self,
        metric: Metric,
        window_s: float,
        by: Sequence[semconv.Attribute] = (),
        where: Mapping[semconv.Attribute, tuple[str | bool, ...]] | None = None,
        *,
        own: bool = True,
    ) -> list[Timeline]:
        return self._history.over(
            metric, self._period.now - window_s, self._period.now, by, where, service=self._service if own else ""
        )

    def _success(self, window_s: float) -> Iterable[SubjectFigure]:
        counts = {
            timeline.attributes[semconv.OUTCOME.key]: _count(timeline)
            for timeline in self._over(semconv.SYNTHESIS_DURATION, window_s, (semconv.OUTCOME,), {semconv.OUTCOME: COUNTED})
        }
        traffic = sum(counts.values())
        return [SubjectFigure({}, counts.get(Outcome.OK, 0) / traffic if traffic else None, traffic)]

    def _burn(self, window_s: float) -> Iterable[SubjectFigure]:
        for success in self._success(window_s):
            yield SubjectFigure(
                {}, None if success.value is None else (1 - success.value) / (1 - self._settings.slo_success), success.traffic
            )

    def _gaps(self, window_s: float) -> Iterable[SubjectFigure]:
        for timeline in self._over(semconv.STREAM_UNDERRUN, window_s, where={semconv.UNDERRUN_CAUSE: ("provider",)}):
            if isinstance(value := timeline.points[0].value, Distribution):
                yield SubjectFigure({}, value.share_above(0.0), value.count)

    def _attempts(self, window_s: float) -> Iterable[SubjectFigure]:
        by = semconv.PROVIDER, semconv.OUTCOME
        where = {semconv.OUTCOME: COUNTED, semconv.ATTEMPT_REASON: REQUEST_ATTEMPTS}
        counts: dict[str, dict[str, float]] = {}
        for timeline in self._over(semconv.ATTEMPT_DURATION, window_s, by, where):
            provider, outcome = (str(timeline.attributes[attribute.key]) for attribute in by)
            counts.setdefault(provider, {})[outcome] = _count(timeline)
        for provider, outcomes in counts.items():
            traffic = sum(outcomes.values())
            yield SubjectFigure(
                {semconv.PROVIDER.key: provider}, outcomes.get(Outcome.OK, 0) / traffic if traffic else None, traffic
            )

    def _available(self, window_s: float) -> Iterable[SubjectFigure]:
        return (SubjectFigure(attributes, float(share > 0)) for attributes, share in self._shares())

    def _degraded(self, window_s: float) -> Iterable[SubjectFigure]:
        return (SubjectFigure(attributes, float(0 < share < 1)) for attributes, share in self._shares())

    def _shares(self) -> Iterator[tuple[Mapping[str, str], float]]:
        """For each provider, the share of replicas that can use it now."""
        for timeline in self._history.series(
            semconv.PROVIDER_AVAILABLE, self._period, (semconv.PROVIDER,), service=self._service
        ):
            if isinstance(share := timeline.points[-1].value, float):
                yield {semconv.PROVIDER.key: str(timeline.attributes[semconv.PROVIDER.key])}, share

    def _absent(self, window_s: float) -> Iterable[SubjectFigure]:
        now = self._period.now
        moments = self._history.last_seen(now - window_s, now)
        newest = moments.get(self._service) if self._service else max(moments.values(), default=None)
        if newest is not None:
            yield SubjectFigure({}, float(is_late(now - newest, self._history.interval)))

    def _first_audio(self, window_s: float) -> Iterable[SubjectFigure]:
        return self._slowdown(semconv.SYNTHESIS_FIRST_AUDIO, figure.FIRST_AUDIO_P95, window_s)

    def _duration(self, window_s: float) -> Iterable[SubjectFigure]:
        return self._slowdown(semconv.SYNTHESIS_DURATION, figure.DURATION_P95, window_s)

    def _slowdown(self, metric: Metric, judged: Figure, window_s: float) -> Iterable[SubjectFigure]:
        for timeline in self._over(metric, window_s, (semconv.PROVIDER,), dict(judged.where)):
            provider, value = str(timeline.attributes[semconv.PROVIDER.key]), timeline.points[0].value
            if provider not in UNNAMED and isinstance(value, Distribution) and (p95 := value.quantile(0.95)) is not None:
                yield SubjectFigure(
                    {semconv.PROVIDER.key: provider},
                    p95 / self.reference(provider, metric is semconv.SYNTHESIS_FIRST_AUDIO),
                    value.count,
                )

    def _drift(self, window_s: float) -> Iterable[SubjectFigure]:
        by = semconv.PROVIDER, semconv.DRIFT_COLUMN
        for timeline in self._over(semconv.DRIFT_DETECTED, DAY, by, own=False):
            if isinstance(value := timeline.points[0].value, float):
                yield SubjectFigure({attribute.key: str(timeline.attributes[attribute.key]) for attribute in by}, value)


def is_late(age_s: float, interval_s: float) -> bool:
    """Whether the newest telemetry is older than it would be if its service ran.

    Three exports are missing, and the time is over after which the alert calls a service silent: one that exports once a minute is never
    late in between.

    Args:
        age_s: since the newest sample, in seconds.
        interval_s: between two exports, in seconds.
    """
    return age_s > max(SILENT_AFTER, 3 * interval_s)


def is_ahead(age_s: float) -> bool:
    """Whether telemetry is of a time that has not come here yet: the clocks differ, and what is judged now is not what happens now.

    Args:
        age_s: since the newest sample, in seconds.
    """
    return age_s < -SILENT_AFTER


def _count(timeline: Timeline) -> float:
    value = timeline.points[0].value
    return value.count if isinstance(value, Distribution) else value or 0.0
