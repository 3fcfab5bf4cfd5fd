"""Counts from metrics, by the same tests for every source."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate, pairwise, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_tts import semconv
from otel_tts.history import Distribution
from otel_tts.history.services import Service
from tests.history.conftest import Source, Totals

START = time.time() // 60 * 60 - 21600.0
"""Hours ago, since Prometheus takes no samples of the future; and within the day in which readers look for the newest."""

OK = (("gen_ai.provider.name", "piper"), ("gen_ai.request.stream", True), ("tts.cache.result", "miss"), ("tts.outcome", "ok"))
DURATION = semconv.SYNTHESIS_DURATION, OK
ENTRIES = semconv.CACHE_ENTRIES, (("tts.cache.tier", "memory"),)


def counts(source: Source, moments: Sequence[float]) -> list[int]:
    """The requests in each of the windows between the moments."""
    return [
        source.history.aggregates(START + start, START + end, service=source.service)[0].request_count
        for start, end in pairwise(moments)
    ]


def test_a_restart_counts_from_zero(source: Source) -> None:
    """A new process is a new series, and the last word of the one before is not forgotten."""
    source.write("a", START + 10, {DURATION: [5, 0]})
    source.write("a", START + 17, {DURATION: [7, 0]})
    source.write("b", START + 40, {DURATION: [3, 0]})
    source.write("b", START + 50, {DURATION: [3, 1]})
    assert counts(source, [0, 20, 40, 60, 4000]) == [7, 3, 1, 0]


def test_a_process_that_begins_again_under_its_old_name_counts_from_zero(source: Source) -> None:
    """Within a window too, where the last value may be above the first; others beside it are counted as ever."""
    for moment, (again, steady) in {10: (9, 1), 20: (10, 2), 30: (2, 3), 40: (12, 4), 50: (13, 5), 60: (1, 6)}.items():
        if moment in (30, 60):
            source.begin("again", START + moment - 5)
        source.write("again", START + moment, {DURATION: [again, 0]})
        source.write("steady", START + moment, {DURATION: [steady, 0]})
    assert counts(source, [0, 25]) == [10 + 2]
    rows = source.history.aggregates(START, START + 60, 20, service=source.service)
    assert [row.request_count for row in rows] == [10 + 2, (2 + 10) + 2, (1 + 1) + 2]


def test_two_clusters_with_one_service_name_do_not_merge(source: Source) -> None:
    """Even where processes have one name and one id: each cluster, environment or namespace is read by itself, and all of them together."""
    eu = {"k8s.cluster.name": "eu", "deployment.environment.name": "prod", "service.namespace": 'shop"\\'}
    us = {"k8s.cluster.name": "us", "deployment.environment.name": "prod"}
    for tick, (here, there, nowhere) in enumerate([(5, 1, 2), (6, 3, 4), (9, 3, 8)]):
        moment = START + 10 + 20 * tick
        source.write("a", moment, {DURATION: [here, 0]}, eu)
        source.write("a", moment, {DURATION: [there, 0]}, us)
        source.write("a", moment, {DURATION: [nowhere, 0]})
    moments = [0, 20, 40, 60]
    assert counts(source, moments) == [8, 5, 7]
    assert counts(source.selected("k8s.cluster.name=eu"), moments) == [5, 1, 3]
    assert counts(source.selected("k8s.cluster.name=us"), moments) == [1, 2, 0]
    assert counts(source.selected("deployment.environment.name=prod"), moments) == [6, 3, 3]
    assert counts(source.selected("deployment.environment.name=prod,service.namespace=shop%22%5C"), moments) == [5, 1, 3]
    assert counts(source.selected("k8s.cluster.name=asia"), moments) == [0, 0, 0]
    only = source.selected("k8s.cluster.name=eu").history
    assert only.source.endswith("(only k8s.cluster.name=eu)")
    assert only.last_seen(START, START + 60)[source.service] == pytest.approx(START + 50, abs=0.01)
    assert source.service not in source.selected("k8s.cluster.name=asia").history.last_seen(START, START + 60)
    assert only.newest is not None
    assert only.newest >= START + 49  # Prometheus has what other tests wrote, too
    assert source.selected("k8s.cluster.name=asia").history.newest is None


def test_windows_have_what_was_exported_in_them(source: Source) -> None:
    """A metric over time: growth, distributions and levels; and nothing where nothing was exported."""
    for tick, (count, entries) in enumerate([(1, 4), (3, 4), (3, 9), (4, 2)]):
        source.write("a", START + 10 + 20 * tick, {DURATION: [count, tick], ENTRIES: entries})
    source.write("b", START + 35, {ENTRIES: 5})

    def values(metric: semconv.Metric) -> list[float | Distribution | None]:
        [timeline] = source.history.series(metric, START, START + 100, 20, metric.attributes, service=source.service)
        assert [(point.start - START, point.end - START) for point in timeline.points] == list(pairwise(range(0, 101, 20)))
        return [point.value for point in timeline.points]

    assert values(semconv.CACHE_ENTRIES) == [4, 9, 9, 2, None]
    assert values(semconv.SYNTHESIS_DURATION) == [
        Distribution({1.0: 1, float("inf"): 1}),
        Distribution({1.0: 2, float("inf"): 3}),
        Distribution({1.0: 0, float("inf"): 1}),
        Distribution({1.0: 1, float("inf"): 2}),
        None,
    ]


def test_only_what_is_asked_for(source: Source) -> None:
    """By service, by attributes and their values; truth stays truth, and what a series lacks is empty."""
    bare = semconv.SYNTHESIS_DURATION, (("tts.outcome", "error"),)
    source.write("a", START + 10, {DURATION: [2, 0], bare: [1, 0]})
    answer = source.history.series(
        semconv.SYNTHESIS_DURATION, START, START + 20, 20, [semconv.STREAM, semconv.OUTCOME], service=source.service
    )
    assert [(dict(timeline.attributes), timeline.points[0].value) for timeline in answer] == [
        ({"gen_ai.request.stream": "", "tts.outcome": "error"}, Distribution({1.0: 1, float("inf"): 1})),
        ({"gen_ai.request.stream": True, "tts.outcome": "ok"}, Distribution({1.0: 2, float("inf"): 2})),
    ]
    [failed] = source.history.series(
        semconv.SYNTHESIS_DURATION, START, START + 20, 20, service=source.service, where={semconv.OUTCOME: ["error", "empty"]}
    )
    assert failed.points[0].value == Distribution({1.0: 1, float("inf"): 1})
    assert source.history.series(semconv.SYNTHESIS_DURATION, START, START + 20, 20, service="another") == []
    assert source.history.aggregates(START, START + 20, service=source.service, version="1.1")[0].request_count == 0


def test_a_whole_service(source: Source) -> None:
    """What a service is known from."""
    attempt = (("gen_ai.provider.name", "piper"), ("tts.outcome", "ok"), ("tts.attempt.reason", "initial"))
    asked = (("tts.language", "en-US"), ("tts.voice", "joe"), ("tts.outcome", "ok"))
    failed = (("gen_ai.provider.name", "piper"), ("tts.outcome", "error"), ("error.type", "timeout"))
    scored = (("tts.score.name", "mos"), ("tts.voice", "joe"))
    source.write(
        "a",
        START + 10,
        {
            DURATION: [2, 1], (semconv.ATTEMPT_DURATION, attempt): [3, 0], (semconv.SYNTHESIS_REQUESTS, asked): 3,
            (semconv.SYNTHESIS_FAILURES, failed): 1, (semconv.QUALITY_SCORE, scored): [0, 3],
        },
    )  # fmt: skip
    [answer] = [s for s in source.history.services(START, START + 20) if s.name == source.service]
    assert answer == Service(
        name=source.service, versions={"1.2": 3}, voices={"joe": 3}, languages={"en-US": 3}, providers={"piper": 3},
        errors={"timeout": 1}, attempts={"piper": (3, 3)}, scores={("mos", "joe"): Distribution({1.0: 0, float("inf"): 3})},
    )  # fmt: skip


def test_what_is_known_of_a_time_changes_its_fingerprint(source: Source) -> None:
    """With every export that belongs to it, and not with later ones."""
    source.write("a", START + 10, {DURATION: [1, 0]})
    before = source.history.fingerprint(START, START + 30)
    assert source.history.fingerprint(START, START + 30) == before
    source.write("a", START + 20, {DURATION: [1, 0]})
    assert source.history.fingerprint(START, START + 30) != before


@pytest.mark.parametrize("windows", [3, 7, 11])
def test_windows_that_are_no_whole_milliseconds(source: Source, windows: int) -> None:
    """None of them is lost to rounding, the last one above all."""
    for tick in range(1, 30):
        source.write("a", START + 10 * tick, {DURATION: [tick, 0]})
    end = START + 290.0004
    rows = source.history.aggregates(START - 1.2345, end, (end - START + 1.2345) / windows, service=source.service)
    assert len(rows) == windows
    assert sum(row.request_count for row in rows) == 29
    assert rows[-1].request_count > 0


@st.composite
def processes(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """For each process, the tick of its first export and what it counted before each of its exports."""
    return draw(
        st.lists(st.tuples(st.integers(1, 200), st.lists(st.integers(0, 3), min_size=1, max_size=40)), min_size=1, max_size=3)
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(processes(), st.integers(0, 200), st.integers(2, 40))
def test_every_request_is_counted_in_its_window(
    source: Source, lives: list[tuple[int, list[int]]], first: int, step: int
) -> None:
    """However processes come and go: each window has what was counted in it, no more and no less."""
    fresh = source.another()
    for number, (began, counted) in enumerate(lives):
        for tick, total in enumerate(accumulate(counted), began):
            fresh.write(f"{number}", START + 10 * tick, {DURATION: [total, 0]})
    ticks = [first + number * step for number in range(4)]
    expected = [
        sum(sum(counted[max(0, start + 1 - began) : max(0, end + 1 - began)]) for began, counted in lives)
        for start, end in pairwise(ticks)
    ]
    rows = fresh.history.aggregates(START + 10 * ticks[0], START + 10 * ticks[-1], 10 * step, service=fresh.service)
    assert [row.request_count for row in rows] == expected


def test_the_beginning_of_history(source: Source) -> None:
    """The first export, at the latest."""
    source.write("a", START + 10, {DURATION: [1, 0]})
    began = source.history.began
    assert began is not None
    assert began <= START + 10


@pytest.mark.parametrize("source", ["files"], indirect=True)
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_history_begins_with_the_earliest_of_all_files(source: Source, order: tuple[int, ...]) -> None:
    """Names of writers are process ids, which say nothing of time; and what begins just before an hour may be in the next one's file."""
    hour = -(-START // 3600) * 3600
    moments = [hour - 600, hour - 300, hour - 1, hour + 60]  # when they began: the first is exported in the second hour
    for moment, name in zip(moments, order, strict=True):
        source.begin(f"process-{name}", moment)
        source.write(f"process-{name}", hour + 70 if moment == moments[0] else moment + 0.5, {DURATION: [1, 0]})
    assert source.history.began == pytest.approx(moments[0], abs=0.01)


@pytest.mark.parametrize("source", ["prometheus"], indirect=True)
def test_a_silent_hour_is_survived(source: Source) -> None:
    """A process that Prometheus did not hear of for most of an hour goes on from where it was."""
    source.write("a", START, {DURATION: [1000, 0]})
    source.write("a", START + 3500, {DURATION: [1001, 0]})
    assert counts(source, [3000, 3600]) == [1]


def test_each_service_was_last_seen_when_it_sent_last(source: Source) -> None:
    """To the second, whoever else lives on, of all processes of it; what was long ago is no more."""
    now = float(round(time.time()))
    dead, gone, idle = source.another(), source.another(), source.another()
    requests: Totals = {(semconv.SYNTHESIS_DURATION, (("tts.outcome", "ok"),)): [1, 0]}
    for moment in (now - 700, now - 690, now - 613):
        dead.write("one", moment, requests)
    dead.write("two", now - 640, requests)
    gone.write("one", now - 4000, requests)
    idle.write("one", now - 5, {(semconv.CACHE_ENTRIES, ()): 1.0})
    source.write("one", now - 3, requests)
    moments = source.history.last_seen(now - 3600, now)
    ours = {each.service: moments.get(each.service) for each in (source, dead, gone, idle)}
    assert ours == {source.service: now - 3, dead.service: now - 613, gone.service: None, idle.service: None}
    earlier = source.history.last_seen(now - 3600, now - 650)
    assert (earlier.get(dead.service), earlier.get(source.service)) == (now - 690, None)
