"""The last hop of `otel-tts doctor`, against a server that answers as Grafana's HTTP API is documented to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_tts.cli import main
from otel_tts.commands.doctor.grafana import DASHBOARDS
from tests.commands.grafana_api import PASSWORD, grafana
from tests.ports import free_port

DIRECTORY = Path(__file__).parents[2] / "dashboards"
HEALTH = "/api/datasources/uid/prometheus/health"
SERVICES = "/api/datasources/proxy/uid/jaeger/api/services"
ECHO = "/api/datasources/proxy/uid/tempo/api/echo"


def last_line(url: str, monkeypatch: pytest.MonkeyPatch, password: str | None = PASSWORD, traces: str = "jaeger") -> str:
    """What is said of Grafana, where nothing else is there."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("COLUMNS", "300")
    if password is not None:
        monkeypatch.setenv("OTEL_TTS_GRAFANA_PASSWORD", password)
    options = ["--target", nowhere.partition("//")[2]]
    for name in ("collector", "prometheus", traces):
        options += [f"--{name}-url", nowhere]
    result = CliRunner().invoke(main, ["doctor", *options, "--grafana-url", url])
    assert result.exit_code == 3, result.output  # the service comes first
    return " ".join(result.output.partition(" Grafana ")[0].split()[-1:] + result.output.partition(" Grafana ")[2].split())


@pytest.mark.parametrize(("traces", "other"), [("jaeger", ECHO), ("tempo", SERVICES)])
def test_a_whole_one(traces: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sources that reach their backends, and every dashboard; the one for traces that are elsewhere may lead nowhere."""
    with grafana(DASHBOARDS, {other: (502, "Bad Gateway")}) as url:
        message = last_line(url, monkeypatch, traces=traces)
    assert message.startswith("ok ")
    assert message.endswith(f"ms 2 data sources healthy, {len(DASHBOARDS)} dashboards present")


@pytest.mark.parametrize(
    ("path", "answer", "says"),
    [
        (HEALTH, (400, {"status": "ERROR", "message": "dial tcp: connection refused"}), "400 dial tcp: connection refused"),
        (HEALTH, (404, {"message": "Data source not found"}), "404 Data source not found"),
        (SERVICES, (502, "Bad Gateway"), "502 Bad Gateway"),
        (ECHO, (502, "Bad Gateway"), "502 Bad Gateway"),
    ],
)
def test_a_data_source_that_is_not_healthy(
    path: str, answer: tuple[int, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which one, and what Grafana says of it."""
    source = {HEALTH: "prometheus", SERVICES: "jaeger", ECHO: "tempo"}[path]
    with grafana(DASHBOARDS, {path: answer}) as url:
        message = last_line(url, monkeypatch, traces="tempo" if path == ECHO else "jaeger")
    assert message.startswith("broken ")
    assert f"the data source {source} at {url} is not healthy: {says} Check that deploy/grafana/provisioning" in message


def test_dashboards_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many, and which."""
    with grafana(DASHBOARDS[2:]) as url:
        message = last_line(url, monkeypatch)
    assert message.startswith("broken ")
    assert f"missing at {url}: 2 of {len(DASHBOARDS)} dashboards (otel-tts-overview, otel-tts-providers)" in message


def test_no_password_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and says no more: nothing is known, and what to give is said. A wrong password is the same."""
    with grafana(DASHBOARDS) as url:
        for password in (None, "wrong"):
            message = last_line(url, monkeypatch, password)
            assert message == f"unknown {url} answers, but its checks need the right password: give --grafana-password"


def test_one_that_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers that it is not, and the password stands nowhere."""
    with grafana((), database="failing") as url:
        message = last_line(url, monkeypatch)
    assert f'{url} answers 503 {{"database": "failing"' in message
    assert PASSWORD not in message


def test_one_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that was given and has nobody is a fault."""
    url = f"http://127.0.0.1:{free_port()}"
    message = last_line(url, monkeypatch)
    assert message.startswith("broken ")
    assert f"{url} does not answer Start it: `docker compose up -d grafana`" in message


def test_the_dashboards_are_those_that_are_generated() -> None:
    """The uids are those of dashboards/*.json."""
    assert {json.loads(path.read_text("utf-8"))["uid"] for path in DIRECTORY.glob("*.json")} == set(DASHBOARDS)


def test_an_address_that_is_none_is_refused() -> None:
    """What an option takes is said."""
    result = CliRunner().invoke(main, ["doctor", "--grafana-url", "grafana:3000"])
    assert result.exit_code == 2
    assert "it takes an address that begins with http:// or https://" in " ".join(result.output.split())
