"""Conversations: does speech stop when the listener interrupts, and what was made that nobody heard?"""

from __future__ import annotations

from otel_tts.grafana.layout import PanelSection
from otel_tts.grafana.links import TO_REQUESTS
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import PanelQuery
from otel_tts.palette import KINDS, OUTCOMES, QUANTILES


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard.

    Args:
        panels: makes the panels.
    """
    interruptions = [
        panels.silence(),
        panels.chart(
            "Interruptions",
            "Requests that the listener, or the application, cut off. Many of them: answers are too long, or not what was asked for.",
            PanelQuery(query="interruption_rate", legend="interrupted"),
            links=[TO_REQUESTS],
            width=10,
        ),
        panels.chart(
            "Time to silence",
            "From the interruption to the last audio handed out. Above 0.2 s people talk over the agent: stop the stream and "
            "empty buffers at once.",
            *(PanelQuery(query=f"time_to_silence_{name}", legend=name, exemplars=name == "p95") for name in ("p50", "p95")),
            colours=QUANTILES,
            absent="fewer than 2 interruptions",
            links=[TO_REQUESTS],
            width=10,
        ),
        panels.chart(
            "Silent within 0.2 s",
            "Share of interruptions after which no audio was handed out for longer than that.",
            PanelQuery(query="silent_in_time_share", legend="silent in time"),
            near="all",
            absent="nobody interrupted",
            width=12,
        ),
        panels.chart(
            "Cost per hour of speech that nobody heard",
            "US dollars. Send shorter pieces of text, and stop the provider when the listener interrupts.",
            PanelQuery(query="cost_wasted_rate"),
            absent="no prices configured, or nothing wasted",
            width=12,
        ),
    ]
    connections = [
        panels.chart(
            "Opening a connection, p95",
            "The first utterance on a connection waits for this. Open connections ahead.",
            PanelQuery(query="connection_open_p95"),
        ),
        panels.chart(
            "Connections that could not be opened",
            "By what went wrong: the key, the network, or the provider.",
            PanelQuery(query="connection_failures"),
        ),
        panels.chart(
            "Utterances on an open connection",
            "Low: each utterance opens a connection of its own. Keep them.",
            PanelQuery(query="connection_reuse_share"),
            near="all",
        ),
    ]
    beside = [
        panels.chart(
            "Prefetch and batch requests",
            "Nobody waits for these: they are in no objective, alert or drift.",
            PanelQuery(query="background_rate"),
            colours=OUTCOMES,
        ),
        panels.chart(
            "Duration of prefetch and batch requests, p95", "By kind.", PanelQuery(query="background_duration_p95"), colours=KINDS
        ),
        panels.chart(
            "Calls of providers, of every kind",
            "As the GenAI conventions count them, so that other backends can be compared with this one.",
            PanelQuery(query="client_rate"),
        ),
        panels.chart(
            "First audio from the provider, p95",
            "From asking to its first audio, without queue, cache and text that was waited for.",
            PanelQuery(query="first_chunk_p95"),
        ),
    ]
    return [
        PanelSection("", interruptions),
        PanelSection("Connections", connections, collapsed=True),
        PanelSection("Prefetch, batch and GenAI conventions", beside, collapsed=True),
    ]
