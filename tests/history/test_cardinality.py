"""`otel-tts cardinality`: the series of a running service, from local files and from a real Prometheus alike."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from otel_tts import semconv
from otel_tts.cli import main
from otel_tts.history.cardinality import BUDGET, limit
from tests.history.conftest import Source, Totals

VOICES = ("joe", "amy", "kim")
ASKED = semconv.SYNTHESIS_REQUESTS
LOUDNESS, ENTRIES = semconv.QUALITY_LOUDNESS, semconv.CACHE_ENTRIES


def totals(*voices: str) -> Totals:
    """What a process with these voices exports: for each a histogram with two buckets, and a counter with an attribute of its own."""
    exported: dict[Any, Any] = {(ENTRIES, (("tts.cache.tier", "memory"),)): 3}
    for voice in voices:
        exported[LOUDNESS, (("tts.voice", voice),)] = [1, 0]
        exported[ASKED, (("tts.voice", voice), ("tts.outcome", "ok"), ("app.tenant", "a"))] = 2
        exported[ASKED, (("tts.voice", voice), ("tts.outcome", "error"))] = 1
    return exported


@pytest.fixture
def spoken(source: Source, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A service of two instances, one of which speaks in more voices, beside another service; and one that ended an hour ago."""
    now = time.time()
    source.write("a", now - 20, totals("joe"))
    source.write("a", now - 10, totals(*VOICES))
    source.write("b", now - 10, totals("joe"))
    source.write("ended", now - 3600, totals("joe", "old"))
    source.another().write("c", now - 10, totals("other"))
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    if "prometheus" in request.node.name:
        monkeypatch.setenv("OTEL_TTS_PROMETHEUS_URL", request.getfixturevalue("prometheus_url"))
    return source


def run(*arguments: str, columns: int = 160) -> Result:
    """The command, in a terminal of that width."""
    return CliRunner().invoke(main, ["cardinality", *arguments], env={"COLUMNS": str(columns)})


def test_series_by_metric_and_label(spoken: Source) -> None:
    """A bucket is a series; labels are named as Prometheus names them, and what ended or is another service's does not count."""
    document = json.loads(run("--json", "--service", spoken.service).stdout)
    assert (document["version"], document["command"], document["service"]) == (1, "cardinality", spoken.service)
    assert document["services"] == [spoken.service]
    metrics = {metric["name"]: metric for metric in document["metrics"]}
    assert [metric["name"] for metric in document["metrics"]] == [LOUDNESS.name, ASKED.name, ENTRIES.name]
    assert metrics[LOUDNESS.name] == {
        "name": LOUDNESS.name, "type": "histogram", "series": 16, "share": pytest.approx(16 / 26), "attribute_sets": 3,
        "labels": {"tts_voice": 3, "le": 2}, "most_per_instance": 12, "limit_per_instance": limit(LOUDNESS),
    }  # fmt: skip
    assert metrics[ASKED.name]["labels"] == {"tts_voice": 3, "tts_outcome": 2, "app_tenant": 1}
    assert (metrics[ASKED.name]["series"], metrics[ASKED.name]["attribute_sets"]) == (8, 6)
    assert metrics[ENTRIES.name]["series"] == 2
    assert (document["instances"], document["series"], document["most_per_instance"]) == (2, 26, 19)
    assert document["budget"] == {
        "per_instance": BUDGET, "instances": 2, "series": 2 * BUDGET, "expected_series": 38, "exceeded": False,
    }  # fmt: skip


def test_the_table_says_the_same(spoken: Source) -> None:
    """One line a metric, the sum, and what so many instances would make; above the budget with a remedy and an exit code of its own."""
    result = run("--service", spoken.service, "--instances", "50")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert [LOUDNESS.name, "16", "61.5%", "12", f"{limit(LOUDNESS):,}", "tts_voice", "3,", "le", "2"] in lines
    assert "2 instances, 26 series; at most 19 each." in result.output
    assert (
        "The budget of each is 5,000 series, 250,000 for 50 instances. If each had as many as the largest, they would have 950."
        in result.output
    )
    assert run("--service", spoken.service, "--budget", "19").exit_code == 0
    above = run("--service", spoken.service, "--budget", "18")
    assert above.exit_code == 3
    assert "36 for 2 instances. If each had as many as the largest, they would have 38." in above.output
    assert "OTEL_TTS_METRICS_DROPPED" in above.output
    assert json.loads(run("--json", "--service", spoken.service, "--budget", "18").stdout)["budget"]["exceeded"] is True


def test_nothing_is_an_error_that_names_what_there_is(spoken: Source) -> None:
    """A typing error is no service of no cost."""
    result = run("--service", "nope")
    assert result.exit_code == 1
    assert "There are no metrics of 'nope' of the last five minutes, only of " in result.output
    assert spoken.service in result.output


def test_nothing_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without telemetry, and with a Prometheus that does not answer, the message says where was looked."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    result = run("--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"in local files in {tmp_path}" in result.stderr
    monkeypatch.setenv("OTEL_TTS_PROMETHEUS_URL", "http://127.0.0.1:9")
    result = run()
    assert result.exit_code == 1
    assert "Prometheus at http://127.0.0.1:9 does not answer" in result.stderr


def test_only_the_selected_cluster(source: Source) -> None:
    """What a reader does not read it does not count."""
    now = time.time()
    source.write("a", now - 10, totals("joe"), {"k8s.cluster.name": "eu"})
    source.write("b", now - 10, totals(*VOICES), {"k8s.cluster.name": "us"})
    counted = source.selected("k8s.cluster.name=eu").history.attribute_sets(now)
    assert sum(each.series for each in counted if each.service == source.service) == 4 + 2 + 1


def test_names_are_whole_in_a_narrow_terminal(spoken: Source) -> None:
    """With 80 columns every name of a metric stands on one line; that labels are left out is said."""
    every: Totals = {(m, ()): [1, 0] if m.instrument is semconv.Instrument.HISTOGRAM else 1 for m in semconv.METRICS}
    spoken.write("a", time.time() - 5, every)
    arguments = ("--service", spoken.service)
    names = [metric["name"] for metric in json.loads(run("--json", *arguments).stdout)["metrics"]]
    lines = run(*arguments, columns=80).stdout.splitlines()
    assert len(names) > 40
    assert [line.split()[0] for line in lines[2 : 2 + len(names)]] == names
    assert max(map(len, lines[: 2 + len(names)])) <= 80
    assert "a terminal of 120 columns shows labels" in lines[-1]
    assert "shows labels" not in run(*arguments).stdout


def test_the_tab_key_completes_it() -> None:
    """The command and its options are there for shells."""
    completion = ShellComplete(main, {}, "otel-tts", "_OTEL_TTS_COMPLETE")
    assert "cardinality" in [item.value for item in completion.get_completions([], "card")]
    assert [item.value for item in completion.get_completions(["cardinality"], "--i")] == ["--instances"]


def test_the_budget_is_the_documented_one() -> None:
    """The page and the command have one number."""
    page = (Path(__file__).parents[2] / "docs/series.md").read_text()
    assert f"**{BUDGET:,} series an instance**" in page
    assert f"| {10 * BUDGET:,} |" in page
