"""Whether memory stays flat: what the process holds after 1,000 requests against after 100,000, of all kinds and outcomes.

    python benchmarks/memory.py [--requests 100000]

Voices, languages and models never repeat, as a hostile caller would have it; some requests are dropped without an end.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tracemalloc

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from otel_tts import PCM16, Telemetry

AUDIO = bytes(3200)


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def request(tts: Telemetry, number: int) -> None:
    s = tts.synthesis(f"text {number}", voice=f"voice {number}", language=f"x-{number}", stream=number % 2 == 0)
    match number % 5:
        case 0:
            s.stream(iter([AUDIO]), f"provider {number}", f"model {number}", audio=PCM16(16000))  # dropped
        case 1:
            with s, s.lookup("memory") as lookup:
                lookup.found(AUDIO, "provider", "model", audio=PCM16(16000))
        case 2:
            with s:
                with s.attempt("provider", f"model {number}") as attempt:
                    attempt.fail(ConnectionError())
                with s.attempt("other") as attempt:
                    attempt.audio(AUDIO, PCM16(16000))
        case _:
            for _ in s.stream([AUDIO, AUDIO], "provider", audio=PCM16(16000)):
                pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    arguments = parser.parse_args()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    reader = InMemoryMetricReader()
    tts = Telemetry(tracer_provider=tracer_provider, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    tracemalloc.start()
    held: dict[int, int] = {}
    for number in range(1, arguments.requests + 1):
        request(tts, number)
        if number in (1000, arguments.requests):
            reader.get_metrics_data()
            tracer_provider.force_flush()
            gc.collect()
            held[number] = tracemalloc.get_traced_memory()[0]
        if number % 1000 == 0:
            print(f"{number} of {arguments.requests}", end="\r", file=sys.stderr, flush=True)
    for number, size in held.items():
        print(f"after {number:>7} requests: {size / 1e6:6.2f} MB held by Python objects")
    print(f"growth per request: {(held[arguments.requests] - held[1000]) / max(1, arguments.requests - 1000):.2f} bytes")


if __name__ == "__main__":
    main()
