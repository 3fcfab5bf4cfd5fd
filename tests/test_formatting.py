"""How figures are written for people, in the terminal and on pages."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import formatting, semconv
from otel_tts.distribution import AtLeast, Distribution


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (math.nan, "-"), (0.0, "0 ms"), (0.00003, "<0.1 ms"), (-0.003, "-3.0 ms"), (0.00042, "0.4 ms"),
        (0.0994, "99.4 ms"), (0.0996, "100 ms"), (0.4567, "457 ms"),
        (0.9996, "1.00 s"), (2.345, "2.35 s"), (99.999, "100.00 s"), (1234.5, "1,234 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    """Three significant digits, in the unit that suits."""
    assert formatting.duration(seconds) == text


@given(st.floats(0, 1))
def test_shares(share: float) -> None:
    """A share that is not all is never written as all, one that is not nothing never as nothing, and all others to a tenth."""
    text = formatting.percent(share)
    assert (text == "100%") == (share == 1)
    assert (text == "0%") == (share == 0)
    assert abs(float(text.strip("<>% ")) - 100 * share) <= 0.1


def test_what_is_unknown_is_no_number() -> None:
    """Neither where nothing is known nor where a figure could not be computed."""
    for unknown in (None, math.nan):
        for write in (formatting.duration, formatting.percent, formatting.count, formatting.dollars):
            assert write(unknown) == "-"
        assert {formatting.value(unknown, unit) for unit in ("s", "1", "By", "{USD}", "dB", "{request}")} == {"-"}


def test_clock_times_have_dates_where_they_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day for the last day, month and day before; a date has its zone, that of the moment."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        winter, summer = 1_772_366_400.0, 1_782_907_200.0  # 2026-03-01 and 2026-07-01, 12:00 UTC
        assert formatting.clock(winter, winter + 60) == "13:00:00"
        assert formatting.clock(winter, winter + 90_000) == "03-01 13:00"
        assert formatting.date(winter) == "2026-03-01 13:00:00 CET"
        assert formatting.date(summer) == "2026-07-01 14:00:00 CEST"
        assert formatting.utc(winter) == "2026-03-01T12:00:00Z"
        assert formatting.period(winter, winter + 3600) == "2026-03-01 13:00:00 to 14:00:00 CET"
        assert formatting.period(winter, winter + 86400) == "2026-03-01 13:00:00 to 2026-03-02 13:00:00 CET"
        changed = 1_774_744_200.0  # 2026-03-29, half an hour before the clocks change
        assert formatting.period(changed, changed + 3600) == "2026-03-29 01:30:00 CET to 03:30:00 CEST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_changes_have_a_sign() -> None:
    """Of shares in points, of all else relative; from nothing there is no relation. What is shown as 0 has none."""
    assert formatting.change(0.5, 0.4, of_share=True) == "+10.0 points"
    assert [formatting.change(now, before) for now, before in ((3.0, 2.0), (1.0, 2.0), (1.5, 0.0))] == ["+50%", "-50%", "+1.5"]
    nothing = [formatting.change(*pair) for pair in ((1.001, 1.0), (0.999, 1.0), (0.0, 0.0))]
    assert nothing == ["0%", "0%", "0"]
    assert {formatting.change(0.1, 0.1 + moved, of_share=True) for moved in (0.0, 1e-5, -1e-5)} == {"0.0 points"}


def test_beyond_the_last_bound_only_that_is_known() -> None:
    """A quantile that lies there is not said to be the bound."""
    metric = semconv.SYNTHESIS_FIRST_AUDIO
    slow = Distribution({**dict.fromkeys(metric.buckets, 1), math.inf: 10})
    assert formatting.duration(slow.quantile(0.95)) == formatting.value(slow.quantile(0.95), "s") == "at least 40 s"
    assert formatting.value(AtLeast(10.0), "1") == "at least 10"
    assert formatting.duration(slow.quantile(0.05)) != "at least 40 s"


def test_numbers_have_their_units() -> None:
    """The same quantity looks the same everywhere."""
    assert [formatting.dollars(v) for v in (0.0, 0.0042, 12.5)] == ["$0.00", "$0.0042", "$12.50"]
    assert [formatting.elapsed(v) for v in (-1, 45, 150, 7300, 200_000)] == ["0 s", "45 s", "2 min", "2 h", "2 d"]
    assert formatting.value(27.8e6, "By") == "27.8 MB"
    assert [formatting.value(v, "By") for v in (0, 312, 1000, 45_600, 999_999, 3.2e9)] == [
        "0 B", "312 B", "1.0 kB", "45.6 kB", "1.0 MB", "3.2 GB",
    ]  # fmt: skip
    definition = "tts.queue.wait: How long requests waited for a free engine. (seconds, distinguished up to 40)"
    assert formatting.definition(semconv.QUEUE_WAITING) == definition


def test_an_attribute_has_its_unit() -> None:
    """Each number of the registry's attributes says what it is of; what has no unit, or is not ours, stays as it is."""
    expected = {
        semconv.TIME_TO_FIRST_AUDIO: (0.82, "820 ms"), semconv.AUDIO_LOUDNESS: (24.1, "24.1 dB below full scale"),
        semconv.AUDIO_SILENCE_RATIO: (0.125, "12.5%"), semconv.AUDIO_SAMPLE_RATE: (24000, "24000 Hz"),
        semconv.AUDIO_SPEAKING_RATE: (14.23, "14.2 characters per second"), semconv.COST: (0.0042, "$0.0042"),
        semconv.TEXT_LENGTH: (1234, "1,234"), semconv.REAL_TIME_FACTOR: (0.1234, "0.123"), semconv.STREAM: (True, "yes"),
        semconv.OUTCOME: ("ok", "ok"),
    }  # fmt: skip
    assert {each: formatting.attribute(each.key, raw) for each, (raw, _) in expected.items()} == {
        each: text for each, (_, text) in expected.items()
    }
    assert formatting.attribute("server.port", 50051) == "50051"
    numbers = [each for each in semconv.OF_SPANS.values() if each.type in ("int", "double")]
    assert [each.key for each in numbers if not each.unit] == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.92, "about 4.9 s"), (0.296, "about 300 ms"), (0.997, "about 1 s"), (99.7, "about 100 s"), (0.0, "0 ms"), (None, "-")],
)
def test_a_quantile_is_about_so_much(seconds: float | None, text: str) -> None:
    """No more digits than a bucket allows, so that nobody looks for a request that took 4.92 s; a lower bound stays one."""
    assert formatting.estimated(seconds) == text
    assert formatting.estimated(AtLeast(40.0)) == formatting.duration(AtLeast(40.0))


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(None, "-"), (0.0, "0.0/s"), (1 / 900, "0.0011/s"), (0.96, "0.96/s"), (3.46, "3.5/s"), (2000.0, "2,000.0/s")],
)
def test_frequencies(per_second: float | None, text: str) -> None:
    """What is seldom is not 0, and what is unknown is none."""
    assert formatting.frequency(per_second) == text
