"""Takes the pictures: of Grafana's dashboards from a pipeline that is fed for some minutes, and of all pages from the demo's traffic.

python -m tools.pictures [MINUTES] [grafana] [pages]
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
from playwright.sync_api import Browser, Playwright, sync_playwright
from plotly.offline import get_plotlyjs

from tests.commands.conftest import serving
from tests.e2e.beside import beside
from tests.e2e.stack import Stack, running
from tests.e2e.test_dashboards import Callers, engine
from tools.pictures import pages
from tools.pictures.answers import Sources, sources
from tools.pictures.compressed import IMAGES, SCHEMES, SIZES, compress
from tools.pictures.drawing import page

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "speech"
_PAUSE_S = 5


def main() -> None:
    """Feed a pipeline of its own, then take all pictures, or those that are named."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    if "grafana" in sys.argv[2:] or not sys.argv[2:]:
        with ExitStack() as closing:
            directory = Path(closing.enter_context(tempfile.TemporaryDirectory()))
            (directory / "stack").mkdir()
            stack = closing.enter_context(running(directory / "stack"))
            feed(stack, directory, minutes, closing)
            take(sources(stack.prometheus, stack.traces, SERVICE, minutes))
    if "pages" in sys.argv[2:] or not sys.argv[2:]:
        with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
            pages.take(_chromium(playwright), Path(name), minutes)


def feed(stack: Stack, directory: Path, minutes: float, closing: ExitStack) -> None:
    """Give the service everything that dashboards tell apart, again and again.

    Args:
        stack: the running programs.
        directory: the folder.
        minutes: for how many minutes.
        closing: ends what was started.
    """
    prices = directory / "prices.toml"
    prices.write_text("[espeak]\nusd_per_million_characters = 4.0\n")
    server = closing.enter_context(engine())
    environ = {
        **stack.service_environ, "OTEL_SERVICE_NAME": SERVICE, "TTS_PROVIDERS": "openai,espeak", "TTS_OPENAI_VOICES": "joe",
        "TTS_CIRCUIT_FAILURES": "1000", "TTS_CACHE_URL": "memory://?size=2000000", "OTEL_TTS_PRICES": str(prices),
        "TTS_OPENAI_BASE_URL": server.url,
    }  # fmt: skip
    served = closing.enter_context(serving(directory / "data", 0, 0, **environ))
    callers = Callers(closing.enter_context(grpc.insecure_channel(served.target)), server, {})
    others = [
        beside(what, stack.service_environ, name) for what, name in (("conversations", SERVICE), ("drift", "otel-tts-report"))
    ]
    end, rounds = time.time() + minutes * 60, 0
    while time.time() < end:
        if rounds % 4 == 0:
            callers.everything()
        callers.plenty()
        rounds += 1
        time.sleep(_PAUSE_S)
    for process in others:
        process.wait(60)


def take(sources: Sources) -> None:
    """Draw each dashboard, in light and dark, wide and narrow.

    Args:
        sources: answer the queries.
    """
    plotly = get_plotlyjs()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as directory:
        browser = _chromium(playwright)
        for path in sorted((ROOT / "dashboards").glob("*.json")):
            board = json.loads(path.read_text("utf-8"))
            for scheme in SCHEMES:
                html = Path(directory) / "board.html"
                html.write_text(page(board, sources, scheme, plotly), "utf-8")
                for width, height in SIZES.items():
                    view = browser.new_page(viewport={"width": width, "height": height})
                    view.goto(html.as_uri())
                    view.wait_for_timeout(1500)
                    picture = IMAGES / f"grafana-{path.stem}-{width}-{scheme}.png"
                    view.screenshot(path=picture, full_page=True)
                    view.close()
                    compress(picture)


def _chromium(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])


if __name__ == "__main__":
    main()
