"""A recorded conversation, found again: by the command line, by the history from local files and from Tempo's answers, and on its page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from otel_tts.cli import main
from otel_tts.history import RequestFilter, open_history
from otel_tts.history.tempo import Tempo
from otel_tts.live import conversation
from otel_tts.settings import HistorySettings

PROGRAM = '''
"""Two calls of two tenants: an interruption, a fallback, a gap, and something made ahead."""
import time, otel_tts
handle = otel_tts.configure()
tts = otel_tts.Telemetry(prices={"cartesia": 50.0})
SECOND = b"\\1\\2" * 16000
PCM = otel_tts.PCM16(16000)

def speak(text, conversation, tenant, provider="cartesia", pieces=3, wait=0.0, interrupt=False, fail=None, **more):
    own = {"app.tenant": tenant, "app.turn": 2}
    with tts.synthesis(text, "katie", "en", stream=True, conversation=conversation, attributes=own, **more) as s:
        if fail:
            try:
                with s.attempt(fail, remote=True):
                    raise ConnectionError
            except ConnectionError:
                pass
        def chunks():
            for number in range(pieces):
                time.sleep(wait if number else 0.01)
                yield SECOND
        stream = s.attempt(provider, remote=True).stream(chunks(), PCM)
        next(stream)
        if interrupt:
            s.interrupt(heard=0.4)
            next(stream)
            stream.close()
        else:
            list(stream)

speak("Good morning.", "call 1", "acme")
speak("What a long answer this is.", "call 1", "acme", interrupt=True)
speak("Then I am brief.", "call 1", "acme", "piper", fail="cartesia")
speak("And slow.", "call 1", "acme", pieces=2, wait=1.2)
speak("Hello.", "call 2", "other")
speak("Ahead.", "call 2", "other", kind="prefetch")
handle.shutdown()
'''


IDS = (
    "sip:" + "a" * 200 + "@one",
    "sip:" + "a" * 200 + "@two",
    "b" * 128,
    "b" * 129,
    "tab\there",
    "tab\x0bhere",
    "\u202eturned",
    "Zo\u00eb \u96fb\u8a71 1",
    "42",
    'a "quote" \\ and = more',
)
"""Ids of all kinds: too long, with what cannot be printed, in any script. Some differ only behind what is recorded."""
ODD = """
import json, sys, otel_tts
handle = otel_tts.configure()
tts = otel_tts.Telemetry()
for id in json.loads(sys.argv[1]):
    with tts.conversation(int(id) if id.isdigit() else id), tts.synthesis("Hello."):
        pass
handle.shutdown()
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory to which two services wrote requests of the same conversations."""
    directory = tmp_path_factory.mktemp("odd") / "data"
    for service in ("agent", "player"):
        environ = {**os.environ, "OTEL_TTS_DATA_DIR": str(directory), "OTEL_SERVICE_NAME": service}
        subprocess.run([sys.executable, "-c", ODD, json.dumps(IDS)], env=environ, check=True, timeout=60)
    return directory


@pytest.mark.parametrize("id", IDS, ids=range(len(IDS)))
@pytest.mark.parametrize("option", ["--conversation", "--where"])
def test_a_conversation_is_found_by_the_id_that_the_application_gave(odd: Path, option: str, id: str) -> None:
    """Of both processes, and no other, whatever the id is made of; also by what is recorded of it."""
    for sought in (id, listed(odd, "--conversation", id)[0]["conversation"]):
        of_both = listed(odd, option, sought if option == "--conversation" else f"gen_ai.conversation.id={sought}")
        assert sorted(request["service"] for request in of_both) == ["agent", "player"]
    assert len({request["conversation"] for request in listed(odd)}) == len(IDS)


def requests_page() -> None:
    """The page of requests."""
    from otel_tts.live import app

    app.draw(next(page for page in app.PAGES if page.title == "Requests"))


@pytest.mark.parametrize("id", IDS[:2], ids=["one", "two"])
def test_a_long_id_has_a_page(odd: Path, monkeypatch: pytest.MonkeyPatch, id: str) -> None:
    """By the id that the application gave, typed or in the address."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(odd))
    st.cache_resource.clear()
    test = AppTest.from_function(requests_page, default_timeout=60)
    test.query_params["conversation"] = id
    test.run()
    assert not test.exception
    assert "No utterance" not in " ".join(element.proto.body for element in test.get("html"))
    assert len(test.dataframe[0].value) == 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the program wrote to."""
    directory = tmp_path_factory.mktemp("recorded") / "data"
    environ = {**os.environ, "OTEL_TTS_DATA_DIR": str(directory), "OTEL_SERVICE_NAME": "agent"}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, timeout=60)
    return directory


def listed(directory: Path, *arguments: str) -> list[dict[str, Any]]:
    """What the command lists, the oldest first."""
    ran = CliRunner().invoke(main, ["requests", "--json", *arguments], env={"OTEL_TTS_DATA_DIR": str(directory)})
    assert ran.exit_code == 0, ran.output
    return sorted(json.loads(ran.stdout)["requests"], key=lambda request: request["start"])


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((), 6),
        (("--conversation", "call 1"), 4),
        (("--conversation", "call 3"), 0),
        (("--where", "app.tenant=acme"), 4),
        (("--where", "app.tenant=other", "--where", "app.turn=2"), 2),
        (("--where", "app.turn=3"), 0),
        (("--where", "tts.cancel.reason=interrupted"), 1),
        (("--where", "tts.fallback.used=true"), 1),
        (("--kind", "interactive"), 5),
        (("--kind", "prefetch", "--where", "app.tenant=other"), 1),
        (("--where", "app.tenant=acme", "--outcome", "cancelled"), 1),
    ],
)
def test_requests_are_found_by_what_they_are_for(recorded: Path, arguments: tuple[str, ...], count: int) -> None:
    """By conversation, kind, and any attribute, of the application or ours; several filters hold all together."""
    assert len(listed(recorded, *arguments)) == count


def test_a_request_tells_all_that_is_known(recorded: Path) -> None:
    """The interrupted one: its reason, and what was made, handed out, heard and paid."""
    [request] = listed(recorded, "--where", "tts.cancel.reason=interrupted")
    kept = ("conversation", "kind", "outcome", "cancel_reason", "audio_duration", "delivered", "heard", "attributes")
    assert {name: request[name] for name in kept} == {
        "conversation": "call 1", "kind": "interactive", "outcome": "cancelled", "cancel_reason": "interrupted",
        "audio_duration": 2.0, "delivered": 2.0, "heard": 0.4, "attributes": {"app.tenant": "acme", "app.turn": 2},
    }  # fmt: skip
    assert 0 < request["interrupted"] < request["duration"]
    assert 0 <= request["silent"] < request["duration"]
    assert request["cost"] == pytest.approx(27 * 50e-6)


def test_the_table_says_why(recorded: Path) -> None:
    """In place of `cancelled` it says that the listener interrupted."""
    ran = CliRunner().invoke(
        main, ["requests", "--conversation", "call 1"], env={"OTEL_TTS_DATA_DIR": str(recorded), "COLUMNS": "120"}
    )
    assert " interrupted " in ran.stdout
    assert "cancelled" not in ran.stdout
    assert "…" not in ran.stdout  # what has no room is left out as a whole


@pytest.mark.parametrize("where", ["app.tenant", "=acme", ""])
def test_a_filter_that_is_none_is_refused(recorded: Path, where: str) -> None:
    """With what to write instead."""
    ran = CliRunner().invoke(main, ["requests", "--where", where], env={"OTEL_TTS_DATA_DIR": str(recorded)})
    assert ran.exit_code == 2
    assert "app.tenant=acme" in ran.output


def test_an_index_that_was_kept_knows_the_same(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from the files, and from the index that the first reading wrote: the same requests."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(recorded))
    monkeypatch.setattr("otel_tts.history.index._WORTH_KEEPING", 0)
    monkeypatch.setattr("otel_tts.history.index._SMALL", 0)  # so little is read faster from the files
    wanted = RequestFilter(where=(("app.tenant", "acme"),))
    first = open_history(HistorySettings.load()).requests(wanted)
    assert list((recorded / ".index").glob("*.npz"))
    assert open_history(HistorySettings.load()).requests(wanted) == first
    assert all(wanted.holds(request) for request in first)


def test_a_trace_store_is_asked_for_the_same() -> None:
    """The search names the conversation and the attributes, as text and as what else the value may be, and has them told."""
    asked: list[str] = []

    class Backend:
        def get(self, path: str, parameters: dict[str, Any]) -> Any:
            asked.append(parameters["q"])
            return {"traces": []}

    wanted = RequestFilter(
        conversation='a "call"', kind="batch", where=(("app.tenant", "acme"), ("app.turn", "2"), ("odd key", "true"))
    )
    Tempo(Backend()).search(wanted, 0, 1, 10)  # type: ignore[arg-type]  # all that it uses
    [query] = asked
    for part in (
        'span.gen_ai.conversation.id = "a \\"call\\""', 'span.tts.request.kind = "batch"', '(span.app.tenant = "acme")',
        '(span.app.turn = "2" || span.app.turn = 2)', '(span."odd key" = "true" || span."odd key" = true)',
    ):  # fmt: skip
        assert part in query
    selection = query.partition("select(")[2]
    assert all(key in selection for key in ("span.gen_ai.conversation.id", "span.app.tenant", 'span."odd key"'))


def test_a_conversation_has_a_page(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its utterances on one time line: waiting, audio, the interruption, the fallback and the gap; its figures, and its table."""
    for name, value in {"OTEL_TTS_DATA_DIR": str(recorded), "OTEL_METRIC_EXPORT_INTERVAL": "500"}.items():
        monkeypatch.setenv(name, value)
    st.cache_resource.clear()
    test = AppTest.from_function(requests_page, default_timeout=60)
    test.query_params["conversation"] = "call 1"
    test.run()
    assert not test.exception
    page_text = " ".join(element.proto.body for element in test.get("html"))
    for part in ("call 1", "Interrupted", "silent after", "Fallbacks", "heard or handed out"):
        assert part in page_text
    frame = test.dataframe[0].value
    assert list(frame["error"]) == ["", "interrupted", "", ""]
    assert set(frame["attributes"]) == {"app.tenant=acme, app.turn=2"}
    test.button(key="back").click().run()
    assert len(test.dataframe[0].value) == 6
    test.text_input(key="conversation").set_value("call 9").run()
    assert "No utterance of conversation call 9" in " ".join(element.proto.body for element in test.get("html"))


def test_the_time_line_is_that_of_the_listener(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio begins with the first byte and is as long as it was heard, or handed out; marks stand where things happened."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(recorded))
    utterances = open_history(HistorySettings.load()).requests(RequestFilter(conversation="call 1"))
    utterances = sorted(utterances, key=lambda request: request.start)
    audio = [(bar.kind, round(bar.length_s, 6)) for bar in conversation.bars(utterances) if bar.kind != "waiting for audio"]
    assert audio == [("audio", 3.0), ("audio of an interrupted utterance", 0.4), ("audio", 3.0), ("audio", 2.0)]
    labels = [conversation.label(request) for request in utterances]
    assert "interrupted" in labels[1]
    assert "fallback" in labels[2]
    assert "gap of" in labels[3]
    drawn = conversation.figure(utterances)
    assert {trace.name for trace in drawn.data} >= {"waiting for audio", "audio", "first audio", "interruption"}
    [mark] = [trace for trace in drawn.data if trace.name == "interruption"]
    assert list(mark.y) == [1]
