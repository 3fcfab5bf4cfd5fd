"""Where dashboards shall live, and what they are about when they open."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_tts.conditions import Objectives


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One Grafana.

    Attributes:
        prometheus, tempo: the uids of the data sources that are chosen when a dashboard opens; people can choose others.
        service: the service that is chosen then; empty for all.
        objectives: what is drawn as a goal.
        runbooks: where people read the runbooks.
    """

    prometheus: str = "prometheus"
    tempo: str = "tempo"
    service: str = ""
    objectives: Objectives = field(default_factory=Objectives)
    runbooks: str = "docs/runbooks.md"
