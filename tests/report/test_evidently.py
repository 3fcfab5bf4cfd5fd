"""Evidently's pages: what is drawn says what its values are."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from otel_tts.report.drift import judge
from otel_tts.report.sample import FACTS, Sample


def sample(seed: int, slow: float) -> Sample:
    """Requests of one voice, of which a share is slow."""
    random = Random(seed)
    rows: dict[str, tuple[object, ...]] = {}
    for number in range(300):
        pace = 6.0 if random.random() < slow else random.uniform(0.9, 1.1)
        facts = {
            "outcome": "ok", "provider": "ada", "model": "m", "voice": "v", "language": "en", "cache_result": "bypass",
            "characters": random.randrange(20, 25), "attempts": 1, "duration": pace, "rtf": pace / 10, "loudness": random.gauss(-20, 1),
        }  # fmt: skip
        rows[f"{seed * 1000 + number:016x}"] = tuple(facts.get(name) for name in FACTS)
    return Sample(requests=300, spans=300, rows=rows, attempts={"ada": (290, 300)})


@pytest.mark.usefixtures("drawn")
def test_tails_are_shares_and_relative_values_say_to_what(tmp_path: Path) -> None:
    """A tail is two bars and a share, and no line of zeros and ones; a speed says that it is relative, loudness is what it is."""
    judgement = judge(sample(1, 0.2), sample(2, 0.0), "healthy")
    assert {finding.measure for finding in judgement.drifted} == {"latency_tail", "real_time_factor_tail"}
    judgement.save(tmp_path)
    page = (tmp_path / "engines.html").read_text("utf-8")
    shares = ("latency_tail of ada / m / v, share that is slow", "failures of ada, share that is failed")
    for title in shares:
        assert title in page
        assert f"{title} (mean +/- std)" not in page
    for title in ("latency of ada / m / v", "real_time_factor of ada / m / v"):
        assert f"{title}, relative to the reference's median (mean +/- std)" in page
    assert "loudness of ada / m / v (en) (mean +/- std)" in page
