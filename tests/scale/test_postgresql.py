"""MLflow on PostgreSQL: what a report leaves there is what it leaves in a file, also when two jobs write at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.stack import answers, until
from tests.ports import free_port
from tests.report.conftest import *  # noqa: F403 - its recording, its database file and its job
from tests.report.conftest import MakeJob, Recording, _undrawn, of_range  # noqa: F401 - without Evidently's drawings
from tests.report.state import state
from tests.scale.postgresql import database

pytestmark = [
    pytest.mark.report,
    *(
        pytest.mark.filterwarnings(f"ignore::{kind}")
        for kind in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning", "ResourceWarning", "UserWarning")
    ),
]


@pytest.fixture(scope="module")
def mlflow_on_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server whose runs are in PostgreSQL."""
    directory = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environ = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with database(directory / "postgresql.log") as uri, (directory / "mlflow.log").open("wb") as log:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port), "--workers=1"]
        command += ["--artifacts-destination", str(directory / "artifacts")]
        server = subprocess.Popen(
            command, env={**os.environ, **environ}, stdout=log, stderr=log, cwd=directory, start_new_session=True
        )
        try:
            until(lambda: server.poll() is not None or answers(f"{address}/health"), "MLflow is there", 180)
            assert server.poll() is None, (directory / "mlflow.log").read_text()
            yield address
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def shown(uri: str, experiment: str) -> list[dict[str, Any]]:
    """The runs, but for the histories of metrics, of which a server is asked for a few only; their latest values are all there."""
    return [{**run, "metrics": None} for run in state(uri, experiment)["runs"]]


def test_jobs_that_write_at_once(store: str, mlflow_on_postgresql: str, recording: Recording, make_job: MakeJob) -> None:
    """Two jobs leave the runs, metrics, tags and files that one leaves in a file; a job that comes after them changes nothing."""

    def report(uri: str, experiment: str) -> list[str]:
        job = make_job(uri, of_range(recording.healthy), experiment=experiment)
        return [outcome.done for outcome in job.report([recording.faulty])]

    assert report(store, "file") == ["written"]
    expected = shown(store, "file")
    assert len(expected) == 2
    names = ("one", "another")
    with ThreadPoolExecutor(len(names)) as writing:
        assert list(writing.map(report, [mlflow_on_postgresql] * 2, names)) == [["written"]] * 2
    assert [shown(mlflow_on_postgresql, name) for name in names] == [expected] * 2
    assert report(mlflow_on_postgresql, "one") == ["unchanged"]
    assert shown(mlflow_on_postgresql, "one") == expected
