"""The dashboards: what each is called, what it asks, and how it becomes JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafanalib.core import Annotations, DashboardLink, Templating, Time, TimePicker

from otel_tts.grafana import variables
from otel_tts.grafana.dashboards import cache, conversations, overview, pipeline, providers, quality, requests, streaming
from otel_tts.grafana.elements import SCHEMA_VERSION, Board, Note, Variable, present
from otel_tts.grafana.home import Home
from otel_tts.grafana.layout import Placed, Section, flow
from otel_tts.grafana.panels import Panels

FOLDER = "otel-tts"
"""The title of their folder, and their tag."""
_REFRESH = "30s"
_INTERVALS = ["10s", "30s", "1m", "5m", "15m", "1h"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One dashboard. question: what it answers. since: the time range when it opens."""

    name: str
    title: str
    question: str
    sections: Callable[[Panels], Sequence[Section]]
    chooses: tuple[str, ...] = ("service", "provider")
    since: str = "now-1h"

    @property
    def uid(self) -> str:
        """Its id in Grafana, the same everywhere."""
        return f"otel-tts-{self.name}"


PAGES: Mapping[str, Page] = {
    page.name: page
    for page in (
        Page(
            name="overview",
            title="Speech: overview",
            question="Do listeners get their audio in time?",
            sections=overview.sections,
        ),
        Page(
            name="providers",
            title="Speech: providers",
            question="Which provider fails, is slow or costs too much?",
            sections=providers.sections,
        ),
        Page(
            name="cache", title="Speech: cache", question="What does the cache save, and does it work?", sections=cache.sections
        ),
        Page(
            name="streaming",
            title="Speech: streaming",
            question="How soon does audio start, and where are gaps?",
            sections=streaming.sections,
        ),
        Page(
            name="conversations",
            title="Speech: conversations",
            question="Does speech stop when the listener interrupts, and what was made that nobody heard?",
            sections=conversations.sections,
        ),
        Page(
            name="requests",
            title="Speech: requests",
            question="Which requests were slow, failed or fell back, and what happened in them?",
            sections=requests.sections,
            chooses=("one service", "provider"),
        ),
        Page(
            name="quality",
            title="Speech: audio quality and drift",
            question="Is the audio good, and has it changed?",
            sections=quality.sections,
            since="now-24h",
        ),
        Page(
            name="pipeline",
            title="Speech: telemetry pipeline",
            question="Are the other dashboards complete?",
            sections=pipeline.sections,
            chooses=("service", "collector"),
        ),
    )
}
"""All dashboards, by name."""


def render(name: str, home: Home | None = None) -> str:
    """The JSON of a dashboard, as Grafana's provisioning and its HTTP API take it."""
    return json.dumps(model(name, home or Home()), indent=2, ensure_ascii=False) + "\n"


def model(name: str, home: Home) -> dict[str, Any]:
    """The same as a document."""
    page = PAGES[name]
    board = Board(
        uid=page.uid,
        title=page.title,
        description=page.question,
        tags=[FOLDER],
        annotations=Annotations(),
        graphTooltip=1,
        links=[DashboardLink(title="Speech", tags=[FOLDER], asDropdown=True, includeVars=True, keepTime=True)],
        panels=flow([_heading(page), *page.sections(Panels(home))]),
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


def _heading(page: Page) -> Section:
    others = " · ".join(
        f"[{other.title.removeprefix('Speech: ')}](/d/{other.uid}?${{__url_time_range}}&${{service:queryparam}}&${{traces:queryparam}})"
        for other in PAGES.values()
        if other is not page
    )
    note = Note(
        title="",
        description="The question that this dashboard answers, and links to the others.",
        content=f"**{page.question}** — {others}",
    )
    return Section("Speech", [Placed(note, 24, 2)])


def _variables(page: Page, home: Home) -> list[Variable]:
    chosen = {
        "service": variables.service(home),
        "one service": variables.one_service(home),
        "provider": variables.provider(),
        "collector": variables.collector(),
    }
    return [variables.metrics_source(home), variables.traces_source(home), *(chosen[name] for name in page.chooses)]
