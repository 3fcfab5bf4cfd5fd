"""Native histograms: those with the metric's own buckets are read as those buckets are; others are refused, never counted as nothing."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import semconv
from otel_tts.cli import main
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.engine import lacking
from otel_tts.distribution import Distribution
from otel_tts.history import History, HistoryUnavailableError, open_history
from otel_tts.history.native import Unbounded, distribution
from otel_tts.settings import DoctorSettings, HistorySettings
from tests.history.conftest import Source, Totals, running_prometheus

OK = (("gen_ai.provider.name", "piper"), ("tts.outcome", "ok"))
DURATION = semconv.SYNTHESIS_DURATION, OK
FAILED = semconv.SYNTHESIS_DURATION, (("gen_ai.provider.name", "piper"), ("tts.outcome", "error"))
REQUESTS = semconv.SYNTHESIS_REQUESTS, (("tts.outcome", "ok"),)
PLACE = {"k8s.cluster.name": "native"}
"""So that what other tests wrote is not read."""
REFUSED = re.compile(
    r"(A local metrics file|Prometheus at \S+) has (tts.synthesis.duration|tts_synthesis_duration_seconds) \(of tts-[^)]+\) as an "
    r"exponential or native histogram.*docs/series\.md"
)

QUESTIONS: dict[str, Callable[[History, float], Any]] = {
    "aggregates": lambda history, now: history.aggregates(now - 60, now),
    "aggregates by provider": lambda history, now: history.aggregates(now - 60, now, by=["provider"]),
    "totals": lambda history, now: history.totals(now - 60, now),
    "series": lambda history, now: history.series(semconv.SYNTHESIS_DURATION, now - 60, now, 30),
}
"""Questions about what lies below and above bounds."""


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus of this module's own: what is refused here must not be in that of other tests."""
    with running_prometheus(tmp_path_factory.mktemp("native")) as url:
        yield url


@pytest.fixture(scope="module")
def converting_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that puts explicit buckets together in one series."""
    with running_prometheus(tmp_path_factory.mktemp("converting"), "  convert_histograms_to_nhcb: true\n") as url:
        yield url


@pytest.fixture
def exponential(source: Source) -> Source:
    """A service whose durations are exponential histograms, read by itself."""
    source.write("a", time.time() - 10, {DURATION: [3, 1], REQUESTS: 4}, PLACE, exponential=True)
    return source.selected("k8s.cluster.name=native")


# --- custom buckets ----------------------------------------------------------------------------------------------------------


def source_at(url: str, directory: Path, service: str = "") -> Source:
    """A source that writes to this Prometheus and reads from it."""
    history = open_history(HistorySettings.load({}, prometheus_url=url))
    return Source(history, directory, f"{url}/api/v1/otlp/v1/metrics", service)


HISTOGRAMS = (semconv.SYNTHESIS_DURATION, semconv.SYNTHESIS_FIRST_AUDIO, semconv.STREAM_UNDERRUN, semconv.ATTEMPT_DURATION)


def attribute_sets(metric: semconv.Metric) -> Iterator[tuple[tuple[str, str | bool], ...]]:
    """Some sets of attributes that the metric has."""
    given_values: Mapping[str, tuple[str | bool, ...]] = {
        "gen_ai.provider.name": ("piper", "openai"), "tts.outcome": ("ok", "error"), "gen_ai.request.stream": (True, False),
        "tts.underrun.cause": ("provider",),
    }  # fmt: skip
    keys = [key for key in given_values if key in metric.keys]
    for number in range(2):
        yield tuple((key, given_values[key][number % len(given_values[key])]) for key in keys)


def recorded(seed: int) -> list[tuple[str, float, float, Totals]]:
    """What three processes export in 300 s: their names, when, when they began, and their totals. One begins again under its old name."""
    chance = random.Random(seed)
    exports = []
    for process in ("a", "b", "c"):
        began, counts = 1.0, dict[Any, Any]()
        for tick in range(chance.randint(0, 3), 30):
            moment = 10.0 * tick + 3
            if process == "b" and tick in (11, 20):
                began, counts = moment - 2, {}
            if process == "c" and 8 < tick < 16:
                continue  # silent meanwhile
            for metric in HISTOGRAMS:
                for attributes in attribute_sets(metric):
                    before = counts.get((metric, attributes), [0] * (len(metric.buckets) + 1))
                    counts[metric, attributes] = [number + (chance.random() < 0.15) * chance.randint(1, 9) for number in before]
            exports.append((process, moment, began, dict(counts)))
    return sorted(exports, key=lambda each: each[1])


def test_aggregates_are_those_of_buckets(prometheus_url: str, converting_url: str, tmp_path: Path) -> None:
    """The same recording in a store with buckets and in one that has put them together: every question has the same answer in both."""
    start = time.time() // 60 * 60 - 3600
    sources = [source_at(prometheus_url, tmp_path)]
    sources.append(source_at(converting_url, tmp_path, sources[0].service))
    for source in sources:
        for process, moment, began, totals in recorded(7):
            source.begin(process, start + began)
            source.write(process, start + moment, totals)
    classic, native = (source.history for source in sources)
    service = sources[0].service

    def alike(question: Callable[[History], Any]) -> Any:
        answer = question(native)
        assert answer == question(classic)
        return answer

    [whole] = alike(lambda history: history.aggregates(start, start + 300, service=service))
    assert whole.request_count > 500
    assert None not in (whole.request_duration_p50, whole.request_first_audio_p95)
    for step in (20.0, 25.0, 60.0, 100.0):
        rows = alike(lambda history, step=step: history.aggregates(start, start + 300, step, service=service))
        assert len({row.request_count for row in rows}) > 2
    chance = random.Random(7)
    for begin, length in [(chance.randint(0, 200), chance.randint(20, 100)) for _ in range(12)]:
        alike(lambda history, a=start + begin, b=start + begin + length: history.aggregates(a, b, service=service))
    for by in ("provider", "language"):
        alike(lambda history, by=by: history.aggregates(start, start + 300, 50, by=[by], service=service))
    for metric in HISTOGRAMS:
        timelines = alike(
            lambda history, metric=metric: history.series(metric, start, start + 300, 30, metric.attributes, service=service)
        )
        assert len(timelines) == 2
    services = alike(lambda history: [each for each in history.services(start, start + 300) if each.name == service])
    assert services[0].requests == whole.request_count
    places = alike(lambda history: [each for each in history.places(start, start + 300) if each.service == service])
    assert [place.values for place in places] == [("", "", "")]
    seen = alike(lambda history: {service: history.last_seen(start, start + 300)[service]})
    assert seen[service] == pytest.approx(start + 293, abs=0.01)
    assert native.began == pytest.approx(start + 1, abs=5)
    assert native.newest == pytest.approx(start + 293, abs=0.01)
    before = native.fingerprint(start, start + 400)
    sources[1].write("a", start + 310, {DURATION: [9] * (len(semconv.SYNTHESIS_DURATION.buckets) + 1)})
    assert native.fingerprint(start, start + 400) != before


def test_it_costs_one_series(converting_url: str, tmp_path: Path) -> None:
    """And `cardinality` counts it as such."""
    source, now = source_at(converting_url, tmp_path), time.time()
    source.write("a", now - 10, {DURATION: [0] * len(semconv.SYNTHESIS_DURATION.buckets) + [2]})
    sets = [each for each in source.history.attribute_sets(now) if each.service == source.service]
    assert [(each.metric, each.series, each.buckets) for each in sets] == [(semconv.SYNTHESIS_DURATION, 1, 0)]


def test_other_buckets_than_the_metrics_are_refused(converting_url: str, tmp_path: Path) -> None:
    """Bounds that requests are judged by are not among them. How many there were is known all the same; `doctor` says what is lacking."""
    source, now = source_at(converting_url, tmp_path), time.time()
    source.write("a", now - 10, {DURATION: [3, 1]})
    with pytest.raises(HistoryUnavailableError, match=REFUSED) as refused:
        source.history.aggregates(now - 60, now, service=source.service)
    assert f"(of {source.service})" in str(refused.value)
    assert {each.name: each.requests for each in source.history.services(now - 60, now)}[source.service] == 4
    [sentence] = [
        each
        for each in lacking(Server(DoctorSettings.load({"OTEL_TTS_PROMETHEUS_URL": converting_url}).prometheus, ""))
        if "native" in each
    ]
    assert "tts_synthesis_duration_seconds as a native histogram" in sentence


def test_a_store_that_changes_its_kind_is_refused_for_that_time(prometheus_url: str, converting_url: str, tmp_path: Path) -> None:
    """Neither has all: a sum of both would count twice or too little. Where both are kept and agree, nothing is lost."""
    counts = [2] * (len(semconv.SYNTHESIS_DURATION.buckets) + 1)
    both, now = source_at(prometheus_url, tmp_path), time.time()
    total = sum(counts)
    both.write("a", now - 30, {DURATION: counts}, {"k8s.cluster.name": "changed"})
    both.write("a", now - 20, {DURATION: [total, 0]}, {"k8s.cluster.name": "changed"}, exponential=True)
    read = both.selected("k8s.cluster.name=changed").history
    assert read.aggregates(now - 60, now)[0].request_count == total
    both.write("a", now - 10, {DURATION: [total + 1, 0]}, {"k8s.cluster.name": "changed"}, exponential=True)
    with pytest.raises(HistoryUnavailableError, match=r"changed between buckets and native histograms.*an hour after it"):
        read.aggregates(now - 60, now)
    assert read.aggregates(now - 300, now - 100)[0].request_count == 0


BOUNDS = (0.0, 0.5, 1.0, 4.0)


@given(st.lists(st.integers(0, 5), min_size=5, max_size=5))
def test_buckets_of_the_api_are_those_of_the_metric(counts: list[int]) -> None:
    """Empty ones are not in the answer, and come back."""
    edges = [-math.inf, *BOUNDS, math.inf]
    listed = [[0, str(low), str(high), str(n)] for low, high, n in zip(edges, edges[1:], counts, strict=False) if n]
    read = distribution({"count": str(sum(counts)), "sum": "1", "buckets": listed}, BOUNDS)
    assert read == Distribution(dict(zip(edges[1:], map(float, accumulate(counts)), strict=True)))


@pytest.mark.parametrize(
    "histogram",
    [
        {"count": "1", "buckets": [[0, "0.5", "0.7", "1"]]},
        {"count": "1", "buckets": [[0, "0.5", "4", "1"]]},
        {"count": "1", "buckets": [[3, "-0.001", "0.001", "1"]]},
        {"count": "2", "buckets": [[0, "0.5", "1", "1"]]},
    ],
)
def test_other_buckets_are_none(histogram: dict[str, Any]) -> None:
    """A part of a bucket, two together, an exponential histogram's around 0, and such that do not add up."""
    assert distribution(histogram, BOUNDS) is None


# --- exponential -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
def test_exponential_histograms_are_refused(question: str, exponential: Source) -> None:
    """Every question about what lies below bounds says which metric it is, and where to read what to do."""
    with pytest.raises(HistoryUnavailableError, match=REFUSED):
        QUESTIONS[question](exponential.history, time.time())


def test_what_needs_no_buckets_is_read(exponential: Source) -> None:
    """Other metrics, how many requests there were, by whom, where, and when the newest came."""
    now = time.time()
    [timeline] = exponential.history.series(semconv.SYNTHESIS_REQUESTS, now - 60, now, 60)
    assert timeline.points[0].value >= 4  # type: ignore[operator]
    services = {service.name: service for service in exponential.history.services(now - 60, now)}
    assert services[exponential.service].requests == 4
    assert services[exponential.service].versions == {"1.2": 4}
    assert exponential.history.last_seen(now - 60, now)[exponential.service] == pytest.approx(now - 10, abs=2)
    assert exponential.service in {place.service for place in exponential.history.places(now - 60, now)}
    assert exponential.history.newest is not None
    assert exponential.history.began is not None


def test_one_service_with_them_blocks_no_other(source: Source) -> None:
    """Of a service that is named, only its own count; of all, it is refused: what is left would be a part, and look whole."""
    now, place = time.time(), {"k8s.cluster.name": "mixed"}
    source.write("a", now - 10, {DURATION: [3, 1]}, place, exponential=True)
    other = source.another()
    other.write("b", now - 10, {DURATION: [2, 0]}, place)
    history = source.selected("k8s.cluster.name=mixed").history
    with pytest.raises(HistoryUnavailableError, match=REFUSED):
        history.aggregates(now - 60, now)
    with pytest.raises(HistoryUnavailableError, match=REFUSED):
        history.aggregates(now - 60, now, service=source.service)
    assert history.aggregates(now - 60, now, service=other.service)[0].request_count == 2
    assert history.aggregates(now - 60, now, by=["provider"], service=other.service)[0].request_count == 2
    [timeline] = history.series(semconv.SYNTHESIS_DURATION, now - 60, now, 60, service=other.service)
    assert timeline.points[0].value == Distribution({1.0: 2.0, math.inf: 2.0})


def test_one_process_with_them_beside_others_of_its_service_is_refused(source: Source) -> None:
    """What is left would be a part of it."""
    now, place = time.time(), {"k8s.cluster.name": "parts"}
    source.write("a", now - 10, {DURATION: [3, 1]}, place, exponential=True)
    source.write("b", now - 10, {DURATION: [2, 0]}, place)
    history = source.selected("k8s.cluster.name=parts").history
    with pytest.raises(HistoryUnavailableError, match=REFUSED):
        history.aggregates(now - 60, now, service=source.service)


def test_growth_of_what_is_refused_is_counted() -> None:
    """The number of values that came is known; nothing else is."""
    later, earlier = (Unbounded(count, "Prometheus", "a (of b)") for count in (5.0, 3.0))
    for before in (earlier, Distribution({1.0: 2.0, math.inf: 3.0})):
        assert (later - before).count == 2
        for look in (lambda d: d.buckets, lambda d: d.quantile(0.5), lambda d: d.middles(), lambda d: d.share_above(1.0)):
            with pytest.raises(HistoryUnavailableError, match="has a \\(of b\\) as an exponential or native histogram"):
                look(later - before)


def test_only_the_service_with_them_is_unknown(
    source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """`status` of all says which service is unknown, and why. Others are judged: one that is well, and one that is critical."""
    place, now, buckets = {"k8s.cluster.name": "status"}, time.time(), len(semconv.SYNTHESIS_DURATION.buckets)
    source.write("a", now - 10, {DURATION: [3, 1]}, place, exponential=True)
    well = source.another()
    well.write("b", now - 10, {DURATION: [3] * (buckets + 1)}, place)
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OTEL_TTS_SELECT", "k8s.cluster.name=status")
    if "prometheus" in request.node.name:
        monkeypatch.setenv("OTEL_TTS_PROMETHEUS_URL", request.getfixturevalue("prometheus_url"))
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 3
    assert REFUSED.search(result.stdout), result.output
    assert result.stdout.startswith(f"Unknown: {source.service}: ")
    assert well.service not in result.stdout
    result = CliRunner().invoke(main, ["status", "--json", "--service", well.service])
    assert json.loads(result.stdout)["reason"] is None, result.output
    assert result.exit_code == 0
    failing = source.another()
    failing.write("c", now - 10, {FAILED: [0] * buckets + [400]}, place)
    result = CliRunner().invoke(main, ["status", "--json"])
    printed = json.loads(result.stdout)
    assert (result.exit_code, printed["state"]) == (2, "critical")
    assert {met["service"] for met in printed["conditions"]} == {failing.service}
    assert REFUSED.search(printed["reason"])
    assert failing.service not in printed["reason"]


def test_buckets_beside_native_histograms_are_read(prometheus_url: str, tmp_path: Path) -> None:
    """Where the store keeps both, as with `always_scrape_classic_histograms`, nothing is lost, and nothing counted twice."""
    settings = HistorySettings.load({"OTEL_TTS_SELECT": "k8s.cluster.name=both"}, prometheus_url=prometheus_url)
    source, now = Source(open_history(settings), tmp_path, f"{prometheus_url}/api/v1/otlp/v1/metrics"), time.time()
    for exponential, moment in ((True, now - 12), (False, now - 10)):
        source.write("a", moment, {DURATION: [3, 1]}, {"k8s.cluster.name": "both"}, exponential=exponential)
    assert source.history.aggregates(now - 60, now)[0].request_count == 4
