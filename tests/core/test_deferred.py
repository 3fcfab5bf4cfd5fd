"""The garbage collector may run anywhere, also where a lock is held: what it runs only queues, and nothing is lost."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from otel_tts.core import deferred

# Every lock that Python code makes from here on collects garbage as soon as it is held: a cycle with an open request of each kind in it.
COLLECTING = """
import contextvars, faulthandler, gc, logging, sys, threading
faulthandler.dump_traceback_later(50, exit=True)
make, busy, garbage, left = threading.Lock, threading.local(), [], [0]

class Collecting:
    def __init__(self): self._lock = make()
    def acquire(self, *args, **kwargs):
        taken = self._lock.acquire(*args, **kwargs)
        if taken and garbage and not getattr(busy, "yes", False):
            busy.yes = True
            try:
                garbage[0]()
                gc.collect()
            finally:
                busy.yes = False
        return taken
    def release(self): self._lock.release()
    def locked(self): return self._lock.locked()
    def _at_fork_reinit(self): self._lock._at_fork_reinit()
    def __enter__(self): return self.acquire()
    def __exit__(self, *error): self._lock.release()

threading.Lock = Collecting
gc.disable()

import otel_tts
from otel_tts import PCM16, semconv
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
tracers = TracerProvider(shutdown_on_exit=False)
tracers.add_span_processor(BatchSpanProcessor(spans))
tts = otel_tts.Telemetry(meter_provider=MeterProvider([reader], shutdown_on_exit=False), tracer_provider=tracers)
FORMAT, AUDIO = PCM16(16000), bytes(1600)

def block():
    with tts.synthesis("Hello", stream=True) as s:
        with s.lookup("memory"):
            pass
        with s.attempt("piper") as attempt:
            try:
                yield
            finally:
                s.queued(0.1)
                s.score("mos", 4)
                s.fail(outcome="error", error_type="timeout")
                tts.cache_evicted("memory", "size")
                logging.getLogger("host").warning("closed")
                with tts.synthesis("inside the collector"):
                    pass

def stream():
    yield from tts.synthesis("Hello", stream=True).stream(iter([AUDIO] * 3), "piper", audio=FORMAT)

def look():
    with tts.synthesis("Hello") as s, s.lookup("memory"):
        yield

def write():
    with tts.synthesis("Hello") as s:
        write = s.cache_write("memory")
    with write:
        yield

KINDS = [block, stream, look, write]
pool = []

def drop():
    if pool:
        cycle = [pool.pop()]
        cycle.append(cycle)
        left[0] += 1

def refill(count):
    for number in range(count):
        generator = KINDS[number % 4]()
        contextvars.copy_context().run(next, generator)  # as a task of its own
        pool.append(generator)
"""

SCRIPT = """
gc.freeze()  # what is there already is not looked at each time
total = 0
for turn in range(12):
    refill(8)
    total += 8
    garbage.append(drop)
    with tts.synthesis(f"Turn {turn}", f"voice-{turn}", stream=True) as s:  # new series and labels, known ones, spans, histograms
        with s.attempt("piper", f"model-{turn % 3}") as attempt:
            list(attempt.stream([AUDIO], FORMAT))
        s.score("mos", 4)
    total += 1
    tts.observe_cache(f"tier-{turn % 3}", entries=lambda: 1)
    trace.get_tracer("host", tracer_provider=tracers).start_span("host").end()
    reader.get_metrics_data()
    tracers.force_flush()
    garbage.clear()
while pool:
    drop()
gc.collect()
tts.run_deferred()
tracers.force_flush()
data = reader.get_metrics_data()
points = {m.name: m.data.data_points for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
counted = sum(p.value for p in points["tts.synthesis.requests"])
active = sum(p.value for p in points["tts.synthesis.active"])
finished = [span.name for span in spans.get_finished_spans()]
print(left[0], total, counted, active, finished.count("tts.synthesize"), finished.count("tts.cache.write"),
      sum(p.value for p in points["tts.cache.lookups"]), sum(p.value for p in points["tts.synthesis.failures"]))
"""


def run(script: str) -> str:
    """The output of a program; a deadlock shows where every thread hangs."""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=90, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_a_collection_at_every_lock_neither_hangs_nor_loses_a_request() -> None:
    """Requests, streams, look-ups and writes that the collector closes inside any lock of ours or of the SDK are all counted, once."""
    dropped, total, counted, active, syntheses, writes, lookups, failures = map(int, run(COLLECTING + SCRIPT).split())
    assert dropped == 12 * 8
    assert counted == syntheses == total == 12 * 9
    assert active == 0
    assert writes == 12 * 2
    assert lookups == 12 * 4
    assert failures == 12 * 2


def test_the_locks_do_collect() -> None:
    """What the test above relies on: garbage is closed while a lock of ours is held."""
    script = COLLECTING + "refill(4)\\ngarbage.append(drop)\\nwith tts.synthesis('Hello', 'new'): pass\\nprint(left[0])"
    assert int(run(script.replace("\\n", "\n"))) > 0


@pytest.mark.parametrize("kind", ["block", "stream", "look", "write"])
def test_a_request_that_the_collector_ends_has_its_true_length(kind: str) -> None:
    """It ended when it was collected, not when it was recorded."""
    script = (
        COLLECTING
        + f"""
import time
generator = {kind}()
next(generator)
pool.append(generator)
del generator
drop()
gc.collect()  # with all that Python has, which takes a while
before = time.time_ns()
time.sleep(0.3)
tts.run_deferred()
tracers.force_flush()
print(all(span.end_time <= before + 10**7 for span in spans.get_finished_spans() if span.name == "tts.synthesize"))
"""
    )
    assert run(script) == "True\n"


def test_the_end_of_a_collection_that_was_cut_off_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler may raise where Python code learns of the end: what comes afterwards is not taken for a finaliser's work."""
    monkeypatch.setattr(deferred, "_collector", None)
    gc.collect()
    deferred._on_collection("start", {})
    assert deferred.collecting()
    deferred._phases["stop"] = {}  # as the collection itself notes it; nobody calls `_on_collection`
    assert not deferred.collecting()
