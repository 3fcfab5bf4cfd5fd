"""Windows that are put together from half minutes, asked again every few seconds, are what the samples say: over a real Prometheus."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from otel_tts.distribution import Distribution
from otel_tts.history.labelled import labelled_series
from otel_tts.history.otlp import Unreadable
from otel_tts.history.raw import RawGrowth, Samples
from otel_tts.history.recent import RecentGrowth
from otel_tts.history.recorded import RecordedGrowth
from otel_tts.history.rows import Growth
from otel_tts.history.states import States
from otel_tts.promql import recorded
from otel_tts.promql.recorded import DELAY_S, GRID_S
from otel_tts.semconv import Metric
from tests.history.test_recorded import METRICS, PHASE_S, Service, steady

INTERVAL_S = 10.0
Flat = dict[tuple[object, ...], float]


class Viewer:
    """A page that is open while a service runs: what it shows at any second, and what the samples say then."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._now = service.start
        self._raw = RawGrowth(service.engine, INTERVAL_S, service.where)
        self.asked: Counter[str] = Counter()
        growth = RecordedGrowth(service.engine, self._raw, INTERVAL_S, service.where, 3600.0, lambda: self._now)
        states = States(service.engine, self._raw, METRICS, service.where)
        self._recent = RecentGrowth(service.engine, METRICS, growth, states, INTERVAL_S, 3600.0, lambda: self._now)
        self._count(growth, "half_minutes")
        self._count(self._raw, "grown")

    def _count(self, source: object, name: str) -> None:
        method = getattr(source, name)

        def counted(metrics: Sequence[Metric], moments: Sequence[float]) -> object:
            if list(metrics) != [METRICS[1]]:  # fractions are always asked of the samples
                self.asked[name] += len(moments) - 1
            return method(metrics, moments)

        setattr(source, name, counted)

    def growth(self, start: float, end: float) -> Flat:
        """What is shown of one window, between two seconds after the start."""
        shown = self._recent.growths((self._service.start + start, self._service.start + end))
        assert shown is not None
        return _flat(shown)

    def differences(self, second: float) -> list[object]:
        """Where what is shown so many seconds after the start differs from the samples: windows up to now, and the course."""
        self._now = self._service.start + second
        closed = (self._now - 2 * INTERVAL_S) // GRID_S * GRID_S
        windows = [(self._now - length_s) // GRID_S * GRID_S for length_s in (120, 300, 600)]
        asked = [*((start, self._now) for start in windows), (closed, self._now)]
        asked.append(tuple(closed - GRID_S * number for number in range(12, -1, -1)))
        different: list[object] = []
        for moments in asked:
            shown = self._recent.growths(moments)
            if shown is None:
                self.asked["as ever"] += 1
                continue
            self.asked["windows"] += 1
            taken = _flat(shown)
            before = Counter(self.asked)
            there = _flat(_growths(self._raw.grown(METRICS, moments), len(moments) - 1))
            self.asked = before
            assert there or moments[0] == closed
            different += [
                (second, moments[-1] - moments[0], key, taken.get(key), there.get(key))
                for key in {*taken, *there}
                if taken.get(key) != there.get(key)
            ]
        return different


def _growths(samples: Samples, windows: int) -> list[Growth]:
    growths: list[dict[str, list[object]]] = [{metric.name: [] for metric in METRICS} for _ in range(windows)]
    for metric in METRICS:
        for number, series in labelled_series(metric, samples[metric.name], Unreadable()):
            growths[number][metric.name].append(series)
    return growths  # type: ignore[return-value]


def _flat(growths: Sequence[Growth]) -> Flat:
    flat: Counter[tuple[object, ...]] = Counter()
    for number, growth in enumerate(growths):
        for name, all_series in growth.items():
            for series in all_series:
                of_buckets = series.growth.buckets if isinstance(series.growth, Distribution) else {0.0: series.growth}
                for bound, value in of_buckets.items():
                    flat[number, name, tuple(sorted(series.attributes.items())), bound] += value  # type: ignore[assignment]
    return dict(flat)


def watched(
    service: Service, at: dict[float, list[Callable[[], None]]], seconds: Sequence[float], missed: Sequence[float] = ()
) -> tuple[Viewer, list[object]]:
    """Let time pass, with a page that is drawn at some seconds."""
    viewer = Viewer(service)
    different: list[object] = []
    last = max(seconds)
    evaluations = [number * GRID_S + DELAY_S + PHASE_S for number in range(-1, int(last / GRID_S) + 1)]
    for moment in sorted({*at, *evaluations, *seconds}):
        if moment > last:
            break
        for send in at.get(moment, ()):
            send()
        if moment in evaluations and moment - DELAY_S - PHASE_S not in missed:
            service.evaluate(moment)
        if moment in seconds:
            different += viewer.differences(moment)
    return viewer, different


@pytest.fixture
def service(prometheus_url: str, tmp_path: Path) -> Service:
    """A service of this test's own."""
    return Service(prometheus_url, tmp_path)


def test_a_page_that_stays_open_is_what_the_samples_say(service: Service) -> None:
    """Each half minute is asked once, and processes are never compared one by one; also on the very half minute, and when one ends."""
    at = steady(service, 800)
    for second in range(7, 615, 10):
        service.counted("ends", ok=2)
        at.setdefault(second, []).append(service.exported("ends", second))
    seconds = [620.0, 625.0, 630.0, 652.0, 660.0, 665.0, 690.0, 725.0, 750.0]
    viewer, different = watched(service, at, seconds)
    assert different == []
    first = round(960 / GRID_S) - 3
    assert viewer.asked["half_minutes"] <= first + 5
    assert viewer.asked["grown"] == 0


def test_where_nobody_exports_nothing_is_known(service: Service) -> None:
    """A window in which no process exported has no series, and none that did not grow."""
    viewer, different = watched(service, steady(service, 650), [620.0, 665.0, 690.0])
    assert different == []
    assert viewer.growth(660.0, 690.0) == {}
    assert viewer.growth(600.0, 690.0) != {}


def test_what_comes_late(service: Service) -> None:
    """Samples that come after their half minute was asked are on the page once rules have recorded it, or the next one if they had."""
    at = steady(service, 800)
    at.setdefault(640.0, []).extend(at.pop(593.0))
    for second in (433.0, 463.0):
        at.setdefault(655.0, []).extend(at.pop(second))
    viewer, different = watched(service, at, [620.0, 715.0, 720.0, 750.0])
    assert different == []
    assert viewer.asked["half_minutes"] > 2 * 30, "all was asked again"


def test_processes_that_begin_end_and_begin_anew(service: Service) -> None:
    """Processes that end stay counted for as long as a window has them; new ones count from nothing; whoever begins anew loses nothing."""
    at = steady(service, 1000)
    for name, began, ended in (("new", 605, 1000), ("short", 575, 640), ("ends", 3, 615)):
        for second in range(began, ended, 10):
            service.counted(name, ok=2, failed=1)
            at.setdefault(second, []).append(service.exported(name, second))
    for anew, until in ((5, 628), (1, 1000)):
        service.totals["c"] = Counter()
        for second in range(8 if until == 628 else 638, until, 10):
            service.counted("c", ok=anew, slow=1)
            at.setdefault(second, []).append(service.exported("c", second))
    _, different = watched(service, at, [601.0, *(second + 0.5 for second in range(606, 960, 50))])
    assert different == []


def test_a_process_that_comes_back_after_an_hour(service: Service) -> None:
    """It is no new one to a window that knows it from before, once rules have recorded that."""
    back = 3720
    at: dict[float, list[Callable[[], None]]] = {}
    for start in (3, back - 600):
        for second in range(start, start + 840 if start > 3 else 200, 10):
            service.counted("a", ok=1)
            at.setdefault(second, []).append(service.exported("a", second))
    for second in (*range(8, 120, 10), *range(back + 8, back + 240, 10)):
        service.counted("b", ok=1)
        at.setdefault(second, []).append(service.exported("b", second))
    viewer, different = watched(service, at, [back - 40.0, back + 145.0, back + 205.0])
    assert different == []
    assert viewer.asked["as ever"] > 0


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens(service: Service, seed: int) -> None:
    """Any mixture of silence, processes that begin, end, and begin anew, and rules that were not evaluated."""
    chance = random.Random(seed)
    at: dict[float, list[Callable[[], None]]] = {}
    for number in range(4):
        name, second = f"process-{number}", float(chance.randrange(0, 400))
        while second < 900 and chance.random() > 0.005:
            service.counted(name, ok=chance.randrange(3), slow=chance.randrange(2), failed=int(chance.random() < 0.1))
            if chance.random() < 0.05:
                service.totals[name] = Counter(ok=chance.randrange(2))
            at.setdefault(second + 0.25, []).append(service.exported(name, second))
            second += 10 if chance.random() < 0.97 else chance.choice((60, 150))
    missed = [number * GRID_S for number in range(30) if chance.random() < 0.05]
    viewer, different = watched(service, at, [600.0 + chance.randrange(280) for _ in range(6)], missed)
    assert viewer.asked["windows"] > viewer.asked["as ever"]
    assert different == []


def test_without_rules_it_is_asked_as_ever(service: Service) -> None:
    """Where nothing was recorded there are no half minutes."""
    for _, sending in sorted(steady(service, 200).items()):
        for send in sending:
            send()
    moments = (service.start + 60, service.start + 200)
    growth = RecordedGrowth(service.engine, service.raw, INTERVAL_S, service.where, 3600.0, lambda: moments[1])
    states = States(service.engine, service.raw, METRICS, service.where)
    recent = RecentGrowth(service.engine, METRICS, growth, states, INTERVAL_S, 3600.0, lambda: moments[1])
    assert recent.growths(moments) is None
    assert all(metric in recorded.RECORDED for metric in METRICS)
