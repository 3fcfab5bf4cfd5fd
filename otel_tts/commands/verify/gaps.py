"""Gaps: the metrics that are not compared, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otel_tts import semconv
from otel_tts.commands.verify.account import Traffic
from otel_tts.commands.verify.measures import MEASURES, PRICED
from otel_tts.commands.verify.scrape import Scrape
from otel_tts.semconv import METRICS, Instrument, Metric


@dataclass(frozen=True, slots=True)
class Gap:
    """A metric, or a part of one, that is not compared.

    what: of them. why: in a few words.
    """

    what: str
    metrics: tuple[Metric, ...]
    why: str

    def __str__(self) -> str:
        return f"{self.what} of {', '.join(metric.name for metric in self.metrics)}: {self.why}."


OTHER_SERVICES = (
    "verify speaks yap.tts.v1, the API of `otel-tts serve`, and knows from its answers what must have been counted. "
    "Of another service it cannot know that. There, `otel-tts doctor --trace-id ID` or `--wait` follows one request through the pipeline, "
    "`otel-tts trace` shows what was recorded of it, and the pytest fixture capture_tts compares counts in the service's own tests."
)
"""What is not done for a service that is not ours, and what to do in its place."""

_TIMED = tuple({measure.metric: None for measure in MEASURES if measure.in_seconds})
_EXACT = (
    semconv.SYNTHESIS_DURATION, semconv.RPC_DURATION, semconv.ATTEMPT_DURATION, semconv.CLIENT_DURATION,
)  # fmt: skip
_ALWAYS: Sequence[Gap] = (
    Gap(
        "the exact sums",
        (*_TIMED, *(metric for metric in _EXACT if metric not in _TIMED)),
        "what the caller measures is longer, since the way to the service takes time too; they lie between the bounds of their "
        "buckets, agree with the other metrics of the same calls, and are no more than the caller measured",
    ),
    Gap(
        "the values",
        (
            semconv.QUALITY_LOUDNESS,
            semconv.QUALITY_SILENCE_RATIO,
            semconv.QUALITY_CLIPPING_RATIO,
            semconv.QUALITY_SPEAKING_RATE,
            semconv.QUALITY_TRAILING_SILENCE,
        ),
        "they are of the engine's audio, before it was encoded for the caller; only their number is compared",
    ),
    Gap("tiers, and misses beyond one a request,", (semconv.CACHE_LOOKUPS,), "answers do not name the tiers"),
    Gap("voices and languages of refused requests", (semconv.SYNTHESIS_REQUESTS,), "a refusal does not say how far it came"),
    Gap("error types", (semconv.SYNTHESIS_FAILURES,), "a status may have several causes"),
    Gap("probes", (semconv.ATTEMPT_DURATION,), "no caller sees them"),
)


def gaps(traffic: Traffic, after: Scrape) -> list[Gap]:
    """What is not compared of the metrics that a service has.

    Args:
        traffic: the calls.
        after: the metrics after the calls.
    """
    listed = list(_ALWAYS)
    if not traffic.plain:
        listed.append(
            Gap(
                "the numbers and sums",
                tuple({measure.metric: None for measure in MEASURES if measure.inside}),
                "calls failed, or another provider stood in, and such an answer does not tell what was tried",
            )
        )
    if traffic.prices is None:
        listed.append(Gap("everything", PRICED, "the service has prices: give them with --prices FILE"))
    compared = {measure.metric for measure in MEASURES} | {semconv.CLIENT_DURATION} | set(PRICED)
    listed.append(Gap("everything", tuple(metric for metric in METRICS if metric not in compared), "no caller sees it"))
    present = [Gap(gap.what, tuple(metric for metric in gap.metrics if _has(after, metric)), gap.why) for gap in listed]
    return [gap for gap in present if gap.metrics]


def _has(scrape: Scrape, metric: Metric) -> bool:
    """Whether there is anything of the metric, be it only a part of a histogram."""
    return scrape.has(metric) or (metric.instrument is Instrument.HISTOGRAM and bool(scrape.buckets(metric)))
