"""Reports: what the batch job has written into MLflow, read and never changed. MLflow is imported only when there is something to read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from otel_tts.report import runs, tracking
from otel_tts.report.window import Window
from otel_tts.settings import ReportSettings, redact_url

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PAGE = re.compile(r"(\w+)\.html")


@dataclass(frozen=True, slots=True)
class Report:
    """One window of one service that the job has judged. judgement: ``drifted``, ``steady`` or ``not judged``. link: its page."""

    run_id: str
    service: str
    window: Window
    judgement: str
    drifted: str
    requests: str
    link: str


class Reports:
    """The reports in MLflow.

    Args:
        uri: where MLflow is: a tracking URI.

    Raises:
        tracking.TrackingUnreachableError: in every method: MLflow does not answer, or is not installed.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @classmethod
    def from_settings(cls, settings: ReportSettings) -> Reports | None:
        """Where the settings say, or where the job keeps them without; None when no job has ever written there.

        Args:
            settings: the settings.
        """
        uri = tracking.default_uri(settings)
        database = tracking.database(uri)
        return None if database is not None and not database.exists() else cls(uri)

    def latest(self, limit: int = 50) -> Sequence[Report]:
        """The newest windows of all services, the newest first.

        Args:
            limit: the most of them.
        """
        return self._search(f"tags.`{runs.KIND}` = 'window' and tags.`{runs.STATE}` = '{runs.COMPLETE}'", limit)

    def of_request(self, service: str, ended: float) -> Report | None:
        """The report of the window in which a request of a service ended; the shortest, where there are several.

        Args:
            service: the name of the service.
            ended: when the request ended, in seconds since the Unix epoch.
        """
        until = round(ended * 1000)
        query = f"tags.`{runs.KIND}` = 'window' and tags.`{runs.STATE}` = '{runs.COMPLETE}' and attributes.start_time <= {until}"
        holding = [r for r in self._search(query, 100) if r.service == service and r.window.start <= ended < r.window.end]
        return min(holding, key=lambda report: report.window.width_s, default=None)

    def pages(self, run_id: str) -> Sequence[str]:
        """Which pages a report has: ``headline`` first, ``engines``, ``traffic``.

        Args:
            run_id: the id of the MLflow run.
        """
        client = self._client()
        with tracking.reaching(self.uri):
            names = [_PAGE.fullmatch(file.path) for file in client.list_artifacts(run_id)]
        return sorted((name[1] for name in names if name), key=lambda name: (name != "headline", name))

    def page(self, run_id: str, name: str) -> str:
        """One page of a report, a whole HTML document.

        Args:
            run_id: the id of the MLflow run.
            name: of the page.
        """
        client = self._client()
        with tracking.reaching(self.uri), tempfile.TemporaryDirectory() as directory:
            return Path(client.download_artifacts(run_id, f"{name}.html", directory)).read_text(encoding="utf-8")

    def _client(self) -> MlflowClient:
        if find_spec("mlflow") is None:
            raise tracking.TrackingUnreachableError(
                "Reports are in MLflow, which is not installed here: pip install 'otel-tts[report]'."
            )
        tracking.prepare()
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri)

    def _search(self, query: str, limit: int) -> Sequence[Report]:
        client = self._client()
        with tracking.reaching(self.uri):
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            matching = client.search_runs(experiments, query, max_results=limit, order_by=["attributes.start_time DESC"])
        reports = []
        for run in matching:
            tags, start = run.data.tags, run.info.start_time / 1000
            page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
            reports.append(
                Report(
                    run_id=run.info.run_id,
                    service=unquote(tags.get(runs.SERVICE, "")),
                    window=Window(start, start + float(tags.get(runs.WIDTH, 0))),
                    judgement=tags.get(runs.JUDGEMENT, ""),
                    drifted=tags.get("otel_tts.drifted", ""),
                    requests=tags.get(runs.REQUESTS, ""),
                    link=f"{redact_url(self.uri).rstrip('/')}/{page}" if self.uri.startswith("http") else "",
                )
            )
        return reports
