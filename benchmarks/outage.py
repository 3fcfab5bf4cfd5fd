"""What is lost when a part of the pipeline is stopped, killed or away: the figures of docs/pipeline.md.

    python -m benchmarks.outage [NAME ...]

Runs the programs of `make tools` with the repository's own configuration, a service with a real engine, and callers who keep account.

jaeger     200 traces are taken, then Jaeger is stopped (SIGTERM), or killed at once, 2 s or 12 s after, and started again
backends   Prometheus and Jaeger are away for 40 requests at 20 a second
collector  the Collector is killed while both are away, and started again after 2 to 3 s, three times, at 100 requests a second; then
           the same with a service that holds out, as Compose and `make stack` run it
absence    the Collector is killed under load of 20 requests a second for 5 s and for 30 s, and for 30 s with a service that holds out
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.e2e.speech import Calls, Speech, speaking
from tests.e2e.stack import Stack, running, until

REQUESTS = "tts_synthesis_requests_total"
DROPPED, GIVEN_UP = "otel_sdk_processor_span_processed_total", "otel_sdk_exporter_span_exported_total"
SPANS = 3
"""Of each request: RPC, synthesis, attempt."""
HOLDING_OUT = {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "60", "OTEL_BSP_MAX_QUEUE_SIZE": "20000"}


def say(*words: object) -> None:
    print(*words, flush=True)


def jaeger() -> None:
    """Traces go to Jaeger itself, so that no queue sends them again."""
    for what, seconds in (("SIGTERM", 0.0), ("kill -9", 0.0), ("kill -9", 2.0), ("kill -9", 12.0)):
        with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as stack:
            exporter = OTLPSpanExporter(f"http://127.0.0.1:{stack.ports['traces_otlp']}/v1/traces")
            provider = TracerProvider(resource=Resource.create({"service.name": "killed"}), shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(exporter))
            tracer = provider.get_tracer("benchmark")
            trace_ids = []
            for _ in range(200):
                with tracer.start_as_current_span("one") as span:
                    trace_ids.append(f"{span.get_span_context().trace_id:032x}")
            assert provider.force_flush()
            time.sleep(seconds)
            began = time.monotonic()
            (stack.traces_process.stop if what == "SIGTERM" else stack.traces_process.kill)()
            took = time.monotonic() - began
            stack.traces_process.start()
            lost = sum(not stack.spans(trace_id) for trace_id in trace_ids)
            say(f"jaeger: {what}, {seconds:g} s after 200 traces (it ended in {took:.2f} s): {lost} lost")


def account(stack: Stack, calls: Calls) -> str:
    """What became of the calls, once nothing more comes."""
    until(lambda: stack.value(REQUESTS) >= len(calls), "all requests counted", 120)
    spans, still = -1, time.monotonic()
    while time.monotonic() - still < 5:
        now = 0
        twice = 0
        for trace_id in calls.traces:
            ids = [span["spanId"] for span in stack.spans(trace_id)]
            now += len(set(ids))
            twice += len(ids) - len(set(ids))
        if now != spans:
            spans, still = now, time.monotonic()
        if spans == SPANS * len(calls):
            break
    lost = SPANS * len(calls) - spans
    uncounted = len(calls) - stack.value(REQUESTS)
    full, given_up = (stack.value(f'{metric}{{error_type!=""}}') for metric in (DROPPED, GIVEN_UP))
    return (
        f"{len(calls)} requests, counts lost {uncounted:g}, spans lost {lost} of {SPANS * len(calls)}, twice {twice}; "
        f"the service says that its queue was full for {full:g} and that it gave up on {given_up:g}"
    )


def speech(run: Callable[[Stack, Speech], str], environ: Mapping[str, str] | None = None) -> None:
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as stack:
        telemetry = {**stack.service_environ, "OTEL_BSP_SCHEDULE_DELAY": "1000", **(environ or {})}
        with speaking(Path(directory), telemetry) as talking:
            say(run(stack, talking))


def backends() -> None:
    def run(stack: Stack, talking: Speech) -> str:
        with talking.load() as calls:
            until(lambda: stack.value(REQUESTS) > 0, "the first request counted")
            stack.prometheus_process.stop()
            stack.traces_process.stop()
            before = len(calls)
            until(lambda: len(calls) >= before + 40, "40 requests")
            stack.prometheus_process.start()
            stack.traces_process.start()
            time.sleep(2)
        return f"backends: away for 40 requests: {account(stack, calls)}"

    speech(run)


def collector() -> None:
    def run(stack: Stack, talking: Speech) -> str:
        without = 0
        with talking.load(100) as calls:
            until(lambda: stack.value(REQUESTS) > 0, "the first request counted")
            stack.prometheus_process.stop()
            stack.traces_process.stop()
            for away in (2.0, 2.5, 3.0):
                time.sleep(3)
                stack.collector.kill()
                before = len(calls)
                time.sleep(away)
                stack.collector.start()
                without += len(calls) - before
            time.sleep(3)
            stack.prometheus_process.start()
            stack.traces_process.start()
            time.sleep(2)
        return f"collector: killed three times during an outage, {without} requests without one: {account(stack, calls)}"

    speech(run)
    speech(run, HOLDING_OUT)


def absence() -> None:
    def away(seconds: float, what: str) -> Callable[[Stack, Speech], str]:
        def run(stack: Stack, talking: Speech) -> str:
            with talking.load() as calls:
                until(lambda: stack.value(REQUESTS) > 0, "the first request counted")
                time.sleep(5)
                stack.collector.kill()
                before = len(calls)
                time.sleep(seconds)
                stack.collector.start()
                without = len(calls) - before
                time.sleep(5)
            time.sleep(20)  # what the SDK tries again
            return f"absence: {seconds:g} s{what}, {SPANS * without} spans of that time: {account(stack, calls)}"

        return run

    speech(away(5, ""))
    speech(away(30, ""))
    speech(away(30, " with a service that holds out"), HOLDING_OUT)


MEASURED = {run.__name__: run for run in (jaeger, backends, collector, absence)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[*MEASURED, []], help=f"of {', '.join(MEASURED)}; all by default"
    )
    for name in parser.parse_args().names or MEASURED:
        MEASURED[name]()


if __name__ == "__main__":
    main()
