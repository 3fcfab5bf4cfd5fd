"""The dashboard in a real browser, on a real service."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from otel_tts import semconv
from otel_tts.commands.demo.cloud import VOICE
from tests.commands.conftest import OTEL_TTS, until
from tests.history.conftest import Source, running_prometheus
from tests.live.conftest import EXPORT, Visit, Watched, dashboard
from tests.ports import free_port

SOON = 60_000
"""Milliseconds: an export, a refresh, and a machine that has other things to do."""


STILL = """() => {
    const drawn = document.querySelector("[data-testid=stMain]").innerHTML
    const still = drawn === window.drawn && !document.getAnimations().length && document.querySelector(".source")
    window.drawn = drawn
    return new Promise(done => setTimeout(() => done(still), 250))
}"""
"""Nothing moves any more and nothing has come since the last look: axe would see charts and transitions half way."""


def tile(page: Page, label: str) -> tuple[str, str]:
    """Value and note of a tile."""
    located = page.get_by_role("group", name=label, exact=True)
    return located.locator(".value").inner_text(), located.locator(".note").inner_text()


def test_its_numbers_are_those_of_verify(watched: Watched, visit: Visit) -> None:
    """What `otel-tts verify` says of the service, and what all callers since then know, is what the page shows."""
    page = visit("?refresh=2s&range=1h")
    counted = watched.counted
    expect(page.get_by_role("group", name="Requests", exact=True).locator(".value")).to_have_text(
        f"{counted.total():,}", timeout=SOON
    )
    judged = counted.total() - counted["rejected"]
    assert tile(page, "Success rate")[1] == f"{counted['ok']:,} of {judged:,}"
    assert tile(page, "Rejected and cancelled")[1] == f"{counted['rejected']:,} rejected, 0 cancelled"
    assert "local files in" in page.locator(".source").inner_text()


def test_a_request_shows_up_and_opens(watched: Watched, visit: Visit) -> None:
    """Without a reload; a click anywhere on its row shows all of its spans, the address leads there again, and Back to the list."""
    page = visit("requests?refresh=2s")
    trace_id = watched.speak(f"Something new, number {watched.counted.total()}.", voice="heart")
    cell = page.locator("[role=gridcell]", has_text=trace_id)
    expect(cell).to_have_count(1, timeout=SOON)
    row = int(str(cell.get_attribute("id")).split("-")[-1])
    grid = page.get_by_test_id("stDataFrame").bounding_box()
    assert grid is not None
    page.mouse.click(grid["x"] + grid["width"] / 2, grid["y"] + 35 * (row + 1) + 17)
    waterfall = page.locator(".js-plotly-plot")
    for name in (
        "yap.tts.v1.TextToSpeech/Synthesize",
        "tts.synthesize · cache miss",
        "text_to_speech",
        "initial attempt at hibari",
    ):
        expect(waterfall).to_contain_text(name, timeout=SOON)
    expect(page).to_have_url(re.compile(f"request={trace_id}"))
    expect(page.get_by_role("region", name="Attributes").filter(has_text="tts.outcome")).to_be_visible()
    page.go_back()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=SOON)
    page.go_forward()
    expect(page).to_have_url(re.compile(f"request={trace_id}"))
    expect(page.locator(".js-plotly-plot")).to_contain_text("initial attempt at hibari", timeout=SOON)
    page.reload()
    expect(page.locator(".js-plotly-plot")).to_contain_text("initial attempt at hibari", timeout=SOON)
    page.get_by_role("button", name="All requests").click()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=SOON)


@pytest.mark.timeout(400)
def test_a_provider_that_is_switched_off_turns_its_card(watched: Watched, visit: Visit) -> None:
    """And says since when; the fallbacks are counted."""
    watched.speak("Here I am.", voice=VOICE)
    page = visit("?refresh=2s")
    card = page.get_by_role("region", name="Provider openai")
    expect(card).to_have_attribute("data-state", "good", timeout=SOON)
    watched.cloud.off = True
    try:
        for number in range(8):
            watched.speak(f"Where are you, number {number}?", voice=VOICE)
        expect(card).to_have_attribute("data-state", "bad", timeout=SOON)
        expect(card).to_contain_text(re.compile(r"not available since (before|about) \d\d:\d\d:\d\d"))
        banner = page.locator(".notice.bad", has_text=" openai: No replica can use the provider.")
        expect(banner).to_contain_text(re.compile("since|began between"), timeout=SOON)
        runbook = banner.get_by_role("link", name="runbook")
        expect(runbook).to_have_attribute("href", re.compile("#ttsproviderdown$"))
        banner.get_by_text("what to do").click()
        runbook.focus()
        for _ in range(2):  # refreshes: what was opened stays so, and the keyboard where it is
            read_at = page.locator(".source").inner_text()
            expect(page.locator(".source")).not_to_have_text(read_at, timeout=SOON)
            expect(banner.locator("ol")).to_be_visible()
            expect(runbook).to_be_focused()
        banner.get_by_role("link", name="requests behind it").click()
        expect(page).to_have_url(re.compile("problem=affected"), timeout=SOON)
        expect(page.locator("[role=gridcell]", has_text="hibari").first).to_be_attached(timeout=SOON)
    finally:
        watched.cloud.off = False


def test_a_drag_over_a_chart_chooses_the_time(watched: Watched, visit: Visit) -> None:
    """All of the page shows it then, the address names it, and Back leads to the present."""
    page = visit("?range=1h&refresh=off")
    plot = page.locator(".js-plotly-plot .nsewdrag").nth(1)
    plot.wait_for(timeout=SOON)
    page.wait_for_function(STILL, timeout=SOON)
    box = plot.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=8)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"since=\d{4}-.*until=\d{4}-"), timeout=SOON)
    ends = dict(re.findall(r"(since|until)=([^&]+)", unquote(page.url)))
    start, end = (datetime.fromisoformat(ends[name]).timestamp() for name in ("since", "until"))
    assert 600 < end - start < 1300  # a quarter of an hour or so
    expect(page.get_by_role("button", name="Back to now")).to_be_visible(timeout=SOON)
    page.go_back()
    expect(page.get_by_role("button", name="Back to now")).to_have_count(0, timeout=SOON)


def test_everybody_can_use_it(visit: Visit) -> None:
    """Axe finds nothing in names, roles, contrast and keyboard access of any page."""
    page = visit()
    located = []
    for title in ("Now", "Cache", "Providers", "Trends", "Requests", "Drift"):
        page.get_by_role("link", name=title, exact=True).click()
        expect(page.get_by_role("link", name=title, exact=True)).to_have_attribute("aria-current", "page", timeout=SOON)
        page.wait_for_function(STILL, timeout=SOON)
        for violation in Axe().run(page).response["violations"]:
            located += [(title, violation["id"], node["html"][:200]) for node in violation["nodes"]]
    assert located == []


CONTRAST = """selector => {
    const light = ([r, g, b]) => [0.2126 * r, 0.7152 * g, 0.0722 * b].reduce((sum, part) => sum + part)
    const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    const parts = text => text.match(/[0-9.]+/g).map(Number)
    const ground = parts(getComputedStyle(document.querySelector(".stApp")).backgroundColor)
    return [...document.querySelectorAll(selector)].map(element => {
        const style = getComputedStyle(element)
        const opacity = style.fillOpacity * style.opacity
        const ink = parts(style.fill).slice(0, 3).map((part, n) => part * opacity + ground[n] * (1 - opacity))
        const [low, high] = [ink, ground].map(colour => light(colour.slice(0, 3).map(linear))).sort((a, b) => a - b)
        return (high + 0.05) / (low + 0.05)
    })
}"""
"""The contrast of each text of a drawing with the page, as WCAG 2 defines it: axe does not look into drawings."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_of_charts_are_seen(chromium: Browser, watched: Watched, scheme: Literal["light", "dark"]) -> None:
    """Axes and legends have the contrast that WCAG asks of small text, in light and dark."""
    page = chromium.new_context(color_scheme=scheme).new_page()
    page.goto(f"{watched.url}/?range=1h&refresh=off")
    for selector in (".xtick text", ".ytick text", ".legendtext"):
        page.locator(selector).first.wait_for(timeout=SOON)
        contrasts = page.evaluate(CONTRAST, selector)
        assert min(contrasts) >= 4.5, selector
    page.context.close()


def test_a_dead_source_says_so(visit: Visit) -> None:
    """Which one, since when it was asked, and what to do; no number and no stack trace. Also where nobody saw the first page before."""
    sources = {"OTEL_TTS_PROMETHEUS_URL": "http://127.0.0.1:9", "OTEL_TTS_TEMPO_URL": "http://127.0.0.1:9"}
    with dashboard(**sources) as url:
        page = visit("cache?refresh=2s", base=url)
        notice = page.locator(".notice.bad")
        expect(notice).to_contain_text(re.compile(r"does not answer; it was first asked at \d\d:\d\d:\d\d"), timeout=SOON)
        assert "Prometheus at http://127.0.0.1:9" in page.locator(".source").inner_text()
        assert page.locator(".tile").count() == 0
        assert "Traceback" not in page.inner_text("body")


def test_the_first_paint_says_that_it_is_loading(chromium: Browser) -> None:
    """While the source takes its time, the page says what it reads, and shows no number."""
    answer = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer.wait(60)
            self.send_error(503)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with dashboard(OTEL_TTS_PROMETHEUS_URL=address, OTEL_TTS_JAEGER_URL=address) as url:
            page = chromium.new_page()
            page.goto(url)
            notice = page.locator(".notice", has_text="Loading ...")
            expect(notice).to_contain_text(f"Reading Prometheus at {address}", timeout=SOON)
            assert page.locator(".tile").count() == 0
            answer.set()
            expect(notice).to_have_count(0, timeout=SOON)
            page.close()
        server.shutdown()


WEEK = re.compile(r"\[6\d{8}ms\]")
"""What a question about seven days says in PromQL, in milliseconds."""


@contextmanager
def slow_about_weeks(prometheus: str, asked: threading.Event, answer: threading.Event) -> Iterator[str]:
    """Stands before Prometheus, and keeps questions about a week until ``answer``; ``asked`` is set when there is one."""

    class Before(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if WEEK.search(unquote(self.path)):
                asked.set()
                answer.wait(120)
            reply = httpx.get(f"{prometheus}{self.path}", trust_env=False, timeout=60)
            self.send_response(reply.status_code)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Before) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            answer.set()
            server.shutdown()


def test_two_viewers_do_not_wait_for_each_other(chromium: Browser, tmp_path: Path) -> None:
    """While one waits for a week's figures, another in a browser of their own sees those of a quarter of an hour; then both see theirs."""
    asked, answer = threading.Event(), threading.Event()
    with (
        running_prometheus(tmp_path) as prometheus,
        slow_about_weeks(prometheus, asked, answer) as address,
        dashboard(OTEL_TTS_PROMETHEUS_URL=address, OTEL_TTS_JAEGER_URL="http://127.0.0.1:9") as url,
    ):
        source = Source(None, tmp_path, f"{prometheus}/api/v1/otlp/v1/metrics", "speech")  # type: ignore[arg-type]  # it only writes
        ok = (("gen_ai.provider.name", "piper"), ("tts.outcome", "ok"))
        source.write(
            "a", time.time() - 30, {(semconv.SYNTHESIS_DURATION, ok): [5] + [0] * len(semconv.SYNTHESIS_DURATION.buckets)}
        )
        first, second = (chromium.new_context().new_page() for _ in range(2))
        number = [page.get_by_role("group", name="Requests", exact=True).locator(".value") for page in (first, second)]
        first.goto(f"{url}/?range=7d&refresh=off")
        assert asked.wait(60)
        second.goto(f"{url}/?range=15m&refresh=off")
        expect(number[1]).to_have_text("5", timeout=6 * SOON)
        assert not answer.is_set()
        assert number[0].count() == 0
        answer.set()
        expect(number[0]).to_have_text("5", timeout=6 * SOON)
        for page in (first, second):
            page.context.close()


def test_filters_have_a_row_of_their_own(visit: Visit) -> None:
    """They begin where the page begins, whatever stands above them."""
    page = visit("requests")
    first, controls = (page.locator(f".st-key-{name}").bounding_box(timeout=SOON) for name in ("filters", "controls"))
    assert first is not None
    assert controls is not None
    assert first["x"] == controls["x"]
    assert first["y"] >= controls["y"] + controls["height"]
    assert first["width"] == controls["width"]


def test_nothing_hangs_over_the_edge_of_a_phone(visit: Visit) -> None:
    """The widest page is no wider than its window."""
    page = visit("providers")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".card").first).to_be_visible()
    page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollWidth <= 390", timeout=SOON)


def test_the_demo_opens_on_moving_data(visit: Visit, tmp_path: Path) -> None:
    """`otel-tts demo` says where, and the page counts its requests while they come; at its end nothing is left running."""
    environ = {"OTEL_TTS_DATA_DIR": str(tmp_path), "TTS_PORT": "0", "PROMETHEUS_PORT": "0", "DASHBOARD_PORT": str(free_port())}
    with (tmp_path / "said").open("w") as output_file:
        demo = subprocess.Popen(
            [*OTEL_TTS, "demo"], env={**os.environ, **environ, **EXPORT}, stdout=output_file, stderr=output_file
        )
    try:
        address = re.compile(r"Watch it live on (\S+)")
        until(lambda: bool(address.search((tmp_path / "said").read_text())), 60)
        (url,) = address.findall((tmp_path / "said").read_text())
        page = visit("?refresh=2s", base=url)
        requests = page.get_by_role("group", name="Requests", exact=True).locator(".value")
        expect(requests).not_to_have_text("0", timeout=SOON)
        earlier = requests.inner_text()
        expect(requests).not_to_have_text(earlier, timeout=SOON)
    finally:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, (tmp_path / "said").read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


HOSTILE = (
    "![seen](http://evil.example/voice.png)", "<img src=http://evil.example/model.png>", "[press](http://evil.example/press)",
    "<script src=//evil.example/x.js></script>", "**boldly** http://evil.example www.evil.example",
    "$formula$ :red[reddish] `codeword` &lt;b&gt;",
)  # fmt: skip
SPEAK = """
import sys
import otel_tts
from otel_tts import PCM16, Telemetry

pipeline = otel_tts.configure(service_name=sys.argv[1], local=True)
tts = Telemetry(attributes={"app.tenant": 10})
for words in sys.argv[1:]:
    with tts.synthesis(words, words, words, stream=True, conversation=words, attributes={"app.tenant": words, words: words}) as s:
        s.skipped(words)
        with s.attempt(words + " 1", words) as attempt:
            attempt.fail(ValueError(words))
        with s.attempt(words, words) as attempt:
            list(attempt.stream([bytes(32000)], PCM16(16000)))
        s.score(words, 1.0)
    with tts.synthesis(words) as s, s.lookup(words) as tier:
        tier.found(bytes(10), words, words)
"""


@pytest.mark.timeout(400)  # seven pages, each read whole
def test_names_are_text_on_every_page(visit: Visit, tmp_path: Path) -> None:
    """Markdown, HTML and addresses as provider, voice, model, language, attribute, tier, conversation and service are shown as written."""
    environ = {**os.environ, "OTEL_TTS_DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", SPEAK, *HOSTILE], env=environ, check=True, timeout=60)
    with dashboard(OTEL_TTS_DATA_DIR=str(tmp_path)) as url:
        seen = ""
        for path in ("", "cache", "providers", "trends?measure=voices", "requests", "drift"):
            page = visit(f"{path}{'&' if '?' in path else '?'}range=1h&refresh=off", url)
            page.wait_for_function(STILL, timeout=6 * SOON)
            seen += page.locator("[data-testid=stMain]").inner_text() + page.locator("[data-testid=stMain]").inner_html()
            _holds_no_markup(page)
            if path == "requests":
                grid = page.get_by_test_id("stDataFrame").bounding_box()
                assert grid is not None
                page.mouse.click(grid["x"] + grid["width"] / 2, grid["y"] + 35 + 17)
                expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=6 * SOON)
                page.wait_for_function(STILL, timeout=6 * SOON)
                seen += page.locator("[data-testid=stMain]").inner_text()
                _holds_no_markup(page)
            page.close()
    for words in HOSTILE:
        assert words.replace("://", "\u2060://").replace("www.", "www\u2060.") in seen or words in seen


def _holds_no_markup(page: Page) -> None:
    """Nothing that a browser would fetch, run, follow or show in bold came of a name."""
    main = page.locator("[data-testid=stMain]")
    assert main.locator("[src*=evil], [href*=evil], [style*=evil]").count() == 0
    assert main.locator("script:not(.st-key-script script)").count() == 0
    for element in ("strong", "em", "code", ".katex"):
        shown = main.locator(element).all_inner_texts()
        assert not {"boldly", "codeword", "formula"}.intersection(shown)
