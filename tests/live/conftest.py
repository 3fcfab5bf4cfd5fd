"""A real service, the dashboard that reads what it writes, and a browser that shows it."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import grpc
import httpx
import pytest
from playwright.sync_api import Browser, Page

from otel_tts.commands.demo.cloud import MODEL, VOICE, Cloud
from otel_tts.semconv import Outcome
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.browser import launched
from tests.commands.conftest import OTEL_TTS, Served, serving, until
from tests.ports import free_port

EXPORT = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
"""Twice a second, so that windows may be a second long."""
Visit = Callable[..., Page]


class Switch(Cloud):
    """A speech server that somebody can switch off."""

    off = False

    @property
    def away(self) -> bool:
        """Whether it turns everybody away."""
        return self.off


@contextmanager
def dashboard(**environ: str) -> Iterator[str]:
    """`otel-tts live` for the length of the block; gives its address."""
    port = free_port()
    command = [*OTEL_TTS, "live", "--port", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, **EXPORT, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/_stcore/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, 30)
        yield url
    finally:
        process.terminate()
        process.wait(60)


@dataclass
class Watched:
    """A service that is watched. counted: how its requests ended, as their callers know it."""

    served: Served
    cloud: Switch
    url: str
    counted: Counter[str] = field(default_factory=Counter)

    def verify(self, iterations: int) -> None:
        """Run `otel-tts verify`, which says what the service has counted."""
        command = ["verify", "--iterations", str(iterations), "--target", self.served.target, "--seed", "3"]
        command += ["--metrics-url", self.served.metrics_url]
        ran = subprocess.run(
            [*OTEL_TTS, *command], env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (table,) = re.findall(r"^requests  .*\n(?:   .*\n)*", ran.stdout, re.MULTILINE)
        for outcome, counted in re.findall(r"(\w+) +[\d,]+ +([\d,]+) +same", table):
            self.counted[outcome] += int(counted)

    def speak(self, text: str = "Hello.", **wanted: str) -> str:
        """Send one request; gives its trace id."""
        with grpc.insecure_channel(self.served.target) as channel:
            answer = tts_pb2_grpc.TextToSpeechStub(channel).Synthesize(tts_pb2.SynthesizeRequest(text=text, **wanted))
        self.counted[Outcome.OK] += 1
        return str(answer.rendition.trace_id)


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A service with an engine in its process and one that can be switched off, after `otel-tts verify` has talked to it."""
    data = tmp_path_factory.mktemp("watched") / "data"
    with Switch(1, 0) as cloud, serving_with(cloud, data) as served, dashboard(OTEL_TTS_DATA_DIR=str(data)) as url:
        watched = Watched(served, cloud, url)
        watched.verify(20)
        yield watched


@contextmanager
def serving_with(cloud: Switch, data: Path) -> Iterator[Served]:
    """A service that speaks with Hibari, and with a server over HTTP."""
    thread = Thread(target=cloud.run, daemon=True)
    thread.start()
    environ = {
        "TTS_PROVIDERS": "hibari,openai",
        "TTS_OPENAI_BASE_URL": cloud.base_url,
        "TTS_OPENAI_MODEL": MODEL,
        "TTS_OPENAI_VOICES": f"{VOICE}:en-US",
        **EXPORT,
    }
    try:
        with serving(data, **environ) as served:
            yield served
    finally:
        cloud.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, watched: Watched) -> Iterator[Visit]:
    """Opens a page of the dashboard. It asks nobody but the dashboard for anything."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    asked: set[str] = set()

    def opened(path: str = "", base: str = watched.url) -> Page:
        page = context.new_page()
        page.on("request", lambda request: asked.add(request.url))
        page.goto(f"{base}/{path}")
        page.wait_for_selector(".source", timeout=30_000)
        return page

    yield opened
    context.close()
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []
