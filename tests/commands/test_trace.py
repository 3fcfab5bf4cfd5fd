"""`otel-tts trace`: what is said of a trace that more than one request is in."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from otel_tts import files, semconv
from otel_tts.cli import main
from otel_tts.commands.trace import drawing
from otel_tts.history.traces import Span, Trace


def span(number: int, parent: str | None, name: str) -> Span:
    """A span of one second."""
    return Span("a" * 32, f"{number:016x}", parent, name, "INTERNAL", 1e9 + number, 1.0, "UNSET", "", {}, (), (), "speech", "1")


@pytest.mark.parametrize("requests", [1, 2, 5])
def test_a_trace_says_how_many_requests_it_has(requests: int) -> None:
    """All utterances of a WebSocket are in one trace where the framework makes a span around it: their number stands in the first lines."""
    connection = span(0, None, "WebSocket /speech")
    utterances = [span(number, connection.span_id, semconv.SYNTHESIS_SPAN.name) for number in range(1, requests + 1)]
    attempts = [span(100 + number, each.span_id, "text_to_speech tone") for number, each in enumerate(utterances)]
    trace = Trace.from_spans([connection, *utterances, *attempts])
    assert trace is not None
    printed = io.StringIO()
    Console(file=printed, width=120).print(drawing(trace))
    head = printed.getvalue().splitlines()[1]
    assert head.endswith("speech" if requests == 1 else f"speech, {requests} requests (--span ID draws one)")
    named = [each.span_id for each in utterances if each.span_id in printed.getvalue()]
    assert named == ([] if requests == 1 else [each.span_id for each in utterances])


@pytest.fixture
def utterances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The span ids of three requests, stored in one trace."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path))
    spans = [
        {"name": "WebSocket /speech", "spanId": f"{1:016x}"},
        *(
            {"name": semconv.SYNTHESIS_SPAN.name, "spanId": f"{each:08x}{each:08x}", "parentSpanId": f"{1:016x}"}
            for each in (2, 3, 4)
        ),
        *({"name": "text_to_speech", "spanId": f"{each:016x}", "parentSpanId": f"{each:08x}{each:08x}"} for each in (2, 3, 4)),
    ]
    now = time.time_ns()
    moments = {"traceId": "a" * 32, "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 10**9), "kind": 1}
    export = {
        "resourceSpans": [
            {"resource": {}, "scopeSpans": [{"scope": {"name": semconv.SCOPE}, "spans": [moments | each for each in spans]}]}
        ]
    }
    path = files.partition(tmp_path, "traces", time.time(), "test", 0).path
    path.parent.mkdir()
    path.write_text(json.dumps(export, separators=(",", ":")) + "\n")
    return [f"{each:08x}{each:08x}" for each in (2, 3, 4)]


def test_one_request_of_a_trace_is_drawn(utterances: list[str]) -> None:
    """By its span id, or the beginning of that: it and what is below it, for people and as JSON, and nothing of the others."""
    for utterance in utterances:
        for given in (utterance, utterance[:8].upper()):
            result = CliRunner().invoke(main, ["trace", "a" * 32, "--span", given, "--json"])
            assert [span["span_id"] for span in json.loads(result.stdout)["spans"]] == [
                utterance,
                f"{int(utterance[:8], 16):016x}",
            ]
            drawn = CliRunner().invoke(main, ["trace", "a" * 32, "--span", given]).output
            assert (drawn.count(semconv.SYNTHESIS_SPAN.name), "requests" in drawn, "WebSocket" in drawn) == (1, False, False)


@pytest.mark.parametrize(
    ("given", "message", "exit_code"),
    [
        ("nonsense", "'nonsense' is no span id: it takes 16 hexadecimal digits, or the first 8 or more of them.", 2),
        ("00000000", "Several spans of the trace begin with '00000000': 00000000", 2),
        (
            "ffffffffffffffff",
            "begins with 'ffffffffffffffff'. Its requests are 0000000200000002, 0000000300000003, 0000000400000004.",
            1,
        ),
    ],
)
def test_a_span_id_that_leads_nowhere(utterances: list[str], given: str, message: str, exit_code: int) -> None:
    """What was wrong, and the ids that there are."""
    result = CliRunner().invoke(main, ["trace", "a" * 32, "--span", given], env={"COLUMNS": "400"})
    assert result.exit_code == exit_code
    assert message in " ".join(result.output.split())
