"""Tracking: the connection to MLflow, a server or a database file, and its errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tts.errors import OtelTtsError
from otel_tts.settings import ReportSettings, redact_url

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

EXPERIMENT = "otel-tts"
"""The experiment of MLflow that runs go to, unless another is named."""

_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",  # MLflow's and Evidently's own telemetry
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server that is away is said to be so within seconds; by default it would take four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class TrackingUnreachableError(OtelTtsError):
    """MLflow cannot be used. The message says where it was looked for, and why not."""


def default_uri(settings: ReportSettings) -> str:
    """Where MLflow is: what the settings say, else a database in the data directory, which needs no server.

    Args:
        settings: the settings.
    """
    return settings.mlflow_tracking_uri or f"sqlite:///{Path(os.path.realpath(settings.data_dir), 'mlflow.db')}"


def prepare() -> None:
    """Switch off the libraries' own telemetry and shorten their timeouts. Call it before they are imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Turn what MLflow raises in the block into `TrackingUnreachableError`.

    Args:
        uri: where MLflow is: a tracking URI.

    Raises:
        TrackingUnreachableError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:  # what `requests` raises is an OSError
        message = redact_url(str(error)).strip() or type(error).__name__
        reason = message.splitlines()[0][:300]
        raise TrackingUnreachableError(f"MLflow at {redact_url(uri)} cannot be used: {reason}") from error


def connect(uri: str, experiment: str) -> tuple[MlflowClient, Experiment]:
    """A client, and the experiment, which is made if it is not there.

    Args:
        uri: where MLflow is: a tracking URI.
        experiment: the name of the MLflow experiment.

    Raises:
        TrackingUnreachableError: no MLflow answers at ``uri``, or it refuses.
    """
    prepare()
    from mlflow.tracking import MlflowClient

    with reaching(uri):
        if path := database(uri):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        client = MlflowClient(uri)
        existing = client.get_experiment_by_name(experiment)
        if existing is None:
            # A database says nothing of files; without this they would go to the current directory.
            artifacts = (path.parent / f"{path.stem}-artifacts").as_uri() if path else None
            existing = client.get_experiment(client.create_experiment(experiment, artifacts))
        elif existing.lifecycle_stage == "deleted":
            raise TrackingUnreachableError(
                f"The experiment {experiment!r} of MLflow at {redact_url(uri)} is deleted. Restore it, or name another."
            )
    return client, existing


def database(uri: str) -> Path | None:
    """The file of a SQLite database; None for everything else.

    Args:
        uri: where MLflow is: a tracking URI.
    """
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def page(uri: str, experiment_id: str, run_id: str) -> str:
    """The address of a run on the page of a server.

    Args:
        uri: where MLflow is: a tracking URI.
        experiment_id: the id of the MLflow experiment.
        run_id: the id of the MLflow run.
    """
    return f"{redact_url(uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
