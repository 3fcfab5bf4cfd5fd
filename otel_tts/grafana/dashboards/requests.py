"""Requests: which were slow, failed or fell back, and what happened in them? Each row opens its trace."""

from __future__ import annotations

from otel_tts.grafana import traceql
from otel_tts.grafana.layout import Section
from otel_tts.grafana.panels import Line, Panels
from otel_tts.palette import OUTCOMES


def sections(panels: Panels) -> list[Section]:
    """Its sections. What is slow is longer than the reference that latency is judged against."""
    slow = panels.home.objectives.reference
    return [
        Section(
            "When?",
            [
                panels.chart(
                    "Requests by outcome",
                    "Draw over a peak to narrow the time: the tables below follow.",
                    Line(query="request_rate"),
                    colours=OUTCOMES,
                    stacked=True,
                    width=24,
                    height=6,
                )
            ],
        ),
        Section(
            "Which?",
            [
                panels.traces(
                    "Slow",
                    "Open the first: the longest span is where the time went. Queue, provider, encoding, or a fallback after a timeout?",
                    f"Requests that took longer than {slow:g} s, the slowest first.",
                    traceql.slow(slow),
                    slowest_first=True,
                ),
                panels.traces(
                    "Failed",
                    "Open the newest: its last attempt says why no provider helped.",
                    "Requests that ended in error or missed their deadline, the newest first.",
                    traceql.failed(),
                ),
                panels.traces(
                    "Empty or partial",
                    "Callers were told that it failed, after they had heard a part, or nothing. The attempt says what the provider sent.",
                    "Requests whose audio broke off, or had no samples, the newest first.",
                    traceql.cut_short(),
                ),
                panels.traces(
                    "Fallen back",
                    "The first attempt's span has the error; its provider is the one to repair.",
                    "Requests for which another provider than the first was asked, the newest first.",
                    traceql.fallen_back(),
                ),
            ],
        ),
    ]
