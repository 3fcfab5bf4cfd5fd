"""The state of an experiment, without what chance and the clock decide."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CHANCE = ("mlflow.parentRunId", "mlflow.runColor", "mlflow.user", "mlflow.source.name", "mlflow.source.type")


def state(uri: str, experiment: str) -> dict[str, Any]:
    """Everything that the runs and the experiment hold, runs in the order of their keys."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    existing = client.get_experiment_by_name(experiment)
    if existing is None:
        return {}
    runs = client.search_runs([existing.experiment_id])
    keys = {run.info.run_id: run.data.tags["otel_tts.key"] for run in runs}
    return {
        "tags": {name: value for name, value in existing.tags.items() if name.startswith("otel_tts")},
        "runs": sorted(
            (
                {
                    "name": run.info.run_name,
                    "status": run.info.status,
                    "time": (run.info.start_time, run.info.end_time),
                    "tags": {name: value for name, value in run.data.tags.items() if name not in CHANCE},
                    "parent": keys.get(run.data.tags.get("mlflow.parentRunId", "")),
                    "latest": dict(run.data.metrics),
                    "metrics": _histories(client, uri, run.info.run_id, list(run.data.metrics)),
                    "artifacts": _artifacts(client, run.info.run_id),
                }
                for run in runs
            ),
            key=lambda run: str(run["tags"]["otel_tts.key"]),
        ),
    }


def _histories(client: Any, uri: str, run_id: str, names: list[str]) -> dict[str, list[tuple[float, int]]]:
    """All values of each metric with their steps; from a database all at once, since asking a server for each takes seconds."""
    if not uri.startswith("sqlite:///"):
        few = [name for name in names if name in ("request/count", "request/success_rate", "drift/detected")]
        return {name: [(metric.value, metric.step) for metric in client.get_metric_history(run_id, name)] for name in few}
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        rows = database.execute(
            "select key, value, step from metrics where run_uuid = ? order by key, step", (run_id,)
        ).fetchall()
    return {name: [(value, step) for key, value, step in rows if key == name] for name in names}


def _artifacts(client: Any, run_id: str) -> dict[str, str]:
    """Files by name; of Evidently's own, only that they are there, since they hold random identifiers."""
    with TemporaryDirectory() as directory:
        client.download_artifacts(run_id, "", directory)
        return {
            path.name: "" if path.name.startswith(("engines", "traffic")) else path.read_text()
            for path in Path(directory).iterdir()
            if path.is_file()
        }
