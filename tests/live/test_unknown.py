"""A service that cannot be counted is unknown on the live page; the others are judged and shown."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_tts import semconv
from otel_tts.cli import main
from otel_tts.history import open_history
from otel_tts.live import app
from otel_tts.settings import HistorySettings
from tests.history.conftest import Source
from tests.live.test_pages import _forgotten, one, page_text

__all__ = ["_forgotten"]  # a fixture

BUCKETS = len(semconv.SYNTHESIS_DURATION.buckets) + 1


def duration(outcome: str) -> tuple[semconv.Metric, tuple[tuple[str, str], ...]]:
    """Requests of this outcome."""
    return semconv.SYNTHESIS_DURATION, (("gen_ai.provider.name", "piper"), ("tts.outcome", outcome))


def test_others_are_judged_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Now has its notice beside the others'; figures of all together are unknown on every page, and those of another service are there."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    history = open_history(HistorySettings.load({}, data_dir=tmp_path))
    foreign, failing = Source(history, tmp_path, None, "foreign"), Source(history, tmp_path, None, "failing")
    foreign.write("a", time.time() - 10, {duration("ok"): [3, 1]}, exponential=True)
    failing.write("b", time.time() - 10, {duration("error"): [400] * BUCKETS})
    shown = one("Now").run()
    assert not shown.exception
    text = page_text(shown)
    assert "<strong>foreign: unknown.</strong>" in text
    assert "as an exponential or native histogram" in text
    assert "failing: " in text
    assert "has not answered" not in text
    for page in app.PAGES:
        shown = one(page.title).run()
        assert not shown.exception, page.title
        if page.interactive:
            assert "<strong>These figures are unknown.</strong>" in page_text(shown), page.title
    shown = one("Now")
    shown.query_params["service"] = "failing"
    shown = shown.run()
    assert not shown.exception
    assert "unknown." not in page_text(shown)
    assert 'class="tile"' in page_text(shown)


def test_what_is_met_since_then_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A service that has had its buckets for some minutes: what is met in them is said, and since before what can be read."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    source, now = Source(open_history(HistorySettings.load({}, data_dir=tmp_path)), tmp_path, None, "mended"), time.time()
    source.write("a", now - 2000, {duration("ok"): [3, 1]}, exponential=True)
    source.write("b", now - 10, {duration("error"): [400] * BUCKETS})
    result = CliRunner().invoke(main, ["status", "--json"])
    printed = json.loads(result.stdout)
    assert result.exit_code == 2, result.output
    assert printed["conditions"]
    assert all(met["since_before"] for met in printed["conditions"])
    assert printed["reason"].startswith("mended: ")  # of the conditions over an hour
