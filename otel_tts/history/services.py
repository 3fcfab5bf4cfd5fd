"""Services that had requests in a window of time, and the attributes of their metrics that rows leave out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.distribution import Distribution
from otel_tts.history.native import merged
from otel_tts.history.rows import Growth, Series
from otel_tts.semconv import COUNTED, AttemptReason, Attribute, Metric, Outcome

METRICS = (
    semconv.SYNTHESIS_DURATION, semconv.SYNTHESIS_REQUESTS, semconv.SYNTHESIS_FAILURES, semconv.ATTEMPT_DURATION,
    semconv.QUALITY_SCORE,
)  # fmt: skip
"""What services are known from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service that had requests.

    versions, voices and languages: the number of requests of each. providers: the number of attempts at each, probes left out.
    errors: the number of failed requests by error type. attempts: by provider, how many went well, and how many there were that
    were neither rejected nor cancelled. scores: the values of each quality model (first) on each voice (second).
    """

    name: str
    versions: Mapping[str, int]
    voices: Mapping[str, int]
    languages: Mapping[str, int]
    providers: Mapping[str, int]
    errors: Mapping[str, int]
    attempts: Mapping[str, tuple[int, int]]
    scores: Mapping[tuple[str, str], Distribution]

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return sum(self.versions.values())


def services(growth: Growth) -> list[Service]:
    """The services that had requests, by name.

    Args:
        growth: of the metrics in the interval.
    """
    names = sorted({series.service for series in growth[semconv.SYNTHESIS_DURATION.name] if series.amount})
    return [_service(name, of_service(growth, name)) for name in names]


def of_service(growth: Growth, service: str | None = None, version: str | None = None) -> Growth:
    """The growth of one service's series, of one version or of all.

    Args:
        growth: of the metrics in the interval.
        service: the name of the service; None: every service.
        version: its version; None: every version.
    """
    if service is None and version is None:
        return growth
    return {
        name: [s for s in all_series if service in (None, s.service) and version in (None, s.version)]
        for name, all_series in growth.items()
    }


def _service(name: str, growth: Growth) -> Service:
    versions = Counter[str]()
    for series in growth[semconv.SYNTHESIS_DURATION.name]:
        versions[series.version] += round(series.amount)
    real = [series for series in growth[semconv.ATTEMPT_DURATION.name] if _value(series, semconv.ATTEMPT_REASON) not in _PROBES]
    judged, succeeded = Counter[str](), Counter[str]()
    for series in real:
        outcome, provider = _value(series, semconv.OUTCOME), _value(series, semconv.PROVIDER)
        judged[provider] += round(series.amount) if outcome in COUNTED else 0
        succeeded[provider] += round(series.amount) if outcome == Outcome.OK else 0
    scores: dict[tuple[str, str], list[Distribution]] = {}
    for series in growth[semconv.QUALITY_SCORE.name]:
        if isinstance(series.growth, Distribution) and series.growth.count:
            key = _value(series, semconv.SCORE_NAME), _value(series, semconv.VOICE)
            scores.setdefault(key, []).append(series.growth)
    return Service(
        name=name,
        versions=_positive(versions),
        voices=_counts(growth, semconv.SYNTHESIS_REQUESTS, semconv.VOICE),
        languages=_counts(growth, semconv.SYNTHESIS_REQUESTS, semconv.LANGUAGE),
        providers=_counts({semconv.ATTEMPT_DURATION.name: real}, semconv.ATTEMPT_DURATION, semconv.PROVIDER),
        errors=_counts(growth, semconv.SYNTHESIS_FAILURES, semconv.ERROR_TYPE),
        attempts={provider: (succeeded[provider], count) for provider, count in sorted(judged.items()) if count},
        scores={key: merged(parts) for key, parts in sorted(scores.items())},
    )


_PROBES = (AttemptReason.PROBE,)


def _counts(growth: Growth, metric: Metric, by: Attribute) -> Mapping[str, int]:
    counts = Counter[str]()
    for series in growth[metric.name]:
        counts[_value(series, by)] += round(series.amount)
    return _positive(counts)


def _positive(counts: Counter[str]) -> Mapping[str, int]:
    return {value: count for value, count in sorted(counts.items()) if count}


def _value(series: Series, attribute: Attribute) -> str:
    return str(series.attributes.get(attribute.key, ""))
