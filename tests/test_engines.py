"""No engine is named as if it were tested when no test runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_RUN = re.compile(
    r"\b(Mimir|VictoriaMetrics|Cortex|M3|InfluxDB|OpenSearch|Elasticsearch|ClickHouse|ScyllaDB|SigNoz|Grafana Cloud|Datadog|Honeycomb)\b"
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy/kubernetes/chart/values.yaml"]


def claims(text: str) -> list[str]:
    """The lines that name such an engine and do not say that it is not run here, nor that it is not used at all."""
    return [
        line for line in text.splitlines() if NOT_RUN.search(line) and not re.search("not run here|not built, installed", line)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_no_test_runs_is_marked(page: Path) -> None:
    """Named only with what it needs, and marked."""
    assert claims(page.read_text("utf-8")) == []


def test_a_claim_is_found() -> None:
    """A sentence that names one is, and a marked one is not."""
    assert claims("Metrics go to Mimir.") == ["Metrics go to Mimir."]
    assert claims("| Mimir (not run here) | a flag |") == []
