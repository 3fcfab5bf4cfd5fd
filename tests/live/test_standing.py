"""Providers' standing and the conditions that hold, from what history says."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_tts import palette, semconv
from otel_tts.conditions import CONDITIONS, Severity
from otel_tts.distribution import AtLeast, AtMost
from otel_tts.history import Distribution, HistoryUnavailableError, Point, Row, Timeline
from otel_tts.history.local import LocalHistory
from otel_tts.live import tiles
from otel_tts.live.behind import behind
from otel_tts.live.cached_history import CachedHistory, SourceUnavailableError
from otel_tts.live.judgement import Judge, SubjectFigure, Verdict
from otel_tts.live.onset import onset
from otel_tts.live.screens import now as now_page
from otel_tts.live.screens.providers import problems_of
from otel_tts.live.standing import Standing, State, standings, state
from otel_tts.live.verdicts import judged
from otel_tts.live.view import Period
from otel_tts.sdk.store import Store
from otel_tts.semconv import Metric
from otel_tts.settings import LiveSettings

START = 1795424400.0


def available(*values: float | None) -> Timeline:
    """A provider's availability in windows of 30 s."""
    points = (Point(START + 30 * n, START + 30 * n + 30, value) for n, value in enumerate(values))
    return Timeline({"gen_ai.provider.name": "piper"}, tuple(points))


def test_since_when_a_provider_is_as_it_is() -> None:
    """The first window of the last unbroken run; silence ends a run, and silence now is said."""
    assert state(available(1.0, 1.0, 1.0)) == State(True, START, reported=True, before=True)
    assert state(available(1.0, 0.0, 0.0)) == State(False, START + 30, reported=True, before=False)
    assert state(available(None, 0.0, 1.0)) == State(True, START + 60, reported=True, before=False)
    assert state(available(0.0, 1.0, None)) == State(True, START + 30, reported=False, before=False)
    assert state(available(None, None)) is None


def test_a_card_says_it_in_words() -> None:
    """Never by colour alone, and names are no markup."""
    card_html = tiles.card(Standing("<b>", State(False, START, reported=True, before=True), None), START + 300, None)
    assert "not available since before" in card_html
    assert "more than 5 min" in card_html
    assert "&lt;b&gt;" in card_html
    assert "<b>" not in card_html
    assert "no availability reported yet" in tiles.card(Standing("piper", None, None), START, 0)


@pytest.mark.parametrize(("together", "attempts"), [(40, "-"), (0, "0"), (None, "0")])
def test_attempts_that_were_counted_together_are_no_providers_own(together: int | None, attempts: str) -> None:
    """Where a metric had no room for all providers, how often a later one was asked is unknown, and never 0."""
    nothing = Row(**dict.fromkeys((each.name for each in fields(Row)), None))  # type: ignore[arg-type]
    rows = [replace(nothing, provider="piper", attempt_count=0, request_count=9)]
    if together is not None:
        rows.append(replace(nothing, provider=semconv.OTHER, attempt_count=together, request_count=1))
    cards = {each.provider: tiles.card(each, START, 0) for each in standings([available(1.0)], rows)}
    assert f"<dt>attempts</dt><dd>{attempts}</dd>" in cards["piper"]
    assert together is None or "beyond the limit of a metric, together" in cards[semconv.OTHER]


@dataclass
class Service:
    """A service's histograms and gauges, on local files."""

    directory: Path
    now: float = 0.0
    provider: MeterProvider = field(init=False)
    _reader: PeriodicExportingMetricReader = field(init=False)

    def __post_init__(self) -> None:
        store = Store(self.directory, max_age_s=1e9, max_bytes=2**30)
        self._reader = PeriodicExportingMetricReader(store.metric_exporter(), export_interval_millis=math.inf)
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter(semconv.SCOPE)

    def values(self, metric: Metric, number: int, value: float, **attributes: str | bool) -> None:
        """So many values of a histogram."""
        histogram = self.meter.create_histogram(metric.name, explicit_bucket_boundaries_advisory=metric.buckets)
        for _ in range(number):
            histogram.record(value, {_KEYS[name]: card_html for name, card_html in attributes.items()})

    def export(self) -> float:
        """Write a line; gives the moment after."""
        self._reader.force_flush()
        return time.time()


_KEYS = {
    "provider": "gen_ai.provider.name", "stream": "gen_ai.request.stream", "cache": "tts.cache.result", "outcome": "tts.outcome",
    "reason": "tts.attempt.reason",
}  # fmt: skip


def holding(directory: Path, now: float, **settings: float) -> Mapping[str, Sequence[str]]:
    """The conditions that hold, each with its sentences."""
    history = LocalHistory(directory, interval=1.0)
    period = Period(now - 900, now - 20, now, 30.0)
    judge = Judge(CachedHistory(history), period, LiveSettings.load({}, data_dir=directory, **settings))
    return {verdict.condition.name: list(verdict.sentences()) for verdict in judge.verdicts() if verdict.holds}


def test_conditions_that_hold_are_said_in_plain_words(tmp_path: Path) -> None:
    """Judged by the same thresholds as the alerts, with what explains them left out."""
    service = Service(tmp_path)
    request = {"provider": "piper", "stream": False, "cache": "miss"}
    service.values(semconv.SYNTHESIS_DURATION, 90, 0.1, outcome="ok", **request)
    service.values(semconv.SYNTHESIS_DURATION, 10, 0.1, outcome="error", **request)
    service.values(semconv.SYNTHESIS_DURATION, 50, 0.1, outcome="rejected", **request)
    service.values(semconv.ATTEMPT_DURATION, 50, 0.1, provider="piper", outcome="error", reason="initial")
    service.meter.create_gauge("tts.provider.available").set(0, {"gen_ai.provider.name": "piper"})
    met = holding(tmp_path, service.export())
    assert met["TTSRequestsFailing"] == ["Only 90% of requests succeed"]
    assert met["TTSProviderDown"] == ["piper: No replica can use the provider"]
    assert "TTSProviderFailing" not in met  # it is down: that explains it
    assert "TTSSynthesisSlow" not in met


@pytest.mark.parametrize(
    ("replicas", "met", "mood"),
    [
        ((1, 1), set(), "good"),
        ((1, 0), {"TTSProviderDegraded"}, "good"),
        ((0, 1), {"TTSProviderDegraded"}, "good"),
        ((0, 0), {"TTSProviderDown"}, "bad"),
        ((0, 0, 1), {"TTSProviderDegraded"}, "good"),
    ],
)
def test_a_provider_is_down_when_no_replica_can_use_it(
    tmp_path: Path, replicas: tuple[int, ...], met: set[str], mood: str
) -> None:
    """As Prometheus judges it: one replica that can use it is enough, and then the others make it degraded."""
    for available in replicas:
        service = Service(tmp_path)
        service.meter.create_gauge("tts.provider.available").set(available, {"gen_ai.provider.name": "piper"})
        now = service.export()
    assert {name for name in holding(tmp_path, now) if name.startswith("TTSProvider")} == met
    period = Period(now - 900, now - 20, now, 30.0)
    timelines = CachedHistory(LocalHistory(tmp_path, interval=1.0)).series(
        semconv.PROVIDER_AVAILABLE, period, (semconv.PROVIDER,)
    )
    (standing,) = standings(timelines, [])
    assert standing.state is not None
    assert standing.state.available is (mood == "good")


def test_too_little_traffic_is_not_judged(tmp_path: Path) -> None:
    """Three failures of four requests are no condition yet; slowness is one beyond its reference only."""
    service = Service(tmp_path)
    service.values(semconv.SYNTHESIS_DURATION, 4, 4.9, provider="piper", stream=False, cache="miss", outcome="error")
    assert holding(tmp_path, service.export()) == {}
    service.values(semconv.SYNTHESIS_DURATION, 1000, 4.9, provider="piper", stream=False, cache="miss", outcome="ok")
    now = service.export()
    assert list(holding(tmp_path, now)) == ["TTSSynthesisSlow"]
    assert holding(tmp_path, now, reference_latency_p95=5.0) == {}


class Dying(LocalHistory):
    """A history that dies and comes back. asked: how often it was asked for rows."""

    dead = False
    asked = 0

    def aggregates(self, *args: Any, **options: Any) -> list[Row]:
        """Rows, while it lives."""
        self.asked += 1
        if self.dead:
            raise HistoryUnavailableError("Prometheus at http://there does not answer.")
        return super().aggregates(*args, **options)


def test_a_dead_source_has_been_so_since_it_was_first_seen_so(tmp_path: Path) -> None:
    """Not since the last try; and when it is back, that is forgotten."""
    history, now = Dying(tmp_path, interval=1.0), [1000.0]
    reading = CachedHistory(history, lambda: now[0])

    for moment, since in ((1000.0, None), (1001.0, 1001.0), (1002.0, 1001.0), (1003.0, None), (1004.0, 1004.0)):
        now[0], history.dead = moment, since is not None
        period = reading.period("15m", 1)
        if since is None:
            assert reading.total(period).request_count == 0
        else:
            with pytest.raises(SourceUnavailableError, match=r"^Prometheus at http://there does not answer\.$") as away:
                reading.total(period)
            assert away.value.since == since
            assert away.value.answered


def test_since_when_a_source_is_away_that_never_answered_is_unknown(tmp_path: Path) -> None:
    """It may have been so long before the page was opened."""
    history = Dying(tmp_path, interval=1.0)
    history.dead = True
    reading = CachedHistory(history, lambda: 1000.0)
    for _ in range(2):
        with pytest.raises(SourceUnavailableError) as away:
            reading.total(reading.period("15m", 1))
        assert (away.value.since, away.value.answered) == (1000.0, False)


def test_windows_that_are_over_are_read_once(tmp_path: Path) -> None:
    """A refresh asks for the window under way only; somebody else who looks at the same asks for nothing."""
    history, now = Dying(tmp_path, interval=1.0), [90_010.0]
    reading = CachedHistory(history, lambda: now[0])
    asked = []
    for moment in (90_010.0, 90_010.0, 90_015.0):
        now[0] = moment
        period, before = reading.period("1h", 5), history.asked
        reading.rows(period)
        asked.append(history.asked - before)
    assert asked == [2, 0, 1]


class Slow(LocalHistory):
    """A history whose answers about services come when ``release`` is set. asked: how often it was asked for them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, interval=1.0)
        self.release, self.entered, self.asked = Event(), Event(), 0

    def services(self, *args: Any, **options: Any) -> list[Any]:
        """None, after a while."""
        self.asked += 1
        self.entered.set()
        assert self.release.wait(30)
        return []


def test_two_viewers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """While one question is slow, others are answered; the same question of two is asked once, and both get the answer."""
    history = Slow(tmp_path)
    reading = CachedHistory(history, lambda: 90_000.0)
    period = reading.period("15m", 1)
    with ThreadPoolExecutor(2) as viewers:
        first = viewers.submit(reading.services, period)
        assert history.entered.wait(30)
        assert reading.total(period).request_count == 0
        second = viewers.submit(reading.services, period)
        history.release.set()
        assert (first.result(30), second.result(30), history.asked) == ([], [], 1)


def test_a_page_asks_its_questions_at_the_same_time(tmp_path: Path) -> None:
    """Two that wait for each other are both answered, and an error of one is raised."""
    reading, both = CachedHistory(LocalHistory(tmp_path)), Barrier(2, timeout=30)
    reading.ask_ahead([both.wait, both.wait])

    def unanswered() -> None:
        raise SourceUnavailableError("Away.", 0.0)

    with pytest.raises(SourceUnavailableError, match="Away"):
        reading.ask_ahead([unanswered, lambda: None])


def test_an_answer_that_failed_is_asked_for_again(tmp_path: Path) -> None:
    """An error is given to whoever waits for it, and kept for nobody else."""
    history = Dying(tmp_path, interval=1.0)
    reading = CachedHistory(history, lambda: 90_000.0)
    history.dead = True
    with pytest.raises(SourceUnavailableError):
        reading.total(reading.period("15m", 1))
    history.dead = False
    assert reading.total(reading.period("15m", 1)).request_count == 0


class Told(LocalHistory):
    """A history whose provider succeeded in all attempts until ``failing``, from which on it failed in half of them.

    metric: what is counted in place of attempts.
    """

    metric = semconv.ATTEMPT_DURATION

    def __init__(self, directory: Path, failing: float, newest: float) -> None:
        super().__init__(directory, interval=1.0)
        self._failing, self._newest = failing, newest

    @property
    def newest(self) -> float:
        """The moment of its last export."""
        return self._newest

    def last_seen(self, start: float, end: float, metric: Metric = semconv.SYNTHESIS_DURATION) -> dict[str, float]:
        """That of its service."""
        return {"speech": self._newest} if start <= self._newest <= end else {}

    def series(self, metric: Metric, start: float, end: float, step: float, by: Any = (), **options: Any) -> list[Timeline]:
        """Ten attempts a second."""
        if metric is not self.metric:
            return []
        count = round((end - start) / step)
        windows = [(end - (count - n) * step, end - (count - n - 1) * step) for n in range(count)]
        rates = [(begin, stop, min(max(stop - max(self._failing, begin), 0), stop - begin)) for begin, stop in windows]
        return [
            Timeline(
                {"gen_ai.provider.name": "piper", "tts.outcome": outcome},
                tuple(
                    Point(begin, stop, Distribution({math.inf: 10 * ((stop - begin - bad / 2) if outcome == "ok" else bad / 2)}))
                    for begin, stop, bad in rates
                ),
            )
            for outcome in ("ok", "error")
        ]


def assert_words_are_true(words: str, failing: float) -> None:
    """The moments that a banner names lie around the one at which half a minute of five had half failed, a minute apart at most."""
    *_, latest = moments = [_moment(clock) for clock in re.findall(r"\d\d:\d\d:\d\d", words)]
    if "since before" in words:
        assert failing < latest, words
    else:
        assert words.startswith("began between "), words
        assert 0 < latest - moments[0] <= 60, words
        assert moments[0] <= failing + 30 <= latest, words


def _moment(clock: str) -> float:
    hours, minutes, seconds = map(int, clock.split(":"))
    day = time.localtime(1_795_424_417.0)
    return time.mktime((*day[:3], hours, minutes, seconds, 0, 0, -1))


@pytest.mark.parametrize("minutes", [3, 17.6, 42, 90])
def test_a_banner_says_since_when(tmp_path: Path, minutes: float) -> None:
    """To a minute, over a window that it names; what began before all that is looked at began before that."""
    now = 1_795_424_417.0
    reading = CachedHistory(Told(tmp_path, now - minutes * 60, now), lambda: now)
    period, settings = reading.period("15m", 1), LiveSettings.load({}, data_dir=tmp_path)
    (verdict,) = (v for v in Judge(reading, period, settings).verdicts() if v.holds)
    assert verdict.condition.name == "TTSProviderFailing"
    assert verdict.over == "over the last 5 min"
    began = onset(reading, period, settings, "", verdict.condition, verdict.holds[0])
    assert began.before is (minutes == 90)
    assert_words_are_true(now_page.when(verdict, [began], period), now - minutes * 60)
    if not began.before:
        assert (
            0 <= began.since - (now - minutes * 60) <= 120
        )  # a tenth of five minutes must have failed, and a minute of rounding
    assert onset(reading, period, settings, "", verdict.condition, verdict.holds[0]) == began


@pytest.mark.parametrize(
    ("name", "share", "within_s"), [("TTSSuccessBudgetBurn1h", 0.144, 30), ("TTSSuccessBudgetBurn6h", 0.06, 180)]
)
@pytest.mark.parametrize("lasted_s", [40.0, 200.0, 1000.0])
def test_when_a_long_window_was_exceeded_is_known_to_a_part_of_it(
    tmp_path: Path, name: str, share: float, within_s: float, lasted_s: float
) -> None:
    """To a 120th of the window, and whoever looks later is told the same: the moment of the look is no end of it."""
    now = 1_795_424_417.0
    window_s = {"1h": 3600, "6h": 21600}[name[-2:]]
    exceeded = now - lasted_s
    history = Told(tmp_path, exceeded - 2 * share * window_s, now + 600)
    history.metric = semconv.SYNTHESIS_DURATION  # type: ignore[misc]
    bounds = []
    for later_s in (0, 240, 480):
        reading = CachedHistory(history, lambda moment=now + later_s: moment)  # type: ignore[misc]
        period, settings = reading.period("15m", 1), LiveSettings.load({}, data_dir=tmp_path)
        judge = Judge(reading, period, settings)
        (verdict,) = (Verdict(c, tuple(judge.holding(c))) for c in CONDITIONS if c.name == name)
        bounds.append(onset(reading, period, settings, "", verdict.condition, verdict.holds[0]))
    for began in bounds:
        assert not began.before
        assert began.since - began.earliest <= within_s
        assert began.earliest - within_s <= exceeded <= began.since + within_s
    assert len({began.since for began in bounds[1:]}) == 1


class Coarse(Told):
    """A history that has nothing in windows of less than a minute, as where exports come late."""

    def series(self, metric: Metric, start: float, end: float, step: float, by: Any = (), **options: Any) -> list[Timeline]:
        """As before, in long windows."""
        return super().series(metric, start, end, step, by, **options) if step >= 60 else []


def test_a_moment_that_is_not_known_exactly_is_a_time_between_two(tmp_path: Path) -> None:
    """Also where the closer look finds less than the first one: at which moment it began nobody has seen."""
    now = 1_795_424_400.0
    reading = CachedHistory(Coarse(tmp_path, now - 400, now), lambda: now)
    period, settings = reading.period("15m", 1), LiveSettings.load({}, data_dir=tmp_path)
    (verdict,) = (v for v in Judge(reading, period, settings).verdicts() if v.holds)
    began = onset(reading, period, settings, "", verdict.condition, verdict.holds[0])
    assert began.earliest < began.since
    assert began.words(str).startswith("began between")


def test_what_nobody_sends_any_more_is_no_good_news(tmp_path: Path) -> None:
    """Absence is a condition after two minutes, as for the alert: services may export once a minute. After an hour nothing is well."""
    now = 1_795_424_417.0
    for age, met, words in (
        (5, False, "No problem."),
        (97, False, "No problem."),
        (240, True, "Unknown."),
        (7200, False, "Unknown."),
    ):
        reading = CachedHistory(Told(tmp_path, now, now - age), lambda: now)
        period, settings = reading.period("15m", 1), LiveSettings.load({}, data_dir=tmp_path)
        verdicts = Judge(reading, period, settings).verdicts()
        assert [v.condition.name for v in verdicts if v.holds] == (["TTSTelemetryAbsent"] if met else [])
        assert words in now_page.well(reading, period, verdicts)


def test_no_service_hides_that_another_is_silent(tmp_path: Path) -> None:
    """Each is judged by itself and named, since its last metrics; one that nobody heard of is unknown."""
    now = 1_795_424_417.0
    history = Told(tmp_path, now, now - 5)
    history.last_seen = lambda *_: {"dead": now - 437, "gone": now - 137, "rare": now - 97, "well": now - 5}  # type: ignore[method-assign]
    reading = CachedHistory(history, lambda: now)
    period, settings = reading.period("15m", 1), LiveSettings.load({}, data_dir=tmp_path)
    severities = [verdict.condition.severity for verdict in judged(reading, period, settings)]
    assert severities == sorted(severities, key=list(Severity).index)  # what wakes somebody stands first
    assert len(set(severities)) > 1
    silent = [verdict for verdict in judged(reading, period, settings) if verdict.holds]
    assert [(v.condition.name, v.service) for v in silent] == [("TTSTelemetryAbsent", "dead"), ("TTSTelemetryAbsent", "gone")]
    assert list(silent[0].sentences()) == ["dead: A service that sent metrics within the hour sends none now"]
    began = [onset(reading, period, settings, v.service, v.condition, v.holds[0]) for v in silent]
    assert [each.since for each in began] == [now - 437, now - 137]
    assert [v for v in judged(reading, period, settings, "well") if v.holds] == []
    answers = {"well": "conditions is met", "dead": "Nothing has been received for 7 min", "nope": "Nothing has been received,"}
    for service, words in answers.items():
        assert words in now_page.well(reading, period, judged(reading, period, settings, service), service)


def test_a_failing_providers_card_is_not_green(tmp_path: Path) -> None:
    """Neither while a condition is met for it, nor while its attempts fail; the worst of them decides."""
    fine = State(True, START, reported=True, before=False)
    assert 'data-state="good"' in tiles.card(Standing("piper", fine, None), START + 60, 0)
    warned = tiles.card(Standing("piper", fine, None), START + 60, 0, [("warn", "too slow"), ("unknown", "no reference")])
    assert 'data-state="warn"' in warned
    assert "too slow; no reference" in warned
    nothing = LocalHistory(tmp_path).totals(START, START + 60)
    row = replace(nothing, provider="piper", attempt_count=10, attempt_success_rate=0.4)
    failing = tiles.card(Standing("piper", fine, row), START + 60, 0)
    assert 'data-state="warn"' in failing
    assert "only 40% of attempts succeed" in failing


def test_what_is_seldom_is_not_never(tmp_path: Path) -> None:
    """One request in a quarter of an hour is not 0.0 a second."""
    row = replace(LocalHistory(tmp_path).totals(START, START + 60), request_count=1)
    period = Period(START, START + 900, START + 900, 30.0)
    (tile,) = (t for t in now_page.numbers(row, [], period, LiveSettings.load({})) if 'aria-label="Requests"' in t)
    assert '<span class="value">1</span><span class="note">0.0011/s</span>' in tile


def test_a_card_says_once_what_is_wrong_and_where() -> None:
    """Of several services the worst is named and the others counted; of one there is nothing to tell apart."""
    down, failing = (next(c for c in CONDITIONS if c.name == name) for name in ("TTSProviderDown", "TTSProviderFailing"))
    subject = {"gen_ai.provider.name": "piper"}
    met = [Verdict(down, (SubjectFigure(subject, 0.0),), name) for name in "abc"]
    met += [Verdict(failing, (SubjectFigure(subject, share, 50),), name) for share, name in ((0.5, "a"), (0.2, "b"))]
    slow = next(c for c in CONDITIONS if c.name == "TTSFirstAudioSlow")
    met += [Verdict(slow, (SubjectFigure(subject, factor, 50),), name) for factor, name in ((2.0, "a"), (3.0, "b"))]
    assert problems_of(met)["piper"] == [
        ("bad", "no replica can use the provider in a and 2 more services"),
        ("warn", "only 20% of attempts at the provider succeed over the last 5 min in b and 1 more service"),
        ("warn", "first audio takes about 3.0x its reference at the 95th percentile over the last 5 min in b and 1 more service"),
    ]
    assert problems_of(met[:1])["piper"] == [("bad", "no replica can use the provider")]
    assert problems_of([met[0], replace(met[1], holds=())])["piper"] == [("bad", "no replica can use the provider in a")]


def test_providers_that_are_counted_together_are_none_of_that_name() -> None:
    """The sentence says what they are, and the requests behind it are not looked for under a name that none has."""
    condition = next(c for c in CONDITIONS if c.name == "TTSProviderFailing")
    together = Verdict(condition, (SubjectFigure({"gen_ai.provider.name": semconv.OTHER}, 0.5, 50),), "speech")
    assert list(together.sentences()) == ["speech other providers together: Only 50% of attempts at the provider succeed"]
    requests = behind(together, LiveSettings.load({}))
    assert requests is not None
    assert (requests.service, requests.provider) == ("speech", "")


def test_a_window_is_named_once() -> None:
    """By the condition's own title or beside it, in the same words."""
    for condition in CONDITIONS:
        words = f"{condition.title}, {Verdict(condition, ()).over}"
        assert words.count("over the last") == bool(condition.window_s and condition.figure.traffic), words


@pytest.mark.parametrize(
    ("p95", "reference", "colour"),
    [
        (None, 60.0, palette.UNKNOWN), (40.0, 60.0, palette.GOOD), (60.0, 60.0, palette.GOOD), (60.1, 60.0, palette.BAD),
        (AtMost(3.0, 4.0), 4.0, palette.GOOD), (AtMost(3.0, 4.0), 3.5, palette.UNKNOWN), (AtMost(3.0, 4.0), 2.0, palette.UNKNOWN),
        (AtLeast(40.0), 60.0, palette.UNKNOWN), (AtLeast(40.0), 40.0, palette.UNKNOWN), (AtLeast(40.0), 39.0, palette.BAD),
    ],
)  # fmt: skip
def test_a_latency_that_may_be_on_either_side_of_its_reference_is_unknown(
    p95: float | None, reference: float, colour: str, tmp_path: Path
) -> None:
    """Both latencies on the page "Now", and no other edge changes with it."""
    nothing = LocalHistory(tmp_path).totals(START, START + 60)
    row = replace(nothing, request_ok=1, request_duration_p95=p95, request_first_audio_p95=p95)
    settings = LiveSettings.load({"OTEL_TTS_REFERENCE_LATENCY_P95": f"{reference:g}"})
    period = Period(START, START + 60, START + 60, 30.0)
    slow = [tile for tile in now_page.numbers(row, [], period, settings) if ", p95" in tile]
    assert len(slow) == 2
    assert all(f"--accent:{colour}" in tile for tile in slow), slow
    failed = [tile for tile in now_page.numbers(replace(row, request_ok=0), [], period, settings) if ", p95" in tile]
    assert all(f"--accent:{palette.UNKNOWN}" in tile for tile in failed), "how fast requests fail is no good news"
