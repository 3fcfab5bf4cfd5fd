"""Runs in MLflow. Writing one again leaves the same run.

A window has one run, found by its key. Its state is said to be complete by the last thing that is written, so that whoever finds
it otherwise goes on. Everything in between ends the same however often it is done: MLflow keeps one of equal metric values, tags
and files are overwritten. A window whose figures have changed is written again as its next revision, which is the step of its
metrics: of the values of a metric, MLflow takes the one with the highest step for the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from otel_tts import formatting
from otel_tts.report import tracking
from otel_tts.report.window import Window
from otel_tts.settings import redact_url

if TYPE_CHECKING:
    from mlflow.entities import Run

KEY, KIND, STATE, REVISION = "otel_tts.key", "otel_tts.kind", "otel_tts.state", "otel_tts.revision"
SERVICE, WIDTH, CONTENT, SOURCE = "otel_tts.service", "otel_tts.window_seconds", "otel_tts.content", "otel_tts.source"
JUDGEMENT, REQUESTS = "otel_tts.judgement", "otel_tts.requests"
WRITING, COMPLETE = "writing", "complete"
_WATERMARK = "otel_tts.watermark"
_METRICS_AT_ONCE = 1000
_TAGS_AT_ONCE = 100
_LONGEST_TAG = 5000


@dataclass(frozen=True, slots=True)
class RunEntry:
    """The content of the run of a window.

    figures: its metrics. headline: those that its parent shows over time. tags: by full name. content: a digest of what was told,
    by which it is known again. source: a digest of where it was read. files: a directory with its artifacts. more:
    what else has to be done before it is complete, given the run's id.
    """

    service: str
    version: str
    window: Window
    figures: Mapping[str, float]
    headline: Mapping[str, float]
    tags: Mapping[str, str]
    content: str
    source: str
    files: Path
    more: Callable[[str], object] = lambda _: None


class Runs:
    """The runs of one experiment.

    Args:
        uri: where MLflow is: a tracking URI.
        experiment: the name of the MLflow experiment.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self._client, self._experiment = tracking.connect(uri, experiment)

    @property
    def experiment_id(self) -> str:
        """The number by which MLflow knows the experiment."""
        return str(self._experiment.experiment_id)

    def watermark(self, job: str) -> float | None:
        """Up to when windows have been written; None when none has been.

        Args:
            job: the key of the job's watermark.
        """
        with tracking.reaching(self.uri):
            tags = self._client.get_experiment(self.experiment_id).tags
        with suppress(KeyError, ValueError):
            return float(tags[_watermark(job)])
        return None

    def advance(self, job: str, moment: float) -> None:
        """All windows up to ``moment`` have been written.

        Args:
            job: the key of the job's watermark.
            moment: in seconds since the Unix epoch.
        """
        with tracking.reaching(self.uri):
            self._client.set_experiment_tag(self.experiment_id, _watermark(job), f"{moment:.0f}")

    def find(self, service: str, window: Window) -> Run | None:
        """The run of a window.

        Args:
            service: the name of the service.
            window: the window.
        """
        with tracking.reaching(self.uri):
            return self._find(_key("window", service, str(window)))

    def windows(self, service: str, width_s: float, since: float, before: float) -> Iterator[tuple[Window, str]]:
        """The complete windows of a service that began then, the newest first, each with its judgement.

        Args:
            service: the name of the service.
            width_s: the width of a window, in seconds.
            since: from when on, in seconds since the Unix epoch.
            before: up to when, in seconds since the Unix epoch.
        """
        conditions = {STATE: COMPLETE, WIDTH: f"{width_s:g}", SERVICE: _quoted(service)}
        query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in conditions.items())
        query += f" and attributes.start_time >= {since * 1000:.0f} and attributes.start_time < {before * 1000:.0f}"
        token = None
        while True:
            with tracking.reaching(self.uri):
                page = self._client.search_runs(
                    [self.experiment_id], query, order_by=["attributes.start_time DESC"], page_token=token
                )
            for run in page:
                start = run.info.start_time / 1000
                yield Window(start, start + width_s), run.data.tags.get(JUDGEMENT, "")
            token = page.token
            if not token:
                return

    def write(self, entry: RunEntry) -> str:
        """Write a window, from the beginning or from where another attempt was killed; gives the run's id.

        Args:
            entry: what is written.
        """
        with tracking.reaching(self.uri):
            return self._write(entry)

    def same(self, run: Run, source: str) -> None:
        """Note that a window was checked again and has not changed.

        Args:
            run: of MLflow.
            source: where the telemetry is from.
        """
        with tracking.reaching(self.uri):
            self._client.set_tag(run.info.run_id, SOURCE, source)

    def link(self, run_id: str) -> str:
        """The address of a run's page.

        Args:
            run_id: the id of the MLflow run.
        """
        if self.uri.startswith(("http://", "https://")):
            return tracking.page(self.uri, self.experiment_id, run_id)
        shown = tracking.page("http://127.0.0.1:5000", self.experiment_id, run_id)
        return f"mlflow ui --backend-store-uri {redact_url(self.uri)}   then {shown}"

    def _write(self, entry: RunEntry) -> str:
        start, end = round(entry.window.start * 1000), round(entry.window.end * 1000)
        parent = self._parent(entry)
        key = _key("window", entry.service, str(entry.window))
        tags = {KEY: key, KIND: "window", STATE: WRITING, "mlflow.parentRunId": parent, CONTENT: entry.content, REVISION: "0"}
        identity = {SERVICE: _quoted(entry.service), WIDTH: f"{entry.window.width_s:g}"}
        run = self._find(key) or self._create(key, formatting.utc(entry.window.start), start, {**tags, **identity})
        run_id, revision = run.info.run_id, int(run.data.tags.get(REVISION, "0"))
        if run.data.tags.get(CONTENT) != entry.content:
            revision += 1
            self._tag(run_id, {**tags, REVISION: str(revision)})
        self._log(run_id, entry.figures, end, revision)
        self._client.log_artifacts(run_id, str(entry.files))
        self._log(parent, entry.headline, end + revision, round(entry.window.start) + revision)
        self._tag(run_id, entry.tags)
        for name, value in entry.tags.items():
            if not value and name in run.data.tags:  # of an earlier revision
                self._client.delete_tag(run_id, name)
        entry.more(str(run_id))
        self._client.set_terminated(run_id, "FINISHED", end)
        self._tag(run_id, {SOURCE: entry.source, STATE: COMPLETE})
        return str(run_id)

    def _parent(self, entry: RunEntry) -> str:
        key = _key("service", entry.service, entry.version)
        run = self._find(key)
        if run is None:
            name = f"{entry.service} {entry.version}".strip()
            tags = {KEY: key, KIND: "service", SERVICE: _quoted(entry.service), "service.name": entry.service}
            start = round(entry.window.start * 1000)
            run = self._create(key, name, start, {**tags, "service.version": entry.version, STATE: COMPLETE})
        return str(run.info.run_id)

    def _find(self, key: str) -> Run | None:
        """The run with that key. Two jobs on two machines may each have made one: the same one counts for both."""
        matching: list[Any] = self._client.search_runs([self.experiment_id], f"tags.`{KEY}` = '{key}'")
        return min(matching, key=lambda run: str(run.info.run_id), default=None)

    def _create(self, key: str, name: str, start: int, tags: Mapping[str, str]) -> Run:
        made = self._client.create_run(self.experiment_id, start, _filled(tags), name)
        kept = self._find(key) or made
        if kept.info.run_id != made.info.run_id:
            self._client.delete_run(made.info.run_id)
        return kept

    def _log(self, run_id: str, figures: Mapping[str, float], timestamp: int, step: int) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, timestamp, step) for name, value in sorted(figures.items())]
        for first in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics[first : first + _METRICS_AT_ONCE])

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        listed = [RunTag(name, value[:_LONGEST_TAG]) for name, value in _filled(tags).items()]
        for first in range(0, len(listed), _TAGS_AT_ONCE):
            self._client.log_batch(run_id, tags=listed[first : first + _TAGS_AT_ONCE])


def _filled(tags: Mapping[str, str]) -> dict[str, str]:
    """Remove values that say nothing, which would only distract."""
    return {name: value for name, value in tags.items() if value}


def _key(kind: str, *parts: str) -> str:
    return "|".join((kind, *map(_quoted, parts)))


def _quoted(text: str) -> str:
    """Escape what a query would read as syntax; different texts stay different."""
    return quote(text, safe=" :")


def _watermark(job: str) -> str:
    return f"{_WATERMARK}.{quote(job, safe=' ').replace('%', ':')}"  # names of tags are stricter than their values
