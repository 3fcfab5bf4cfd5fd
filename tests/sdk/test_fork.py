"""Forking: each child exports for itself, from zero, and nothing is lost or counted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from otel_tts import files, semconv
from otel_tts.history.local import LocalHistory

ROOT = Path(__file__).parents[2]


def attributes(entry: dict[str, Any]) -> dict[str, Any]:
    """OTLP attributes as a mapping."""
    return {item["key"]: next(iter(item["value"].values())) for item in entry.get("attributes", [])}


def counted(directory: Path, metric: str) -> dict[str, int]:
    """The last value of a counter or a histogram's count, by service.instance.id."""
    counts: dict[str, int] = {}
    for partition in files.partitions(directory, "metrics"):
        for _, request in files.read(partition.path):
            for resource in request["resourceMetrics"]:
                points = [
                    point
                    for scope in resource["scopeMetrics"]
                    for written in scope["metrics"]
                    if written["name"] == metric
                    for point in (written.get("sum") or written.get("histogram"))["dataPoints"]
                ]
                instance = attributes(resource["resource"])["service.instance.id"]
                counts[instance] = sum(int(point.get("count", point.get("asInt", 0))) for point in points)
    return counts


def spans(directory: Path) -> dict[str, Counter[str]]:
    """The names of spans, counted, by service.instance.id."""
    counts: dict[str, Counter[str]] = {}
    for partition in files.partitions(directory, "traces"):
        for _, request in files.read(partition.path):
            for resource in request["resourceSpans"]:
                names = counts.setdefault(attributes(resource["resource"])["service.instance.id"], Counter())
                names.update(span["name"] for scope in resource["scopeSpans"] for span in scope["spans"])
    return counts


def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    # Since 3.12 Python warns of forks while there are threads; here they are what is tested.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=60, check=True)


PREFORK = """
import os, sys
import otel_tts
from opentelemetry import metrics, trace

pipeline = otel_tts.configure(local=True, **{arguments})
tracer = trace.get_tracer("test")
counter = metrics.get_meter("test").create_counter("test.requests")
histogram = metrics.get_meter("test").create_histogram("test.duration")

def serve(count):
    for _ in range(count):
        with tracer.start_as_current_span("request"):
            counter.add(1)
            histogram.record(0.1)

serve(5)  # not exported yet: the children inherit it
children = []
for number in range(1, 4):
    if (child := os.fork()) == 0:
        serve(10 * number)
        {ending}
    children.append(child)
serve(2)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("ending", ["sys.exit()", "pipeline.shutdown(); os._exit(0)"], ids=["exit", "_exit"])
@pytest.mark.parametrize("arguments", [{}, {"prometheus_port": 0}], ids=["push", "push and pull"])
def test_children_of_a_busy_process_count_their_own(tmp_path: Path, arguments: dict[str, int], ending: str) -> None:
    """What was recorded before the fork is the parent's; every child counts from zero under an identity of its own."""
    run(PREFORK.format(ending=ending, arguments=arguments), OTEL_TTS_DATA_DIR=str(tmp_path))

    assert sorted(counted(tmp_path, "test.requests").values()) == [7, 10, 20, 30]
    assert counted(tmp_path, "test.duration") == counted(tmp_path, "test.requests")
    assert {instance: names["request"] for instance, names in spans(tmp_path).items()} == counted(tmp_path, "test.requests")
    assert len({partition.writer for partition in files.partitions(tmp_path, "traces")}) == 4


STRESS = """
import os, time
import otel_tts
from opentelemetry import metrics

pipeline = otel_tts.configure(local=True, logs=False)
counter = metrics.get_meter("test").create_counter("test.requests")
metrics.get_meter("test").create_observable_gauge("test.slow", [lambda _: time.sleep(0.01) or []])
counter.add(300)
for _ in range(30):
    if (child := os.fork()) == 0:
        counter.add(1)
        os._exit(0 if pipeline.shutdown(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_in_the_middle_of_a_collection_leaves_no_lock_behind(tmp_path: Path) -> None:
    """While the parent collects without pause, every child can still export: no lock of the parent's is held in it for ever."""
    run(STRESS, OTEL_TTS_DATA_DIR=str(tmp_path), OTEL_METRIC_EXPORT_INTERVAL="1")
    assert sorted(counted(tmp_path, "test.requests").values()) == [1] * 30 + [300]


def test_a_child_leaves_the_pull_endpoint_to_its_parent() -> None:
    """The parent goes on being scraped while a child runs, and its port is free when it ends before the child."""
    process = run("""
import os, socket, time, urllib.request
import otel_tts
pipeline = otel_tts.configure(local=False, prometheus_port=0)
read, write = os.pipe()
if (child := os.fork()) == 0:
    os.read(read, 1)
    with socket.create_server(("127.0.0.1", pipeline.prometheus_port)):
        os._exit(0)
urllib.request.urlopen(f"http://127.0.0.1:{pipeline.prometheus_port}/metrics").read()
pipeline.shutdown()
os.write(write, b"x")
print(os.waitpid(child, 0)[1])
""")
    assert process.stdout == "0\n"


def test_the_prefork_example_counts_every_request_once(tmp_path: Path) -> None:
    """Across the files of all workers stand exactly the requests sent, as counts and as spans, each with its worker."""
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        str(ROOT / "examples/prefork_server.py"),
        "--port=0",
        "--workers=3",
    ]
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path)}
    start = time.time()
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2]

        def request(number: int) -> tuple[str, int]:
            with urllib.request.urlopen(address, f"Sentence {number}.".encode(), timeout=30) as response:
                return response.headers["X-Worker"], len(response.read())

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(request, range(60)))
        process.terminate()
        assert process.wait(30) == 0

    assert {size for _, size in answers} == {1600 * len("Sentence 1."), 1600 * len("Sentence 10.")}
    by_worker = sorted(Counter(worker for worker, _ in answers).values())
    serving = {instance: count for instance, count in counted(tmp_path, semconv.SYNTHESIS_REQUESTS.name).items() if count}
    assert sorted(serving.values()) == by_worker
    assert counted(tmp_path, semconv.SYNTHESIS_DURATION.name) == serving
    assert {instance: names[semconv.SYNTHESIS_SPAN.name] for instance, names in spans(tmp_path).items()} == serving
    row = LocalHistory(tmp_path, interval=0.1).totals(start, time.time())
    assert (row.request_count, row.request_ok, row.attempt_count) == (60, 60, 60)
    assert row.request_audio_delivered == pytest.approx(sum(size for _, size in answers) / 2 / 16_000)


def test_the_prefork_example_ends_when_a_worker_was_killed(tmp_path: Path) -> None:
    """SIGTERM ends all the other workers, and the parent as always."""
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        str(ROOT / "examples/prefork_server.py"),
        "--port=0",
        "--workers=2",
    ]
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[2]
        try:
            workers = set[int]()
            while len(workers) < 2:
                with urllib.request.urlopen(address, b"Hello.", timeout=30) as response:
                    workers.add(int(response.headers["X-Worker"]))
                if len(workers) == 1:
                    os.kill(*workers, signal.SIGKILL)
        finally:
            process.terminate()
        errors = process.communicate(timeout=60)[1]
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


CONFIGURING = """
import os, signal, threading
import otel_tts

class Slow(dict):
    # Resource attributes that take their time: a thread is in the middle of configure() while the process forks.
    def __iter__(self):
        inside.set()
        go_on.wait()
        return super().__iter__()
    def keys(self):
        return list(iter(self))
    def items(self):
        return [(key, self[key]) for key in iter(self)]

inside, go_on = threading.Event(), threading.Event()
thread = threading.Thread(target=otel_tts.configure, kwargs={"resource": Slow(a="b")})
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    otel_tts.configure()
    os._exit(0)
status = os.waitpid(child, 0)[1]
go_on.set()
thread.join()
print(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_in_the_middle_of_configure_holds_nothing_up() -> None:
    """The child sets itself up, although another thread of its parent was about to."""
    assert run(CONFIGURING).stdout.strip() == "0"


# Forks with every lock of the SDK's metrics held, one after the other and all at once, by a thread that the child has not got: what
# recording, collecting, and a callback that does not come back, hold at one moment or another.
HELD = """
import gc, os, threading, time
import otel_tts
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

pipeline = otel_tts.configure(local=True, logs=False)
metrics.get_meter_provider().add_metric_reader(InMemoryMetricReader())  # one of the host's own
meter = metrics.get_meter("test")
counter, histogram = meter.create_counter("test.requests"), meter.create_histogram("test.duration")
counter.add(1)
histogram.record(1.0)
kinds = (type(threading.Lock()), type(threading.RLock()))
locks = [MeterProvider._all_metric_readers_lock] + [
    lock for item in gc.get_objects()
    if str(type(item).__module__).startswith("opentelemetry.sdk.metrics") or any(item is reader for reader in pipeline._readers)
    for lock in getattr(item, "__dict__", {}).values() if isinstance(lock, kinds)]
assert len(locks) > 12, len(locks)

def child():
    counter.add(2)
    histogram.record(1.0)
    metrics.get_meter("another").create_counter("test.others").add(1)
    metrics.get_meter("another").create_observable_gauge("test.gauge", [lambda _: []])
    return pipeline.shutdown(20)

def fork(held):
    ready, done = threading.Event(), threading.Event()
    def hold():
        for lock in held:
            lock.acquire()
        ready.set()
        done.wait()
        for lock in held:
            lock.release()
    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    if (number := os.fork()) == 0:
        watch = threading.Timer(30, lambda: os.kill(os.getpid(), 9))
        watch.daemon = True
        watch.start()
        os._exit(0 if child() else 1)
    done.set()
    thread.join()
    assert os.waitpid(number, 0)[1] == 0, held

for held in {held}:
    fork(held)
"""


@pytest.mark.parametrize("held", ["[[lock] for lock in locks]", "[locks]"], ids=["each", "all"])
def test_no_lock_of_the_sdk_is_held_in_a_child(tmp_path: Path, held: str) -> None:
    """Whichever of them another thread held when the process forked: the child records, creates instruments and exports."""
    run(HELD.replace("{held}", held), OTEL_TTS_DATA_DIR=str(tmp_path))
    assert set(counted(tmp_path, "test.requests").values()) == {1, 2}


SLOW = """
import os, threading, time
import otel_tts
from opentelemetry import metrics

pipeline = otel_tts.configure(local=True, logs=False)
counter = metrics.get_meter("test").create_counter("test.requests")
called, answer = threading.Event(), threading.Event()

def slow(_):
    called.set()
    answer.wait() if os.getpid() == parent else None
    return []

parent = os.getpid()
metrics.get_meter("test").create_observable_gauge("test.slow", [slow])
counter.add(1)
threading.Thread(target=pipeline.flush, args=(30,)).start()
called.wait()
threading.Thread(target=lambda: [counter.add(0) for _ in iter(answer.is_set, True)]).start()
for _ in range(3):
    if (child := os.fork()) == 0:
        counter.add(5)
        os._exit(0 if pipeline.shutdown(20) else 1)
    assert os.waitpid(child, 0)[1] == 0
answer.set()
"""


def test_a_callback_of_the_hosts_that_does_not_come_back(tmp_path: Path) -> None:
    """A fork while a collection waits for it, and another thread records: the children count and end, and so does the parent."""
    run(SLOW, OTEL_TTS_DATA_DIR=str(tmp_path))
    assert sorted(counted(tmp_path, "test.requests").values()) == [1, 5, 5, 5]
