"""Streaming: how soon does audio start, and where are gaps?"""

from __future__ import annotations

from otel_tts.grafana.layout import PanelSection
from otel_tts.grafana.links import TO_REQUESTS
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import PanelQuery
from otel_tts.grafana.units import NUMBER
from otel_tts.palette import AUDIO, CAUSES, FORMATS, OUTCOMES, QUANTILES


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard.

    Args:
        panels: makes the panels.
    """
    begins = [
        panels.silence(),
        panels.chart(
            "First byte",
            "Late: the queue or the provider is slow. Compare queue wait and the attempts by provider. Dots open traces.",
            *(PanelQuery(query=f"first_byte_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[TO_REQUESTS],
            width=10,
        ),
        panels.chart(
            "First audio",
            "Late while the first byte is early: the voice starts with silence. Trim it, or choose another voice. Dots open traces.",
            *(PanelQuery(query=f"first_audio_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[TO_REQUESTS],
            width=10,
        ),
        panels.chart(
            "Silence between first byte and first audio",
            "Listeners wait although audio arrives. The voice causes it, not the network.",
            PanelQuery(query="mean_silence_before_audio", legend="mean"),
            width=24,
            height=6,
        ),
    ]
    stops = [
        panels.chart(
            "Streams with a gap, by cause",
            "provider: audio is made more slowly than it is played. consumer: the caller or the network reads "
            "too slowly; the service is not the cause.",
            PanelQuery(query="gap_share_by_cause"),
            colours=CAUSES,
            condition="TTSSpeechInterrupted",
            near="nothing",
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Shortfall of audio in a stream, p95, by cause",
            "By how much audio is behind at its worst, for a player that never pauses: about the sum of its gaps. A player that starts "
            "later by this much has none. Dots open traces.",
            PanelQuery(query="underrun_p95", exemplars=True),
            colours=CAUSES,
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Real-time factor, p95",
            "Above 1, audio is made more slowly than it is played: use more CPU or GPU, or allow fewer requests at once.",
            PanelQuery(query="real_time_factor_p95"),
            unit=NUMBER,
        ),
        panels.chart(
            "Streams by outcome",
            "partial: the audio ended early because of an error. cancelled: the caller ended the stream.",
            PanelQuery(query="stream_rate"),
            colours=OUTCOMES,
            stacked=True,
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Cancelled and partial streams",
            "More cancelled than usual: check the time to first audio. Partial: a provider ends its audio early.",
            PanelQuery(query="cancelled_share", legend="cancelled"),
            PanelQuery(query="partial_share", legend="partial"),
            colours=OUTCOMES,
            near="nothing",
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Mean duration of streams",
            "It grows with the same texts: providers are slower, or callers read more slowly.",
            PanelQuery(query="mean_duration", legend="mean"),
        ),
    ]
    time = [
        panels.chart(
            "Audio generated and delivered",
            "Seconds of audio per second. Audio that is generated and not delivered is wasted. The cache should deliver a part.",
            PanelQuery(query="audio_rate"),
            colours=AUDIO,
        ),
        panels.chart(
            "Waiting for text",
            "It grows: whoever writes the text is slow, for example a language model. The engine is not, and its real-time factor leaves "
            "this out.",
            *(PanelQuery(query=f"text_wait_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
        ),
        panels.chart(
            "Queue wait",
            "It grows: there are more requests than free engines. Add replicas, or allow more requests at once "
            "if the real-time factor is well below 1.",
            *(PanelQuery(query=f"queue_wait_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
        ),
        panels.chart(
            "Encoding time, p95, by format",
            "Compressed formats cost CPU time: choose a cheaper one, or move encoding elsewhere.",
            PanelQuery(query="encode_duration_p95", exemplars=True),
            colours=FORMATS,
        ),
    ]
    return [
        PanelSection("", begins),
        PanelSection("Gaps and ends", stops),
        PanelSection("Text, queue and encoding", time),
    ]
