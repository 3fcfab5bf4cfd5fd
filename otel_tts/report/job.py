"""The job: takes windows in order, writes those that are new or have changed, and says what it found."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from otel_tts import formatting, semconv
from otel_tts.distribution import AtLeast, AtMost
from otel_tts.history import History, Row, Service, added_up
from otel_tts.history.unavailable import UnreadableHistogramError
from otel_tts.report import traces, workspace
from otel_tts.report.drift import Judgement, judge
from otel_tts.report.feedback import Feedback, latencies
from otel_tts.report.headline import NOTE, Headline, window_figures
from otel_tts.report.measures import Measures, listed, metric_part
from otel_tts.report.reference import Reference
from otel_tts.report.runs import COMPLETE, CONTENT, JUDGEMENT, REQUESTS, SOURCE, STATE, RunEntry, Runs
from otel_tts.report.sample import Sample, take
from otel_tts.report.window import Window

_FORMAT = 2  # of what a run holds: a window that was written otherwise is written anew
_NAMED_VERSIONS = 4  # of a window that has more, the parent run names none
_LATE_WINDOWS = 2
"""Windows before the watermark that are looked at again in each pass, for telemetry that came late."""


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The result for one window of one service.

    done: ``written``, or the run was there and is ``unchanged``; ``kept`` when telemetry has been deleted since, so that the run
    knows more than can be known now; ``unreadable`` when what the service wrote cannot be counted, as the notes say. notes: what
    else must be known to read the figures, such as that two clusters are added up.
    """

    window: Window
    service: str
    done: Literal["written", "unchanged", "kept", "unreadable"]
    link: str = ""
    row: Row | None = None
    judgement: Judgement | None = None
    current: Sample | None = None
    reference: Sample | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportJob:
    """The job: reads, judges and writes each window.

    referring: gives the reference of a service. only: the one service to report; None for all. copy_traces: whether the traces of
    the worst requests go into MLflow too. workspace: a directory for ``evidently ui``; None for none.
    """

    history: History
    runs: Runs
    referring: Callable[[str], Reference]
    feedback: Feedback
    only: str | None = None
    copy_traces: bool = False
    workspace: Path | None = None
    trace_address: str = ""
    _references: dict[str, Reference] = field(default_factory=dict)

    def report(self, windows: Iterable[Window]) -> Iterator[WindowResult]:
        """Report windows, in their order.

        Args:
            windows: in ascending order.

        Raises:
            TrackingUnreachableError: MLflow cannot be used; what is written so far stays, and is gone on from another time.
            UnknownReferenceError: there is no such reference.
        """
        for window in windows:
            for service in self.history.services(window.start, window.end):
                if self.only in (None, service.name):
                    with self.feedback.tracer.start_as_current_span(semconv.REPORT_WINDOW_SPAN.name) as span:
                        span.set_attribute(semconv.REPORT_SERVICE.key, service.name)
                        span.set_attribute(semconv.REPORT_WINDOW.key, str(window))
                        outcome = self._reported(window, service)
                        span.set_attribute(semconv.REPORT_RESULT.key, outcome.done)
                    yield outcome

    def _reported(self, window: Window, service: Service) -> WindowResult:
        """Report a window of a service. One that cannot be read keeps no other from being reported."""
        try:
            return self._report(window, service)
        except UnreadableHistogramError as error:
            if self.only is not None:
                raise
            return WindowResult(window, service.name, "unreadable", notes=(str(error),))

    def _report(self, window: Window, service: Service) -> WindowResult:
        step = self.feedback.tracer.start_as_current_span
        reference = self._reference(service.name)
        source = _digest(_FORMAT, reference.name, self.history.fingerprint(window.start, window.end))
        run = self.runs.find(service.name, window)
        written = run is not None and run.data.tags.get(STATE) == COMPLETE
        if run is not None and written:
            link = self.runs.link(run.info.run_id)
            if run.data.tags.get(SOURCE) == source:
                return WindowResult(window, service.name, "unchanged", link)
            if int(run.data.tags.get(REQUESTS, "0")) > service.requests:
                return WindowResult(window, service.name, "kept", link)
        with step(semconv.REPORT_READ_SPAN.name):
            notes = tuple(added_up(self.history.places(window.start, window.end), service.name))
            measures = Measures.from_history(self.history, window, service)
            sample = take(self.history, window, service.name)
        limits = [measures.limits(kind) for kind in (AtLeast, AtMost)]
        content = _digest(_FORMAT, reference.name, measures.figures(), limits, sample.spans, sorted(sample.rows))
        if run is not None and written and run.data.tags.get(CONTENT) == content:
            self.runs.same(run, source)
            return WindowResult(window, service.name, "unchanged", self.runs.link(run.info.run_id))
        with step(semconv.REPORT_JUDGE_SPAN.name):
            compared = reference.sample(window)
            judgement = judge(sample, compared, reference.name)
            reference.learn(window, sample)
        with step(semconv.REPORT_WRITE_SPAN.name), TemporaryDirectory() as directory:
            headline = Headline(
                f"{service.name}, {formatting.period(window.start, window.end)}",
                judgement,
                window_figures(measures.overall),
                worst=sample.worst,
                notes=notes,
                traces=self.trace_address,
            )
            _save(Path(directory), measures, sample, judgement)
            (Path(directory) / "headline.html").write_text(headline.html(), encoding="utf-8")

            def more(run_id: str) -> None:
                if self.copy_traces:
                    ids = {request.trace_id for request in sample.worst}
                    worst = self.history.traces(ids, window.start, window.end)
                    traces.copy(self.runs.uri, self.runs.experiment_id, run_id, worst)
                if self.workspace is not None:
                    workspace.add(self.workspace, service.name, str(window), judgement)

            entry = _entry(window, measures, sample, judgement, compared, content, source, Path(directory))
            entry = replace(entry, tags={**entry.tags, NOTE: headline.markdown()}, more=more)
            run_id = self.runs.write(entry)
        self.feedback.tell(judgement, compared)
        link = self.runs.link(run_id)
        return WindowResult(window, service.name, "written", link, measures.overall, judgement, sample, compared, notes)

    def _reference(self, service: str) -> Reference:
        if service not in self._references:
            self._references[service] = self.referring(service)
        return self._references[service]


def pending(began: float, watermark: float | None, until: float, width_s: float) -> float:
    """The moment from which on a pass has something to look at: the watermark, and a little before it for what came late.

    Args:
        began: the beginning of telemetry, in seconds since the Unix epoch.
        watermark: the end of the last window that was reported, in seconds since the Unix epoch; None: none was.
        until: the end of the last window that is complete, in seconds since the Unix epoch.
        width_s: the width of a window, in seconds.
    """
    return began if watermark is None else max(began, min(watermark, until) - _LATE_WINDOWS * width_s)


def _entry(
    window: Window,
    measures: Measures,
    sample: Sample,
    judgement: Judgement,
    reference: Sample | None,
    content: str,
    source: str,
    directory: Path,
) -> RunEntry:
    service = measures.service
    figures = {**measures.figures(), **judgement.figures(), "request/spans": float(sample.spans)}
    for (provider, measure), finding in judgement.worst().items():
        figures[f"{'traffic' if finding.family == 'traffic' else f'drift/{metric_part(provider)}'}/{measure}"] = (
            finding.score or 0.0
        )
    for (provider, stream), seconds in latencies(reference).items() if reference else ():
        figures[f"reference/{metric_part(provider)}/{'first_audio' if stream else 'duration'}_p95"] = seconds
    return RunEntry(
        service=service.name,
        version=versions_of(service),
        window=window,
        figures=figures,
        headline={
            **measures.headline(),
            "drift/detected": float(len(judgement.drifted)),
            "traffic/changed": len(judgement.traffic),
        },
        tags={
            "service.name": service.name,
            "service.version": ", ".join(version for version in service.versions if version),
            "otel_tts.window_start": formatting.utc(window.start),
            "otel_tts.window_end": formatting.utc(window.end),
            "otel_tts.engines": listed(service.providers),
            "otel_tts.voices": listed(service.voices),
            "otel_tts.reference": judgement.reference,
            "otel_tts.drifted": "; ".join(finding.name for finding in judgement.drifted),
            "otel_tts.traffic_changed": "; ".join(finding.name for finding in judgement.traffic),
            "otel_tts.not_judged_because": judgement.reason,
            "otel_tts.at_least": "; ".join(f"{name} {limit:g}" for name, limit in measures.limits(AtLeast).items()),
            "otel_tts.at_most": "; ".join(f"{name} {limit:g}" for name, limit in measures.limits(AtMost).items()),
            JUDGEMENT: judgement.status,
            REQUESTS: str(service.requests),
        },
        content=content,
        source=source,
        files=directory,
    )


def versions_of(service: Service) -> str:
    """The versions that had requests, by which windows are put together: one with two of them is no window of either.

    Args:
        service: in a window.
    """
    spoke = [version for version, requests in service.versions.items() if requests] or list(service.versions)
    versions = [version or "not stated" for version in sorted(spoke, key=lambda version: (not version, version))]
    if versions == ["not stated"]:
        return ""
    return ", ".join(versions) if len(versions) <= _NAMED_VERSIONS else "many versions"


def _save(directory: Path, measures: Measures, sample: Sample, judgement: Judgement) -> None:
    """The artifacts: the table of aggregates, the worst requests, the judgement."""
    with (directory / "aggregates.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [column.name for column in fields(Row)])
        table.writeheader()
        table.writerows(asdict(row) for row in measures.rows)
    worst = [asdict(request) for request in sample.worst]
    (directory / "worst_requests.json").write_text(json.dumps(worst, indent=2), encoding="utf-8")
    judgement.save(directory)


def _digest(*parts: object) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
