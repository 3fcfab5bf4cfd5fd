"""`otel-tts trace`: what is said of a trace that more than one request is in."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from otel_tts import semconv
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
    assert head.endswith("speech" if requests == 1 else f"speech, {requests} requests")
