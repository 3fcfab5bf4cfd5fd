"""Requests: which were slow, failed or fell back, and what happened in them? Each row opens its trace."""

from __future__ import annotations

from otel_tts.grafana import searches
from otel_tts.grafana.layout import PanelSection
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import PanelQuery
from otel_tts.palette import OUTCOMES
from otel_tts.semconv import Outcome

_ATTEMPTS = (
    "With Badger or Cassandra, Jaeger searches all spans of a trace: the table then also has requests of which only an "
    "attempt ended so and a fallback succeeded."
)


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard. What is slow is longer than the reference that latency is judged against.

    Args:
        panels: makes the panels.
    """
    slow = panels.home.objectives.reference
    return [
        PanelSection(
            "",
            [
                panels.silence(),
                panels.chart(
                    "Requests by outcome",
                    "Select a peak with the mouse to narrow the time range; the tables below follow.",
                    PanelQuery(query="request_rate"),
                    colours=OUTCOMES,
                    stacked=True,
                    width=20,
                    height=6,
                ),
            ],
        ),
        PanelSection(
            "Traces",
            [
                panels.traces(
                    "Slow",
                    "Open the first trace: its longest span took most of the time. Queue, provider, encoding, or a "
                    "fallback after a timeout?",
                    f"Requests that took longer than {slow:g} s, the slowest first.",
                    searches.slow(slow),
                    slowest_first=True,
                ),
                panels.traces(
                    "Failed",
                    "Open the newest trace: its last attempt has the error.",
                    f"Requests that ended in error, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.ERROR),
                ),
                panels.traces(
                    "Missed their deadline",
                    "Open the newest trace: was the provider slow, or is the caller's deadline too short?",
                    f"Requests that missed their deadline, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.DEADLINE),
                ),
                panels.traces(
                    "Partial",
                    "The caller got an error after a part of the audio. The attempt shows what the provider sent.",
                    f"Requests whose audio ended early, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.PARTIAL),
                ),
                panels.traces(
                    "Empty",
                    "The caller got no audio. The attempt shows what the provider sent.",
                    f"Requests whose audio had no samples, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.EMPTY),
                ),
                panels.traces(
                    "Fallen back",
                    "The span of the first attempt has the error. Repair its provider.",
                    "Requests that a second provider had to serve, the newest first.",
                    searches.FALLEN_BACK,
                ),
            ],
        ),
    ]
