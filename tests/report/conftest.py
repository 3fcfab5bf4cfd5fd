"""One recording, one MLflow server and one empty database for all tests of the batch job."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_tts.history import History, open_history
from otel_tts.report import tracking
from otel_tts.report.feedback import Feedback
from otel_tts.report.job import ReportJob
from otel_tts.report.profile import Profiles
from otel_tts.report.reference import resolve
from otel_tts.report.runs import Runs
from otel_tts.report.window import Window
from otel_tts.settings import HistorySettings
from tests.ports import free_port
from tests.report.drawings import undrawn
from tests.report.recording import INTERVAL, speaking

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need it, and none of them is about what these libraries' own dependencies deprecate."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("report")
            for kind in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning", "ResourceWarning", "UserWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.fixture
def drawn() -> None:
    """Evidently's reports matter in this test."""


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest) -> Iterator[None]:
    if "drawn" in request.fixturenames:
        yield
    else:
        with undrawn():
            yield


@dataclass(frozen=True)
class Recording:
    """Telemetry of the real service, and when it did what."""

    directory: Path
    healthy: Window
    faulty: Window
    other_texts: Window

    @property
    def history(self) -> History:
        """As readers open it."""
        return open_history(HistorySettings.load({}, data_dir=self.directory, export_interval=INTERVAL))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A healthy time; one with a slow voice, a failing provider and quieter audio; a healthy one with longer texts."""
    directory = tmp_path_factory.mktemp("recording")

    async def record() -> Recording:
        async with speaking(directory) as speaker:
            engines = speaker.engines
            await speaker.traffic(12, 1)  # the first requests open connections and load voices
            healthy = await speaker.traffic(600, 2)
            engines["ada"].slower, engines["bob"].failing, engines["cleo"].gain = 0.0015, 0.4, 0.6
            faulty = await speaker.traffic(360, 3)
            engines["ada"].slower, engines["bob"].failing, engines["cleo"].gain = 0.0, 0.0, 1.0
            await asyncio.sleep(max(0.0, healthy.width_s - faulty.width_s) + 1.0)  # as much time as the healthy one, and a second
            other = await speaker.traffic(300, 4, words=(8, 20), shares=(1, 1, 4))
        return Recording(directory, healthy, faulty, other)

    return asyncio.run(record())


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, to be copied: making them takes seconds."""
    tracking.prepare()
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> str:
    """The address of a database of the test's own."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@dataclass(frozen=True)
class Server:
    """A running MLflow, and the database that it serves."""

    address: str
    store: str


@pytest.fixture(scope="session")
def mlflow_ui(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    """The real one, as people start it on a database."""
    directory = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, directory / "mlflow.db")
    port = free_port()
    store = f"sqlite:///{directory}/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--port", str(port), "--workers", "1"]
    environ = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=directory, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while not _healthy(address):
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, (directory / "log").read_text()
            time.sleep(0.2)
        yield Server(address, store)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def server(mlflow_ui: Server) -> str:
    """The address of a real MLflow server."""
    return mlflow_ui.address


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


MakeJob = Callable[..., ReportJob]


@pytest.fixture
def make_job(recording: Recording, tmp_path: Path) -> MakeJob:
    """Makes a job on the recording, unless told another history."""

    def made(
        uri: str, reference: str = "last-7d", *, history: History | None = None, experiment: str = "speech", **more: object
    ) -> ReportJob:
        telemetry, runs = history or recording.history, Runs(uri, experiment)
        profiles = Profiles(tmp_path)
        return ReportJob(telemetry, runs, lambda name: resolve(reference, telemetry, profiles, runs, name), Feedback(), **more)  # type: ignore[arg-type]

    return made


def of_range(window: Window) -> str:
    """The reference that is this time."""
    from datetime import UTC, datetime

    first, last = (datetime.fromtimestamp(moment, UTC).isoformat() for moment in (window.start, window.end))
    return f"range:{first}..{last}"
