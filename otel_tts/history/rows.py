"""Rows: what happened in a window of time, computed from the growth of metrics, alike for every source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.distribution import Distribution
from otel_tts.semconv import COUNTED, Attribute, CacheResult, Metric, Outcome

DIMENSIONS: Mapping[str, Attribute] = {"provider": semconv.PROVIDER, "language": semconv.LANGUAGE}
"""What rows can be split by."""

METRICS = (
    semconv.SYNTHESIS_DURATION, semconv.SYNTHESIS_FIRST_AUDIO, semconv.SYNTHESIS_REQUESTS, semconv.SYNTHESIS_CHARACTERS,
    semconv.SYNTHESIS_AUDIO, semconv.STREAM_UNDERRUN, semconv.ATTEMPT_DURATION, semconv.ATTEMPT_REAL_TIME_FACTOR,
    semconv.USAGE_COST, semconv.USAGE_COST_AVOIDED, semconv.USAGE_UNPRICED,
)  # fmt: skip
"""What rows are made of."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a metric and how much it grew in a window; of a gauge or an up-down counter, its last level.

    service and version: of the process.
    """

    attributes: Mapping[str, str | bool]
    growth: float | Distribution
    service: str = ""
    version: str = ""

    @property
    def amount(self) -> float:
        """How much it grew; of a histogram, the number of values."""
        return self.growth.count if isinstance(self.growth, Distribution) else self.growth


Growth = Mapping[str, Sequence[Series]]
"""All series of each metric, by the metric's name."""


def added(growths: Sequence[Growth]) -> Growth:
    """How much series grew in several windows together.

    Args:
        growths: of counters and histograms, in windows that follow upon one another.
    """
    if len(growths) == 1:
        return growths[0]
    together: dict[str, list[Series]] = {}
    for name in dict.fromkeys(name for growth in growths for name in growth):
        sets: dict[tuple[object, ...], tuple[Series, list[float | Distribution]]] = {}
        for growth in growths:
            for series in growth.get(name, ()):
                key = series.service, series.version, *series.attributes.items()
                sets.setdefault(key, (series, []))[1].append(series.growth)
        together[name] = [
            Series(series.attributes, _sum(amounts), series.service, series.version) for series, amounts in sets.values()
        ]
    return together


def _sum(amounts: Sequence[float | Distribution]) -> float | Distribution:
    distributions = [amount for amount in amounts if isinstance(amount, Distribution)]
    return Distribution.merged(distributions) if distributions else sum(a for a in amounts if not isinstance(a, Distribution))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What happened between two moments (seconds since the Unix epoch): over everything, of one provider, or of one language.

    None stands where a metric cannot be split so, and where there is nothing to tell: no request to take a rate or quantile of.
    Rates and shares are 0 to 1. Rates and quantiles leave out what was cancelled or rejected; those of attempts, probes too.
    Durations are seconds.
    """

    start: float
    end: float
    provider: str | None = None
    language: str | None = None

    request_count: int
    request_ok: int
    request_rejected: int
    request_cancelled: int
    request_deadline: int
    request_partial: int
    request_empty: int
    request_error: int
    request_success_rate: float | None
    request_duration_p50: float | None
    request_duration_p95: float | None
    request_duration_p99: float | None
    request_first_audio_p50: float | None
    request_first_audio_p95: float | None
    request_first_audio_p99: float | None
    request_cache_hit: int | None
    request_cache_miss: int | None
    request_cache_bypass: int | None
    request_cache_coalesced: int | None
    request_hit_rate: float | None
    request_characters_synthesized: int | None
    request_characters_cached: int | None
    request_characters_wasted: int | None
    request_audio_generated: float | None
    request_audio_delivered: float | None
    request_underrun_provider: float | None
    request_underrun_consumer: float | None
    request_cost: float | None
    request_cost_avoided: float | None
    request_unpriced: int | None

    attempt_count: int | None
    attempt_success_rate: float | None
    attempt_duration_p50: float | None
    attempt_duration_p95: float | None
    attempt_duration_p99: float | None
    attempt_rtf_p50: float | None
    attempt_rtf_p95: float | None
    attempt_rtf_p99: float | None


def dimension(by: Collection[str]) -> str | None:
    """The one dimension to split by; None for none.

    Args:
        by: `provider`, `version`, `stream` and the like: see `History.aggregates`.

    Raises:
        ValueError: it is not known, or there are two.
    """
    if unknown := sorted(set(by) - DIMENSIONS.keys()):
        raise ValueError(f"Rows cannot be split by {', '.join(unknown)}, only by {' or '.join(DIMENSIONS)}.")
    if len(set(by)) > 1:
        raise ValueError("Rows can be split by provider or by language, not by both: no metric of requests has both.")
    return next(iter(by), None)


def rows(growth: Growth, start: float, end: float, by: str | None) -> list[Row]:
    """The rows of one window: one over everything, or one for each provider or language that had traffic.

    Args:
        growth: of the metrics in the interval.
        start: from when on, in seconds since the Unix epoch.
        end: up to when, in seconds since the Unix epoch.
        by: the dimension; None: all together.
    """
    if by is None:
        return [_row(_SelectedSeries(growth), start, end)]
    attribute = DIMENSIONS[by]
    values = {
        str(series.attributes[attribute.key])
        for all_series in growth.values()
        for series in all_series
        if attribute.key in series.attributes and series.amount
    }
    return [_row(_SelectedSeries(growth, attribute, value), start, end) for value in sorted(values)]


def _row(selected: _SelectedSeries, start: float, end: float) -> Row:
    requests = semconv.SYNTHESIS_REQUESTS if selected.attribute is semconv.LANGUAGE else semconv.SYNTHESIS_DURATION
    outcomes = {outcome: selected.count(requests, {semconv.OUTCOME: [outcome]}) or 0 for outcome in Outcome}
    duration = selected.distribution(semconv.SYNTHESIS_DURATION, {semconv.OUTCOME: COUNTED})
    first_audio = selected.distribution(semconv.SYNTHESIS_FIRST_AUDIO)  # of whoever heard it, also of the interrupted
    cache = {result: selected.count(semconv.SYNTHESIS_DURATION, {semconv.CACHE_RESULT: [result]}) for result in CacheResult}
    characters = {
        state: selected.count(semconv.SYNTHESIS_CHARACTERS, {semconv.CHARACTERS_STATE: [state]})
        for state in semconv.CHARACTERS_STATE.values
    }
    audio = {
        state: selected.total(semconv.SYNTHESIS_AUDIO, {semconv.AUDIO_STATE: [state]}) for state in semconv.AUDIO_STATE.values
    }
    underrun = {
        cause: selected.distribution(semconv.STREAM_UNDERRUN, {semconv.UNDERRUN_CAUSE: [cause]})
        for cause in semconv.UNDERRUN_CAUSE.values
    }
    attempts = selected.distribution(semconv.ATTEMPT_DURATION, {semconv.ATTEMPT_REASON: semconv.REQUEST_ATTEMPTS})
    judged = selected.distribution(
        semconv.ATTEMPT_DURATION, {semconv.ATTEMPT_REASON: semconv.REQUEST_ATTEMPTS, semconv.OUTCOME: COUNTED}
    )
    succeeded = selected.count(
        semconv.ATTEMPT_DURATION, {semconv.ATTEMPT_REASON: semconv.REQUEST_ATTEMPTS, semconv.OUTCOME: [Outcome.OK]}
    )
    rtf = selected.distribution(semconv.ATTEMPT_REAL_TIME_FACTOR)
    return Row(
        start=start,
        end=end,
        provider=selected.value if selected.attribute is semconv.PROVIDER else None,
        language=selected.value if selected.attribute is semconv.LANGUAGE else None,
        request_count=sum(outcomes.values()),
        request_ok=outcomes[Outcome.OK],
        request_rejected=outcomes[Outcome.REJECTED],
        request_cancelled=outcomes[Outcome.CANCELLED],
        request_deadline=outcomes[Outcome.DEADLINE],
        request_partial=outcomes[Outcome.PARTIAL],
        request_empty=outcomes[Outcome.EMPTY],
        request_error=outcomes[Outcome.ERROR],
        request_success_rate=_ratio(outcomes[Outcome.OK], sum(outcomes[outcome] for outcome in COUNTED)),
        request_duration_p50=_quantile(duration, 0.5),
        request_duration_p95=_quantile(duration, 0.95),
        request_duration_p99=_quantile(duration, 0.99),
        request_first_audio_p50=_quantile(first_audio, 0.5),
        request_first_audio_p95=_quantile(first_audio, 0.95),
        request_first_audio_p99=_quantile(first_audio, 0.99),
        request_cache_hit=cache[CacheResult.HIT],
        request_cache_miss=cache[CacheResult.MISS],
        request_cache_bypass=cache[CacheResult.BYPASS],
        request_cache_coalesced=cache[CacheResult.COALESCED],
        request_hit_rate=_ratio(cache[CacheResult.HIT], sum(cache[result] or 0 for result in semconv.CACHE_ASKED)),
        request_characters_synthesized=characters["synthesized"],
        request_characters_cached=characters["cached"],
        request_characters_wasted=characters["wasted"],
        request_audio_generated=audio["generated"],
        request_audio_delivered=audio["delivered"],
        request_underrun_provider=_share_above_zero(underrun["provider"]),
        request_underrun_consumer=_share_above_zero(underrun["consumer"]),
        request_cost=selected.known_total(semconv.USAGE_COST),
        request_cost_avoided=selected.known_total(semconv.USAGE_COST_AVOIDED),
        request_unpriced=selected.count(semconv.USAGE_UNPRICED),
        attempt_count=round(attempts.count) if attempts is not None else None,
        attempt_success_rate=_ratio(succeeded, judged.count if judged is not None else 0),
        attempt_duration_p50=_quantile(judged, 0.5),
        attempt_duration_p95=_quantile(judged, 0.95),
        attempt_duration_p99=_quantile(judged, 0.99),
        attempt_rtf_p50=_quantile(rtf, 0.5),
        attempt_rtf_p95=_quantile(rtf, 0.95),
        attempt_rtf_p99=_quantile(rtf, 0.99),
    )


class _SelectedSeries:
    """The series of one row. A figure that its metric cannot give is None."""

    def __init__(self, growth: Growth, attribute: Attribute | None = None, value: str | None = None) -> None:
        self._growth = growth
        self.attribute = attribute
        self.value = value

    def total(self, metric: Metric, where: Mapping[Attribute, Collection[object]] | None = None) -> float | None:
        """How much the metric grew; of a histogram, the number of values."""
        series = self._series(metric, where or {})
        return None if series is None else sum(s.amount for s in series)

    def known_total(self, metric: Metric) -> float | None:
        """How much the metric grew; None as well when no series of it ever was: nothing known is not 0."""
        return self.total(metric) if self._series(metric, {}) else None

    def count(self, metric: Metric, where: Mapping[Attribute, Collection[object]] | None = None) -> int | None:
        """As a whole number."""
        total = self.total(metric, where)
        return None if total is None else round(total)

    def distribution(self, metric: Metric, where: Mapping[Attribute, Collection[object]] | None = None) -> Distribution | None:
        """The values of a histogram."""
        series = self._series(metric, where or {})
        if series is None:
            return None
        return Distribution.merged(s.growth for s in series if isinstance(s.growth, Distribution))

    def _series(self, metric: Metric, where: Mapping[Attribute, Collection[object]]) -> list[Series] | None:
        wanted = dict(where)
        if self.attribute is not None:
            if self.attribute not in metric.attributes:
                return None
            wanted[self.attribute] = [self.value]
        return [
            series
            for series in self._growth[metric.name]
            if all(series.attributes.get(attribute.key) in values for attribute, values in wanted.items())
        ]


def _ratio(part: float | None, whole: float) -> float | None:
    return part / whole if part is not None and whole else None


def _quantile(distribution: Distribution | None, q: float) -> float | None:
    return distribution.quantile(q) if distribution is not None else None


def _share_above_zero(distribution: Distribution | None) -> float | None:
    return distribution.share_above(0.0) if distribution is not None else None
