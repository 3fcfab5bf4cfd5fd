"""What conditions judge: the figures, and how people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from otel_tts.distribution import AtLeast
from otel_tts.formatting import percent
from otel_tts.semconv import (
    CACHE_RESULT,
    DOWN_AFTER,
    MADE_BY_PROVIDER,
    OUTCOME,
    STREAM,
    Attribute,
    Outcome,
)


class Unit(StrEnum):
    """How people read a figure."""

    SHARE = "share"
    """0 to 1, shown as a percentage."""
    FACTOR = "factor"
    """How many times something else."""
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Figure:
    """What a condition judges.

    Attributes:
        traffic: what is counted in its denominator, for people; empty where there is none.
        where: the attributes' values that count, for whoever judges it: Prometheus, the live dashboard, the process itself.
        estimated: whether it is a quantile, of which a histogram knows only the bucket: people read it as ``about 1.9x``.
    """

    name: str
    description: str
    unit: Unit
    traffic: str = ""
    where: tuple[tuple[Attribute, tuple[str | bool, ...]], ...] = ()
    estimated: bool = False

    def formatted(self, value: float) -> str:
        """Format a value of it for people: ``71.4%``, ``14.4x``, ``about 1.9x`` where it is estimated.

        Args:
            value: the value.
        """
        if self.estimated and not isinstance(value, AtLeast):
            return f"about {value:.1f}x" if self.unit is Unit.FACTOR else f"about {formatted(value, self.unit)}"
        return formatted(value, self.unit)

    def counts(self, attributes: Mapping[str, object]) -> bool:
        """Return whether a value with these attributes counts.

        Args:
            attributes: of a point of the metric, by key.
        """
        return all(attributes.get(attribute.key) in values for attribute, values in self.where)


_ASKED = "requests that were not cancelled or rejected"
SUCCESS_RATE = Figure("success_rate", "Share of requests that succeeded", Unit.SHARE, _ASKED)
GAP_SHARE = Figure("gap_share", "Share of streams in which the provider left a gap", Unit.SHARE, "streams")
PROVIDER_SUCCESS_RATE = Figure("provider_success_rate", "Share of the provider's attempts that succeeded", Unit.SHARE, "attempts")
PROVIDER_AVAILABLE = Figure(
    "provider_available",
    f"1 when the provider can be used, 0 after {DOWN_AFTER} failed attempts in a row or when the application says so; the best replica",
    Unit.COUNT,
)
PROVIDER_DEGRADED = Figure("provider_degraded", "Replicas that cannot use the provider, while others can", Unit.COUNT)
_FIRST_AUDIO = ((CACHE_RESULT, MADE_BY_PROVIDER),)
"""All outcomes: an interrupted stream was heard, and how long its listener waited is as true as any other wait."""
_DURATION = ((STREAM, (False,)), (OUTCOME, (Outcome.OK,)), (CACHE_RESULT, MADE_BY_PROVIDER))
FIRST_AUDIO_P95 = Figure(
    "first_audio_p95",
    "p95 of time to first audio, of streams that were heard and not served by the cache, against its reference",
    Unit.FACTOR,
    "streams",
    _FIRST_AUDIO,
    estimated=True,
)
FIRST_AUDIO_MEAN = Figure(
    "first_audio_mean",
    "Mean time to first audio, of streams that were heard and not served by the cache, against its reference",
    Unit.FACTOR,
    "streams",
    _FIRST_AUDIO,
)
DURATION_P95 = Figure(
    "duration_p95",
    "p95 of duration, of successful unary requests not served by the cache, against its reference",
    Unit.FACTOR,
    "requests",
    _DURATION,
    estimated=True,
)
DURATION_MEAN = Figure(
    "duration_mean",
    "Mean duration, of successful unary requests not served by the cache, against its reference",
    Unit.FACTOR,
    "requests",
    _DURATION,
)
REFERENCE_MISSING = Figure(
    "reference_missing", "1 when latency is judged against the default, for want of a reference", Unit.COUNT, "requests"
)
SUCCESS_BURN = Figure(
    "success_burn", "How fast failures use up the error budget; 1 uses it up exactly in its period", Unit.FACTOR, _ASKED
)
FIRST_AUDIO_BURN = Figure(
    "first_audio_burn", "How fast streams with late or no audio use up their budget", Unit.FACTOR, "streams"
)
HIT_RATE_CHANGE = Figure("hit_rate_change", "The cache's hit rate against that of the day before", Unit.FACTOR, "requests")
DRIFT = Figure("drift", "Measures that the batch job judged drifted", Unit.COUNT)
EXPORT_FAILURES = Figure("export_failures", "Share of telemetry that the Collector could not deliver", Unit.SHARE, "records")
REFUSED = Figure("refused", "Share of telemetry that the Collector refused", Unit.SHARE, "records")
QUEUE_FILL = Figure("queue_fill", "How full the Collector's queue is", Unit.SHARE)
SDK_DROPS = Figure("sdk_drops", "Records that the service's SDK dropped before they were exported", Unit.COUNT)
OVERFLOW = Figure("overflow", "Series into which the SDK folded what was beyond its limit", Unit.COUNT)
ABSENT = Figure("absent", "1 when a service that sent metrics within the hour sends none now", Unit.COUNT)
ALWAYS = Figure("always", "Always 1", Unit.COUNT)


def formatted(value: float, unit: Unit) -> str:
    """Format a figure with its unit; ``at least 16x`` of one of which no more is known.

    Args:
        value: the figure.
        unit: of the figure.
    """
    if isinstance(value, AtLeast):
        return f"at least {formatted(float(value), unit)}"
    match unit:
        case Unit.SHARE:
            return percent(value)
        case Unit.FACTOR:
            return f"{value:.3g}x"
        case Unit.COUNT:
            return f"{value:.6g}"
