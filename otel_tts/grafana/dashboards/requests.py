"""Requests: which were slow, failed or fell back, and what happened in them? Each row opens its trace."""

from __future__ import annotations

from otel_tts.grafana import searches
from otel_tts.grafana.layout import Section
from otel_tts.grafana.panels import Line, Panels
from otel_tts.palette import OUTCOMES
from otel_tts.semconv import Outcome

_ATTEMPTS = (
    "Where Jaeger keeps traces in Badger or Cassandra it looks at all spans of one: there a request is found too of which only an "
    "attempt ended so, and a fallback helped."
)


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
                    searches.slow(slow),
                    slowest_first=True,
                ),
                panels.traces(
                    "Failed",
                    "Open the newest: its last attempt says why no provider helped.",
                    f"Requests that ended in error, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.ERROR),
                ),
                panels.traces(
                    "Missed their deadline",
                    "Open the newest: was the provider slow, or the caller's deadline shorter than speech takes?",
                    f"Requests that missed their deadline, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.DEADLINE),
                ),
                panels.traces(
                    "Broken off",
                    "Callers were told that it failed, after they had heard a part. The attempt says what the provider sent.",
                    f"Requests whose audio broke off, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.PARTIAL),
                ),
                panels.traces(
                    "Empty",
                    "Callers got no sound. The attempt says what the provider sent.",
                    f"Requests whose audio had no samples, the newest first. {_ATTEMPTS}",
                    searches.ended(Outcome.EMPTY),
                ),
                panels.traces(
                    "Fallen back",
                    "The first attempt's span has the error; its provider is the one to repair.",
                    "Requests for which another provider than the first was asked, the newest first.",
                    searches.FALLEN_BACK,
                ),
            ],
        ),
    ]
