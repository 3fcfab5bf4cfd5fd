"""Who is told: Alertmanager's own tools and Alertmanager itself, on the generated configuration."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from otel_tts.conditions import CONDITIONS, Condition, Severity
from otel_tts.promql import label
from otel_tts.rules import alertmanager
from otel_tts.semconv import PROVIDER
from tests.e2e.stack import Process, answers, program, until
from tests.ports import free_port


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated configuration."""
    path = tmp_path_factory.mktemp("alertmanager") / "alertmanager.yml"
    path.write_text(alertmanager())
    return path


def test_alertmanager_accepts_it(config: Path) -> None:
    """As its own tool says."""
    run = subprocess.run([program("amtool"), "check-config", config], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("condition", [c for c in CONDITIONS if c.query], ids=lambda c: c.name)
def test_each_alert_reaches_whom_it_is_for(condition: Condition, config: Path) -> None:
    """Pages page, tickets become tickets, what is only good to know goes to nobody, and the Watchdog to whoever watches."""
    labels = [f"alertname={condition.name}", f"severity={condition.severity}", "service_name=speech"]
    command = [program("amtool"), "config", "routes", "test", f"--config.file={config}", *labels]
    receivers = {Severity.PAGE: "pages", Severity.TICKET: "tickets", Severity.INFO: "nobody"}
    expected = "watchdog" if condition.name == "TTSWatchdog" else receivers[condition.severity]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == expected


@pytest.fixture(scope="module")
def running(config: Path) -> Iterator[str]:
    """The URL of a real Alertmanager."""
    url = f"http://127.0.0.1:{free_port()}"
    arguments = [f"--storage.path={config.parent / 'data'}", f"--web.listen-address={url.removeprefix('http://')}"]
    command = [program("alertmanager"), f"--config.file={config}", *arguments, "--cluster.listen-address="]
    process = Process(command, {}, lambda: answers(f"{url}/-/ready"), config.parent / "log")
    process.start()
    yield url
    process.stop()


def fire(url: str, *alerts: dict[str, str]) -> None:
    """Alerts, as Prometheus sends them."""
    body = json.dumps([{"labels": alert} for alert in alerts]).encode()
    urlopen(Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"}), timeout=10).close()


def suppressed(url: str, service: str) -> set[str]:
    """The alerts of a service that others explain, of all that it has."""
    with urlopen(f"{url}/api/v2/alerts?filter=service_name%3D{service}", timeout=10) as answer:
        return {alert["labels"]["alertname"] for alert in json.load(answer) if alert["status"]["inhibitedBy"]}


def alert(name: str, service: str, **labels: str) -> dict[str, str]:
    """An alert with its labels."""
    severity = next(str(condition.severity) for condition in CONDITIONS if condition.name == name)
    return {"alertname": name, "severity": severity, "service_name": service, **labels}


@pytest.mark.parametrize(
    ("service", "alerts", "unsaid"),
    [
        ("a", [("TTSProviderDegraded", "piper"), ("TTSProviderFailing", "piper")], set()),
        ("b", [("TTSProviderDown", "piper"), ("TTSProviderDegraded", "piper")], {"TTSProviderDegraded"}),
        ("c", [("TTSRequestsFailing", ""), ("TTSCacheHitRateCollapsed", "")], {"TTSCacheHitRateCollapsed"}),
        ("d", [("TTSSuccessBudgetBurn1h", ""), ("TTSSuccessBudgetBurn6h", "")], {"TTSSuccessBudgetBurn6h"}),
        ("e", [("TTSSuccessBudgetBurn6h", ""), ("TTSFirstAudioBudgetBurn1h", "")], set()),
        ("f", [("TTSRequestsFailing", ""), ("TTSProviderDown", "piper")], set()),
    ],
)
def test_what_something_else_explains_is_left_unsaid(
    running: str, service: str, alerts: list[tuple[str, str]], unsaid: set[str]
) -> None:
    """Degraded by down, tickets by pages, slow burns by fast ones; a page of another service's hides nothing."""
    fire(running, *(alert(name, service, **({label(PROVIDER): provider} if provider else {})) for name, provider in alerts))
    fire(running, alert("TTSCacheHitRateCollapsed", "other"))
    until(lambda: suppressed(running, service) == unsaid, f"{unsaid} unsaid", 10)
    assert suppressed(running, "other") == set()
