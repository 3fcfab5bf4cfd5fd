"""Histograms without the bounds that requests are counted by are refused in words, from every source: never counted as nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_tts import semconv
from otel_tts.cli import main
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.engine import lacking
from otel_tts.history import History, HistoryUnavailableError, open_history
from otel_tts.settings import DoctorSettings, HistorySettings
from tests.history.conftest import Source, running_prometheus

DURATION = semconv.SYNTHESIS_DURATION, (("gen_ai.provider.name", "piper"), ("tts.outcome", "ok"))
REQUESTS = semconv.SYNTHESIS_REQUESTS, (("tts.outcome", "ok"),)
PLACE = {"k8s.cluster.name": "native"}
"""So that what other tests wrote is not read."""
REFUSED = re.compile(
    r"(A local metrics file|Prometheus at \S+) has (tts.synthesis.duration|tts_synthesis_duration_seconds) \(of tts-[^)]+\) as an "
    r"exponential or native histogram.*docs/series\.md"
)

QUESTIONS: dict[str, Callable[[History, float], Any]] = {
    "aggregates": lambda history, now: history.aggregates(now - 60, now),
    "totals": lambda history, now: history.totals(now - 60, now),
    "services": lambda history, now: history.services(now - 60, now),
    "series": lambda history, now: history.series(semconv.SYNTHESIS_DURATION, now - 60, now, 30),
    "last_seen": lambda history, now: history.last_seen(now - 60, now),
}


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus of this module's own: what is refused here must not be in that of other tests."""
    with running_prometheus(tmp_path_factory.mktemp("native")) as url:
        yield url


@pytest.fixture
def exponential(source: Source) -> Source:
    """A service whose durations are exponential histograms, read by itself."""
    source.write("a", time.time() - 10, {DURATION: [3, 1], REQUESTS: 4}, PLACE, exponential=True)
    return source.selected("k8s.cluster.name=native")


@pytest.mark.parametrize("question", QUESTIONS)
def test_exponential_histograms_are_refused(question: str, exponential: Source) -> None:
    """Every question about requests says which metric it is, and where to read what to do."""
    with pytest.raises(HistoryUnavailableError, match=REFUSED):
        QUESTIONS[question](exponential.history, time.time())


def test_other_metrics_are_read(exponential: Source) -> None:
    """Only what cannot be counted is refused."""
    now = time.time()
    [timeline] = exponential.history.series(semconv.SYNTHESIS_REQUESTS, now - 60, now, 60)
    assert timeline.points[0].value >= 4  # type: ignore[operator]


def test_one_such_process_beside_others_is_refused(source: Source) -> None:
    """What is left would be a part, and look whole."""
    now, place = time.time(), {"k8s.cluster.name": "mixed"}
    source.write("a", now - 10, {DURATION: [3, 1]}, place, exponential=True)
    source.write("b", now - 10, {DURATION: [2, 0]}, place)
    with pytest.raises(HistoryUnavailableError, match=REFUSED):
        source.selected("k8s.cluster.name=mixed").history.aggregates(now - 60, now)


def test_status_says_it(source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The state is unknown, with the reason; no traceback, and not "there are no metrics"."""
    source.write("a", time.time() - 10, {DURATION: [3, 1]}, {"k8s.cluster.name": "status"}, exponential=True)
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OTEL_TTS_SELECT", "k8s.cluster.name=status")
    if "prometheus" in request.node.name:
        monkeypatch.setenv("OTEL_TTS_PROMETHEUS_URL", request.getfixturevalue("prometheus_url"))
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 3
    assert REFUSED.search(result.stderr), result.output


def test_buckets_beside_native_histograms_are_read(prometheus_url: str, tmp_path: Path) -> None:
    """Where the store keeps both, as with `always_scrape_classic_histograms`, nothing is lost."""
    settings = HistorySettings.load({"OTEL_TTS_SELECT": "k8s.cluster.name=both"}, prometheus_url=prometheus_url)
    source, now = Source(open_history(settings), tmp_path, f"{prometheus_url}/api/v1/otlp/v1/metrics"), time.time()
    for exponential, moment in ((True, now - 12), (False, now - 10)):
        source.write("a", moment, {DURATION: [3, 1]}, {"k8s.cluster.name": "both"}, exponential=exponential)
    assert source.history.aggregates(now - 60, now)[0].request_count == 4


def test_buckets_that_the_store_has_put_together_are_refused(tmp_path: Path) -> None:
    """Native histograms with custom buckets: explicit ones arrive, and the store keeps one series of them."""
    with running_prometheus(tmp_path, "  convert_histograms_to_nhcb: true\n") as url:
        history = open_history(HistorySettings.load({}, prometheus_url=url))
        source, now = Source(history, tmp_path, f"{url}/api/v1/otlp/v1/metrics"), time.time()
        source.write("a", now - 10, {DURATION: [3, 1]})
        for question in (*QUESTIONS.values(), lambda history, now: history.newest, lambda history, now: history.began):
            with pytest.raises(HistoryUnavailableError, match=REFUSED) as refused:
                question(history, now)
            assert f"(of {source.service})" in str(refused.value)
        [sentence] = [
            each
            for each in lacking(Server(DoctorSettings.load({"OTEL_TTS_PROMETHEUS_URL": url}).prometheus, ""))
            if "native" in each
        ]
        assert "tts_synthesis_duration_seconds as a native histogram" in sentence  # doctor says it, too
        native = next(each for each in history.attribute_sets(now) if each.metric is semconv.SYNTHESIS_DURATION)
        assert (native.series, native.buckets) == (1, 0)  # and what it costs is counted
