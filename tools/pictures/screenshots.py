"""The pages of a running live dashboard: each in light and dark, wide and narrow."""

from __future__ import annotations

from playwright.sync_api import Browser

from otel_tts.history import History, RequestFilter
from tools.pictures.compressed import IMAGES, SCHEMES, SIZES, compress

PAGES = {
    "now": "", "cache": "cache", "providers": "providers", "trends": "trends", "requests": "requests", "drift": "drift",
}  # fmt: skip
TALLEST = {1440: 1250, 390: 1500}
PATIENCE_MS = 300_000
"""How long a page may take to be drawn: a machine may be busy with other things."""
_DRAWN = """document.querySelector('.main-svg, [data-testid=stDataFrame], iframe') !== null
    && [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(chart => chart.querySelector('.main-svg'))
    && !/Loading \\.\\.\\.|Asking MLflow/.test(document.body.innerText)"""


def take(browser: Browser, url: str, history: History) -> None:
    """Take the pages of the dashboard, and of a request that fell back.

    Args:
        browser: Chromium.
        url: the dashboard's.
        history: what it reads.
    """
    pages = {**PAGES, "request": f"requests?refresh=off&request={_fallback(history)}"}
    _take(browser, url, pages)


def take_conversation(browser: Browser, url: str, history: History) -> None:
    """Take the page of the newest conversation in which an utterance was interrupted; the arguments are those of `take`.

    Args:
        browser: draws the pages.
        url: of the live dashboard.
        history: the telemetry that is read.
    """
    requests = history.requests(RequestFilter(where=(("tts.cancel.reason", "interrupted"),)), 1)
    _take(browser, url, {"conversation": f"requests?refresh=off&conversation={requests[0].conversation}"})


def _take(browser: Browser, url: str, pages: dict[str, str]) -> None:
    for name, path in pages.items():
        for width, height in SIZES.items():
            for scheme in SCHEMES:
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
                context.set_default_timeout(PATIENCE_MS)
                page = context.new_page()
                page.goto(f"{url}/{path}")
                page.wait_for_selector(".source")
                page.wait_for_timeout(3000)
                page.wait_for_function(_DRAWN, timeout=PATIENCE_MS)
                whole = int(page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight"))
                page.set_viewport_size({"width": width, "height": max(height, min(whole, TALLEST[width]))})
                page.wait_for_timeout(2000)
                page.wait_for_function(_DRAWN, timeout=PATIENCE_MS)
                page.wait_for_timeout(4000)
                picture = IMAGES / f"live-{name}-{width}-{scheme}.png"
                page.screenshot(path=picture)
                compress(picture)
                context.close()


def _fallback(history: History) -> str:
    """The trace id of the newest stream that two providers were asked for."""
    streams = history.requests(RequestFilter(outcome="ok"), 5000)
    return next((r.trace_id for r in streams if (r.attempts or 0) > 1 and r.stream), streams[0].trace_id)
