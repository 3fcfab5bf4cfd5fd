"""The requests behind a condition: which ones somebody should look at who reads that it is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.conditions import figure
from otel_tts.conditions.figure import Figure
from otel_tts.history import Problem
from otel_tts.live.judgement import Verdict
from otel_tts.semconv import RequestKind
from otel_tts.settings import LiveSettings

_PROBLEMS: Mapping[Figure, Problem] = {
    figure.SUCCESS_RATE: Problem.FAILED,
    figure.SUCCESS_BURN: Problem.FAILED,
    figure.GAP_SHARE: Problem.GAPS,
    figure.PROVIDER_SUCCESS_RATE: Problem.AFFECTED,
    figure.PROVIDER_AVAILABLE: Problem.AFFECTED,
    figure.PROVIDER_DEGRADED: Problem.AFFECTED,
}
"""The problem that the requests behind a figure have."""
_SLOW = frozenset((figure.FIRST_AUDIO_P95, figure.DURATION_P95))
_OF_ATTEMPTS = frozenset((figure.PROVIDER_SUCCESS_RATE, figure.PROVIDER_AVAILABLE, figure.PROVIDER_DEGRADED))
"""Those that calls in the background count for, too."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What the requests behind a condition have in common.

    Attributes:
        problem: what went wrong with them; None: any.
        slower_than_s: seconds that they took at least; None: any.
        service, provider: whose; empty: all.
        kind: of which kind they are; empty: all.
    """

    problem: Problem | None
    slower_than_s: float | None
    service: str
    provider: str
    kind: str


def behind(verdict: Verdict, settings: LiveSettings) -> Behind | None:
    """The requests behind a condition; None where there are none to look at.

    Args:
        verdict: the judged condition.
        settings: the settings.
    """
    condition = verdict.condition
    problem, slow = _PROBLEMS.get(condition.figure), condition.figure in _SLOW
    if problem is None and not slow:
        return None
    providers = {subject.attributes.get(semconv.PROVIDER.key, "") for subject in verdict.holds}
    return Behind(
        problem,
        condition.threshold * settings.reference_latency_p95 if slow else None,
        verdict.service,
        _only(providers),
        "" if condition.figure in _OF_ATTEMPTS else RequestKind.INTERACTIVE.value,
    )


def steps(verdict: Verdict, settings: LiveSettings) -> list[str]:
    """The steps of a condition, with the names of the service and of the provider in their commands.

    Args:
        verdict: the judged condition.
        settings: the settings.
    """
    providers = {str(subject.attributes.get(semconv.PROVIDER.key, "")) for subject in verdict.holds}
    slow = verdict.condition.threshold * settings.reference_latency_p95 if verdict.condition.figure in _SLOW else None
    return verdict.condition.steps_for(verdict.service, _only(providers), slow)


def _only(providers: set[str]) -> str:
    """The provider, where there is one; empty where there are several, or those that are counted together: no request is of `_OTHER`."""
    return providers.copy().pop() if len(providers) == 1 and semconv.OTHER not in providers else ""
