"""Windows, moments, the lock and samples: what needs neither MLflow nor Evidently."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from otel_tts.history import open_history
from otel_tts.report.lock import AnotherJobError, locked
from otel_tts.report.profile import Profiles
from otel_tts.report.reference import length_s, moment, span
from otel_tts.report.sample import MOST, merged, take
from otel_tts.report.window import Window, closed, windows
from otel_tts.settings import HistorySettings
from tests.report.conftest import Recording
from tests.report.forked import context
from tests.report.recording import INTERVAL, SERVICE, speaking

NINE = 1795424400.0  # 2026-11-23T09:00Z


def test_windows_are_aligned() -> None:
    """They hold all of the time asked for, begin at multiples of their width, and follow each other."""
    assert list(windows(NINE + 10, NINE + 7200, 3600)) == [Window(NINE, NINE + 3600), Window(NINE + 3600, NINE + 7200)]
    assert list(windows(NINE, NINE, 3600)) == []
    assert [str(window) for window in windows(NINE - 1, NINE + 1, 86400)] == ["2026-11-23T00:00:00Z/86400s"]


@pytest.mark.parametrize(("now", "end"), [(0, -3600), (59, -3600), (60, 0), (3659, 0), (3660, 3600)])
def test_a_window_is_closed_after_its_grace(now: float, end: float) -> None:
    """Not at its end: telemetry comes a little later."""
    assert closed(NINE + now, 3600, 60) == NINE + end


def test_moments_and_lengths() -> None:
    """As people write them; what is neither is refused with an example."""
    assert [moment(text, NINE) for text in ("2h", "2026-11-23T09:00", "2026-11-23T10:00+01:00", "2026-11-23")] == [
        NINE - 7200, NINE, NINE, NINE - 9 * 3600,
    ]  # fmt: skip
    assert [length_s(text) for text in ("30s", "5m", "1.5h", "7d")] == [30, 300, 5400, 604800]
    assert span("2026-11-23T09:00..2026-11-23T10:00") == (NINE, NINE + 3600)
    for text, parse, message in (
        ("5", length_s, "'5' is no length of time"),
        ("soon", moment, "'soon' is no moment"),
        ("2026-11-23", span, "is no range: say START..END"),
        ("2026-11-23..2026-11-22", span, "it ends before it begins"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(text)


def _hold(directory: Path, started: object, done: object) -> None:
    with locked(directory, "x"):
        started.set()  # type: ignore[attr-defined]  # an event of multiprocessing, whose class is no type
        done.wait()  # type: ignore[attr-defined]


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    """Another process cannot have it, whatever else it locks; once the holder is killed, it is free."""
    forked = context()
    started, done = forked.Event(), forked.Event()
    holder = forked.Process(target=_hold, args=(tmp_path, started, done))
    holder.start()
    assert started.wait(30)
    with locked(tmp_path, "y"), pytest.raises(AnotherJobError, match=f"process {holder.pid}"), locked(tmp_path, "x"):
        pass
    holder.kill()
    holder.join()
    with locked(tmp_path, "x"):
        pass


def test_a_sample_is_what_was_recorded(recording: Recording, tmp_path: Path) -> None:
    """All requests of a window, complete; a profile holds it unchanged; parts merge into the whole."""
    sample = take(recording.history, recording.healthy, SERVICE)
    assert (sample.requests, sample.spans, len(sample.rows), sample.sampled, len(sample.worst)) == (600, 600, 600, False, 10)
    profiles = Profiles(tmp_path)
    profiles.save("good-1.0", sample)
    assert profiles.names() == ["good-1.0"]
    assert profiles.load("good-1.0") == replace(sample, worst=())
    assert profiles.load("unknown") is None
    with pytest.raises(ValueError, match="cannot be a profile's name"):
        profiles.load("../good")

    twice = merged([sample, take(recording.history, recording.faulty, SERVICE)])
    assert (twice.requests, len(twice.rows)) == (960, 960)
    assert len(twice.rows) <= MOST


async def test_a_sampler_is_noticed(tmp_path: Path) -> None:
    """With nine of ten traces kept, single requests are not judged; counts are complete."""
    async with speaking(tmp_path, sampler=TraceIdRatioBased(0.9)) as speaker:
        window = await speaker.traffic(150, 5)
    history = open_history(HistorySettings.load({}, data_dir=tmp_path, export_interval=INTERVAL))
    sample = await asyncio.to_thread(take, history, window, SERVICE)
    assert (sample.requests, sample.sampled) == (150, True)
    assert sample.spans < 148
    assert sample.frame().empty
    assert sum(judged for _, judged in sample.attempts.values()) > 100
