"""A fault in the service becomes an alert: real service, Collector, Prometheus and Alertmanager, at the intervals of production."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.e2e.speech import Speech, speaking
from tests.e2e.stack import Stack, get, running, until
from tests.service.test_openai import WAV, ScriptedServer, answer

AIM = 60.0
"""Seconds from the fault to the alert, for what pages. Exports are 10 seconds apart and evaluations 15."""
PRODUCTION = {"OTEL_METRIC_EXPORT_INTERVAL": "10000"}
CALLERS = 8


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is no quicker than in production."""
    with running(tmp_path_factory.mktemp("alerts"), BATCH_TIMEOUT="1s") as stack:
        yield stack


@contextmanager
def engine() -> Iterator[ScriptedServer]:
    """A speech server that does as it is told."""
    with ScriptedServer() as server:
        server.script = answer(200, WAV)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


@contextmanager
def service(stack: Stack, directory: Path, name: str) -> Iterator[tuple[ScriptedServer, Speech]]:
    """A service of that name, its only engine, and as much traffic as a small service has."""
    environ = {"TTS_PROVIDERS": "openai", "TTS_OPENAI_VOICES": "joe", "OTEL_SERVICE_NAME": name, **PRODUCTION}
    directory.mkdir()
    with ExitStack() as closing:
        server = closing.enter_context(engine())
        speech = closing.enter_context(speaking(directory, {**stack.service_environ}, **environ, TTS_OPENAI_BASE_URL=server.url))
        for _ in range(CALLERS):
            closing.enter_context(speech.load(rate=1.0))
        yield server, speech


def slow(seconds: float, ended: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    """A script that takes its time."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        ended.wait(seconds)
        answer(200, WAV)(handler)

    return script


def firing(stack: Stack, service: str) -> set[str]:
    """The alerts of a service that Alertmanager has."""
    alerts = get(f"{stack.alertmanager}/api/v2/alerts", filter=f'service_name="{service}"') or []
    return {alert["labels"]["alertname"] for alert in alerts}


def took(stack: Stack, service: str, fault: Callable[[], None], *alerts: str) -> dict[str, float]:
    """Seconds from the fault until Alertmanager has each of the alerts."""
    fault()
    began = time.monotonic()

    def seconds(alert: str) -> float:
        until(lambda: alert in firing(stack, service), f"{alert} after the fault", 150)
        return time.monotonic() - began

    with ThreadPoolExecutor() as pool:
        return dict(zip(alerts, pool.map(seconds, alerts), strict=True))


@pytest.mark.timeout(300)
def test_faults_become_the_right_alerts(stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider that fails pages within a minute, one that has become slow makes a ticket, and neither service has the other's alerts."""
    with service(stack, tmp_path / "down", "down") as (failing, _), service(stack, tmp_path / "slow", "slow") as (late, _):
        for name in ("down", "slow"):
            until(
                lambda name=name: stack.value(f'service:tts_success_rate:2m{{service_name="{name}"}}') == 1,
                f"traffic of {name}",
                90,
            )
        assert firing(stack, "down") == firing(stack, "slow") == set()

        def fail() -> None:
            failing.script = answer(503)

        def dawdle() -> None:
            late.script = slow(4.5, late.over)

        with ThreadPoolExecutor() as pool:
            paged = pool.submit(took, stack, "down", fail, "TTSProviderDown", "TTSRequestsFailing")
            ticket = pool.submit(took, stack, "slow", dawdle, "TTSSynthesisSlow")
            measured = {**paged.result(), **ticket.result()}
        alerts = firing(stack, "down"), firing(stack, "slow")
    with capsys.disabled():
        print("\nseconds from the fault to Alertmanager:", ", ".join(f"{name} {took:.0f}" for name, took in measured.items()))
    assert alerts[0] >= {"TTSProviderDown", "TTSRequestsFailing"}
    assert alerts[0].isdisjoint({"TTSSynthesisSlow", "TTSTelemetryAbsent"})
    assert alerts[1] & {"TTSProviderDown", "TTSRequestsFailing", "TTSSynthesisSlow"} == {"TTSSynthesisSlow"}
    assert measured["TTSProviderDown"] <= AIM
    assert measured["TTSRequestsFailing"] <= AIM
