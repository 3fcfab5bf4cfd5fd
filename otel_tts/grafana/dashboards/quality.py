"""Audio quality and drift: does speech sound as it should, and as it used to?"""

from __future__ import annotations

from otel_tts.grafana.layout import Section
from otel_tts.grafana.panels import Line, Panels
from otel_tts.grafana.units import NUMBER


def sections(panels: Panels) -> list[Section]:
    """Its sections."""
    sound = [
        panels.chart(
            "Loudness, median, by language and voice",
            "Voices far apart annoy listeners when they alternate: set their gain. A step is a new engine, model or setting.",
            Line(query="loudness"),
        ),
        panels.chart(
            "Silence, share of the audio, p95",
            "Near 1: empty audio that passes for success. Listen to one; look whether the voice knows the language.",
            Line(query="silence_ratio_p95"),
            share=True,
        ),
        panels.chart(
            "Utterances that clip",
            "Distortion that listeners hear: lower the volume gain that is asked for, or the engine's.",
            Line(query="clipped_share"),
            share=True,
        ),
        panels.chart(
            "Speaking rate, median",
            "Characters a second of speech. Fallen: stuttering or repeated words. Risen: words left out.",
            Line(query="speaking_rate_p50"),
        ),
        panels.chart(
            "Silence at the end, p95",
            "Listeners of a conversation wait for it: trim it, or report it to the engine's makers.",
            Line(query="trailing_silence_p95"),
        ),
        panels.chart(
            "Utterances judged",
            "0 with traffic: the cache serves all of it, or the audio comes in a form that is not looked into.",
            Line(query="judged_utterances"),
            stacked=True,
        ),
    ]
    verdicts = [
        panels.chart(
            "Quality scores",
            "The adopter's own quality model, where there is one. Compare voices with each other, and each with its past.",
            Line(query="quality_score"),
            unit=NUMBER,
            width=24,
        ),
    ]
    drift = [
        panels.chart(
            "Drift scores",
            "Distance from the reference profile, by the batch job. Its report says what changed, and on how many samples.",
            Line(query="drift_score"),
            width=12,
        ),
        panels.chart(
            "Measures that drifted",
            "1 is drift. Listen to a request from before and to one from after; if the change is meant, save a new profile.",
            Line(query="drift_detected"),
            condition="TTSDriftDetected",
            width=12,
        ),
    ]
    return [Section("Sound", sound), Section("Verdicts", verdicts), Section("Drift, by the batch job", drift)]
