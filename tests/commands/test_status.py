"""`otel-tts status`: what is wrong now, for people and for whatever reads its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from otel_tts import semconv
from otel_tts.cli import main
from otel_tts.commands.status import CheckState
from tests.live.test_standing import Service


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")


def run(*arguments: str, **environ: str) -> Result:
    """The command, in a wide terminal."""
    return CliRunner().invoke(main, ["status", *arguments], env={"COLUMNS": "160", **environ})


def test_nothing_known_is_not_nothing_wrong() -> None:
    """Without telemetry, and with a source that is away, the state is unknown."""
    result = run()
    assert result.exit_code == CheckState.UNKNOWN
    assert "Unknown: there are no metrics" in result.output
    result = run(OTEL_TTS_PROMETHEUS_URL="http://127.0.0.1:9")
    assert result.exit_code == CheckState.UNKNOWN
    assert "Unknown: Prometheus at http://127.0.0.1:9 does not answer" in result.stderr


@pytest.mark.parametrize(("failed", "state"), [(0, CheckState.OK), (2, CheckState.OK), (30, CheckState.CRITICAL)])
def test_the_exit_code_is_that_of_a_check(tmp_path: Path, failed: int, state: CheckState) -> None:
    """0 when nothing is wrong, 2 when somebody is woken; the condition says all that there is to know."""
    service = Service(tmp_path)
    request = {"provider": "piper", "stream": False, "cache": "miss"}
    service.values(semconv.SYNTHESIS_DURATION, 100 - failed, 0.1, outcome="ok", **request)
    service.values(semconv.SYNTHESIS_DURATION, failed, 0.1, outcome="error", **request)
    service.export()
    result = run()
    assert result.exit_code == state, result.output
    assert ("Nothing is wrong." in result.output) is (state is CheckState.OK)
    listed = json.loads(run("--json").stdout)
    assert listed["state"] == state.name.lower()
    assert 0 <= listed["newest_telemetry_age_s"] < 60
    if state is CheckState.CRITICAL:
        assert "page    Only 70% of requests succeed" in result.output
        assert "over the last 2 min" in result.output
        assert "otel-tts requests --problem failed" in result.output
        assert "#ttsrequestsfailing" in result.output
        (failing,) = (each for each in listed["conditions"] if each["name"] == "TTSRequestsFailing")
        assert (failing["severity"], failing["window_s"]) == ("page", 120)


def test_what_can_wait_is_a_warning(tmp_path: Path) -> None:
    """A provider whose attempts fail while requests succeed."""
    service = Service(tmp_path)
    service.values(semconv.ATTEMPT_DURATION, 30, 0.1, provider="piper", outcome="error", reason="initial")
    service.values(semconv.SYNTHESIS_DURATION, 30, 0.1, provider="hibari", stream=False, cache="miss", outcome="ok")
    service.export()
    result = run()
    assert result.exit_code == CheckState.WARNING
    assert "ticket  piper: Only 0% of attempts at the provider succeed" in result.output
    assert run("--service", "another").exit_code == CheckState.OK
