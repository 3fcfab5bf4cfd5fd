"""Figures that stand on several pages: each is the one that the code has, wherever it stands."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from opentelemetry.sdk.trace.export import _DEFAULT_SCHEDULE_DELAY_MILLIS

from otel_tts.commands.requests import requests
from otel_tts.core.outcome import ERROR, from_rpc_status
from otel_tts.history.cardinality import BUDGET
from otel_tts.history.local import LocalHistory
from otel_tts.sdk.direct.queue import MOST_SPANS
from otel_tts.semconv import Outcome
from otel_tts.semconv.metrics import MAX_ATTRIBUTE_SETS
from otel_tts.semconv.values import DOWN_AFTER
from otel_tts.service.config import ServiceConfig
from otel_tts.settings import LiveSettings, ObjectiveSettings, Settings
from tests.needed import NEEDED

ROOT = Path(__file__).parents[1]
WORDS = {3: "three", 5: "five", 7: "seven", 8: "eight"}

settings, service, live, objectives = Settings.load({}), ServiceConfig.load({}), LiveSettings.load({}), ObjectiveSettings.load({})
metrics_s = settings.export_interval
spans_s = _DEFAULT_SCHEDULE_DELAY_MILLIS / 1000
project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
python = project["requires-python"].removeprefix(">=")
[go] = {match for tool in NEEDED for match in re.findall(r"Go (\d\.\d+)", tool.remedy)}
dashboards = len(list((ROOT / "dashboards").glob("*.json")))
stored = inspect.signature(LocalHistory.requests).parameters["limit"].default
[listed] = {option.default for option in requests.params if option.name == "limit"}

STATED = {
    "README.md": [
        f"One of {WORDS[len(Outcome)]} outcomes",
        f"gRPC speech service with three real engines on port {service.port}",
        f"live dashboard on {live.dashboard_port}",
        f"needs Python {python} or later",
    ],
    "CHANGELOG.md": [f"a budget of {BUDGET:,} an instance"],
    "CONTRIBUTING.md": [f"You need Python {python} or later", f"Go {go},"],
    "docs/concepts.md": [
        f"how a synthesis or an attempt ended: one of [{WORDS[len(Outcome)]}]",
        f"*down* after {WORDS[DOWN_AFTER]} failed",
    ],
    "docs/dashboards.md": [f"{WORDS[dashboards].title()} dashboards, each with"],
    "docs/deployment.md": [
        f"| {service.port} (gRPC), {settings.prometheus_port} (metrics to pull) |",
        f"{dashboards} dashboards present",
    ],
    "docs/json.md": [f"which is {listed} without it"],
    "docs/live.md": [f"http://127.0.0.1:{live.dashboard_port};", f"`--host`: {live.dashboard_port} on 127.0.0.1."],
    "docs/migration.md": [
        f"{WORDS[len(Outcome)]} outcomes",
        f"the same port {service.port}, metrics on {settings.prometheus_port}",
        f"on port {live.dashboard_port}",
    ],
    "docs/notebooks.md": [f"gives the newest {stored} unless `limit=`"],
    "docs/performance.md": [f"a queue of {MOST_SPANS:,} spans"],
    "docs/pipeline.md": [
        f"keeps [{MOST_SPANS:,} spans]",
        f"since its last export: {metrics_s:g} s | since its last export: {spans_s:g} s",
        f"It needs Go {go} or later",
        f"live dashboard {live.dashboard_port}",
    ],
    "docs/runbooks.md": [f"exports every {metrics_s:g} s", f"`default`: {objectives.reference_latency_p95:g} s"],
    "docs/series.md": [
        f"no metric has more than {MAX_ATTRIBUTE_SETS:,} attribute sets",
        f"The budget is **{BUDGET:,} series an instance**",
        f"| 1 | {BUDGET:,} | 15 MB |",
    ],
    "docs/shutdown.md": [f"`OTEL_TTS_SHUTDOWN_TIMEOUT` ({settings.shutdown_timeout:g} seconds)"],
    "docs/telemetry.md": [f"within {MAX_ATTRIBUTE_SETS:,} attribute sets", f"0 after {DOWN_AFTER} in a row"],
    "docs/troubleshooting.md": [f"Spans leave after {spans_s:g} s, metrics after {metrics_s:g} s."],
    "docs/versioning.md": [f"Python {python} and later is supported"],
    "docs/zero-code.md": [
        f"metrics leave every {metrics_s:g} s",
        f"at most {metrics_s:g} s of metrics and {spans_s:g} s of spans",
        f"export every {metrics_s:g} s",
    ],
    "docs/guides/engine.md": [f"gives the newest {stored} requests"],
    "docs/guides/http.md": [f"After {WORDS[round(spans_s)]} seconds, which is how often spans are written"],
    "docs/guides/opentelemetry.md": [f"`configure()` takes {metrics_s:g} s"],
}
"""By page, what it says with a figure in it that another page, or the code, has too."""


def prose(page: str) -> str:
    """The text of a page, on one line and in lower case."""
    return " ".join((ROOT / page).read_text("utf-8").split()).lower()


@pytest.mark.parametrize("page", STATED)
def test_a_page_has_the_figures_of_the_code(page: str) -> None:
    """A default or a limit that changes is found on each page that names it."""
    assert [statement for statement in STATED[page] if statement.lower() not in prose(page)] == []


def defaults() -> Iterator[tuple[str, str]]:
    """Each variable of docs/configuration.md with its default."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    yield from re.findall(r"^\| `([A-Z_]+)` \| `([^`]*)` \|", page, re.MULTILINE)


def test_no_page_states_another_default() -> None:
    """Where a page names a variable with its default in brackets behind it, it is that of docs/configuration.md."""
    by_name = dict(defaults())
    pattern = r"`([A-Z_]+)`,? \((?:default |by default )?`?([\w.:/]+)`?(?: s| seconds)?\)"
    stated = [
        (path.name, name, value)
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for name, value in re.findall(pattern, path.read_text("utf-8"))
        if name in by_name
    ]
    assert len(stated) > 1
    assert [each for each in stated if by_name[each[1]] != each[2]] == []


def test_the_guide_says_what_a_status_means() -> None:
    """Each row of the table in docs/guides/grpc.md is what a status without any attempt is, and no status is missing."""
    section = (
        (ROOT / "docs" / "guides" / "grpc.md").read_text("utf-8").partition("## What a status means")[2].partition("\n## ")[0]
    )
    rows = [
        [re.findall(r"`(\w+)`", cell) for cell in row.split("|")[1:3]]
        for row in re.findall(r"^\| .*`.* \|$", section, re.MULTILINE)
    ]
    stated = {status: meaning for statuses, meaning in rows for status in statuses}
    others = stated.pop("OK")
    for code in grpc.StatusCode:
        if code is not grpc.StatusCode.OK:
            cause = from_rpc_status(code.name, attempted=False)
            assert stated.get(code.name, others) == [str(part) for part in (cause.outcome, cause.error_type) if part], code
            after = from_rpc_status(code.name, attempted=True)
            assert after == (ERROR if cause.outcome is Outcome.REJECTED else cause)


def test_the_summary_of_performance_has_the_figures_of_its_tables() -> None:
    """Each figure of "In short" stands in the section that it names."""
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    sections = {part.partition("\n")[0].lower().replace(" ", "-"): part for part in page.split("\n## ")}
    rows = re.findall(r"^\| .* \| ([^|]*) \| \[[^]]+\]\(#([a-z-]+)\) \|$", sections["in-short"], re.MULTILINE)
    assert len(rows) == 7
    for figures, section in rows:
        for figure in re.findall(r"[\d.]+\d|\d+", figures):
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", sections[section]), f"{section} has no {figure}"
