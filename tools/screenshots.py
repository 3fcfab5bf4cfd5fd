"""Takes the pictures in docs/images of a running dashboard, say the demo's: python tools/screenshots.py [http://127.0.0.1:8501 [PAGE ...]].

It needs the data directory of the demo, to find a request worth showing; and of `otel-tts demo --agents` for the page of a conversation.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from otel_tts.history import RequestFilter, open_history
from otel_tts.settings import HistorySettings

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PAGES = {"now": "", "cache": "cache", "providers": "providers", "trends": "trends", "requests": "requests", "drift": "drift"}
SIZES = {1440: 900, 390: 844}
TALLEST = {1440: 1250, 390: 1500}
SHOWN = (
    ("now", 1440, "light"), ("now", 1440, "dark"), ("now", 390, "dark"), ("cache", 1440, "light"), ("providers", 1440, "dark"),
    ("providers", 390, "light"), ("requests", 1440, "light"), ("request", 1440, "light"), ("request", 390, "dark"),
    ("trends", 1440, "light"), ("conversation", 1440, "light"), ("conversation", 1440, "dark"), ("conversation", 390, "light"),
)  # fmt: skip
_DRAWN = "document.querySelector('.main-svg, [data-testid=stDataFrame]') !== null"


def main() -> None:
    """Take them all, or those of the pages that are named; the request that is opened is the first fallback in the list."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8501"
    shown = [picture for picture in SHOWN if picture[0] in sys.argv[2:]] or SHOWN
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        pages = {**PAGES}
        if any(name == "request" for name, *_ in shown):
            pages["request"] = f"requests?refresh=off&request={fallback()}"
        if any(name == "conversation" for name, *_ in shown):
            pages["conversation"] = f"requests?refresh=off&conversation={interrupted()}"
        for name, width, scheme in shown:
            context = browser.new_context(viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(f"{url}/{pages[name]}")
            page.wait_for_selector(".source")
            page.wait_for_timeout(3000)
            page.wait_for_function(_DRAWN, timeout=90_000)
            height = int(page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight"))
            page.set_viewport_size({"width": width, "height": max(SIZES[width], min(height, TALLEST[width]))})
            page.wait_for_timeout(2000)
            page.wait_for_function(_DRAWN, timeout=90_000)
            page.wait_for_timeout(5000)
            path = IMAGES / f"live-{name}-{width}-{scheme}.png"
            page.screenshot(path=path)
            Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)
            print(path.name, path.stat().st_size // 1000, "kB")
            context.close()


def fallback() -> str:
    """The trace id of the newest stream that two providers were asked for."""
    streams = open_history(HistorySettings.load()).requests(RequestFilter(outcome="ok"), 5000)
    return next((r.trace_id for r in streams if (r.attempts or 0) > 1 and r.stream), streams[0].trace_id)


def interrupted() -> str:
    """The newest conversation in which an utterance was interrupted."""
    requests = open_history(HistorySettings.load()).requests(RequestFilter(where=(("tts.cancel.reason", "interrupted"),)), 1)
    return requests[0].conversation or ""


if __name__ == "__main__":
    main()
