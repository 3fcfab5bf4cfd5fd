"""What reading local history costs: files of N spans, read cold, warm from the index, and once more after new spans came.

The files are made up: traffic of a day, in the form in which the SDK's exporters write it, three spans to a request, and a line of
metrics every ten seconds. Each reading is a process of its own. Run it as ``python benchmarks/history.py [10000 100000 1000000]``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from otel_tts import files, semconv
from otel_tts.semconv import Instrument

END = time.time() // 3600 * 3600 + 1800
START = END - 86400
BATCH = 512
ENGINES = (("piper", "joe", "joe"), ("hibari", "hibari-heart", "heart"), ("cloud", "cloud-1", "nova"))
SETS = 6
"""Attribute sets of each metric."""


def main() -> None:
    """Measure, for each number of spans."""
    print(f"{'spans':>9} {'files MB':>9} {'index MB':>9} {'cold s':>7} {'warm s':>7} {'refresh s':>10} {'peak MB':>8}")
    for count in [int(given) for given in sys.argv[1:]] or [10_000, 100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            write(directory, count)
            written = size(directory)
            cold, warm = view(directory), view(directory)
            index = size(directory) - written
            print(
                f"{count:>9} {written / 1e6:>9.1f} {index / 1e6:>9.1f} {cold['first']:>7.2f} {warm['first']:>7.2f} "
                f"{warm['refresh']:>10.3f} {max(cold['peak'], warm['peak']):>8.0f}",
                flush=True,
            )


VIEW = """
import json, resource, sys, time
from pathlib import Path
from benchmarks import history as benchmark
from otel_tts import semconv
from otel_tts.history import RequestFilter
from otel_tts.history.local import LocalHistory

history = LocalHistory(Path(sys.argv[1]))

def look():
    end = benchmark.END
    history.prepare(on_progress=lambda done, total: None)
    found = [
        history.aggregates(end - 3600, end),
        history.aggregates(end - 86400, end, by=["provider"]),
        history.series(semconv.ATTEMPT_DURATION, end - 3600, end, 60, [semconv.PROVIDER]),
        history.series(semconv.PROVIDER_AVAILABLE, end - 3600, end, 60, [semconv.PROVIDER]),
        history.series(semconv.SYNTHESIS_DURATION, end - 86400, end, 900),
        history.series(semconv.SYNTHESIS_FIRST_AUDIO, end - 86400, end, 900),
        history.requests(limit=200),
        history.requests(RequestFilter(outcome="error"), 200),
        history.requests(RequestFilter(provider="cloud", slower_than=0.5), 200),
    ]
    assert all(found)
    return found

began = time.perf_counter()
look()
first = time.perf_counter() - began
benchmark.more(Path(sys.argv[1]))
began = time.perf_counter()
newest = look()[6][0]
refresh = time.perf_counter() - began
assert newest.voice == "fresh", newest
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(json.dumps({"first": first, "refresh": refresh, "peak": peak}))
"""


def view(directory: Path) -> dict[str, float]:
    """What a page of a dashboard asks, in a process of its own, and once more after new spans came."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", VIEW, str(directory)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def write(directory: Path, count: int) -> None:
    """Local files of a day with so many spans."""
    random = Random(count)  # noqa: S311 - the same files every time
    requests = count // 3
    step = (END - START) / requests
    pending: list[dict[str, Any]] = []
    export = START + 10
    for number in range(requests):
        moment = START + (number + 0.5) * step
        while export < moment:
            append(directory, "metrics", export, metrics(export, number))
            export += 10
        pending += request(random, moment)
        if len(pending) >= BATCH or number == requests - 1 or (moment + step) // 3600 != moment // 3600:
            append(directory, "traces", moment, traces(pending))
            pending = []
    append(directory, "metrics", END - 1, metrics(END - 1, requests))


def more(directory: Path) -> None:
    """One request more, and its metrics."""
    fresh = list(request(Random(0), END, "fresh"))  # noqa: S311 - the same every time
    append(directory, "traces", END, traces(fresh))
    append(directory, "metrics", END - 0.5, metrics(END, 10**7))


def request(random: Random, moment: float, voice: str | None = None) -> Iterator[dict[str, Any]]:
    """The spans of a request that ended then."""
    provider, model, speaker = random.choice(ENGINES)
    characters, hit, stream = random.randint(10, 200), random.random() < 0.4, random.random() < 0.5
    failed = random.random() < 0.001
    took = 0.002 if hit else 0.003 * characters * random.lognormvariate(0, 0.2)
    made: dict[str, str | float] = {"gen_ai.operation.name": "text_to_speech", "gen_ai.output.type": "speech"}
    made["gen_ai.request.stream"] = stream
    made |= {"gen_ai.provider.name": provider, "gen_ai.request.model": model, "tts.outcome": "error" if failed else "ok"}
    made |= {"tts.audio.duration": characters / 14, "tts.audio.format": "pcm16", "tts.audio.sample_rate": 24000}
    encoded = made | {
        "tts.voice": voice or speaker, "tts.language": "en-US", "tts.cache.result": "hit" if hit else "miss",
        "tts.text.length": characters, "tts.attempt.count": 0 if hit else 1, "tts.fallback.used": False,
        "tts.audio.delivered_duration": characters / 14, "tts.time_to_first_byte": took / 3, "tts.time_to_first_audio": took / 2,
        "tts.stream.chunk.count": 5, "tts.real_time_factor": took / characters * 14, "tts.queue.wait": 0.0,
        "tts.audio.loudness": random.gauss(20, 1), "tts.audio.silence_ratio": 0.2 + random.random() / 10,
        "tts.audio.clipping_ratio": 0.0, "tts.audio.speaking_rate": random.gauss(14, 1), "tts.audio.trailing_silence": 0.1,
    }  # fmt: skip
    method = "yap.tts.v1.TextToSpeech/SynthesizeStream"
    rpc: dict[str, str | float] = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": "OK"}
    trace = f"{random.getrandbits(128):032x}"
    ids = [f"{random.getrandbits(64):016x}" for _ in range(3)]
    for name, kind, attributes, own, parent in (
        (f"text_to_speech {model}", 1, made | {"tts.attempt.reason": "initial"}, ids[2], ids[1]),
        ("tts.synthesize", 1, encoded, ids[1], ids[0]),
        (method, 2, rpc, ids[0], ""),
    ):
        yield {
            "traceId": trace, "spanId": own, "parentSpanId": parent, "flags": 256, "name": name, "kind": kind,
            "startTimeUnixNano": str(int((moment - took) * 1e9)), "endTimeUnixNano": str(int(moment * 1e9)),
            "attributes": [attribute(*item) for item in attributes.items()], "events": [], "status": {},
        }  # fmt: skip


def traces(spans: list[dict[str, Any]]) -> str:
    """An export request of spans."""
    return dumps({"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"scope": {"name": semconv.SCOPE}, "spans": spans}]}]})


def dumps(export: Any) -> str:
    """As the exporters write it."""
    return json.dumps(export, separators=(",", ":"))


@cache
def template() -> str:
    """An export request of every metric, with a time and a count to be filled in."""
    listed = []
    for metric in semconv.METRICS:
        points = []
        for number in range(SETS if metric.attributes else 1):
            encoded = [attribute(a.key, _value(a, number)) for a in metric.attributes]
            point: dict[str, Any] = {"attributes": encoded, "startTimeUnixNano": str(int(START * 1e9)), "timeUnixNano": "TIME"}
            if metric.instrument is Instrument.HISTOGRAM:
                counts = ["0"] * len(metric.buckets) + ["0"]
                counts[5] = "COUNT"
                point |= {"count": "COUNT", "sum": 0.3, "bucketCounts": counts, "explicitBounds": list(metric.buckets)}
            else:
                point["asInt"] = "COUNT"
            points.append(point)
        kind = {Instrument.HISTOGRAM: "histogram", Instrument.GAUGE: "gauge"}.get(metric.instrument, "sum")
        data = {"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": metric.instrument is Instrument.COUNTER}
        listed.append({"name": metric.name, "unit": metric.unit, kind: data})
    scopes = [{"scope": {"name": semconv.SCOPE}, "metrics": listed}]
    return dumps({"resourceMetrics": [{"resource": RESOURCE, "scopeMetrics": scopes}]})


def metrics(moment: float, count: int) -> str:
    """An export request of every metric: so many of everything since the day began."""
    return template().replace("TIME", str(int(moment * 1e9))).replace("COUNT", str(count))


def _value(encoded: semconv.Attribute, number: int) -> str | bool:
    if encoded is semconv.PROVIDER:
        return ENGINES[number % 3][0]
    values = encoded.values or [f"{encoded.key}-{n}" for n in range(3)]
    return values[number % len(values)] if encoded is not semconv.OUTCOME else "ok"


def attribute(key: str, value: str | float) -> dict[str, Any]:
    """As OTLP/JSON has it."""
    match value:
        case bool():
            return {"key": key, "value": {"boolValue": value}}
        case int():
            return {"key": key, "value": {"intValue": str(value)}}
        case float():
            return {"key": key, "value": {"doubleValue": value}}
    return {"key": key, "value": {"stringValue": value}}


RESOURCE = {"attributes": [attribute("service.name", "speech"), attribute("service.version", "1.0")]}


def append(directory: Path, signal: files.Signal, moment: float, line: str) -> None:
    """Write a line."""
    path = files.partition(directory, signal, moment, "1-benchmark", 0).path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(line + "\n")


def size(directory: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
