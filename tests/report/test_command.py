"""``otel-tts report`` as people and schedulers run it: what it prints, what it exits with, what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections import Counter
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from rich.console import Console

from otel_tts import semconv
from otel_tts.commands.report import reporting
from otel_tts.commands.report.surroundings import SERVICE_NAME as JOB
from otel_tts.history import Row, open_history
from otel_tts.history.local import LocalHistory
from otel_tts.history.unavailable import HistoryIncompleteError
from otel_tts.report.lock import locked
from otel_tts.settings import HistorySettings
from tests.report.conftest import MakeJob, Recording, of_range
from tests.report.forked import command
from tests.report.recording import INTERVAL, SERVICE
from tests.report.state import state


def iso(moment: float) -> str:
    """A moment as options take it, to the microsecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def start(directory: Path, *arguments: str, drawn: bool = False, **environ: str) -> BaseProcess:
    """The command, on the telemetry in a directory."""
    settings = {"OTEL_TTS_DATA_DIR": str(directory), "OTEL_METRIC_EXPORT_INTERVAL": str(INTERVAL * 1000), "COLUMNS": "140"}
    return command(directory.with_suffix(".output"), ("report", *arguments), {**settings, **environ}, drawn=drawn)


def run(directory: Path, *arguments: str, drawn: bool = False, **environ: str) -> tuple[int | None, str]:
    """The exit code and what was printed."""
    process = start(directory, *arguments, drawn=drawn, **environ)
    process.join(90)
    return process.exitcode, directory.with_suffix(".output").read_text()


@pytest.fixture
def data(recording: Recording, tmp_path: Path) -> Path:
    """The recording, in a directory of the test's own."""
    for signal in ("metrics", "traces"):
        shutil.copytree(recording.directory / signal, tmp_path / "data" / signal)
    return tmp_path / "data"


@pytest.mark.usefixtures("drawn")
def test_a_judged_window_is_summed_up(recording: Recording, data: Path) -> None:
    """What drifted, from what, and where to look; the second time nothing is left to do. Dashboards can read the same."""
    start = recording.faulty.start
    width = start / (start // recording.faulty.width_s)  # so that a window begins there, and holds all of that time
    window = [
        "--since", iso(start + 1), "--until", iso(start + 2), "--window", f"{width:.12f}s",
        "--reference", of_range(recording.healthy), "--service", SERVICE,
    ]  # fmt: skip
    code, output = run(data, *window, drawn=True)
    assert code == 0, output
    title, figures, *rest = output.splitlines()
    assert re.fullmatch(rf"{SERVICE}  \S+ \S+ to \S+ UTC  drifted", title)
    assert re.fullmatch(r"\d+ requests, [\d.]+% success, p95 .+, first audio p95 .+, [\d.]+% cache hits", figures)
    assert re.match(r"Drifted from \d{4}-\d\d-\d\d \S+ to \S+ UTC", rest[0])
    columns = [re.split(" {2,}", line) for line in rest if "  " in line]
    table = {(measure.partition(" (")[0], group.partition(" ")[0]) for measure, group, *_ in columns}
    assert {("failures", "bob"), ("latency", "ada"), ("loudness", "cleo")} <= table
    assert f"mlflow ui --backend-store-uri sqlite:///{data}/mlflow.db   then http://127.0.0.1:5000/#/experiments/" in output
    assert rest[-1] == "1 window written, 0 unchanged."
    code, output = run(data, *window)
    assert (code, output.strip()) == (0, "0 windows written, 1 unchanged.")

    history = open_history(HistorySettings.load({}, data_dir=data, export_interval=INTERVAL))
    now = time.time()
    drift = history.series(semconv.DRIFT_DETECTED, now - 120, now, 120, (semconv.PROVIDER, semconv.DRIFT_COLUMN), service=JOB)
    stored = {
        (line.attributes["gen_ai.provider.name"], line.attributes["tts.drift.column"]): line.points[-1].value for line in drift
    }
    assert {key for key, point in stored.items() if point == 1} >= {("bob", "failures"), ("ada", "latency"), ("cleo", "loudness")}
    assert stored["cleo", "latency"] == 0
    spans = [
        span
        for path in (data / "traces").iterdir()
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["name"].startswith("tts.report")
    ]
    names = {span["spanId"]: span["name"] for span in spans}
    steps = Counter((span["name"], names.get(span.get("parentSpanId", ""))) for span in spans)
    # The second pass reads again if the job's own telemetry went into files that the window's is in, and finds the same.
    assert steps.pop(("tts.report.read", "tts.report.service_window")) in (1, 2)
    assert steps == {
        ("tts.report", None): 2,  # the second pass found nothing to do
        ("tts.report.service_window", "tts.report"): 2,
        ("tts.report.judge", "tts.report.service_window"): 1,
        ("tts.report.write", "tts.report.service_window"): 1,
    }


def test_versions_are_compared(data: Path, recording: Recording) -> None:
    """What got worse, what is different, what is alike, by how much, and of how many requests."""
    code, output = run(data, "compare", of_range(recording.healthy), of_range(recording.faulty))
    assert code == 0, output
    worse, _, rest = output.partition("Different")
    for word in ("latency", "ada", "failures", "bob"):
        assert word in worse
    different, _, alike = rest.partition("No relevant difference")
    assert "loudness" in different
    assert "speaking rate" in alike
    assert "Other traffic" not in output
    assert re.search(r"failures +bob +0% +\d\d(\.\d)?% +\+\d\d\.\d points +\d+ / \d+", worse)
    _, swapped = run(data, "compare", of_range(recording.faulty), of_range(recording.healthy))
    better = swapped.partition("Better")[2].partition("Different")[0]
    assert "latency" in better
    assert not {"ada", "bob"} & set(swapped.partition("Worse")[2].partition("Different")[0].split())


def test_passes_go_on_from_the_watermark(recording: Recording, data: Path) -> None:
    """Windows in their order; the next pass leaves alone what lies behind, and ``--since`` looks at it again, with a bar."""
    from mlflow.tracking import MlflowClient

    often = ["--window", "10s", "--grace", "0s"]
    code, output = run(data, *often)
    assert code == 0, output
    written = re.findall(rf"^{SERVICE}  (\S+ \S+) to", output, re.MULTILINE)
    assert written == sorted(written)
    assert len(written) >= 3
    uri = f"sqlite:///{data / 'mlflow.db'}"
    stored = state(uri, "otel-tts")
    [watermark] = [float(value) for name, value in stored["tags"].items() if "watermark" in name]
    assert watermark % 10 == 0
    assert recording.other_texts.end - 10 < watermark < time.time()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("otel-tts")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`otel_tts.kind` = 'window'", order_by=["start_time"])
    client.delete_run(runs[0].info.run_id)
    code, output = run(data, *often)
    assert code == 0, output
    assert " written" not in output or "0 windows written" in output
    code, output = run(data, *often, "--since", iso(recording.healthy.start - 30), "--until", "0s", FORCE_COLOR="1")
    assert code == 0, output
    assert "1 window written" in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", output)
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" * 10 in output
    again = state(uri, "otel-tts")
    assert [r["name"] for r in again["runs"]] == [r["name"] for r in stored["runs"]]


def test_no_data(tmp_path: Path) -> None:
    """Exit code 3, and what to do."""
    code, output = run(tmp_path)
    assert code == 3
    assert (
        output
        == f"Error: There is no telemetry of any request in local files in {tmp_path}. Run `otel-tts demo`, or your own service.\n"
    )


def test_unreachable_mlflow_costs_seconds(data: Path) -> None:
    """Exit code 4 with the address, without its password, in well under a minute."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    code, output = run(data, MLFLOW_TRACKING_URI=f"http://user:secret@127.0.0.1:{port}")
    assert code == 4, output
    assert f"MLflow at http://127.0.0.1:{port} cannot be used" in output
    assert "secret" not in output
    assert time.monotonic() - began < 30
    assert not (data / "mlflow.db").exists()


def test_a_source_that_does_not_answer(tmp_path: Path) -> None:
    """Exit code 7 with its address, and no stack trace."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, output = run(
        tmp_path, OTEL_TTS_PROMETHEUS_URL=f"http://127.0.0.1:{port}", OTEL_TTS_TEMPO_URL=f"http://127.0.0.1:{port}"
    )
    assert code == 7, output
    assert f"http://127.0.0.1:{port}" in output
    assert "Traceback" not in output


def test_a_window_of_which_only_a_part_is_known_stays_open(
    recording: Recording, make_job: MakeJob, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written of it nor of what follows, and the watermark stays before it; when all is known, the next pass goes on there."""
    job = make_job(store)
    aggregates = LocalHistory.aggregates

    def partial(history: LocalHistory, start: float, end: float, *arguments: Any, **options: Any) -> list[Row]:
        if end > recording.faulty.start:
            raise HistoryIncompleteError("Prometheus gave only a part of the metrics: receive-2 is away.")
        return aggregates(history, start, end, *arguments, **options)

    def one_pass() -> list[dict[str, Any]]:
        return reporting.run_pass(job, Console(quiet=True), 10.0, 0.0, None, None, Event())

    with monkeypatch.context() as patched:
        patched.setattr(LocalHistory, "aggregates", partial)
        with pytest.raises(HistoryIncompleteError):
            one_pass()
    before = state(store, "speech")
    assert all(float(value) <= recording.faulty.start for name, value in before["tags"].items() if "watermark" in name)
    assert one_pass()
    after = state(store, "speech")
    assert {run["name"] for run in before["runs"]} < {run["name"] for run in after["runs"]}


def test_references_that_are_not_there(recording: Recording, data: Path) -> None:
    """Exit code 5, and which there are."""
    code, output = run(data, "--since", "1d", "--until", "0s", "--reference", "version:9.9")
    assert code == 5, output
    assert f"There is no telemetry of version '9.9' of {SERVICE}, only 1.0." in " ".join(output.split())
    code, output = run(data, "compare", "1.0", "nobody")
    assert code == 5, output
    assert "There is no profile 'nobody'" in output
    code, output = run(data, "--reference", "yesterday", "--since", "1d", "--until", "0s")
    assert code == 2
    assert "'yesterday' is no reference: it takes last-7d, version:VERSION, profile:NAME or range:START..END." in output


def test_one_job_at_a_time(data: Path) -> None:
    """Exit code 6 while another holds the lock."""
    uri = f"sqlite:///{data.resolve() / 'mlflow.db'}"
    with locked(data, f"otel-tts at {uri}"):
        code, output = run(data)
    assert code == 6, output
    assert f"Another report job (process {os.getpid()}) writes to otel-tts at {uri}." in output


def test_corrupt_lines_are_left_out(recording: Recording, data: Path) -> None:
    """They are counted, and the rest is reported."""
    traces = min((data / "traces").iterdir())  # a file an hour: the recording may have gone over its end
    traces.write_bytes(b'{"resourceSpans":[{"resource"\n' + traces.read_bytes() + b"\xff\xfe\n")
    code, output = run(data, "--since", "1d", "--until", "0s", "--window", "1d")
    assert code == 0, output
    assert "Left out, since it cannot be read: 2 records of stored telemetry." in output


def test_profiles(recording: Recording, data: Path) -> None:
    """Saved, listed, and compared with."""
    code, output = run(data, "reference", "save", "good", "--from", of_range(recording.healthy))
    assert code == 0, output
    assert "Saved 600 of 600 requests" in output
    assert run(data, "reference", "list") == (0, "good\n")
    code, output = run(data, "compare", "good", of_range(recording.faulty))
    assert code == 0, output
    assert "failures" in output.partition("Different")[0]


def test_it_keeps_running_until_told_to_stop(data: Path) -> None:
    """``--every``: passes go on, a signal ends the job in order."""
    process = start(data, "--every", "1s", "--window", "10s", "--grace", "0s")
    deadline = time.monotonic() + 100
    output = data.with_suffix(".output")
    while " written, " not in output.read_text():  # a first pass
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.1)
    process.terminate()
    process.join(60)
    assert process.exitcode == 0, output.read_text()
    uri = f"sqlite:///{data / 'mlflow.db'}"
    assert all(run["tags"]["otel_tts.state"] == "complete" for run in state(uri, "otel-tts")["runs"])
