"""The dashboards: what each is called, what it asks, and how it becomes JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafanalib.core import Annotations, DashboardLink, Templating, Time, TimePicker

from otel_tts.grafana import variables
from otel_tts.grafana.dashboards import cache, conversations, overview, pipeline, providers, quality, requests, streaming
from otel_tts.grafana.elements import SCHEMA_VERSION, Board, DashboardVariable, present
from otel_tts.grafana.home import Home
from otel_tts.grafana.layout import PanelSection, flow
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.places import PLACES
from otel_tts.palette import BAD, BLUE
from otel_tts.promql import QUERIES, Scope

FOLDER = "otel-tts"
"""The title of their folder, and their tag."""
_REFRESH = "30s"
_INTERVALS = ["10s", "30s", "1m", "5m", "15m", "1h"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardPage:
    """One dashboard. question: what it answers. since: the time range when it opens."""

    name: str
    title: str
    question: str
    sections: Callable[[Panels], Sequence[PanelSection]]
    chooses: tuple[str, ...] = ("service", "provider", "window")
    since: str = "now-1h"

    @property
    def uid(self) -> str:
        """Its id in Grafana, the same everywhere."""
        return f"otel-tts-{self.name}"


PAGES: Mapping[str, DashboardPage] = {
    page.name: page
    for page in (
        DashboardPage(
            name="overview",
            title="Speech: overview",
            question="Do listeners get their audio in time?",
            sections=overview.sections,
        ),
        DashboardPage(
            name="providers",
            title="Speech: providers",
            question="Which provider fails, is slow or costs too much?",
            sections=providers.sections,
        ),
        DashboardPage(
            name="cache", title="Speech: cache", question="What does the cache save, and does it work?", sections=cache.sections
        ),
        DashboardPage(
            name="streaming",
            title="Speech: streaming",
            question="How soon does audio start, and where are gaps?",
            sections=streaming.sections,
        ),
        DashboardPage(
            name="conversations",
            title="Speech: conversations",
            question="Does speech stop when the listener interrupts, and what was made that nobody heard?",
            sections=conversations.sections,
        ),
        DashboardPage(
            name="requests",
            title="Speech: requests",
            question="Which requests were slow, failed or fell back, and what happened in them?",
            sections=requests.sections,
            chooses=("one service", "provider"),
        ),
        DashboardPage(
            name="quality",
            title="Speech: audio quality and drift",
            question="Is the audio good, and has it changed?",
            sections=quality.sections,
            since="now-24h",
        ),
        DashboardPage(
            name="pipeline",
            title="Speech: telemetry pipeline",
            question="Are the other dashboards complete?",
            sections=pipeline.sections,
            chooses=("service", "collector", "window"),
        ),
    )
}
"""All dashboards, by name."""


def render(name: str, home: Home | None = None) -> str:
    """The JSON of a dashboard, as Grafana's provisioning and its HTTP API take it.

    Args:
        name: of the dashboard.
        home: where the dashboards are; None: as they are shipped.
    """
    return json.dumps(model(name, home or Home()), indent=2, ensure_ascii=False) + "\n"


def model(name: str, home: Home) -> dict[str, Any]:
    """The dashboard as a document, before it is written as JSON.

    Args:
        name: of the dashboard.
        home: where the dashboards are: Grafana, data sources and runbooks.
    """
    page = PAGES[name]
    board = Board(
        uid=page.uid,
        title=page.title,
        description=page.question,
        tags=[FOLDER],
        annotations=Annotations(list=_annotations(home)),
        graphTooltip=1,
        links=[DashboardLink(title="Speech", tags=[FOLDER], asDropdown=True, includeVars=True, keepTime=True)],
        panels=flow(page.sections(Panels(home))),
        refresh=_REFRESH,
        schemaVersion=SCHEMA_VERSION,
        templating=Templating(list=_variables(page, home)),
        time=Time(page.since, "now"),
        timePicker=TimePicker(refreshIntervals=_INTERVALS, timeOptions=[]),
        timezone="browser",
        version=1,
    )
    document: dict[str, Any] = present(board)
    document["timepicker"].pop("time_options")
    return document


def _annotations(home: Home) -> list[dict[str, Any]]:
    """Marks over all charts: deploys, which are on, and alerts."""
    of_all = variables.scope("service", "5m", home.objectives)
    service = " ".join(f"{{{{{name}}}}}" for name in (*(place.label for place in PLACES.values()), "service_name"))
    return [
        _annotation("Deploys", "deploys", of_all, f"{service} {{{{service_version}}}}", BLUE),
        _annotation("Alerts", "alerts_over_time", of_all, f"{service} {{{{gen_ai_provider_name}}}}", BAD, "{{alertname}}"),
    ]


def _annotation(name: str, query: str, of_all: Scope, text: str, colour: str, title: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "datasource": variables.METRICS,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "target": {"refId": "Anno", "expr": QUERIES[query](of_all), "interval": "60s"},
        "titleFormat": title or name,
        "textFormat": text,
        "tagKeys": "severity" if title else "",
        "useValueForTime": False,
    }


def _variables(page: DashboardPage, home: Home) -> list[DashboardVariable]:
    chosen = {
        "service": variables.service(home),
        "one service": variables.one_service(home),
        "provider": variables.provider(),
        "collector": variables.collector(),
        "window": variables.window(),
    }
    return [
        variables.metrics_source(home),
        variables.traces_source(home),
        *variables.places(),
        *(chosen[name] for name in page.chooses),
    ]
