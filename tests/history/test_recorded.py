"""Growth that rules recorded without the instance is, for readers, what the samples say: over a real Prometheus, at chosen times."""

from __future__ import annotations

import json
import random
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from otel_tts.history import open_history
from otel_tts.history.engine import QueryEngine
from otel_tts.history.http import Backend
from otel_tts.history.raw import RawGrowth, Samples
from otel_tts.history.recorded import RecordedGrowth
from otel_tts.history.windows import boundaries
from otel_tts.promql import readings, recorded
from otel_tts.promql.recorded import DELAY_S, GRID_S
from otel_tts.semconv import SYNTHESIS_AUDIO, SYNTHESIS_DURATION, Metric
from otel_tts.settings import HistorySettings
from tests.history.conftest import Source, _attribute

METRICS = (SYNTHESIS_DURATION, SYNTHESIS_AUDIO)
OK, FAILED = (("tts.outcome", "ok"),), (("tts.outcome", "error"),)
GENERATED = (("tts.audio.state", "generated"),)
OF_PROCESS = ("__name__", "instance", "service_instance_id")
PHASE_S = 7.0
"""How long after a half minute the rules are evaluated."""


class AskedRaw(RawGrowth):
    """What is asked of the samples, and for which time."""

    def __init__(self, engine: QueryEngine, where: Sequence[str]) -> None:
        super().__init__(engine, 10.0, where)
        self.times: list[tuple[float, float]] = []

    def grown(self, metrics: Sequence[Metric], moments: Sequence[float]) -> Samples:
        self.times.append((moments[0], moments[-1]))
        return super().grown(metrics, moments)


class Service:
    """A service of several processes that export to a Prometheus whose rules are evaluated when the test says so."""

    def __init__(self, url: str, directory: Path) -> None:
        settings = HistorySettings.load({}, prometheus_url=url)
        self._url = url
        self._source = Source(open_history(settings), directory, f"{url}/api/v1/otlp/v1/metrics")
        self.where = [readings.equals("service_name", self._source.service)]
        self.engine = QueryEngine(Backend(settings.prometheus))
        self.raw = AskedRaw(self.engine, self.where)
        self.start = time.time() // 3600 * 3600 - 6 * 3600
        self.totals: dict[str, Counter[str]] = {}
        self._rules = [rule for rule in recorded.rules() if rule["labels"]["metric"] in [m.name for m in METRICS]]

    def counted(self, process: str, **more: int) -> None:
        """The process counts: ``ok``, ``slow`` and ``failed`` requests."""
        self.totals.setdefault(process, Counter()).update(more)

    def exported(self, process: str, second: float) -> Callable[[], None]:
        """What a process exports so many seconds after the start; to be sent by calling it."""
        total = Counter(self.totals.setdefault(process, Counter()))
        content: dict[tuple[Metric, tuple[tuple[str, str | bool], ...]], float | Sequence[int]] = {
            (SYNTHESIS_DURATION, OK): (total["ok"], total["slow"]),
            (SYNTHESIS_AUDIO, GENERATED): 0.5 * total["ok"],
        }
        if total["failed"]:
            content[SYNTHESIS_DURATION, FAILED] = (0, total["failed"])
        return lambda: self._source.write(process, self.start + second, content)

    def evaluate(self, second: float) -> None:
        """Evaluate the rules so many seconds after the start, and store what they record."""
        moment, points = self.start + second, []
        for rule in self._rules:
            query = urllib.parse.urlencode({"query": self._narrowed(str(rule["expr"])), "time": f"{moment:.3f}"})
            with urllib.request.urlopen(f"{self._url}/api/v1/query?{query}", timeout=30) as answer:
                result = json.load(answer)["data"]["result"]
            for each in result:
                attributes = [_attribute(*item) for item in {**each["metric"], **rule["labels"]}.items()]
                value = {"timeUnixNano": str(round(moment * 1000) * 1_000_000), "asDouble": float(each["value"][1])}
                points.append({"name": rule["record"], "gauge": {"dataPoints": [{"attributes": attributes, **value}]}})
        content = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": points}]}]}).encode()
        address = f"{self._url}/api/v1/otlp/v1/metrics"
        urllib.request.urlopen(urllib.request.Request(address, content, {"Content-Type": "application/json"}), timeout=30).close()

    def _narrowed(self, expression: str) -> str:
        """Of this service only: others write into the same Prometheus."""
        for name in ("tts_synthesis_duration_seconds_bucket", "tts_synthesis_audio_seconds_total"):
            expression = expression.replace(f"{name}[", f"{name}{{{self.where[0]}}}[").replace(
                f"{name}{{}}", f"{name}{{{self.where[0]}}}"
            )
            expression = expression.replace(f'{name}{{le="+Inf"}}', f'{name}{{le="+Inf", {self.where[0]}}}')
        return expression

    def run(self, seconds: float, at: Mapping[float, Sequence[Callable[[], None]]], missed: Sequence[float] = ()) -> None:
        """Let time pass: what is sent at which second, and the half minutes after which no rule was evaluated."""
        first, last = -GRID_S, seconds + DELAY_S + GRID_S
        evaluations = [m + DELAY_S + PHASE_S for m in _grid(first, last) if m not in missed]
        for moment in sorted({*at, *evaluations}):
            for send in at.get(moment, ()):
                send()
            if moment in evaluations:
                self.evaluate(moment)

    def differences(self, start: float, end: float, step: float | None = None) -> list[object]:
        """Where what readers take differs from what the samples say, between two seconds."""
        moments = boundaries(self.start + start, self.start + end, step, 10.0)
        self.raw.times.clear()
        taken = _added_up(RecordedGrowth(self.engine, self.raw, 10.0, self.where).grown(METRICS, moments))
        asked = list(self.raw.times)
        there = _added_up(self.raw.grown(METRICS, moments))
        self.raw.times = [(a - self.start, b - self.start) for a, b in asked]
        assert there, "nothing was exported"
        return [(key, taken.get(key), there.get(key)) for key in sorted({*taken, *there}) if taken.get(key) != there.get(key)]


def _grid(start: float, end: float) -> list[float]:
    return [start + number * GRID_S for number in range(round((end - start) / GRID_S) + 1)]


def _added_up(samples: Samples) -> dict[tuple[object, ...], float]:
    growth: Counter[tuple[object, ...]] = Counter()
    for name, of_metric in samples.items():
        for number, labels, value in of_metric:
            attributes = tuple(sorted((key, text) for key, text in labels.items() if key not in OF_PROCESS))
            growth[name, number, attributes] += value  # type: ignore[assignment]
    return dict(growth)


@pytest.fixture
def service(prometheus_url: str, tmp_path: Path) -> Service:
    """A service of this test's own."""
    return Service(prometheus_url, tmp_path)


def steady(service: Service, seconds: int, processes: Sequence[str] = "ab") -> dict[float, list[Callable[[], None]]]:
    """Processes that count and export every ten seconds, each at seconds of its own."""
    at: dict[float, list[Callable[[], None]]] = {}
    for second in range(3, seconds, 10):
        for number, process in enumerate(processes):
            service.counted(process, ok=1 + number, slow=second % 3, failed=int(second > 200))
            at.setdefault(second + number, []).append(service.exported(process, second + number))
    return at


WINDOWS = ((0, 600, None), (0, 600, 60), (30, 570, 30), (13, 587, None), (150, 330, 90), (7, 607, 60))


def test_the_samples_are_not_asked_where_rules_recorded(service: Service) -> None:
    """Growth comes from the rules alone where nothing went wrong, whatever the window; but for ends that are no half minutes."""
    service.run(660, steady(service, 640))
    for start, end, step in WINDOWS:
        assert service.differences(start, end, step) == []
        whole = [(a, b) for a, b in service.raw.times if b - a >= GRID_S]
        assert whole == ([] if step is None or start % GRID_S == 0 else [(start, end)])


@pytest.mark.parametrize(
    ("missed", "late", "asked"),
    [
        ([240.0], [], [(210, 300)]),
        ([240.0, 270.0, 300.0], [], [(210, 360)]),
        ([], [233.0], [(210, 300)]),
    ],
    ids=["a rule", "rules", "samples"],
)
def test_what_the_rules_did_not_see(
    service: Service, missed: list[float], late: list[float], asked: list[tuple[float, float]]
) -> None:
    """Where no rule was evaluated, or samples came after it, the samples are asked, for that time and what was counted from it."""
    at = steady(service, 640)
    for second in late:
        at.setdefault(second + 400, []).extend(at.pop(second))
    service.run(660, at, missed)
    for start, end, step in WINDOWS:
        assert service.differences(start, end, step) == []
    assert service.differences(0, 600) == []
    assert service.raw.times == asked
    assert service.differences(240, 600) == [], "what was missed before the window counts, too"
    assert service.raw.times[0][0] == 240


def test_processes_that_begin_and_begin_anew(service: Service) -> None:
    """A new process counts from nothing; of one that begins anew, what it counted before is not lost."""
    at = steady(service, 640)
    for second in range(225, 640, 10):
        service.counted("new", ok=2, failed=1)
        at.setdefault(second, []).append(service.exported("new", second))
    for anew, until in ((5, 318), (1, 640)):
        service.totals["c"] = Counter()
        for second in range(until - 309 if until == 640 else 8, until, 10):
            service.counted("c", ok=anew, slow=1)
            at.setdefault(second, []).append(service.exported("c", second))
    service.run(660, at)
    for start, end, step in WINDOWS:
        assert service.differences(start, end, step) == []
    assert service.differences(0, 600) == []
    assert sum(b - a for a, b in service.raw.times) <= 3 * GRID_S


def test_a_process_that_comes_back_after_hours(service: Service) -> None:
    """It is taken for new after an hour; but over a window that knows it from before, it grew by what it counted meanwhile."""
    at = steady(service, 200)
    silent = 2 * 3600
    for second in range(3, 200, 10):
        service.counted("a", ok=1)
        at.setdefault(silent + second, []).append(service.exported("a", silent + second))
    sending: list[float] = sorted(at)
    for moment in _grid(-GRID_S, 260):
        for due in [due for due in sending if due <= moment + DELAY_S + PHASE_S]:
            sending.remove(due)
            for send in at[due]:
                send()
        service.evaluate(moment + DELAY_S + PHASE_S)
    for moment in _grid(silent - GRID_S, silent + 260):
        for due in [due for due in sending if due <= moment + DELAY_S + PHASE_S]:
            sending.remove(due)
            for send in at[due]:
                send()
        service.evaluate(moment + DELAY_S + PHASE_S)
    assert service.differences(0, silent + 240) == []
    assert service.differences(silent, silent + 240) == []
    assert service.differences(silent, silent + 240, 60) == []


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens(service: Service, seed: int) -> None:
    """Any mixture of late samples, rules that were not evaluated, silence, new processes and ones that begin anew."""
    chance = random.Random(seed)
    at: dict[float, list[Callable[[], None]]] = {}
    for number in range(4):
        name, second = f"process-{number}", float(chance.randrange(0, 300))
        while second < 640:
            service.counted(name, ok=chance.randrange(3), slow=chance.randrange(2), failed=int(chance.random() < 0.1))
            if chance.random() < 0.05:
                service.totals[name] = Counter(ok=chance.randrange(2))
            late = chance.choice((5.0, 90.0, 300.0)) if chance.random() < 0.03 else 0.0
            at.setdefault(second + late, []).append(service.exported(name, second))
            second += 10 if chance.random() < 0.97 else chance.choice((60, 150))
    service.run(660, at, [m for m in _grid(0, 660) if chance.random() < 0.05])
    for start, end, step in WINDOWS:
        assert service.differences(start, end, step) == []


def test_an_engine_without_rules_is_asked_as_ever(service: Service) -> None:
    """Where nothing was recorded, the samples are asked for the whole window at once."""
    for second, sending in sorted(steady(service, 640).items()):
        del second
        for send in sending:
            send()
    assert service.differences(0, 600) == []
    assert service.raw.times == [(0, 600)]
