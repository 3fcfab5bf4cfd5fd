"""The demo's agents: every figure that telemetry has of their calls is what their listeners recorded, who know nothing of telemetry."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from otel_tts.commands.demo.calls import PRICES, SERVICE_NAME, compare
from otel_tts.commands.demo.listener import ListenerRecord
from otel_tts.commands.demo.script import SCRIPTS
from otel_tts.history import History, Request, RequestFilter, open_history
from otel_tts.live import conversation
from otel_tts.settings import HistorySettings
from tests.commands.conftest import OTEL_TTS

BYTES_PER_S = 48_000
MOMENT = 0.25
"""Seconds by which two clocks may differ on a busy machine: they are read one after another."""


@dataclass(frozen=True)
class Run:
    """A run of the demo: what it printed, its telemetry, and what the listeners recorded, by conversation."""

    output: str
    environ: Mapping[str, str]
    history: History
    records: Mapping[str, Sequence[ListenerRecord]]

    def requests(self, name: str) -> list[Request]:
        """Of a conversation, the first one first, without what was made ahead."""
        wanted = RequestFilter(service=SERVICE_NAME, conversation=name, kind="interactive")
        return sorted(self.history.requests(wanted, 100), key=lambda request: request.start)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One round of calls, in real time; variables for another service do not count."""
    directory = tmp_path_factory.mktemp("agents")
    environ = {
        **os.environ, "OTEL_TTS_DATA_DIR": str(directory / "data"), "COLUMNS": "140", "OTEL_SERVICE_NAME": "another",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true",
    }  # fmt: skip
    record = directory / "record.json"
    command = [*OTEL_TTS, "demo", "--agents", "--no-dashboard", "--duration", "1", "--record", str(record)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    records: dict[str, list[ListenerRecord]] = {}
    for utterance in json.loads(record.read_text("utf-8")):
        records.setdefault(utterance["conversation"], []).append(
            ListenerRecord(**{**utterance, "asked": tuple(utterance["asked"])})
        )
    return Run(ran.stdout, environ, open_history(HistorySettings.load(data_dir=directory / "data")), records)


def test_every_figure_is_what_the_listener_recorded(run: Run) -> None:
    """Text, audio, times to first audio, sound and end, gaps, interruptions, the engine's time, who was asked, and the cost."""
    assert len(run.records) == len(SCRIPTS)
    for name, utterances in run.records.items():
        requests = run.requests(name)
        script = next(script for script in SCRIPTS if name.startswith(script.agent))
        assert len(requests) == len(utterances) == len(script.turns)
        for request, utterance in zip(requests, utterances, strict=True):
            assert request.attributes == {"app.agent": script.agent}
            assert (request.outcome, request.cancel_reason) == ("ok" if utterance.ended else "cancelled", utterance.reason)
            assert request.characters == len(utterance.text)
            assert request.delivered == pytest.approx(utterance.audio_bytes / BYTES_PER_S, abs=1e-6)
            assert request.heard == pytest.approx(utterance.played_s, abs=1e-6)
            assert request.attempts == len(utterance.asked)
            assert (request.cache_result, request.fallback_used) == (
                "bypass" if utterance.asked else "hit",
                len(utterance.asked) > 1,
            )
            assert request.ttfb == pytest.approx(utterance.first_audio_s, abs=MOMENT)
            assert request.ttfa == pytest.approx(utterance.first_sound_s, abs=MOMENT)
            assert request.duration == pytest.approx(utterance.duration_s, abs=MOMENT)
            assert request.underrun == pytest.approx(utterance.gap_s, abs=MOMENT)
            assert request.interrupted == (utterance.cut_off_s and pytest.approx(utterance.cut_off_s, abs=MOMENT))
            assert request.silent == (pytest.approx(utterance.late_s, abs=MOMENT) if utterance.reason else None)
            if utterance.asked:
                assert request.provider == utterance.asked[-1]
                assert (request.rtf is None) == (utterance.reason is not None)
                if request.rtf is not None:  # the waits of the telemetry are around those of the agent's stopwatch
                    waited_s = request.rtf * utterance.audio_bytes / BYTES_PER_S
                    assert utterance.engine_s - 0.001 <= waited_s <= utterance.engine_s + MOMENT
                assert request.cost == pytest.approx(len(utterance.text) * PRICES[utterance.asked[-1]] / 1e6)
    everything = [utterance for utterances in run.records.values() for utterance in utterances]
    assert {utterance.reason for utterance in everything} == {None, "interrupted", "superseded"}
    assert any(len(utterance.asked) > 1 for utterance in everything)
    assert any(not utterance.asked for utterance in everything)


def test_what_is_made_ahead_is_in_its_conversation(run: Run) -> None:
    """Each phrase is made once, and the one that is said is a hit of just that audio."""
    for name in run.records:
        script = next(script for script in SCRIPTS if name.startswith(script.agent))
        made = run.history.requests(RequestFilter(conversation=name, kind="prefetch"), 100)
        assert sorted(request.characters or 0 for request in made) == sorted(map(len, script.phrases))
        [hit] = [request for request in run.requests(name) if request.cache_result == "hit"]
        assert hit.audio_duration in [request.audio_duration for request in made]


def test_the_demo_says_that_they_agree(run: Run) -> None:
    """Its table has the sums of the records, and the command that it names lists the conversation."""
    utterances = [utterance for utterances in run.records.values() for utterance in utterances]
    seconds = sum(utterance.audio_bytes for utterance in utterances) / BYTES_PER_S
    assert (
        f"The listeners recorded {len(utterances)} utterances and were handed {seconds:.1f} s of audio: telemetry has the same."
        in run.output
    )
    for name, recorded in run.records.items():
        [row] = [line.split() for line in run.output.splitlines() if line.startswith(name)]
        script = next(script for script in SCRIPTS if name.startswith(script.agent))
        interrupted = sum(utterance.reason is not None for utterance in recorded)
        fallbacks = sum(len(utterance.asked) > 1 for utterance in recorded)
        assert row[1:5] == list(map(str, (len(recorded), interrupted, fallbacks, len(script.phrases))))
    [command] = [line.split()[1:4] for line in run.output.splitlines() if line.startswith("  otel-tts requests")]
    listed = subprocess.run([*OTEL_TTS, *command, "--json"], env=run.environ, capture_output=True, text=True, check=True)
    name = command[-1]
    script = next(script for script in SCRIPTS if name.startswith(script.agent))
    assert len(json.loads(listed.stdout)["requests"]) == len(run.records[name]) + len(script.phrases)


def test_a_difference_would_be_told(run: Run) -> None:
    """Each figure of the record, changed, is a line that names it; and so is an utterance that is missing."""
    [name, *_] = run.records
    utterances, requests = run.records[name], run.requests(name)
    assert list(compare(utterances, requests)) == []
    changes: list[dict[str, Any]] = [
        {"text": "x"},
        {"audio_bytes": 7},
        {"played_s": 99.0},
        {"asked": ("x",) * 3},
        {"reason": "caller"},
        {"first_audio_s": 9.0},
        {"first_sound_s": None},
        {"duration_s": 99.0},
        {"engine_s": 9.0, "ended": True},
    ]
    for number, utterance in enumerate(utterances, 1):
        for change in [*changes, {"ended": not utterance.ended}]:
            if "engine_s" in change and not utterance.asked:
                continue  # no engine was asked
            differences = list(compare([*utterances[: number - 1], replace(utterance, **change), *utterances[number:]], requests))
            assert differences, change
            assert all(difference.startswith(f"{name}, utterance {number}: ") for difference in differences)
    assert list(compare(utterances[1:], requests)) == [f"{name}: {len(requests)} utterances instead of {len(requests) - 1}"]


def test_its_page_shows_what_the_listener_had(run: Run) -> None:
    """On the time line each utterance plays for as long as it was played, and interruptions and fallbacks are marked."""
    for name, utterances in run.records.items():
        requests = run.requests(name)
        played = [bar.length_s for bar in conversation.bars(requests) if bar.kind != "waiting for audio"]
        assert played == pytest.approx([utterance.played_s for utterance in utterances], abs=1e-6)
        everything = run.history.requests(RequestFilter(conversation=name), 100)
        script = next(script for script in SCRIPTS if name.startswith(script.agent))
        assert [bar.kind for bar in conversation.bars(everything)].count("made ahead") == len(script.phrases)
        tiles = "".join(conversation.summary(name, sorted(everything, key=lambda request: request.start)))
        assert f"{len(script.phrases)} made ahead" in tiles
        labels = [conversation.label(request) for request in requests]
        assert [("fallback" in label) for label in labels] == [len(utterance.asked) > 1 for utterance in utterances]
        assert all(
            str(utterance.reason) in label for label, utterance in zip(labels, utterances, strict=True) if utterance.reason
        )
