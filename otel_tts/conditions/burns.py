"""Conditions of the objectives: how fast their error budgets are used up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otel_tts.conditions import figure
from otel_tts.conditions.commands import FAILED, LATE, STATUS, TRACE
from otel_tts.conditions.condition import Comparison, Condition, Severity
from otel_tts.formatting import elapsed

ABOVE, BELOW = Comparison.ABOVE, Comparison.BELOW
PAGE, TICKET, INFO = Severity.PAGE, Severity.TICKET, Severity.INFO
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Burn:
    """One pair of windows over which an error budget is watched: whether it is used up ``factor`` times faster than it may be."""

    label: str
    factor: float
    window_s: float
    short_window_s: float
    severity: Severity
    minimum_traffic: int


BURNS: Sequence[Burn] = (
    Burn("1h", 14.4, HOUR, 5 * MINUTE, PAGE, 20),
    Burn("6h", 6.0, 6 * HOUR, 30 * MINUTE, PAGE, 50),
    Burn("1d", 3.0, DAY, 2 * HOUR, TICKET, 100),
    Burn("3d", 1.0, 3 * DAY, 6 * HOUR, TICKET, 200),
)
"""Fast burns page, slow ones become tickets: the windows of the Site Reliability Workbook, chapter "Alerting on SLOs"."""


def _success_burns() -> Iterator[Condition]:
    for burn in BURNS:
        yield Condition(
            name=f"TTSSuccessBudgetBurn{burn.label}",
            title=f"Failed requests use the error budget at {{value}} the sustainable rate over the last {elapsed(burn.window_s)}",
            meaning="So many requests fail that the objective for success will be missed.",
            severity=burn.severity,
            figure=figure.SUCCESS_BURN,
            comparison=ABOVE,
            threshold=burn.factor,
            window_s=burn.window_s,
            short_window_s=burn.short_window_s,
            minimum_traffic=burn.minimum_traffic,
            query="judged_success_burn_rate",
            causes=tuple(f"TTSSuccessBudgetBurn{other.label}" for other in BURNS if other.window_s < burn.window_s),
            steps=(
                f"Overview dashboard, error budget, or {STATUS}: when did it begin to shrink?",
                f"Providers dashboard, or {FAILED[:-1]} --since {burn.label}`: which provider and error type do the failures have?",
                "Slow burns are often one voice, one language or one kind of text: Requests dashboard, failed, or the same list.",
            ),
        )


def _first_audio_burns() -> Iterator[Condition]:
    for burn in BURNS:
        yield Condition(
            name=f"TTSFirstAudioBudgetBurn{burn.label}",
            title=(
                "Streams with late or no audio use their budget at {value} the sustainable rate "
                f"over the last {elapsed(burn.window_s)}"
            ),
            meaning="So many listeners wait too long for the first audio that the objective for first audio will be missed.",
            severity=burn.severity,
            figure=figure.FIRST_AUDIO_BURN,
            comparison=ABOVE,
            threshold=burn.factor,
            window_s=burn.window_s,
            short_window_s=burn.short_window_s,
            minimum_traffic=burn.minimum_traffic,
            query="judged_first_audio_burn_rate",
            causes=tuple(f"TTSFirstAudioBudgetBurn{other.label}" for other in BURNS if other.window_s < burn.window_s),
            steps=(
                (
                    f"Streaming dashboard, or {LATE}, then {TRACE}: a late first byte comes from the queue or the provider; late audio "
                    f"after an early first byte is silence at its start. {FAILED} lists the streams without audio."
                ),
                "Cache dashboard, or the column `cache` of the same list: do more requests wait for a provider, since the hit rate fell?",
                "Queue wait, or `queued` in the same trace: if it grows, add replicas or allow fewer requests at once.",
            ),
        )


OBJECTIVES: Sequence[Condition] = (*_success_burns(), *_first_audio_burns())
