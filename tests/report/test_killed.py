"""A job that is killed anywhere, and run again."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import Recording, of_range
from tests.report.dying import dying, report
from tests.report.forked import context
from tests.report.state import state


@pytest.mark.timeout(400)  # many processes
def test_killed_at_every_step_it_ends_the_same(recording: Recording, empty_database: Path, tmp_path: Path) -> None:
    """Before each of its writes, one time each; run again, MLflow is in the state that an undisturbed job leaves."""
    forked = context()

    def arguments(uri: str) -> tuple[Any, ...]:
        return recording.directory, uri, (recording.healthy, recording.faulty), of_range(recording.healthy)

    def killed(uri: str, step: int) -> tuple[int | None, int]:
        """The exit code, and how many writes there were."""
        steps: Any = forked.Value("i", 0)
        process = forked.Process(target=dying, args=(step, steps, *arguments(uri)))
        process.start()
        process.join(60)
        return process.exitcode, int(steps.value)

    def database(name: str) -> str:
        (tmp_path / name).mkdir()
        shutil.copy(empty_database, tmp_path / name / "mlflow.db")
        return f"sqlite:///{tmp_path / name / 'mlflow.db'}"

    undisturbed = database("undisturbed")
    code, writes = killed(undisturbed, -1)
    assert code == 0
    assert writes >= 15
    wanted = state(undisturbed, "speech")
    for step in range(writes):
        uri = database(str(step))
        assert killed(uri, step) == (-signal.SIGKILL, step)
        report(*arguments(uri))
        assert state(uri, "speech") == wanted, f"killed before write {step}"
