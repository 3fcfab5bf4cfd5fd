"""Text of a program with capture off is in nothing that a judged report writes: Evidently's pages, MLflow's store, what is printed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_tts.history import open_history
from otel_tts.report.window import Window
from otel_tts.settings import HistorySettings
from tests.report.conftest import MakeJob, of_range

CANARY = "xyzzy" + "canary"  # put together here and there: the lines of the program stand in stack traces
PROGRAM = """
import random, sys
import otel_tts
from otel_tts import PCM16

TEXT = f"Say {'xyzzy'}{'canary'} now. "
pipeline = otel_tts.configure(service_name="canary", local=True)
tts = otel_tts.Telemetry(voices=["joe"])
for number in range(250):
    text = TEXT * random.randint(1, 5)
    try:
        with tts.synthesis(text, voice="joe", stream=bool(number % 2)) as s, s.attempt("engine", model="bird") as attempt:
            attempt.audio(bytes(4800 * random.randint(1, 5)), PCM16(24_000))
            if number % 10 == 0:
                raise RuntimeError(text) from ValueError({"input": [text]})
    except RuntimeError:
        pass
pipeline.shutdown()
"""


@pytest.mark.usefixtures("drawn")
def test_a_judged_report_has_no_text(store: str, make_job: MakeJob, tmp_path: Path) -> None:
    """With a reference and enough requests, so that Evidently's reports are there."""
    data = tmp_path / "data"
    environ = {**os.environ, "OTEL_TTS_DATA_DIR": str(data)}
    windows = []
    for _ in range(2):
        start = time.time()
        subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, cwd=tmp_path)
        time.sleep(1.0)  # moments of a range are whole, and an export's end is later than its requests
        windows.append(Window(start, time.time()))
    history = open_history(HistorySettings.load({}, data_dir=data, export_interval=0.25))
    workspace = tmp_path / "workspace"
    job = make_job(store, of_range(windows[0]), history=history, workspace=workspace)
    [result] = job.report([windows[1]])
    assert result.judgement is not None
    assert result.judgement.status != "not judged", result.judgement.reason
    result.judgement.save(tmp_path)
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"engines.html", "engines.json", "mlflow.db"} <= {file.name for file in written}
    assert [file for file in written if CANARY.encode() in file.read_bytes()] == []
    assert CANARY not in str(result)
