"""Judgements on telemetry of the real service, by the real Evidently."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from otel_tts.report.drift import Judgement, judge
from otel_tts.report.headline import Headline
from otel_tts.report.sample import FACTS, Sample, take
from tests.report.conftest import Recording
from tests.report.recording import SERVICE


@pytest.fixture(scope="session")
def healthy(recording: Recording) -> Sample:
    """The healthy time."""
    return take(recording.history, recording.healthy, SERVICE)


def named(judgement: Judgement) -> set[tuple[str, str]]:
    """What drifted: measures, and the providers whose they are."""
    return {(finding.measure, finding.provider) for finding in judgement.drifted}


def test_faults_are_named_and_nothing_else(recording: Recording, healthy: Sample) -> None:
    """A slow voice, a failing provider and quieter audio, each by its measures and its provider; the traffic is as it was."""
    judgement = judge(take(recording.history, recording.faulty, SERVICE), healthy, "healthy")
    assert named(judgement) == {
        ("latency", "ada"), ("first_audio", "ada"), ("real_time_factor", "ada"), ("failures", "bob"), ("loudness", "cleo"),
    }  # fmt: skip
    assert {finding.group for finding in judgement.drifted if finding.family == "audio"} == {"cleo / espeak-it / it (it)"}
    assert judgement.traffic == []
    assert judgement.status == "drifted"


def test_other_texts_are_traffic_only(recording: Recording, healthy: Sample) -> None:
    """Longer texts, other voices and languages, spoken as ever: the traffic changed, no engine drifted."""
    judgement = judge(take(recording.history, recording.other_texts, SERVICE), healthy, "healthy")
    assert judgement.drifted == []
    assert {finding.measure for finding in judgement.traffic} == {"characters", "language", "voice"}
    assert {finding.status for finding in judgement.traffic} == {"changed"}
    assert {finding.status for finding in judgement.select("traffic")} <= {"changed", "steady", "not judged"}
    assert judgement.status == "steady"
    page = Headline("speech", judgement).html()
    assert ">drifted<" not in page
    assert ">changed<" in page


def test_chance_raises_no_alarm(healthy: Sample) -> None:
    """Fifty samples of 300 requests of one healthy time, against all of it: judged, and never an alarm."""
    spans = sorted(healthy.rows)
    judged = 0
    for seed in range(50):
        random = Random(seed)
        drawn = {f"{number:016x}": healthy.rows[span] for number, span in enumerate(random.choices(spans, k=300))}
        attempts = {name: _drawn(random, *counts) for name, counts in healthy.attempts.items()}
        judgement = judge(replace(healthy, requests=300, spans=300, rows=drawn, attempts=attempts), healthy, "healthy")
        assert (judgement.drifted, judgement.traffic, judgement.status) == ([], [], "steady"), seed
        judged += sum(finding.status == "steady" for finding in judgement.select("performance", "audio"))
    assert judged >= 50 * 10


def _drawn(random: Random, succeeded: int, judged: int) -> tuple[int, int]:
    count = judged // 3
    return sum(random.random() < succeeded / judged for _ in range(count)), count


def test_a_slow_tail_is_named(healthy: Sample) -> None:
    """One of ten of a voice's requests takes five times as long: its tails drifted, its middles did not, and no other voice's did."""

    def drawn(seed: int, share: float) -> Sample:
        """Requests as they were recorded, but for their times: those of a busy machine have tails of their own."""
        random = Random(seed)
        rows: dict[str, tuple[object, ...]] = {}
        for number, span in enumerate(random.choices(sorted(healthy.rows), k=6_000)):
            row = dict(zip(FACTS, healthy.rows[span], strict=True)) | {"queue_wait": 0.0}
            pace = random.lognormvariate(0.0, 0.3) * (5 if row["provider"] == "ada" and random.random() < share else 1)
            row |= {name: row[name] and usual * pace for name, usual in (("duration", 0.2), ("ttfa", 0.1), ("rtf", 0.05))}
            rows[f"{number:016x}"] = tuple(row.values())
        return replace(healthy, requests=6_000, spans=6_000, rows=rows)

    judgement = judge(drawn(1, 0.1), drawn(2, 0.0), "healthy")
    tails = {(f"{measure}_tail", "ada") for measure in ("latency", "first_audio", "real_time_factor")}
    assert named(judgement) == tails
    shares = {(f.measure, f.provider): f.current for f in judgement.drifted}
    assert shares == {tail: pytest.approx(0.1, abs=0.03) for tail in tails}
    assert judge(drawn(3, 0.0), drawn(2, 0.0), "healthy").drifted == []


@pytest.mark.parametrize(
    ("failed", "total", "failed_before", "of_before", "status"),
    [
        (30, 300, 1, 300, "drifted"),
        (2, 30, 25, 5_000, "steady"),  # large, and likely by chance; approximate tests are certain of it
        (60, 1_000, 20, 1_000, "steady"),  # certain, and small
        (1, 300, 30, 300, "improved"),
    ],
)
def test_shares_are_judged_exactly(
    healthy: Sample, failed: int, total: int, failed_before: int, of_before: int, status: str
) -> None:
    """Failures drifted when their share moved by five points and more than chance moves it, whatever the sizes of both samples."""
    now, then = (replace(healthy, attempts={"ada": (n - k, n)}) for k, n in ((failed, total), (failed_before, of_before)))
    [finding] = [finding for finding in judge(now, then, "x").findings if finding.measure == "failures"]
    assert finding.status == status
    assert (finding.current, finding.reference) == pytest.approx((failed / total, failed_before / of_before))


def rows_with(sample: Sample, **facts: object) -> Sample:
    """The same sample, but for some facts of each row."""
    rows = {
        span: tuple(facts.get(name, value) for name, value in zip(FACTS, row, strict=True)) for span, row in sample.rows.items()
    }
    return replace(sample, rows=rows)


def test_what_cannot_be_judged_is_not(healthy: Sample) -> None:
    """No window, no reference, a sampler, too few rows: not judged, for a reason that is said, and no alarm."""
    few = replace(healthy, rows=dict(list(healthy.rows.items())[:20]), attempts={})
    sampled = replace(healthy, spans=100, sampled=True, attempts={})
    assert [
        (judgement.status, judgement.drifted, judgement.traffic, judgement.reason)
        for judgement in (
            judge(Sample(), healthy, "x"),
            judge(healthy, None, "x"),
            judge(few, healthy, "x"),
            judge(sampled, healthy, "x"),
        )
    ] == [
        ("not judged", [], [], ""),
        ("not judged", [], [], "there is nothing to compare it with"),
        ("not judged", [], [], ""),
        ("not judged", [], [], f"sampled: there are spans of 100 of {healthy.requests} requests of the window"),
    ]
    reasons = {finding.reason for finding in judge(few, healthy, "x").findings if finding.rows}
    assert all(re.search(r"comparable values?, 30 are needed$", reason) for reason in reasons)


@pytest.mark.parametrize(
    "facts",
    [
        {"loudness": None, "ttfa": None, "voice": None, "language": None},  # nothing known
        {"loudness": 20.0, "silence_ratio": 0.0, "duration": 0.0, "rtf": 0.0},  # all alike, some of it nothing
        {"provider": "newcomer", "voice": "new"},
        {"characters": 0},
    ],
)
def test_strange_columns_crash_nothing(healthy: Sample, facts: dict[str, object], tmp_path: Path) -> None:
    """Columns that are null, constant, zero or of a new category, on either side."""
    strange = rows_with(healthy, **facts)
    for current, reference in ((strange, healthy), (healthy, strange)):
        judgement = judge(current, reference, "x")
        judgement.save(tmp_path)
        json.loads((tmp_path / "judgement.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.usefixtures("drawn")
def test_reports_are_saved(recording: Recording, healthy: Sample, tmp_path: Path) -> None:
    """HTML for people and JSON for programs, with as many tests as were counted."""
    judgement = judge(take(recording.history, recording.faulty, SERVICE), healthy, "healthy")
    judgement.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "engines.html", "engines.json", "judgement.json", "traffic.html", "traffic.json",
    ]  # fmt: skip
    tests = [
        test["status"] for name in ("engines", "traffic") for test in json.loads((tmp_path / f"{name}.json").read_text())["tests"]
    ]
    assert (tests.count("SUCCESS"), tests.count("FAIL")) == (judgement.passed, judgement.failed)
    assert judgement.failed >= 2 * len(judgement.drifted)
    assert "<html" in (tmp_path / "engines.html").read_text(encoding="utf-8")[:500].lower()
