"""Streaming: when does speech begin to sound, and where does it stop?"""

from __future__ import annotations

from otel_tts.grafana.layout import Section
from otel_tts.grafana.panels import Line, Panels, link
from otel_tts.grafana.units import NUMBER
from otel_tts.palette import OUTCOMES, QUANTILES

_TO_REQUESTS = link("Requests of this time", "requests")


def sections(panels: Panels) -> list[Section]:
    """Its sections."""
    begins = [
        panels.chart(
            "First byte",
            "Late: the queue or the provider. Queue wait and attempts by provider tell which. Dots open traces.",
            *(Line(query=f"first_byte_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "First audio",
            "Late while the first byte is early: the voice begins with silence; trim it, or choose another. Dots open traces.",
            *(Line(query=f"first_audio_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Silence between first byte and first audio",
            "Time that listeners wait although audio arrives. It is in the voice, not in the network.",
            Line(query="mean_silence_before_audio", legend="mean"),
        ),
    ]
    stops = [
        panels.chart(
            "Streams with a gap, by cause",
            "provider: the engine is slower than speech. consumer: the caller or the network reads too slowly; nothing to repair here.",
            Line(query="gap_share_by_cause"),
            condition="TTSSpeechInterrupted",
            share=True,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Worst gap in a stream, p95, by cause",
            "How long speech stops: a player that keeps so much audio in hand would not stop at all. Dots open traces.",
            Line(query="underrun_p95", exemplars=True),
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Real-time factor, p95",
            "Above 1 the engine is slower than speech: more CPU or GPU, or fewer requests at once.",
            Line(query="real_time_factor_p95"),
            unit=NUMBER,
        ),
        panels.chart(
            "Streams by outcome",
            "partial broke off in the middle, through our fault; cancelled are listeners who had enough, or waited too long.",
            Line(query="stream_rate"),
            colours=OUTCOMES,
            stacked=True,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Cancelled and partial streams",
            "Cancelled more than usual: compare with first audio, people don't wait. Partial: a provider breaks off.",
            Line(query="cancelled_share", legend="cancelled"),
            Line(query="partial_share", legend="partial"),
            colours=OUTCOMES,
            share=True,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Mean duration of streams",
            "How long callers are bound. Growing with the same texts: providers slow down, or callers read slowly.",
            Line(query="mean_duration", legend="mean"),
        ),
    ]
    time = [
        panels.chart(
            "Audio generated and delivered",
            "Seconds of audio a second. What is generated and not delivered is work for nobody. The cache should carry its part.",
            Line(query="audio_rate"),
        ),
        panels.chart(
            "Queue wait",
            "Growing: more requests than engines. Add replicas, or allow more at once if the real-time factor is well below 1.",
            *(Line(query=f"queue_wait_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
        ),
        panels.chart(
            "Encoding time, p95, by format",
            "Compressed formats cost CPU time: choose a cheaper one, or move encoding elsewhere.",
            Line(query="encode_duration_p95", exemplars=True),
        ),
    ]
    return [
        Section("When does it begin?", begins),
        Section("Where does it stop?", stops),
        Section("Where does the time go?", time),
    ]
