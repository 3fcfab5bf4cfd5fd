"""Providers: which one fails, is slow or costs too much?"""

from __future__ import annotations

from otel_tts.grafana.layout import Section
from otel_tts.grafana.panels import WHOLE, Line, Panels, link
from otel_tts.grafana.units import NUMBER
from otel_tts.palette import BAD, GOOD, OUTCOMES, REFERENCE, YELLOW

_TO_REQUESTS = link("Requests of this time", "requests")
_STATES = {0: ("down", BAD), 1: ("some replicas", YELLOW), 2: ("available", GOOD)}


def sections(panels: Panels) -> list[Section]:
    """Its sections."""
    available = [
        panels.states(
            "Availability",
            "Down: no replica can use it; error types, below, say why. Some replicas: compare their nodes, versions and credentials.",
            Line(query="provider_state"),
            _STATES,
        ),
        panels.chart(
            "Success rate of attempts",
            "A provider at 0 with requests at 100 % lives on its fallback: repair it before that fails too.",
            Line(query="provider_success_rate"),
            condition="TTSProviderFailing",
            share=True,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Attempts by outcome",
            "rejected: the provider refuses the input; empty: it says success and sends no sound.",
            Line(query="attempt_rate"),
            colours=OUTCOMES,
            stacked=True,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Time since last known good",
            "Growing: nothing has been heard of the provider. Is it asked at all, and are probes on?",
            Line(query="provider_health_age"),
        ),
        panels.chart(
            "Error types of attempts",
            "unauthorized: the key. rate_limited: the quota. connection, timeout: the network, the host. no_audio: the voice, the text.",
            Line(query="attempt_errors"),
            stacked=True,
            links=[_TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Fallbacks, from and to",
            "Listeners hear another voice, and wait for two providers. Repair the first of each pair.",
            Line(query="fallback_rate", legend="{{tts_fallback_from}} to {{tts_fallback_to}}"),
            stacked=True,
            links=[_TO_REQUESTS],
            width=12,
        ),
    ]
    slow = [
        panels.chart(
            "Attempts, p50, by reason",
            "A slow fallback beside a fast initial attempt is the price of falling back; probes are nobody's wait.",
            Line(query="attempt_duration_p50", exemplars=True),
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Attempts, p95, by reason",
            "Compare with p50: far apart means a few are very slow, as with long texts or a cold engine. Dots open traces.",
            Line(query="attempt_duration_p95", exemplars=True),
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Real-time factor, p95",
            "Above 1 the engine is slower than speech, and every stream stops: more CPU or GPU, or fewer requests at once.",
            Line(query="real_time_factor_p95"),
            unit=NUMBER,
        ),
        panels.chart(
            "First audio, p95, against its reference",
            "Half as much again as the reference makes a ticket; the batch job or the environment sets it.",
            Line(query="first_audio_made_p95", exemplars=True),
            Line(query="first_audio_reference", legend="reference {{gen_ai_provider_name}} ({{reference}})"),
            colours={"reference.*": REFERENCE},
            links=[_TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Streams with a gap",
            "The provider makes audio more slowly than it is played: give it more, or move traffic away from it.",
            Line(query="gap_share_by_provider"),
            condition="TTSSpeechInterrupted",
            share=True,
            links=[_TO_REQUESTS],
            width=12,
        ),
    ]
    money = [
        panels.chart(
            "Characters by what became of them",
            "wasted is text for which nothing was heard, and which may cost money all the same.",
            Line(query="character_rate"),
            stacked=True,
        ),
        panels.chart(
            "Cost per hour, by provider",
            "A jump: a cache that no longer hits, or a dear provider that stands in for a cheap one. US dollars, by the prices given.",
            Line(query="cost_rate"),
            stacked=True,
        ),
        panels.stat(
            "Cost in this time",
            "Compare with the budget. A provider without a price is not in it.",
            Line(query="cost", window=WHOLE),
        ),
        panels.stat(
            "Requests without a price",
            "What they cost is not known, and not 0: give their models a price, docs/telemetry.md says how.",
            Line(query="unpriced", window=WHOLE, legend="{{gen_ai_provider_name}}"),
        ),
    ]
    return [Section("Can they be used?", available), Section("How fast are they?", slow), Section("What do they cost?", money)]
