"""The report that is suggested at the end of a demonstration."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_tts.commands.demo.command import SERVICE_NAME
from otel_tts.commands.report.suggestion import suggestion
from otel_tts.history import open_history
from otel_tts.settings import HistorySettings
from tests.commands.conftest import until
from tests.commands.test_demo import demo, printed
from tests.report.conftest import Recording
from tests.report.recording import INTERVAL, SERVICE, speaking


@pytest.mark.timeout(300)
def test_the_demo_ends_with_a_report_that_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it prints last runs as it stands, and judges the traffic that it just made."""
    start = time.time()
    process = demo(tmp_path, COLUMNS="80")
    try:
        history = open_history(HistorySettings.load({}, data_dir=tmp_path / "data"))
        until(lambda: len(list(suggestion(history, SERVICE_NAME, start, time.time() - 2))) > 1, 200)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0, printed(tmp_path)
    *_, question, command = printed(tmp_path).splitlines()
    assert question.startswith("This command compares the later part of this traffic")
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path / "data"))
    run = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^otel-tts-demo  .* (steady|drifted)$", run.stdout, re.MULTILINE), run.stdout
    assert re.search(r"^[1-9] windows? written, 0 unchanged\.$", run.stdout, re.MULTILINE), run.stdout


async def test_too_little_is_too_little(tmp_path: Path) -> None:
    """Nothing is suggested that could not be judged."""
    async with speaking(tmp_path) as speaker:
        few = await speaker.traffic(10, 1)
    history = open_history(HistorySettings.load({}, data_dir=tmp_path, export_interval=INTERVAL))
    [line] = await asyncio.to_thread(lambda: list(suggestion(history, SERVICE, few.start, few.end)))
    assert line.plain.startswith("This was too little traffic for a report.")


def test_the_extra_is_installed_first(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing, the line before the report installs it; where it is there, the report's line comes alone."""
    start, end = recording.healthy.start, recording.other_texts.end
    question, report = (line.plain for line in suggestion(recording.history, SERVICE, start, end))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    install = f"  {os.path.relpath(sys.executable)} -m pip install 'otel-tts[report]'"
    assert [line.plain for line in suggestion(recording.history, SERVICE, start, end)] == [question, install, report]
