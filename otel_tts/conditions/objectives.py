"""The objectives of a service, and the latency that its own is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from otel_tts.settings import ObjectiveSettings

MINIMUM_REFERENCE = 0.2
"""Seconds. A learned reference (published, of the day before, or of the trailing window) below it counts as this: a listener hears no
difference between 20 and 40 ms, and the latency of a small sample varies by as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """The objectives of a service.

    success: share of requests that shall succeed. first_audio: share of streams whose first audio shall come within
    ``first_audio_seconds``, a bound of the metric's buckets. reference: seconds, the p95 of latency that current latency is compared
    with; set: whether somebody set it, so that it goes before what was published or was usual.
    """

    success: float = 0.99
    first_audio: float = 0.95
    first_audio_seconds: float = 2.5
    reference: float = 2.5
    reference_is_set: bool = False

    @classmethod
    def from_settings(cls, settings: ObjectiveSettings) -> Self:
        """The objectives that the settings give.

        Args:
            settings: the settings.
        """
        return cls(
            success=settings.slo_success,
            first_audio=settings.slo_first_audio,
            first_audio_seconds=settings.slo_first_audio_seconds,
            reference=settings.reference_latency_p95,
            reference_is_set=settings.source("reference_latency_p95") != "default",
        )
