"""`otel-tts requests --conversation`: a conversation turn by turn, and what part of a request waited for its text."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.test_requests import run

PROGRAM = """
import asyncio, otel_tts
from otel_tts import PCM16

tts = otel_tts.Telemetry(voices=["tone"])

async def engine(words):
    for _ in words:
        yield b"\\1\\20" * 6000

async def say(*words, interrupted_after=0):
    async with tts.synthesis(voice="tone", stream=True) as synthesis:
        await asyncio.sleep(0.25)  # the language model thinks
        for word in words:
            synthesis.add_text(word)
        synthesis.flush()
        async with synthesis.attempt("my-engine") as attempt:
            frames = attempt.stream(engine(words), PCM16(24_000))
            for number in range(interrupted_after):
                await anext(frames)
            if interrupted_after:
                synthesis.interrupt(heard=0.25 * interrupted_after)
                return
            async for _ in frames:
                pass

async def main():
    with tts.conversation("room 7"):
        await say("I ", "will ", "tell ", "you.")
        await say("One, ", "two, ", "three.", interrupted_after=2)
        await say()
    with tts.conversation("room 8"):
        await say("Other ", "things.")
        with tts.synthesis("Goodbye.", kind="prefetch") as ahead, ahead.attempt("my-engine") as attempt:
            attempt.audio(b"\\1\\20" * 12000, PCM16(24_000))
        await say("More.")

pipeline = otel_tts.configure(service_name="agent", local=True)
asyncio.run(main())
pipeline.shutdown()
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Local files of an agent that had two conversations."""
    directory = tmp_path_factory.mktemp("conversations")
    subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | {"OTEL_TTS_DATA_DIR": str(directory)}, check=True)
    return directory


@pytest.fixture(autouse=True)
def _read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(directory))
    return


def rows(output: str) -> list[list[str]]:
    """The cells of a table, one turn a row."""
    return [re.split(r" {2,}", line.strip()) for line in output.splitlines() if re.match(r" +\d+ ", line)]


def test_a_conversation_turn_by_turn() -> None:
    """In the order of the turns, of this conversation only: what was made, handed out and heard of each, and all together in a line."""
    output = run("requests", "--conversation", "room 7", columns=160).output
    assert output.split("\n")[0].split() == (
        [
            "turn",
            "time",
            "trace",
            "outcome",
            "provider",
            "took",
            "for",
            "text",
            "1st",
            "audio",
            "made",
            "handed",
            "out",
            "heard",
            "cut",
            "after",
            "silent",
            "after",
            "error",
        ]
    )
    turns = rows(output)
    assert [turn[0] for turn in turns] == ["1", "2", "3"]
    assert [turn[3] for turn in turns] == ["ok", "interrupted", "rejected"]
    assert turns[0][-2:] == ["1.00 s", "1.00 s"]
    assert turns[1][8:11] == ["500 ms", "500 ms", "500 ms"]
    assert turns[2][-1] == "invalid_input"
    assert re.search(
        r"3 utterances, first audio after [\d.]+ m?s \(median\), [\d.]+ m?s \(slowest\), 1 interrupted, 1\.50 s made, "
        r"1\.50 s handed out, 500 ms heard, where a player says it\.",
        output,
    )
    narrow = run("requests", "--conversation", "room 7", columns=80).output
    table = [line for line in narrow.splitlines() if "utterances" not in line]  # a sentence is one line, which terminals wrap
    assert max(map(len, table)) <= 80
    assert [line.split()[3] for line in narrow.splitlines() if re.match(r" +\d+ ", line)] == ["ok", "interrupted", "rejected"]


@pytest.mark.parametrize("columns", [160, 80])
def test_what_was_made_ahead_is_no_turn(columns: int) -> None:
    """It stands in its place in time, without a number and with its kind, and is summed up apart."""
    output = run("requests", "--conversation", "room 8", columns=columns).output
    table = [line for line in output.splitlines() if re.search(r"\d\d:\d\d:\d\d", line)]
    assert [line.split()[0] for line in table if re.match(r" +\d+ +\d\d:", line)] == ["1", "2"]
    assert ["prefetch" in line for line in table] == [False, True, False]
    words = " ".join(output.split())
    assert words.count("2 utterances, ") == 1
    assert "750 ms made" in words
    assert "and 1 request that nobody waited for (500 ms made)." in words


def test_a_conversation_that_is_cut_is_said_to_be() -> None:
    """Where there may be more turns than are shown, a line says so."""
    assert "These are the newest 2: --limit shows more." in run("requests", "--conversation", "room 7", "--limit", "2").output
    assert "--limit shows more" not in run("requests", "--conversation", "room 7").output


def test_took_says_what_metrics_leave_out() -> None:
    """The span has the wait for the first text in it, the metric not (tests/core/test_conversation.py): list, tree and JSON name it."""
    listed = json.loads(run("requests", "--json").output)["requests"]
    spoken = [request for request in listed if request["characters"] and request["kind"] != "prefetch"]
    assert all(0.25 <= request["first_text"] <= request["duration"] for request in spoken)
    assert [request["first_text"] for request in listed if not request["characters"]] == [None]
    wide = run("requests", columns=160).output
    assert "for text" in wide.splitlines()[0]
    footnote = "took has the wait for its beginning in it: 1st audio, and durations in metrics, start after that wait."
    assert footnote in " ".join(wide.split())
    assert footnote in " ".join(run("requests", columns=80).output.split())
    tree = run("trace", next(request["trace_id"] for request in spoken)).output
    assert re.search(r"[\d.]+ m?s of it waited for its text, after which all times begin", tree)


def test_without_text_in_pieces_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose text was there from the start has one length, and no column for another."""
    program = "\n".join(
        (
            "import otel_tts",
            'pipeline = otel_tts.configure(service_name="plain", local=True)',
            'with otel_tts.Telemetry().synthesis("hello"): pass',
            "pipeline.shutdown()",
        )
    )
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path)}, check=True)
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    output = run("requests", columns=160).output
    assert "for text" not in output
    assert "took has the wait" not in output
