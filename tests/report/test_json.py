"""``otel-tts report --json`` and ``report compare --json``: what a program reads is what people see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import Recording, of_range
from tests.report.recording import SERVICE
from tests.report.test_command import data, iso, run

__all__ = ["data"]


def content(output: str, command: str) -> dict[str, Any]:
    """The fields beside the two that every object has."""
    whole: dict[str, Any] = json.loads(output, parse_constant=pytest.fail)
    assert (whole.pop("version"), whole.pop("command")) == (1, command)
    return whole


def test_a_window(recording: Recording, data: Path) -> None:
    """Its figures and the judgement of each measure; another pass says that nothing is new. Moments are seconds since the epoch."""
    start = recording.faulty.start
    width = start / (start // recording.faulty.width_s)  # so that a window begins there
    options = [
        "--json", "--since", iso(start + 1), "--until", iso(start + 2), "--window", f"{width:.12f}s",
        "--reference", of_range(recording.healthy), "--service", SERVICE,
    ]  # fmt: skip
    code, output = run(data, *options)
    assert code == 0, output
    [window] = content(output, "report")["windows"]
    assert (window["service"], window["done"]) == (SERVICE, "written")
    assert window["start"] == pytest.approx(start, abs=1)
    assert window["end"] - window["start"] == pytest.approx(width)
    assert window["figures"]["request_count"] > 0
    assert 0 < window["figures"]["request_success_rate"] < 1
    judgement = window["judgement"]
    assert (judgement["status"], judgement["reason"]) == ("drifted", "")
    drifted = {(finding["measure"], finding["provider"]) for finding in judgement["findings"] if finding["status"] == "drifted"}
    assert {("failures", "bob"), ("latency", "ada"), ("loudness", "cleo")} <= drifted
    _, again = run(data, *options)
    [unchanged] = content(again, "report")["windows"]
    assert unchanged["done"] == "unchanged"


def test_a_comparison(recording: Recording, data: Path) -> None:
    """Both sides with their names and numbers of requests, and the judgement."""
    sides = [of_range(recording.healthy), of_range(recording.faulty)]
    code, output = run(data, "compare", "--json", *sides)
    assert code == 0, output
    comparison = content(output, "report compare")
    assert [side["name"] for side in comparison["sides"]] == sides
    assert all(side["requests"] > 0 for side in comparison["sides"])
    worse = {finding["measure"] for finding in comparison["judgement"]["findings"] if finding["better"] is False}
    assert {"latency", "failures"} <= worse
