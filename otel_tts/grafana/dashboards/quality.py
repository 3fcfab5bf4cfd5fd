"""Audio quality and drift: is the audio good, and has it changed?"""

from __future__ import annotations

from otel_tts.grafana.layout import PanelSection
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import PanelQuery
from otel_tts.grafana.units import NUMBER


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard.

    Args:
        panels: makes the panels.
    """
    sound = [
        panels.silence(),
        panels.chart(
            "Loudness, median, by language and voice",
            "Voices with different loudness are unpleasant when they alternate: set their gain. A step: a new "
            "engine, model or setting.",
            PanelQuery(query="loudness"),
            width=10,
        ),
        panels.chart(
            "Silence, share of the audio, p95",
            "Near 1: the audio is silent and counts as success. Listen to one request; check that the voice supports the language.",
            PanelQuery(query="silence_ratio_p95"),
            width=10,
            near="nothing",
        ),
        panels.chart(
            "Utterances that clip",
            "Clipping is audible distortion: lower the volume gain of requests or of the engine.",
            PanelQuery(query="clipped_share"),
            near="nothing",
        ),
        panels.chart(
            "Speaking rate, median",
            "Characters per second of speech. A fall: repeated words or pauses. A rise: missing words.",
            PanelQuery(query="speaking_rate_p50"),
        ),
        panels.chart(
            "Silence at the end, p95",
            "In a conversation, the listener waits for it: trim it, or report it to the vendor of the engine.",
            PanelQuery(query="trailing_silence_p95"),
        ),
        panels.chart(
            "Utterances judged",
            "0 with traffic: the cache serves all requests, or the audio has a format that is not decoded.",
            PanelQuery(query="judged_utterances"),
            width=24,
            stacked=True,
        ),
    ]
    verdicts = [
        panels.chart(
            "Quality scores",
            "Scores of your own quality model, where there is one. Compare voices with each other, and each with its past.",
            PanelQuery(query="quality_score"),
            absent="no quality model gave a score",
            unit=NUMBER,
            width=24,
        ),
    ]
    drift = [
        panels.chart(
            "Drift scores",
            "Distance from the reference profile, computed by the batch job. Its report shows what changed, and "
            "the number of samples.",
            PanelQuery(query="drift_score"),
            absent="no batch job has run in two days",
            width=12,
        ),
        panels.chart(
            "Measures that drifted",
            "1: the measure drifted. Listen to a request from before and to one from after. If the change is "
            "intended, save a new profile.",
            PanelQuery(query="drift_detected"),
            absent="no batch job has run in two days",
            condition="TTSDriftDetected",
            width=12,
        ),
    ]
    return [
        PanelSection("", sound),
        PanelSection("Scores of your own quality model", verdicts, collapsed=True),
        PanelSection("Drift, by the batch job", drift),
    ]
