"""Every page as Streamlit runs it, without a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from otel_tts import files, formatting, semconv
from otel_tts.history import local, open_history
from otel_tts.live import app, grafana
from otel_tts.live.screens import Page
from otel_tts.live.screens.requests import frame
from otel_tts.live.server import APP, command, url
from otel_tts.live.verdicts import judged
from otel_tts.settings import HistorySettings, LiveSettings
from tests.history.conftest import Totals, export
from tests.live.conftest import EXPORT, Watched

PAGES = {page.title: page for page in app.PAGES}


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test reads its own directory."""
    for name, value in EXPORT.items():
        monkeypatch.setenv(name, value)
    st.cache_resource.clear()
    st.cache_data.clear()


def page_text(test: AppTest) -> str:
    """All HTML of ours and all captions."""
    return " ".join([element.proto.body for element in test.get("html")] + [caption.value for caption in test.caption])


def one(page: str) -> AppTest:
    """One page, drawn once."""

    def script(title: str) -> None:
        from otel_tts.live import app

        app.draw(next(page for page in app.PAGES if page.title == title))

    return AppTest.from_function(script, kwargs={"title": page}, default_timeout=60)


def test_without_telemetry_it_says_what_to_do() -> None:
    """No number, no exception, and the command that changes it."""
    test = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not test.exception
    assert "No requests yet." in page_text(test)
    assert "<code>otel-tts verify</code> sends requests" in page_text(test)
    assert "local files in" in page_text(test)
    assert 'class="tile"' not in page_text(test)
    assert [text.value for text in test.markdown] == []  # a text of the program's source would be drawn, too


@pytest.mark.parametrize("title", PAGES)
def test_every_page_draws(title: str, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what a real service wrote; the source is always said, and how old its newest telemetry is, with the zone of times."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    test = one(title).run()
    assert not test.exception
    assert f"local files in {watched.served.data_dir}" in page_text(test)
    assert re.search(rf"read at \d\d:\d\d:\d\d {formatting.zone(time.time())}.* newest telemetry \d+ \w+ old", page_text(test))


def test_a_time_of_its_own_is_chosen(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its moments go into the address; one that ends before it begins is refused; *Back to now* ends it."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    test = one("Now").run()
    first, last = test.datetime_input
    assert formatting.zone(time.time()) in first.label
    first.set_value(datetime.fromisoformat("2026-03-01T12:00"))
    last.set_value(datetime.fromisoformat("2026-03-01T11:00"))
    test.button(key="show").click().run()
    assert [error.value for error in test.error] == ["The first moment must be before the last."]
    first, last = test.datetime_input
    last.set_value(datetime.fromisoformat("2026-03-01T13:00"))
    test.button(key="show").click().run()
    assert not test.exception
    assert {"since", "until"} <= set(test.query_params)
    test.button(key="to now").click().run()
    assert not {"since", "until"} & set(test.query_params)


def test_the_list_of_requests_says_when_whose_and_what_went_wrong(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dates with their zone, services, streams and errors; conversations have a column where there is one."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    test = one("Requests").run()
    listed = test.dataframe[0].value
    assert {"start", "service", "outcome", "stream", "error", "took"} <= set(listed.columns)
    assert "conversation" not in listed.columns
    assert f"Times are in {formatting.zone(time.time())}." in page_text(test)
    requests = open_history(HistorySettings.load()).requests(limit=3)
    talking = replace(requests[0], conversation="c-1")
    quick = replace(talking, duration=0.00021, ttfa=1.5534, voice="a-voice-of-a-studio-number-07")
    (row,) = frame([quick]).to_dict("records")
    assert (row["took"], row["first_audio"]) == (0.2, 1553)  # what is short is not 0
    assert row["voice"] == "a-voice-of-…-number-07"
    assert list(row)[:3] == ["start", "outcome", "took"]  # what a telephone has room for
    long = replace(requests[0], service="s" * 200, provider="p" * 200)
    (row,) = frame([long]).to_dict("records")
    assert len(row["service"]) == len(row["provider"]) == 22
    assert list(frame([talking, *requests[1:]])["conversation"]) == ["c-1", "", ""]


def test_the_url_is_obeyed_and_kept(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters of the address are in force, a choice goes into it, and what nothing is like says so."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    test = one("Requests")
    test.query_params["outcome"] = "rejected"
    test.query_params["range"] = "6h"
    test.query_params["refresh"] = "soon"
    test.run()
    frame = test.dataframe[0].value
    assert set(frame["outcome"]) == {"rejected"}
    assert len(frame) == watched.counted["rejected"]
    test.selectbox(key="wanted Outcome").select("partial").run()
    assert not test.exception
    assert {key: test.query_params[key] for key in test.query_params} == {"outcome": "partial", "range": "6h"}
    assert "No request matches." in page_text(test)


def test_another_source_is_a_switch_away(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where backends are set up, whether they answer or not; the address keeps it, and where there is no choice there is no switch."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    assert [group.key for group in one("Now").run().get("button_group")] == ["range"]
    st.cache_resource.clear()  # as if the dashboard had started anew
    for name in ("PROMETHEUS", "JAEGER"):
        monkeypatch.setenv(f"OTEL_TTS_{name}_URL", "http://127.0.0.1:9")
    test = one("Now").run()
    assert "The source does not answer; it was first asked at" in page_text(test)
    test.segmented_control(key="source").select("local").run()
    assert not test.exception
    assert f"local files in {watched.served.data_dir}" in page_text(test)
    assert "does not answer" not in page_text(test)
    assert test.query_params["source"] == "local"


def test_a_trace_that_nobody_knows_is_said_to_be_so(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack trace for an old link."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    test = one("Requests")
    test.query_params["request"] = "0123456789abcdef0123456789abcdef"
    test.run()
    assert not test.exception
    assert "There is no trace 0123456789abcdef0123456789abcdef here." in page_text(test)


def test_a_request_links_to_grafana(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is configured."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(watched.served.data_dir))
    monkeypatch.setenv("OTEL_TTS_GRAFANA_URL", "https://grafana.example")
    test = one("Requests").run()
    trace_id = test.dataframe[0].value["trace"][0]
    test.text_input(key="wanted").input(trace_id[:16]).run()
    assert not test.exception
    (link,) = test.get("link_button")
    assert link.proto.url.startswith("https://grafana.example/explore?schemaVersion=1&panes=")
    assert trace_id in link.proto.url


@pytest.mark.parametrize(("kind", "typed"), [("jaeger", {}), ("tempo", {"queryType": "traceql"})])
def test_a_link_asks_the_source_that_is_read(
    watched: Watched, kind: Literal["jaeger", "tempo"], typed: Mapping[str, str]
) -> None:
    """Grafana's Explore opens with the trace in the data source of that kind: Jaeger's takes an id in a query without a type."""
    history = open_history(HistorySettings.load({"OTEL_TTS_DATA_DIR": str(watched.served.data_dir)}))
    trace = history.trace(history.requests(limit=1)[0].trace_id)
    assert trace is not None
    [pane] = parse_qs(urlsplit(grafana.trace_link("https://grafana.example", trace, kind)).query)["panes"]
    asked = json.loads(pane)["trace"]
    assert asked["datasource"] == kind
    assert asked["queries"] == [{"refId": "A", "datasource": {"type": kind, "uid": kind}, "query": trace.trace_id, **typed}]


def test_refreshes_do_not_grow_memory(watched: Watched, tmp_path: Path) -> None:
    """What is kept is kept within bounds, which are reached early here; beyond them, drawing a page again leaves nothing behind."""
    still = shutil.copytree(watched.served.data_dir, tmp_path / "still")
    environ = {**os.environ, "OTEL_TTS_DATA_DIR": str(still)}
    soak = [sys.executable, "-m", "tests.live.soak", "24", "24"]
    before, after = map(int, subprocess.run(soak, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout.split())
    assert after - before < 24 * 5_000


def test_nothing_of_streamlit_calls_home() -> None:
    """No usage statistics, no error pages that link elsewhere, no file watcher; it binds where it is told to."""
    flags = command("127.0.0.1", 8501)
    wanted = {"--browser.gatherUsageStats=false", "--server.address=127.0.0.1", "--client.showErrorDetails=none"}
    assert wanted <= set(flags)
    assert Path(flags[4]) == APP
    assert (url("0.0.0.0", 1), url("::1", 2)) == ("http://127.0.0.1:1", "http://[::1]:2")


def test_pages_are_those_that_are_promised() -> None:
    """In this order."""
    assert list(PAGES) == ["Now", "Cache", "Providers", "Trends", "Requests", "Drift"]
    assert all(isinstance(page, Page) for page in PAGES.values())


def written(directory: Path, totals: Totals, ago_s: float = 60.0, service: str = "worker") -> None:
    """The local files of a service that exported these so many seconds ago."""
    moment = time.time() - ago_s
    path = files.partition(directory, "metrics", moment, service, 0).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(export(service, service, moment - 60, moment, totals, {})) + "\n")


@pytest.mark.parametrize("title", ["Now", "Cache", "Providers"])
def test_a_worker_for_which_nobody_waits_is_no_empty_page(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all requests are in the background the page says so, how many and how they ended; and nothing that would not be true."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    worked = semconv.BACKGROUND_DURATION
    written(
        tmp_path,
        {(worked, (("tts.outcome", outcome), ("tts.request.kind", "batch"))): [n, 0] for outcome, n in (("ok", 2), ("error", 1))},
    )
    test = one(title).run()
    assert not test.exception
    text = page_text(test)
    assert "In this time range it had 3 requests in the background (2 ok, 1 error) and no other." in text
    assert not re.search(r"No request |No attempt failed|Nothing in this time", text)


def test_what_is_empty_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chart is missing without its reason, and money that is unknown is none that was not spent."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    written(tmp_path, {(semconv.SYNTHESIS_DURATION, (("tts.outcome", "rejected"),)): [5, 0]})
    reasons = {
        "Now": ("No first audio of a stream was measured in this time range.", "No interactive request that counts ended"),
        "Cache": ("No interactive request asked the cache in this time range.", "no price is configured"),
        "Providers": ("No provider reported whether it is available", "No provider was asked for an interactive request"),
        "Drift": ("The batch job sent no score in this time range.",),
    }
    for title, expected in reasons.items():
        text = page_text(one(title).run())
        assert all(reason in text for reason in expected), (title, text)
        assert "Nothing in this time range." not in text


@pytest.mark.parametrize("title", ["Now", "Cache", "Providers"])
@pytest.mark.parametrize("ago_s", [4200.0, -3000.0, 1800.0])
def test_what_was_not_received_is_no_zero(title: str, ago_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no metrics came in the time range, or only from a clock that is ahead, nothing is counted: the page has no figure."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    written(tmp_path, {(semconv.SYNTHESIS_DURATION, (("tts.outcome", "ok"),)): [5, 0]}, ago_s)
    text = page_text(one(title).run())
    assert "Nothing was received in this time range." in text
    assert 'class="tile"' not in text
    assert ("sends none now" in text) is (title == "Now" and ago_s == 1800.0)
    test = one(title)
    test.query_params["range"] = "6h"
    longer = page_text(test.run())
    assert ("Nothing was received" in longer) is (ago_s < 0)
    assert ('class="tile"' in longer) is (ago_s > 0 and title != "Providers")


def test_a_list_without_requests_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where there is a filter, one can be removed."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    written(tmp_path, {(semconv.SYNTHESIS_DURATION, (("tts.outcome", "ok"),)): [5, 0]})
    test = one("Requests").run()
    assert "No request in this time range." in page_text(test)
    assert "remove a filter" not in page_text(test)
    test.selectbox(key="wanted Outcome").select("partial").run()
    assert "No request matches." in page_text(test)
    assert "remove a filter" in page_text(test)


def test_what_is_wrong_stands_first_among_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition that forty services share has some notices and one line that opens to all; a provider that fails is the first card.

    Where some fallbacks are counted together, those of a provider without any of its own are unknown.
    """
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    asked = semconv.ATTEMPT_DURATION
    for number in range(40):
        ok, error = (
            (asked, (("gen_ai.provider.name", provider), ("tts.outcome", outcome), ("tts.attempt.reason", "initial")))
            for provider, outcome in (("amber", "ok"), ("zinc", "error"))
        )
        fell = semconv.PROVIDER_FALLBACKS, (("tts.fallback.from", semconv.OTHER), ("tts.fallback.to", "amber"))
        failed = semconv.SYNTHESIS_DURATION, (("tts.outcome", "error"),)
        written(tmp_path, {failed: [30, 0], ok: [10, 0], error: [10, 0], fell: 3.0}, 10.0, f"service-{number:02d}")
    text = page_text(one("Now").run())
    notices, cards = text.split('<div class="cards">')[0], text.split('<div class="cards">')[1]
    assert notices.count("of requests succeed.</strong>") == 40
    at_first = notices.split("<details class=")[0]
    assert at_first.count("of requests succeed.</strong>") == 3
    line = "The same of 37 more services: service-03, service-04, service-05, service-06, service-07, service-08, ..."
    assert f"{line}</summary>" in notices
    assert cards.index('aria-label="Provider zinc"') < cards.index('aria-label="Provider amber"')
    assert cards.count("<dt>fallbacks</dt><dd>-</dd>") == 2


def test_a_clock_that_is_ahead_is_no_good_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says by how much, and judges nothing."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    written(tmp_path, {(semconv.SYNTHESIS_DURATION, (("tts.outcome", "ok"),)): [5, 0]}, ago_s=-3000.0)
    text = page_text(one("Now").run())
    assert re.search(r"newest telemetry \d\d min ahead of this clock", text)
    assert re.search(r"The newest telemetry is \d\d min ahead of this clock, so nothing can be judged\.", text)
    assert "No problem." not in text


def test_many_services_are_judged_by_the_files_as_they_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one service asks of a window is known for all: each further one costs its availability over time, and no more."""
    asked: list[int] = []
    read = local.growths

    def growths(*arguments: Any) -> Any:
        asked.append(1)
        return read(*arguments)

    monkeypatch.setattr(local, "growths", growths)
    settings, counts = LiveSettings.load({}, data_dir=tmp_path), []
    for number in (1, 12):
        for name in range(number):
            written(tmp_path, {(semconv.SYNTHESIS_DURATION, (("tts.outcome", "error"),)): [30, 0]}, 10.0, f"service-{name:02d}")
        history = app.CachedHistory(open_history(settings, 30.0))
        asked.clear()
        met = [verdict for verdict in judged(history, history.period("15m", 5), settings) if verdict.holds]
        assert {verdict.service for verdict in met} == {f"service-{name:02d}" for name in range(number)}
        counts.append(len(asked))
    assert counts[1] <= counts[0] + 11
