"""Evidently's workspace: a directory of reports that ``evidently ui`` shows, with a project for each service."""

from __future__ import annotations

from pathlib import Path

from otel_tts.report.drift import Judgement


def add(directory: Path, service: str, window: str, judgement: Judgement) -> None:
    """Write the reports of a window into the workspace, in place of earlier ones.

    Args:
        directory: of the workspace.
        service: the name of the service.
        window: of the report, for people.
        judgement: the comparison of two samples.
    """
    from evidently.ui.workspace import Workspace

    space = Workspace.create(str(directory))
    project = next(iter(space.search_project(service)), None) or space.create_project(service)
    reports = {f"{window} {name}": snapshot for name, snapshot in (judgement.reports or {}).items()}
    for run_id in space.list_runs(project.id):
        run = space.get_run(project.id, run_id)
        if run is not None and run.name in reports:
            space.delete_run(project.id, run_id)
    for name, snapshot in reports.items():
        space.add_run(project.id, snapshot, name=name)
