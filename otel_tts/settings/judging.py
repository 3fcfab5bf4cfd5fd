"""Objectives that telemetry is judged against: read by the monitor, the live dashboard, Grafana's dashboards and the alert rules."""

from __future__ import annotations

from dataclasses import dataclass

from otel_tts.settings.section import Section, setting
from otel_tts.settings.values import Secret, count, factor, first_audio_bound, share, some_seconds, text

RUNBOOKS = "https://github.com/otel-tts/otel-tts/blob/main/docs/runbooks.md"
"""Where people read the runbooks, unless somebody says otherwise."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(Section):
    """Objectives and references: for the monitor, the dashboards and the alert rules."""

    reference_latency_mean: float = setting(
        "OTEL_TTS_REFERENCE_LATENCY_MEAN",
        some_seconds,
        0.8,
        "Seconds that a request should take on average that the cache does not answer: of streams up to first audio, of others in all.",
    )
    reference_latency_p95: float = setting(
        "OTEL_TTS_REFERENCE_LATENCY_P95",
        some_seconds,
        2.5,
        "The same for the 95th percentile. While it is not set, alerts prefer what was published or was usual; see docs/runbooks.md.",
    )
    slo_success: float = setting(
        "OTEL_TTS_SLO_SUCCESS", share, 0.99, "The share of requests that shall succeed; generated into the rules."
    )
    slo_first_audio: float = setting(
        "OTEL_TTS_SLO_FIRST_AUDIO",
        share,
        0.95,
        "The share of streams whose first audio shall come in time; generated into the rules.",
    )
    slo_first_audio_seconds: float = setting(
        "OTEL_TTS_SLO_FIRST_AUDIO_SECONDS",
        first_audio_bound,
        2.5,
        "Seconds within which first audio is in time; one of the bounds of the metric's buckets.",
    )
    runbooks_url: str = setting(
        "OTEL_TTS_RUNBOOKS_URL",
        text,
        RUNBOOKS,
        "The address of the runbooks, which must open wherever an alert is read; alerts, dashboards, pages and the monitor name it.",
    )


@dataclass(frozen=True, kw_only=True)
class MonitorSettings(ObjectiveSettings):
    """The monitor, which judges inside the process."""

    monitor_window: float = setting("OTEL_TTS_MONITOR_WINDOW", some_seconds, 300.0, "Seconds over which the monitor judges.")
    monitor_minimum_traffic: int = setting(
        "OTEL_TTS_MONITOR_MINIMUM_TRAFFIC", count, 20, "Requests that the monitor wants in its window before it judges."
    )
    monitor_success_rate: float = setting(
        "OTEL_TTS_MONITOR_SUCCESS_RATE", share, 0.95, "The monitor warns when less than this share of requests succeeds."
    )
    monitor_latency_factor: float = setting(
        "OTEL_TTS_MONITOR_LATENCY_FACTOR", factor, 1.5, "The monitor warns when latency exceeds its reference this many times."
    )
    notify_urls: Secret = setting(
        "OTEL_TTS_NOTIFY_URLS",
        Secret,
        Secret(""),
        "Where the monitor also sends what it logs: Apprise URLs, commas between; needs the extra `notify`.",
    )
