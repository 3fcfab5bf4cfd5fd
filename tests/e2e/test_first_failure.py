"""The first failure of its kind makes new series, and is one failure everywhere: on dashboards, in rules, and for history."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from otel_tts.history import open_history
from otel_tts.promql import QUERIES, Scope, label
from otel_tts.semconv import ERROR_TYPE, OUTCOME
from otel_tts.settings import HistorySettings
from tests.e2e.speech import Speech, speaking
from tests.e2e.stack import Stack, get, until
from tests.e2e.test_alerts import engine
from tests.service.test_openai import WAV, answer

WINDOW = 120
"""Seconds; all of it happens in one window."""
SCOPE = Scope(matchers=('service_name="first"',), window=f"{WINDOW}s")
DRAWN = ("request_rate", "failure_rate", "attempt_rate", "attempt_errors")
"""Of requests and of attempts, from histograms and from sums."""
GOOD = 9
"""Requests that succeed."""


def failures(stack: Stack, query: str) -> float:
    """How many a dashboard shows of what failed, in the window."""
    selection = {label(OUTCOME): "error", label(ERROR_TYPE): "unavailable"}
    samples = stack.query(QUERIES[query](SCOPE))
    return sum(value * WINDOW for labels, value in samples if any(labels.get(name) == bad for name, bad in selection.items()))


def answered(stack: Stack, query: str) -> float:
    """What a query says of the service as a whole."""
    return stack.value(QUERIES[query](SCOPE))


def first_sample(stack: Stack, series: str) -> float:
    """When a series began, by the oldest that Prometheus has of it."""

    def rows() -> list[dict[str, Any]]:
        answer = get(f"{stack.prometheus}/api/v1/query", query=f"{series}[5m]")
        return answer["data"]["result"] if answer else []  # the Collector's own comes later where Prometheus was away

    return min(float(row["values"][0][0]) for row in until(rows, series))


def fail(stack: Stack, speech: Speech, away: bool) -> None:
    """One failure, the first ever, with Prometheus there or not."""
    if away:
        stack.prometheus_process.stop()
    speech.say()
    if away:
        stack.prometheus_process.start()


@pytest.mark.parametrize("away", [False, True], ids=["as it happens", "while Prometheus is away"])
def test_the_first_failure_is_one(own_stack: Stack, tmp_path: Path, away: bool) -> None:
    """Heard of at once or from the Collector's queue: each dashboard shows one, and rules and history count one."""
    began = time.time()
    with engine() as server:
        environ = {"TTS_PROVIDERS": "openai", "TTS_OPENAI_VOICES": "joe", "TTS_OPENAI_BASE_URL": server.url}
        with speaking(tmp_path, own_stack.service_environ, **environ, OTEL_SERVICE_NAME="first") as speech:
            for _ in range(GOOD):
                speech.say()
            until(lambda: answered(own_stack, "judged_success_rate_traffic") == GOOD, "the good ones")
            server.script = answer(503)
            fail(own_stack, speech, away)
            server.script = answer(200, WAV)
            for query in DRAWN:  # extrapolated by up to half an export's interval, of the few that there have been
                until(lambda query=query: failures(own_stack, query) == pytest.approx(1, rel=0.1), f"one failure in {query}")
            share = pytest.approx(GOOD / (GOOD + 1), rel=0.01)
            until(lambda: answered(own_stack, "success_rate") == share, "the success rate of dashboards")
            assert answered(own_stack, "judged_success_rate") == share
            assert answered(own_stack, "judged_success_rate_traffic") == pytest.approx(GOOD + 1, rel=0.01)
            history = open_history(HistorySettings.load({}, prometheus_url=own_stack.prometheus, export_interval=0.5))
            counted = history.totals(began, time.time())
            assert (counted.request_count, counted.request_ok, counted.request_error) == (GOOD + 1, GOOD, 1)
    assert first_sample(own_stack, "otelcol_exporter_sent_spans_total") >= began, (
        "of the Collector's too, not when it was started"
    )
