"""What the batch job costs: one pass over local files with N requests, its peak memory, and a second pass over the same data.

Seconds are those of the clock and, in brackets, of the processor, which tell the truth on a busy machine too.

The files are made up: traffic of a day, with spans and metrics in the form in which the SDK's exporters write them. Run it with the
extra ``report`` installed: ``python benchmarks/report.py [10000 100000 1000000]``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from otel_tts import files, semconv
from otel_tts.settings import ReportSettings

DAY = 1_763_596_800.0  # 2025-11-20T00:00Z
HOURS = 24
BATCH = 512
_KEPT = {"OTEL_TTS_DATA_MAX_AGE": "1e9", "OTEL_TTS_DATA_MAX_SIZE": "1TB"}  # the job's own telemetry deletes nothing of this
ENGINES = (("piper", "joe", "joe"), ("hibari", "hibari-heart", "heart"), ("cloud", "cloud-1", "nova"))


def attribute(key: str, value: str | float) -> dict[str, object]:
    """As OTLP/JSON has it."""
    match value:
        case bool():
            return {"key": key, "value": {"boolValue": value}}
        case int():
            return {"key": key, "value": {"intValue": str(value)}}
        case float():
            return {"key": key, "value": {"doubleValue": value}}
    return {"key": key, "value": {"stringValue": value}}


def span(random: Random, moment: float) -> dict[str, object]:
    """One synthesis that ended then."""
    provider, model, voice = random.choice(ENGINES)
    characters, hit, stream = random.randint(10, 200), random.random() < 0.4, random.random() < 0.5
    took = 0.002 if hit else 0.003 * characters * random.lognormvariate(0, 0.2)
    span_attributes: dict[str, str | float] = {
        "gen_ai.operation.name": "text_to_speech", "gen_ai.output.type": "speech", "gen_ai.request.stream": stream,
        "tts.voice": voice, "tts.language": "en-US", "tts.outcome": "ok", "tts.cache.result": "hit" if hit else "miss",
        "tts.text.length": characters, "tts.attempt.count": 0 if hit else 1, "tts.fallback.used": False,
        "gen_ai.provider.name": provider, "gen_ai.request.model": model, "tts.audio.duration": characters / 14,
        "tts.audio.delivered_duration": characters / 14, "tts.audio.format": "pcm16", "tts.audio.sample_rate": 24000,
    }  # fmt: skip
    if stream:
        span_attributes |= {"tts.time_to_first_byte": took / 3, "tts.time_to_first_audio": took / 2, "tts.stream.chunk.count": 5}
    if not hit:
        span_attributes |= {
            "tts.real_time_factor": took / characters * 14, "tts.queue.wait": 0.0, "tts.audio.loudness": random.gauss(20, 1),
            "tts.audio.silence_ratio": 0.2 + random.random() / 10, "tts.audio.clipping_ratio": 0.0,
            "tts.audio.speaking_rate": random.gauss(14, 1), "tts.audio.trailing_silence": random.random() / 4,
        }  # fmt: skip
    return {
        "traceId": f"{random.getrandbits(128):032x}", "spanId": f"{random.getrandbits(64):016x}", "name": "tts.synthesize", "kind": 1,
        "startTimeUnixNano": str(int((moment - took) * 1e9)), "endTimeUnixNano": str(int(moment * 1e9)),
        "attributes": [attribute(*item) for item in span_attributes.items()], "status": {},
    }  # fmt: skip


def write(directory: Path, count: int) -> None:
    """Local files of a day with so many requests."""
    random = Random(count)  # noqa: S311 - the same files every time
    step = HOURS * 3600 / count
    process = {"attributes": [attribute("service.name", "speech"), attribute("service.version", "1.0")]}
    pending: list[dict[str, object]] = []
    for number in range(count):
        moment = DAY + (number + 0.5) * step
        pending.append(span(random, moment))
        last = number == count - 1 or (moment + step) // 3600 != moment // 3600
        if len(pending) == BATCH or last:
            scopes = [{"scope": {"name": semconv.SCOPE}, "spans": pending}]
            append(directory, "traces", moment, {"resourceSpans": [{"resource": process, "scopeSpans": scopes}]})
            pending = []
    for moment in range(int(DAY) + 60, int(DAY) + HOURS * 3600 + 120, 60):
        append(directory, "metrics", moment, metrics(process, moment, min(count, round((moment - DAY) / step))))


def metrics(process: object, moment: float, count: int) -> dict[str, object]:
    """A line of cumulative metrics: so many requests since the day began."""

    def point(*attributes: tuple[str, str | bool], **values: object) -> dict[str, object]:
        times = {"startTimeUnixNano": str(int(DAY * 1e9)), "timeUnixNano": str(int(moment * 1e9))}
        return {"attributes": [attribute(*item) for item in attributes], **times, **values}

    def histogram(metric: semconv.Metric, *attributes: tuple[str, str | bool]) -> dict[str, object]:
        counts = ["0"] * len(metric.buckets) + ["0"]
        counts[6] = str(count)
        points = [point(*attributes, count=str(count), sum=count * 0.3, bucketCounts=counts, explicitBounds=list(metric.buckets))]
        return {"name": metric.name, "histogram": {"aggregationTemporality": 2, "dataPoints": points}}

    provider, outcome = ("gen_ai.provider.name", "piper"), ("tts.outcome", "ok")
    asked = point(("tts.language", "en-US"), ("tts.voice", "joe"), outcome, asInt=str(count))
    listed = [
        histogram(semconv.SYNTHESIS_DURATION, provider, outcome, ("tts.cache.result", "miss")),
        histogram(semconv.ATTEMPT_DURATION, provider, outcome, ("tts.attempt.reason", "initial")),
        {
            "name": semconv.SYNTHESIS_REQUESTS.name,
            "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [asked]},
        },
    ]
    return {"resourceMetrics": [{"resource": process, "scopeMetrics": [{"scope": {"name": semconv.SCOPE}, "metrics": listed}]}]}


def append(directory: Path, signal: files.Signal, moment: float, line: object) -> None:
    """Write a line."""
    path = files.partition(directory, signal, moment, "1-benchmark", 0).path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")


def report(directory: Path) -> tuple[float, float, float]:
    """One pass, in a process of its own: seconds, seconds of the processor, and MB of peak memory."""
    since = ["--since", "2025-11-20T00:00", "--until", "2025-11-21T00:00"]
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-c", "from otel_tts.cli import main; main()", "report", *since],
        env={**os.environ, **_KEPT, "OTEL_TTS_DATA_DIR": str(directory)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, peak


def main() -> None:
    """Measure, for each number of requests."""
    assert ReportSettings.load().mlflow_tracking_uri == "", (
        "MLFLOW_TRACKING_URI is set: the benchmark writes to a database of its own."
    )
    print(f"{'requests':>10} {'files MB':>9} {'first pass s':>15} {'peak MB':>8} {'second pass s':>15}")
    for count in [int(given) for given in sys.argv[1:]] or [10_000, 100_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            write(directory, count)
            megabytes = sum(path.stat().st_size for path in directory.rglob("*.jsonl")) / 1e6
            (first, busy, peak), (second, again, _) = report(directory), report(directory)
        print(
            f"{count:>10,} {megabytes:>9,.0f} {first:>8.1f} ({busy:>4.0f}) {peak:>8,.0f} {second:>8.1f} ({again:>4.0f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
