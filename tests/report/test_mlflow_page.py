"""What people see first on the page of a run in a real MLflow, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import launched
from tests.report.conftest import MakeJob, Recording, of_range

_PATIENCE_MS = 60_000


@pytest.mark.timeout(300)
def test_the_page_of_a_run_begins_with_what_the_terminal_says(server: str, recording: Recording, make_job: MakeJob) -> None:
    """Service, window and verdict stand above the metrics, unfolded; figures, what moved and the worst requests follow."""
    [result] = make_job(server, of_range(recording.healthy), experiment="page").report([recording.faulty])
    with launched() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        # MLflow opens its assistant on the first visit, over the right third of the page.
        context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        page = context.new_page()
        page.goto(result.link)
        description = page.get_by_role("heading", name="Description")
        expect(description).to_be_in_viewport(timeout=_PATIENCE_MS)
        metrics = page.get_by_role("heading", name="Metrics (")
        expect(metrics).to_be_visible(timeout=_PATIENCE_MS)
        title = page.get_by_text("speech, 2")
        verdict = page.get_by_text("measures have drifted")
        tops = []
        for part in (description, title, verdict, metrics):
            box = part.bounding_box()
            assert box, part
            tops.append(box["y"])
        assert tops == sorted(tops)
        page.get_by_role("button", name="Expand description").click()
        for text in ("Requests: 360", "Worst requests:", "failures"):
            expect(page.get_by_text(text).first).to_be_visible(timeout=_PATIENCE_MS)
        context.close()
