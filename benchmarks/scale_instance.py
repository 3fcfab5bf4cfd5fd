"""One instance of a busy service, for the growth benchmark: real requests through otel-tts and its OTLP encoder, captured and replayed.

Replaying it under another ``service.instance.id``, with later times and larger totals, is what a further instance would have exported.
"""

from __future__ import annotations

import os
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from random import Random
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

INTERVAL_S = 10
PROVIDERS = ("cloud", "local")
VOICES = 21
LANGUAGES = ("en", "de", "fr", "ja")
SERVICE = "speech"
_NS = 1_000_000_000


@contextmanager
def captured() -> Iterator[tuple[str, list[bytes]]]:
    """The address of an OTLP/HTTP receiver, and the exports of metrics that it gets."""
    exports: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/metrics"):
                exports.append(content)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", exports
    finally:
        server.shutdown()


def exported() -> ExportMetricsServiceRequest:
    """What one instance exports after some hundred requests: two providers, 21 voices each, streams and whole answers, all outcomes."""
    with captured() as (address, exports):
        os.environ |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
        }
        import otel_tts

        pipeline = otel_tts.configure(service_name=SERVICE, logs=False, handle_sigterm=False)
        _serve(otel_tts.Telemetry())
        time.sleep(0.5)  # audio is looked at off the request's path
        pipeline.flush()
        pipeline.shutdown()
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_METRIC_EXPORT_INTERVAL"):
            del os.environ[name]
    return ExportMetricsServiceRequest.FromString(max(exports, key=len))


def _serve(telemetry: Any) -> None:
    """Serve the requests of some minutes: whole and streamed, made by either provider, cached, failed, given up and over the limit."""
    from otel_tts import PCM16

    audio, form = Random(16).randbytes(48_000), PCM16(24_000)  # noqa: S311 - noise is as good as speech here
    pieces = [audio[:24_000], audio[24_000:]]
    for (provider, voice), stream in product(product(PROVIDERS, range(VOICES)), (False, True)):
        for case in ("made", "made", "cached", *(("failed", "fallback", "given up", "too long") if voice < 3 else ())):
            with (
                suppress(ConnectionError, GeneratorExit),
                telemetry.synthesis(
                    text="How are you?", voice=f"voice-{voice}", language=LANGUAGES[voice % len(LANGUAGES)], stream=stream
                ) as synthesis,
            ):
                with synthesis.lookup("memory") as lookup:
                    if case == "cached":
                        lookup.found(audio, provider=provider, model=f"{provider}-1")
                if case == "cached":
                    synthesis.deliver(audio, form)
                    continue
                if case == "too long":
                    synthesis.fail(outcome="rejected")
                    continue
                first = PROVIDERS[0] if case == "fallback" else provider
                with (
                    suppress(*((ConnectionError,) if case == "fallback" else ())),
                    synthesis.attempt(first, f"{first}-1") as attempt,
                ):
                    if case in ("failed", "fallback"):
                        raise ConnectionError("away")
                    list(attempt.stream(pieces, form)) if stream else attempt.audio(audio, form)
                    if case == "given up":
                        synthesis.interrupt()
                if case == "fallback":
                    with synthesis.attempt(PROVIDERS[1], f"{PROVIDERS[1]}-1") as attempt:
                        attempt.audio(audio, form)


class Instance:
    """One instance that exports every ten seconds."""

    def __init__(self, template: ExportMetricsServiceRequest, number: int, began: float, **resource: str) -> None:
        """The instance with this number, which began at a moment. ``resource``: further attributes of its resource, dots as ``__``."""
        self._content = ExportMetricsServiceRequest()
        self._content.CopyFrom(template)
        self._began_ns = int(began * _NS)
        self._histograms, self._sums, self._points = [], [], []
        for of_resource in self._content.resource_metrics:
            own = {
                "service.instance.id": f"{SERVICE}-{number}",
                **{key.replace("__", "."): value for key, value in resource.items()},
            }
            for attribute in list(of_resource.resource.attributes):
                if attribute.key in own:
                    attribute.value.string_value = own.pop(attribute.key)
            for key, value in own.items():
                of_resource.resource.attributes.add(key=key).value.string_value = value
            for metric in (metric for scope in of_resource.scope_metrics for metric in scope.metrics):
                kind = str(metric.WhichOneof("data"))
                for point in getattr(metric, kind).data_points:
                    point.start_time_unix_nano = self._began_ns
                    del point.exemplars[:]
                    self._points.append(point)
                    if kind == "histogram":
                        self._histograms.append((point, list(point.bucket_counts), point.count, point.sum))
                    elif kind == "sum" and metric.sum.is_monotonic:
                        value = point.WhichOneof("value")
                        self._sums.append((point, value, getattr(point, value)))

    def export(self, moment: float) -> bytes:
        """What it exports at a moment: since the last time, it has served the template's requests once more."""
        now_ns = int(moment * _NS)
        times = 1 + max(0, now_ns - self._began_ns) // (INTERVAL_S * _NS)
        for point in self._points:
            point.time_unix_nano = now_ns
        for point, counts, count, total in self._histograms:
            point.bucket_counts[:] = [times * each for each in counts]
            point.count, point.sum = times * count, times * total
        for point, value, total in self._sums:
            setattr(point, value, times * total)
        return bytes(self._content.SerializeToString())


def send(url: str, content: bytes) -> None:
    """One OTLP export to Prometheus."""
    request = urllib.request.Request(  # noqa: S310 - the Prometheus of this benchmark
        f"{url}/api/v1/otlp/v1/metrics", content, {"Content-Type": "application/x-protobuf"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60):  # noqa: S310 - the address of our own Prometheus
        pass


def replay(url: str, instances: Sequence[Instance], start: float, end: float) -> None:
    """Send what all of them exported between two moments, as fast as it is taken."""
    moment = start
    with ThreadPoolExecutor(2) as senders:
        while moment < end:
            list(senders.map(lambda content: send(url, content), [instance.export(moment) for instance in instances]))
            moment += INTERVAL_S


def feed(url: str, instances: Sequence[Instance]) -> None:
    """Export for ever, each instance every ten seconds at a moment of its own within them."""
    while True:
        for number, instance in enumerate(instances):
            due = (int(time.time() / INTERVAL_S * len(instances)) + 1) / len(instances) * INTERVAL_S
            time.sleep(max(0.0, due - time.time()))
            del number
            send(url, instance.export(time.time()))
