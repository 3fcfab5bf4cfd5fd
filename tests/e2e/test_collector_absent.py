"""A Collector that is not there, or hangs, costs telemetry and nothing else; and the service says how much."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.speech import Calls, Speech, speaking
from tests.e2e.stack import Process, Stack, running, until

QUEUE = 64
TIMEOUT = 5
"""Seconds that an exporter gives one export: what a request would take if it waited for one."""
SETTINGS = {
    "OTEL_BSP_MAX_QUEUE_SIZE": str(QUEUE),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32",
    "OTEL_EXPORTER_OTLP_TIMEOUT": str(TIMEOUT),
}
SPANS = 3
"""Of each request."""
DROPPED = "otel_sdk_processor_span_processed_total", "queue_full"
FAILED = "otel_sdk_exporter_span_exported_total", None


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One whose Collector comes and goes."""
    with running(tmp_path_factory.mktemp("stack")) as started:
        yield started


def without(collector: Process, how: str) -> None:
    """Take it away."""
    if how == "hung":
        collector.pause()
    else:
        collector.kill()


def again(collector: Process, how: str) -> None:
    """Bring it back."""
    if how == "hung":
        collector.resume()
    else:
        collector.start()


def pulled(speech: Speech, name: str, error: str | None = "") -> float:
    """A metric's sum as the service's own endpoint has it: of all series, of those with an error, or of those with this one."""
    with urlopen(speech.served.metrics_url, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    wanted = [
        s
        for s in samples
        if error == "" or (s.labels.get("error_type") if error is None else s.labels.get("error_type") == error)
    ]
    return sum(sample.value for sample in wanted)


def resident(pid: int) -> int:
    """Bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def called(speech: Speech, number: int, calls: Calls) -> None:
    """So many calls, one after the other."""
    for _ in range(number):
        speech.say(calls=calls)


@pytest.mark.parametrize("how", ["absent", "killed", "hung"])
def test_no_collector(stack: Stack, tmp_path: Path, how: str) -> None:
    """Without a Collector no request waits, memory is bounded, drops are counted; with it, all counts arrive without a restart."""
    name = {"OTEL_SERVICE_NAME": how}
    calls, away = Calls(), Calls()
    if how == "absent":
        without(stack.collector, how)
    with speaking(tmp_path, stack.service_environ, **SETTINGS, **name) as speech:
        called(speech, 20, calls)
        if how != "absent":
            until(lambda: stack.value(f'tts_synthesis_requests_total{{service_name="{how}"}}') == 20, "20 requests counted")
            without(stack.collector, how)
        called(speech, 100, away)
        before = resident(speech.served.process.pid)
        called(speech, 200, away)
        assert resident(speech.served.process.pid) - before < 8 * 2**20
        assert pulled(speech, "otel_sdk_processor_span_queue_size") <= QUEUE
        assert pulled(speech, *DROPPED) > 0
        again(stack.collector, how)

        called(speech, 20, calls)
        everything = calls.traces | away.traces
        assert set(everything.values()) == {"OK"}
        assert max(away.seconds) < TIMEOUT / 2
        counted = f'sum(tts_synthesis_requests_total{{service_name="{how}"}})'
        until(lambda: stack.value(counted) == len(everything), "all requests counted")
        last = list(calls.traces)[-1]
        until(lambda: len(stack.spans(last)) == SPANS, "the last trace")
        arrived = sum(len(stack.spans(trace_id)) for trace_id in everything)
        lost = SPANS * len(everything) - arrived
        assert 0 < lost <= pulled(speech, *DROPPED) + pulled(speech, *FAILED)
        dropped = f'sum({DROPPED[0]}{{service_name="{how}", error_type="{DROPPED[1]}"}})'
        until(lambda: stack.value(dropped) == pulled(speech, *DROPPED), "the drops known to Prometheus")
