"""Nothing is lost while a backend is away, nor with the Collector killed in the middle of it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.speech import Calls, speaking
from tests.e2e.stack import Stack, until

REQUESTS = "tts_synthesis_requests_total"
SYNTHESIS, ATTEMPT = "tts.synthesize", "text_to_speech"


def counted(stack: Stack, calls: Calls) -> None:
    """Every call is in the counter, exactly."""
    until(lambda: stack.value(REQUESTS) == len(calls), f"{len(calls)} requests counted, not {stack.value(REQUESTS):g}")


def traced(stack: Stack, calls: Calls) -> None:
    """Every call's trace is there, whole and once: RPC, synthesis, attempt."""
    for trace_id in calls.traces:
        spans = until(lambda trace_id=trace_id: len(arrived := stack.spans(trace_id)) >= 3 and arrived, f"trace {trace_id}")
        assert len({span["spanId"] for span in spans}) == len(spans) == 3
        assert {SYNTHESIS, "yap.tts.v1.TextToSpeech/Synthesize"} < {span["name"] for span in spans}


def test_backends_down_and_up_again(own_stack: Stack, tmp_path: Path) -> None:
    """With Prometheus and the trace backend down under load and up again, each request is counted and each trace is there."""
    with speaking(tmp_path, own_stack.service_environ) as speech:
        with speech.load() as calls:
            until(lambda: own_stack.value(REQUESTS) > 0, "the first request counted")
            own_stack.prometheus_process.stop()
            own_stack.traces_process.stop()
            before = len(calls)
            until(lambda: len(calls) >= before + 40, "40 requests during the outage")
            own_stack.prometheus_process.start()
            own_stack.traces_process.start()
            before = len(calls)
            until(lambda: len(calls) >= before + 10, "10 requests after it")
        assert set(calls.traces.values()) == {"OK"}
        counted(own_stack, calls)
        traced(own_stack, calls)


def test_collector_killed_during_the_outage(own_stack: Stack, tmp_path: Path) -> None:
    """With the Collector killed and started again while both backends are down, still each request is counted and traced."""
    with speaking(tmp_path, own_stack.service_environ) as speech:
        with speech.load() as calls:
            until(lambda: own_stack.value(REQUESTS) > 0, "the first request counted")
            own_stack.prometheus_process.stop()
            own_stack.traces_process.stop()
            before = len(calls)
            until(lambda: len(calls) >= before + 40, "40 requests during the outage")
            own_stack.collector.kill()
            before = len(calls)
            until(lambda: len(calls) >= before + 20, "20 requests without a Collector")
            own_stack.collector.start()
            before = len(calls)
            until(lambda: len(calls) >= before + 10, "10 requests with it")
            own_stack.prometheus_process.start()
            own_stack.traces_process.start()
        assert set(calls.traces.values()) == {"OK"}
        counted(own_stack, calls)
        traced(own_stack, calls)
