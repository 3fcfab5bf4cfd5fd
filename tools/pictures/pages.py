"""The pages of the live dashboard, of MLflow and of Evidently, from the demo's traffic."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page
from playwright.sync_api import Error as BrowserError

from otel_tts.history import History, open_history
from otel_tts.report.reports import Reports
from otel_tts.settings import HistorySettings
from tests.commands.conftest import OTEL_TTS
from tests.e2e.stack import answers, until
from tests.live.conftest import dashboard
from tests.ports import free_port
from tools.pictures import screenshots
from tools.pictures.compressed import IMAGES, SCHEMES, SIZES, compress

_TALLEST = 2600
_AGENTS_S = 60
_NARROW = 700
_NARROW_HEIGHT = 1500.0
_LOADING_MS = 12_000
_BEFORE = """try {
    localStorage.setItem('_mlflow_dark_mode_toggle_enabled', 'DARK')
    localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')  // else it covers a third of the page
} catch (error) {}"""
_HEIGHT = """Math.max(document.documentElement.scrollHeight, ...[...document.querySelectorAll('body *')]
    .filter(element => element.scrollHeight > element.clientHeight && element.clientHeight > 0.6 * innerHeight)
    .map(element => innerHeight + element.scrollHeight - element.clientHeight))"""
"""As high as everything in MLflow's main part, which scrolls by itself."""


def take(browser: Browser, directory: Path, minutes: float) -> None:
    """Run the demo for some minutes, and take the pictures of its pages while it runs and of its reports; then that of voice agents.

    Args:
        browser: draws the pages.
        directory: for the data.
        minutes: for how many minutes.
    """
    with demo(directory / "demo") as (environ, history):
        began = time.time()
        time.sleep(minutes * 60)
        page = report(environ, began, time.time(), directory)
        for width in SIZES:
            for scheme in SCHEMES:
                _shoot(browser, page.as_uri(), f"report-compare-{width}-{scheme}", width, scheme)
        with dashboard(**_environment(directory / "demo")) as url:
            screenshots.take(browser, url, history)
    reports(browser, directory / "demo")
    with demo(directory / "agents", "--agents") as (_, history):
        time.sleep(_AGENTS_S)
        with dashboard(**_environment(directory / "agents")) as url:
            screenshots.take_conversation(browser, url, history)


@contextmanager
def demo(data: Path, *options: str) -> Iterator[tuple[dict[str, str], History]]:
    """`otel-tts demo` for the length of the block; gives its variables, and what it writes.

    Args:
        data: the data directory.
        options: of the command.
    """
    environ = {**os.environ, **_environment(data)}
    process = subprocess.Popen([*OTEL_TTS, "demo", "--no-dashboard", *options], env=environ, stdout=subprocess.DEVNULL)
    try:
        yield environ, open_history(HistorySettings.load({}, data_dir=data))
    finally:
        process.terminate()
        process.wait(60)


def _environment(data: Path) -> dict[str, str]:
    return {"OTEL_TTS_DATA_DIR": str(data)}


def report(environ: dict[str, str], began: float, ended: float, directory: Path) -> Path:
    """Compare the second half of the time with the first: in MLflow, and on a page, which is returned.

    Args:
        environ: the environment variables.
        began: in seconds since the Unix epoch.
        ended: in seconds since the Unix epoch.
        directory: for the page.
    """
    middle = began + (ended - began) / 2
    first, second, third = (time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment)) for moment in (began, middle, ended))
    command = ["report", "--window", "1m", "--since", second, "--until", third, "--reference", f"range:{first}..{second}"]
    page = directory / "compare.html"
    sides = f"range:{first}..{second}", f"range:{second}..{third}"
    for arguments in (command, ["report", "compare", "--html", str(page), *sides]):
        subprocess.run([*OTEL_TTS, *arguments], env=environ, check=True, stdout=subprocess.DEVNULL)
    return page


def reports(browser: Browser, data: Path) -> None:
    """The pages of the newest window's run in MLflow, and of its report.

    Args:
        browser: draws the pages.
        data: the data directory.
    """
    store = f"sqlite:///{data / 'mlflow.db'}"
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--port", str(port), "--workers", "1"]
    quiet = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    with ExitStack() as closing:
        server = subprocess.Popen(command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        closing.callback(server.wait)
        closing.callback(server.terminate)
        until(lambda: answers(f"http://127.0.0.1:{port}/health"), "MLflow answers", 120)
        reading = Reports(f"http://127.0.0.1:{port}")
        newest = reading.latest(1)[0]
        for width in SIZES:
            for scheme in SCHEMES:
                _shoot(browser, newest.link, f"mlflow-run-{width}-{scheme}", width, scheme)
                _shoot(browser, f"{newest.link}/model-metrics", f"mlflow-metrics-{width}-{scheme}", width, scheme)
                for name in {"headline", "engines"}.intersection(reading.pages(newest.run_id)):  # engines: if any could be judged
                    page = data / f"{name}.html"
                    page.write_text(reading.page(newest.run_id, name), "utf-8")
                    _shoot(browser, page.as_uri(), f"evidently-{name}-{width}-{scheme}", width, scheme)


def _from_description(page: Page, width_px: int) -> FloatRect | None:
    """The part of a narrow page of MLflow that begins with the run's description: facts and tags stand above it there, a page of them."""
    heading = page.get_by_text("Description", exact=True)
    if width_px >= _NARROW or not heading.count():
        return None
    heading.first.evaluate("element => element.scrollIntoView({block: 'start'})")
    page.wait_for_timeout(1000)
    box, size = heading.first.bounding_box(), page.viewport_size
    if box is None or size is None:
        return None
    top = max(box["y"] - 16, 0.0)
    return {"x": 0, "y": top, "width": width_px, "height": min(size["height"] - top, _NARROW_HEIGHT)}


def _shoot(browser: Browser, url: str, name: str, width_px: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width_px, "height": SIZES[width_px]}, color_scheme=scheme)  # type: ignore[arg-type]
    context.set_default_timeout(screenshots.PATIENCE_MS)
    page = context.new_page()
    dark = "true" if scheme == "dark" else "false"
    page.add_init_script(_BEFORE.replace("DARK", dark))
    page.goto(url)
    page.wait_for_timeout(_LOADING_MS)  # MLflow's page asks for ever, so that its network is never idle
    if name.startswith("mlflow-run"):
        page.get_by_role("button", name="Expand description").wait_for()
    buttons = ["Expand description", *(["Toggle sidebar"] if width_px < _NARROW else [])]
    for button in (page.get_by_role("button", name=name) for name in buttons):
        if button.count():
            button.click()
            page.wait_for_timeout(1000)
    height = int(page.evaluate(_HEIGHT))
    page.set_viewport_size({"width": width_px, "height": max(SIZES[width_px], min(height, _TALLEST))})
    page.wait_for_timeout(2000)
    try:
        page.screenshot(path=IMAGES / f"{name}.png", clip=_from_description(page, width_px))
    except BrowserError as error:
        raise SystemExit(f"{name}: {error}") from None
    compress(IMAGES / f"{name}.png")
    context.close()
