"""The Grafana that dashboards are made for, and what they show when they open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from otel_tts.conditions import Objectives
from otel_tts.settings.judging import RUNBOOKS

Traces = Literal["jaeger", "tempo"]
"""Kinds of data sources for traces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One Grafana.

    Attributes:
        prometheus: the uid of the data source that is chosen for metrics when a dashboard opens; people can choose others.
        jaeger, tempo: the uids of the two data sources that traces may come from.
        traces: which of the two is chosen when a dashboard opens.
        service: the service that is chosen then; empty for all.
        objectives: what is drawn as a goal.
        runbooks: where people read the runbooks.
    """

    prometheus: str = "prometheus"
    jaeger: str = "jaeger"
    tempo: str = "tempo"
    traces: Traces = "jaeger"
    service: str = ""
    objectives: Objectives = field(default_factory=Objectives)
    runbooks: str = RUNBOOKS
