"""Text that a service records with capture switched on stops at the Collector, unless an overlay lets it pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import ROOT, Stack, get, running, until

CANARY = "fledermaus"
TEXT = f"Twelve hundred {CANARY}\nand a {CANARY} more."


def sung(stack: Stack) -> tuple[list[dict[str, Any]], str]:
    """What the trace backend says of failed syntheses of the text, and all that Prometheus says of anything."""
    environ = {**os.environ, **stack.service_environ, "OTEL_TTS_CAPTURE_TEXT": "true", "OTEL_LOGS_EXPORTER": "otlp"}
    program = [sys.executable, "-m", "tests.e2e.canary", TEXT]
    trace_ids = subprocess.run(program, cwd=ROOT, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    spans = until(
        lambda: len(arrived := [s for trace_id in trace_ids for s in stack.spans(trace_id)]) == 4 and arrived, "both traces"
    )
    until(lambda: stack.value('tts_synthesis_requests_total{service_name="canary"}') == 2, "the requests counted")
    everything = {"match[]": '{__name__=~".+"}'}
    series = get(f"{stack.prometheus}/api/v1/series", **everything)
    exemplars = get(f"{stack.prometheus}/api/v1/query_exemplars", query='{__name__=~".+"}', start="0", end="9999999999")
    assert series["data"]
    assert exemplars["status"] == "success"
    return spans, json.dumps([series, exemplars], ensure_ascii=False)


def texts(spans: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The values of the attributes that can hold text, of spans and of their events."""
    keys = ("tts.text", "exception.message", "exception.stacktrace")
    attributes = [a for span in spans for holder in (span, *span.get("events", ())) for a in holder.get("attributes", ())]
    return {key: {a["value"]["stringValue"] for a in attributes if a["key"] == key} for key in keys}


def test_text_stops_at_the_collector(stack: Stack) -> None:
    """With capture on, text reaches neither Prometheus nor the trace backend, and a traceback keeps its frames."""
    spans, metrics = sung(stack)
    assert CANARY not in json.dumps(spans, ensure_ascii=False)
    assert CANARY not in metrics
    held = texts(spans)
    masks = held["tts.text"] | held["exception.message"]
    assert masks == {"****\n****"}  # a mask for each line
    assert any(frames.startswith("Traceback") and "canary.py" in frames for frames in held["exception.stacktrace"])
    written = (file for kept in ("queue", "prometheus-data") for file in (stack.directory / kept).rglob("*") if file.is_file())
    assert not [file for file in written if CANARY.encode() in file.read_bytes()]


@pytest.mark.parametrize("overlays", [("keep-text",), ("keep-text", "tail-sampling")])
def test_an_overlay_keeps_it(tmp_path: Path, overlays: tuple[str, ...]) -> None:
    """The keep-text overlay lets it pass to the trace backend, beside other overlays too: so the test before could have failed."""
    with running(tmp_path, *overlays, SAMPLING_DECISION_WAIT="1s") as stack:
        spans, metrics = sung(stack)
    held = texts(spans)
    assert held["tts.text"] == {TEXT}
    assert held["exception.message"] == {f"cannot say {TEXT}"}
    assert CANARY not in metrics
