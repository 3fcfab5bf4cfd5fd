"""Providers: which one fails, is slow or costs too much?"""

from __future__ import annotations

from otel_tts.grafana.layout import PanelSection
from otel_tts.grafana.links import TO_REQUESTS
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import WHOLE, PanelQuery
from otel_tts.grafana.units import NUMBER
from otel_tts.palette import BAD, CHARACTERS, GOOD, OUTCOMES, REFERENCE, YELLOW

_STATES = {0: ("down", BAD), 1: ("some replicas", YELLOW), 2: ("available", GOOD)}


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard.

    Args:
        panels: makes the panels.
    """
    available = [
        panels.states(
            "Availability",
            "down: no replica can use it; see error types below. some replicas: compare their nodes, versions and credentials.",
            PanelQuery(query="provider_state"),
            _STATES,
            absent="no provider was tried",
            width=20,
        ),
        panels.silence(),
        panels.chart(
            "Success rate of attempts",
            "At 0 with requests at 100%, the fallback serves all requests: repair the provider before the fallback fails too.",
            PanelQuery(query="provider_success_rate"),
            condition="TTSProviderFailing",
            near="all",
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Attempts by outcome",
            "rejected: the provider refuses the input. empty: it reports success and sends no audio.",
            PanelQuery(query="attempt_rate"),
            colours=OUTCOMES,
            stacked=True,
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Time since last known good",
            "It grows: no attempt or probe succeeds. Check that the provider is used and that probes are on.",
            PanelQuery(query="provider_health_age"),
        ),
        panels.chart(
            "Error types of attempts",
            "unauthorized: check the key. rate_limited: check the quota. connection, timeout: check the network "
            "and the host. no_audio: check the voice and the text.",
            PanelQuery(query="attempt_errors"),
            stacked=True,
            links=[TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Fallbacks, from and to",
            "Listeners hear another voice, and wait for two providers. Repair the provider that is named first.",
            PanelQuery(query="fallback_rate", legend="{{tts_fallback_from}} to {{tts_fallback_to}}"),
            stacked=True,
            links=[TO_REQUESTS],
            width=12,
        ),
    ]
    slow = [
        panels.chart(
            "Attempts, p50, by reason",
            "A fallback is slower than an initial attempt: its engine may be cold. No request waits for a probe.",
            PanelQuery(query="attempt_duration_p50", exemplars=True),
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Attempts, p95, by reason",
            "Far above p50: a few attempts are very slow, because of long texts or a cold engine. Dots open traces.",
            PanelQuery(query="attempt_duration_p95", exemplars=True),
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Real-time factor, p95",
            "Above 1, audio is made more slowly than it is played, and every stream has gaps: use more CPU or "
            "GPU, or allow fewer requests at once.",
            PanelQuery(query="real_time_factor_p95"),
            unit=NUMBER,
        ),
        panels.chart(
            "First audio, p95, against its reference",
            "At 1.5 times the reference, a ticket is opened. The batch job or the environment sets the reference.",
            PanelQuery(query="first_audio_made_p95", exemplars=True),
            PanelQuery(query="first_audio_reference", legend="reference {{gen_ai_provider_name}} ({{reference}})"),
            colours={"reference.*": REFERENCE},
            links=[TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Streams with a gap",
            "The provider makes audio more slowly than it is played: give it more CPU or GPU, or move traffic to another provider.",
            PanelQuery(query="gap_share_by_provider"),
            condition="TTSSpeechInterrupted",
            near="nothing",
            links=[TO_REQUESTS],
            width=12,
        ),
    ]
    money = [
        panels.chart(
            "Characters by state",
            "wasted: text whose audio was not delivered. It may still cost money.",
            PanelQuery(query="character_rate"),
            colours=CHARACTERS,
            stacked=True,
        ),
        panels.chart(
            "Cost per hour, by provider",
            "A jump: the cache hit rate fell, or an expensive provider replaces a cheap one. US dollars, by the configured prices.",
            PanelQuery(query="cost_rate"),
            absent="no prices configured",
            stacked=True,
        ),
        panels.stat(
            "Cost in this time",
            "Compare with the budget. A provider without a configured price is not included.",
            PanelQuery(query="cost", window=WHOLE),
            absent="no prices configured",
        ),
        panels.stat(
            "Requests without a price in this time",
            "Their cost is unknown, not 0: configure a price for their models, see docs/telemetry.md.",
            PanelQuery(query="unpriced", window=WHOLE, legend="{{gen_ai_provider_name}}"),
        ),
    ]
    return [PanelSection("", available), PanelSection("Latency", slow), PanelSection("Cost", money, collapsed=True)]
