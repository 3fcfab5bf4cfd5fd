"""What stands in MLflow: in a database file and on a real server, the same."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from otel_tts.history import open_history
from otel_tts.history.services import Service
from otel_tts.report.job import versions_of
from otel_tts.report.window import Window
from otel_tts.settings import HistorySettings
from tests.report.conftest import MakeJob, Recording, Server, of_range
from tests.report.recording import INTERVAL, SERVICE
from tests.report.state import state


def spans(recording: Recording, window: Window) -> list[dict[str, Any]]:
    """The synthesis spans that ended in a window, straight from the files."""
    traces = []
    for path in (recording.directory / "traces").iterdir():
        for line in path.read_text().splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        if span["name"] == "tts.synthesize" and window.start <= int(span["endTimeUnixNano"]) / 1e9 < window.end:
                            attributes = {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}
                            traces.append(attributes)
    return traces


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("where", ["store", "server"])
def test_figures_are_those_of_the_raw_telemetry(
    where: str, request: pytest.FixtureRequest, recording: Recording, make_job: MakeJob
) -> None:
    """Counts, sums, error types, tags and artifacts of a window's run, its place below its service, and the judgement."""
    uri = request.getfixturevalue(where)
    job = make_job(uri, of_range(recording.healthy))
    [outcome] = job.report([recording.faulty])
    assert outcome.done == "written"

    raw = spans(recording, recording.faulty)
    by = {key: Counter(str(span.get(key)) for span in raw) for key in ("tts.outcome", "gen_ai.provider.name", "error.type")}
    [window_run] = [run for run in state(uri, "speech")["runs"] if run["tags"]["otel_tts.kind"] == "window"]
    figures = window_run["latest"]
    assert figures["request/count"] == len(raw) == 360
    assert figures["request/ok"] == by["tts.outcome"]["ok"]
    assert figures["request/error"] == by["tts.outcome"]["error"] > 0
    assert figures["request/success_rate"] == pytest.approx(by["tts.outcome"]["ok"] / len(raw))
    assert {name: figures[f"provider/{name}/request_count"] for name in ("ada", "bob", "cleo")} == {
        name: by["gen_ai.provider.name"][name] for name in ("ada", "bob", "cleo")
    }
    assert {name.removeprefix("errors/"): value for name, value in figures.items() if name.startswith("errors/")} == {
        kind: count for kind, count in by["error.type"].items() if kind != "None"
    }
    delivered = sum(float(span.get("tts.audio.delivered_duration", 0)) for span in raw)
    assert figures["request/audio_delivered"] == pytest.approx(delivered)
    characters = sum(figures[f"request/characters_{state}"] for state in ("synthesized", "cached", "wasted"))
    assert characters == sum(int(span["tts.text.length"]) for span in raw)
    hits = sum(span["tts.cache.result"] == "hit" for span in raw)
    assert figures["request/cache_hit"] == hits > 40

    tags = window_run["tags"]
    assert (tags["service.name"], tags["service.version"], tags["otel_tts.state"]) == (SERVICE, "1.0", "complete")
    assert (tags["otel_tts.engines"], tags["otel_tts.voices"]) == ("ada, bob, cleo", "en-gb, en-us, it")
    assert (tags["otel_tts.judgement"], "otel_tts.traffic_changed" in tags) == ("drifted", False)
    assert "failures of bob" in tags["otel_tts.drifted"]
    assert (window_run["status"], window_run["parent"]) == ("FINISHED", f"service|{SERVICE}|1.0")
    assert sorted(window_run["artifacts"]) == [
        "aggregates.csv", "engines.html", "engines.json", "headline.html", "judgement.json",
        "traffic.html", "traffic.json", "worst_requests.json",
    ]  # fmt: skip
    assert all("/" in name for name in figures), figures
    note, page = tags["mlflow.note.content"], window_run["artifacts"]["headline.html"]
    assert note.startswith("**")
    assert "measures have drifted" in note
    assert "| drifted | failures |" in note
    assert "otel-tts trace " in note
    assert page.index(">drifted<") < page.index(">steady<")
    assert "relative to the reference's median" in page
    worst = json.loads(window_run["artifacts"]["worst_requests.json"])
    assert len(worst) == 10
    assert {request["outcome"] for request in worst} == {"error"}
    assert figures["evidently/tests_failed"] >= 2 * figures["drift/detected"] >= 8

    assert all(value for run in state(uri, "speech")["runs"] for value in run["tags"].values())
    [parent] = [run for run in state(uri, "speech")["runs"] if run["tags"]["otel_tts.kind"] == "service"]
    assert parent["metrics"]["request/count"] == [(360.0, round(recording.faulty.start))]
    assert parent["metrics"]["drift/detected"] == [(figures["drift/detected"], round(recording.faulty.start))]


def test_a_second_run_changes_nothing(store: str, recording: Recording, make_job: MakeJob) -> None:
    """Windows that are written are skipped, even by a job that knows them only by their key."""
    windows = [recording.healthy, recording.other_texts]
    assert [outcome.done for outcome in make_job(store).report(windows)] == ["written", "written"]
    before = state(store, "speech")
    assert [outcome.done for outcome in make_job(store).report(windows)] == ["unchanged", "unchanged"]
    assert state(store, "speech") == before


def test_late_telemetry_is_a_revision(store: str, recording: Recording, make_job: MakeJob, tmp_path: Path) -> None:
    """A window that was reported too early is written again: its last value counts. Deleted files change nothing."""
    whole = Window(recording.healthy.start, recording.other_texts.end)
    directory = tmp_path / "copy"
    (directory / "metrics").mkdir(parents=True)
    (directory / "traces").mkdir()
    sources = [path for signal in ("metrics", "traces") for path in (recording.directory / signal).iterdir()]
    for path in sources:  # what was there after half of the time
        lines = path.read_bytes().splitlines(keepends=True)
        (directory / path.parent.name / path.name).write_bytes(b"".join(lines[: len(lines) // 2]))
    history = open_history(HistorySettings.load({}, data_dir=directory, export_interval=INTERVAL))
    job = make_job(store, history=history)
    [early] = job.report([whole])
    for path in sources:
        shutil.copy(path, directory / path.parent.name / path.name)
    [late] = job.report([whole])
    assert early.row is not None
    assert late.row is not None
    assert early.row.request_count < late.row.request_count == 1260

    runs = {run["tags"]["otel_tts.kind"]: run for run in state(store, "speech")["runs"]}
    assert runs["window"]["tags"]["otel_tts.revision"] == "1"
    for name in ("request/count", "request/hit_rate", "request/duration_p50"):
        field = name.replace("/", "_")
        first, last = getattr(early.row, field), getattr(late.row, field)
        assert runs["window"]["metrics"][name] == [(first, 0), (last, 1)]
        assert runs["window"]["latest"][name] == last
        assert runs["service"]["latest"][name] == last

    shutil.rmtree(directory / "traces")
    for path in (directory / "metrics").iterdir():
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:20]))
    assert [outcome.done for outcome in job.report([whole])] == ["kept"]


def test_a_window_of_two_versions_is_in_the_course_of_neither(
    store: str, recording: Recording, make_job: MakeJob, tmp_path: Path
) -> None:
    """Its figures are those of both, so its parent run names both: a chart of one version has that version's windows only."""
    (tmp_path / "metrics").mkdir()
    for path in (recording.directory / "metrics").iterdir():
        shutil.copy(path, tmp_path / "metrics" / path.name)
        hour, _, segment = path.name.partition(".")
        newer = re.sub(rb'"stringValue": ?"((?:[^"]*-)?)1\.0"', rb'"stringValue":"\g<1>1.1"', path.read_bytes())
        (tmp_path / "metrics" / f"{hour}.newer-{segment}").write_bytes(newer)
    history = open_history(HistorySettings.load({}, data_dir=tmp_path, export_interval=INTERVAL))
    [outcome] = make_job(store, history=history).report([recording.faulty])
    assert outcome.row is not None
    assert outcome.row.request_count == 720
    runs = {run["tags"]["otel_tts.kind"]: run for run in state(store, "speech")["runs"]}
    assert runs["window"]["parent"] == f"service|{SERVICE}|1.0%2C 1.1"
    assert runs["service"]["tags"]["mlflow.runName"] == f"{SERVICE} 1.0, 1.1"


@pytest.mark.parametrize(("versions", "parent"), [
    ({"": 3}, ""), ({"1.1": 3, "1.0": 1}, "1.0, 1.1"), ({"1.1": 3, "1.0": 0}, "1.1"), ({"": 1, "2": 1}, "2, not stated"),
    ({str(number): 1 for number in range(40)}, "many versions"),
])  # fmt: skip
def test_a_parent_run_is_that_of_the_versions_that_spoke(versions: dict[str, int], parent: str) -> None:
    """Those without requests have no part in the figures; more than a few are not named."""
    service = Service(name="tts", versions=versions, voices={}, languages={}, providers={}, errors={}, attempts={}, scores={})
    assert versions_of(service) == parent


def test_the_last_week_leaves_out_what_drifted(store: str, recording: Recording, make_job: MakeJob) -> None:
    """The first window has nothing to be compared with; a drifted one is no reference for those after it."""
    healthy, faulty, other_texts = recording.healthy, recording.faulty, recording.other_texts
    width = float(math.ceil(max(healthy.width_s, faulty.width_s, other_texts.width_s)))
    # None begins or ends while there is traffic: counts know the time of a request to within an export only.
    windows = [Window(healthy.end - width, healthy.end), Window(faulty.start, faulty.start + width)]
    windows.append(Window(other_texts.start, other_texts.start + width))
    first, second, third = make_job(store).report(windows)
    assert [o.judgement and o.judgement.status for o in (first, second, third)] == ["not judged", "drifted", "steady"]
    assert first.current is not None
    assert [o.reference and o.reference.requests for o in (second, third)] == [first.current.requests] * 2


def test_the_database_opens_in_mlflow_ui(mlflow_ui: Server, recording: Recording, make_job: MakeJob) -> None:
    """What was written without a server: ``mlflow ui --backend-store-uri`` has the same runs, nested, with files that it shows."""
    job = make_job(mlflow_ui.store, of_range(recording.healthy), experiment="file")
    [outcome] = job.report([recording.faulty])
    in_file, shown = state(mlflow_ui.store, "file"), state(mlflow_ui.address, "file")
    for run in (*in_file["runs"], *shown["runs"]):
        del run["metrics"]  # of the server, only some; those that are the latest are all there
    assert shown == in_file
    assert [run["parent"] for run in shown["runs"]] == [None, f"service|{SERVICE}|1.0"]
    assert outcome.link.startswith(f"mlflow ui --backend-store-uri {mlflow_ui.store}   then http://127.0.0.1:5000/#/experiments/")
    page = f"{mlflow_ui.address}/get-artifact?path=engines.html&run_uuid={outcome.link.rpartition('/')[2]}"
    with urlopen(page) as answer:
        assert b"latency of ada" in answer.read()


@pytest.mark.parametrize("where", ["store", "server"])
def test_worst_traces_go_along(
    where: str, request: pytest.FixtureRequest, recording: Recording, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``copy_traces``, the ten worst requests' traces are in MLflow, whole and linked to the run, however often that is done."""
    uri = request.getfixturevalue(where)
    job = replace(make_job(uri, experiment="traces"), copy_traces=True)
    [outcome] = job.report([recording.faulty])
    monkeypatch.setattr("otel_tts.report.job._FORMAT", 0)  # so that all of it is written once more
    assert [again.done for again in job.report([recording.faulty])] == ["written"]
    assert outcome.current is not None
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    run_id = outcome.link.rpartition("/")[2]
    traces = client.search_traces(locations=[job.runs.experiment_id], run_id=run_id)
    wanted = {request.trace_id for request in outcome.current.worst}
    assert {trace.info.trace_id.removeprefix("tr-") for trace in traces} == wanted
    for trace in traces:
        original = recording.history.trace(trace.info.trace_id.removeprefix("tr-"))
        assert original is not None
        assert sorted(span.name for span in trace.data.spans) == sorted(span.name for _, span in original.walk())


def test_reports_stand_in_evidentlys_workspace_once(store: str, recording: Recording, make_job: MakeJob, tmp_path: Path) -> None:
    """A window that is written again replaces its reports."""
    from evidently.ui.workspace import Workspace

    for experiment in ("speech", "again"):
        job = replace(make_job(store, of_range(recording.healthy), experiment=experiment), workspace=tmp_path / "space")
        list(job.report([recording.faulty]))
    space = Workspace.create(str(tmp_path / "space"))
    [project] = space.list_projects()
    assert project.name == SERVICE
    assert len(space.list_runs(project.id)) == 2
