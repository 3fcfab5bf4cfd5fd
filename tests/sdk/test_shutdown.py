"""Leaving the process: everything is flushed, and nothing holds the exit up for longer than the bound."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_tts import files

RECORD = """
import logging, sys, time
import otel_tts
from opentelemetry import metrics, trace

def record(name):
    with trace.get_tracer("test").start_as_current_span(name):
        metrics.get_meter("test").create_counter("test.requests").add(1)
        logging.getLogger("test").warning(name)
"""


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in accepted:
                connection.close()


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", RECORD + script], env=os.environ | environ, capture_output=True, text=True, timeout=60, check=False
    )


def written(directory: Path) -> dict[str, Counter[str]]:
    """The spans, the log records and the last value of the counter, in all local files."""
    spans, logs, metrics = Counter[str](), Counter[str](), Counter[str]()
    for partition in files.partitions(directory, "traces"):
        for _, request in files.read(partition.path):
            spans.update(s["name"] for r in request["resourceSpans"] for scope in r["scopeSpans"] for s in scope["spans"])
    for partition in files.partitions(directory, "logs"):
        for _, request in files.read(partition.path):
            logs.update(
                log["body"]["stringValue"]
                for r in request["resourceLogs"]
                for scope in r["scopeLogs"]
                for log in scope["logRecords"]
            )
    for partition in files.partitions(directory, "metrics"):
        last = [request for _, request in files.read(partition.path)][-1]
        for r in last["resourceMetrics"]:
            for scope in r["scopeMetrics"]:
                metrics.update({m["name"]: sum(int(p["asInt"]) for p in m["sum"]["dataPoints"]) for m in scope["metrics"]})
    return {"spans": spans, "logs": logs, "metrics": metrics}


ENDED = """
import atexit
otel_tts.configure(local=False)
# What is registered after the pipeline runs before it: from here on, the pipeline has the process to itself.
atexit.register(lambda: print(time.time(), flush=True))
record("a")
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("server", [silent_server, refusing_port])
def test_a_dead_endpoint_holds_exit_up_for_no_longer_than_the_bound(server: object, protocol: str) -> None:
    """A process whose OTLP endpoint hangs or refuses ends within the 3 s of the default, not the 10 s of exporters."""
    with server() as port:  # type: ignore[operator]
        process = run(ENDED, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
        ended = time.time()
    assert process.returncode == 0, process.stderr
    assert ended - float(process.stdout) < 9  # the bound, and what the interpreter takes to end on a busy machine


def test_the_bound_is_a_setting() -> None:
    """A service that must be gone sooner says so."""
    with silent_server() as port:
        process = run(ENDED, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", OTEL_TTS_SHUTDOWN_TIMEOUT="0.2")
        ended = time.time()
    assert ended - float(process.stdout) < 2.9  # of the default's 3


def test_who_ignores_sigterm_while_telemetry_is_flushed_ends_as_it_would() -> None:
    """A host that was told to end, and then ignores the signal: its own status, and no wait for a signal that ends nothing."""
    with silent_server() as port:
        process = run(
            """
import signal
otel_tts.configure(local=False)
record("a")
signal.raise_signal(signal.SIGTERM)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(time.time())
sys.exit(5)
""",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_TTS_SHUTDOWN_TIMEOUT="1",
        )
        ended = time.time()
    assert process.returncode == 5, process.stderr
    assert ended - float(process.stdout) < 30  # of the 60 that the end of a program waits at most


def test_flush_and_shutdown_say_whether_all_went_out_in_time() -> None:
    """A hung endpoint makes both return False, within the time given; a second shutdown has nothing to do."""
    with silent_server() as port:
        process = run(
            """
pipeline = otel_tts.configure(local=False)
record("a")
for call in (pipeline.flush, pipeline.shutdown, pipeline.shutdown):
    start = time.monotonic()
    print(call(0.3), time.monotonic() - start)
""",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        )
    results, seconds = zip(*(line.split() for line in process.stdout.splitlines()), strict=True)
    flush, shutdown, again = map(float, seconds)
    assert results == ("False",) * 3, process.stderr
    assert 0.29 < flush < 2.9  # of the default's 3
    assert 0.29 < shutdown < 2.9
    assert again < 0.29


def test_one_dead_endpoint_does_not_hold_up_the_other_signals(tmp_path: Path) -> None:
    """The signals are flushed in parallel: with traces hung, metrics and logs are still written."""
    with silent_server() as port:
        run("otel_tts.configure(local=True)\nrecord('a')", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://127.0.0.1:{port}/v1/traces",
            OTEL_TTS_DATA_DIR=str(tmp_path), OTEL_TTS_SHUTDOWN_TIMEOUT="0.5")  # fmt: skip
    assert written(tmp_path) == {"spans": {}, "logs": {"a": 1}, "metrics": {"test.requests": 1}}


ONCE = {"spans": {"a": 1}, "logs": {"a": 1}, "metrics": {"test.requests": 1}}


@pytest.mark.parametrize(
    ("ending", "status"),
    [("", 0), ("sys.exit(3)", 3), ("raise RuntimeError", 1), ("pipeline.shutdown(); record('late')", 0)],
    ids=["end", "exit", "raise", "shutdown"],
)
def test_everything_is_written_at_exit(tmp_path: Path, ending: str, status: int) -> None:
    """However the main thread ends, what was recorded is in the files, once."""
    process = run(f"pipeline = otel_tts.configure(local=True)\nrecord('a')\n{ending}", OTEL_TTS_DATA_DIR=str(tmp_path))
    assert process.returncode == status
    assert written(tmp_path) == ONCE


SERVE = """
otel_tts.configure(local=True, handle_sigterm=True)
record("a")
print("ready", flush=True)
time.sleep(60)
"""
PREVIOUS = """
import signal
def previous(number, frame):
    print("previous handler", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, previous)
"""


@pytest.mark.parametrize(
    ("before", "status", "output"), [("", -signal.SIGTERM, ""), (PREVIOUS, 7, "previous handler\n")], ids=["default", "chained"]
)
def test_sigterm_flushes_and_then_does_what_it_did_before(tmp_path: Path, before: str, status: int, output: str) -> None:
    """Nothing queued is lost on SIGTERM; the process ends by the signal, or as the host's handler has it end."""
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", RECORD + before + SERVE]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == output
        assert process.wait(10) == status
    assert written(tmp_path) == ONCE


def test_sigterm_is_left_alone_unless_asked_for() -> None:
    """A library call takes no signal."""
    process = run("import signal\notel_tts.configure(local=False)\nprint(signal.getsignal(signal.SIGTERM))")
    assert process.stdout == "0\n"


def test_signal_handlers_belong_to_the_main_thread() -> None:
    """Asking for one elsewhere is refused before anything is set up."""
    process = run("""
import threading
def configure():
    try:
        otel_tts.configure(handle_sigterm=True)
    except ValueError as error:
        print(error, type(trace.get_tracer_provider()).__name__)
thread = threading.Thread(target=configure)
thread.start()
thread.join()
""")
    assert process.stdout == "handle_sigterm=True works in the main thread only: call configure() there. ProxyTracerProvider\n"


OPEN = """
import signal, threading, grpc
from concurrent import futures
import otel_tts
from otel_tts import PCM16
from otel_tts.grpc import server_interceptor

otel_tts.configure(local=True, handle_sigterm=ending == "sigterm")
tts = otel_tts.Telemetry()
entered = threading.Event()

def stream(request, context):
    with tts.synthesis("hello", stream=True) as s, s.attempt("piper") as attempt:
        for chunk in attempt.stream(iter([bytes(32000), bytes(32000)]), PCM16(16000)):
            yield chunk
        entered.set()
        threading.Event().wait()

handler = grpc.method_handlers_generic_handler("test.Speech", {"Speak": grpc.unary_stream_rpc_method_handler(stream)})
server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[handler], interceptors=[server_interceptor(tts)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
rpc = channel.unary_stream("/test.Speech/Speak")(b"a")
next(rpc), next(rpc)
entered.wait()
alone = tts.synthesis("alone")
if ending == "sigterm":
    import os
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait()
otel_tts.configure(local=True, handle_sigterm=ending == "sigterm").shutdown()
import os
os._exit(0)
"""


def by_name(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The attributes of all spans in local files."""
    spans: dict[str, list[dict[str, Any]]] = {}
    for partition in files.partitions(directory, "traces"):
        for _, request in files.read(partition.path):
            for span in [s for r in request["resourceSpans"] for scope in r["scopeSpans"] for s in scope["spans"]]:
                values = {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}
                spans.setdefault(span["name"], []).append(values)
    return spans


@pytest.mark.parametrize(("ending", "status"), [("shutdown", 0), ("sigterm", -signal.SIGTERM)])
def test_what_is_open_when_the_process_ends_was_stopped_by_us(tmp_path: Path, ending: str, status: int) -> None:
    """An open RPC, the request and the attempt in it, and a request outside of any RPC are counted once, as our failure."""
    process = run(f"ending = {ending!r}" + OPEN, OTEL_TTS_DATA_DIR=str(tmp_path))
    assert process.returncode == status, process.stderr
    spans = by_name(tmp_path)
    (rpc,) = spans.pop("test.Speech/Speak")
    assert rpc["rpc.response.status_code"] == "UNAVAILABLE"
    requests = sorted((s["tts.outcome"], s["error.type"]) for s in spans.pop("tts.synthesize"))
    assert requests == [("error", "shutdown"), ("partial", "shutdown")]
    ((attempt,),) = spans.values()
    assert attempt["tts.outcome"] == "cancelled"  # the provider did nothing wrong


DROPPED = """
import gc, os, signal, threading
import otel_tts
from otel_tts import PCM16

gc.disable()
pipeline = otel_tts.configure(local=True)
tts = otel_tts.Telemetry()

def handler():
    with tts.synthesis("hello", stream=True) as s:
        yield from s.attempt("piper").stream(iter([bytes(32000)] * 2), PCM16(16000))

for number in range(2):
    circle = [handler()]
    next(circle[0])
    circle.append(circle)
    del circle
    for _ in handler():
        break

def stop(number, frame):
    pipeline.shutdown()
    os._exit(3)

if ending == "handler":
    signal.signal(signal.SIGTERM, stop)
if ending != "end":
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait()
"""


@pytest.mark.parametrize(("ending", "status"), [("end", 0), ("sigterm", -signal.SIGTERM), ("handler", 3)])
def test_what_was_dropped_is_not_open_when_the_process_ends(tmp_path: Path, ending: str, status: int) -> None:
    """Streams that their caller left, also in circles of references that nobody has collected, are the caller's doing, not ours."""
    process = run(f"ending = {ending!r}" + DROPPED, OTEL_TTS_DATA_DIR=str(tmp_path))
    assert process.returncode == status, process.stderr
    spans = by_name(tmp_path)
    assert [(s["tts.outcome"], s["tts.cancel.reason"]) for s in spans["tts.synthesize"]] == [("cancelled", "caller")] * 4
    assert [(s["tts.outcome"], s["tts.cancel.reason"]) for s in spans["text_to_speech"]] == [("cancelled", "caller")] * 4


SYNC_END = OPEN.replace("threading.Event().wait()\n\nhandler", "import time; time.sleep(0.5)\n\nhandler").partition("if ending")[
    0
]
AIO_END = """
import asyncio, grpc
import otel_tts
from otel_tts import PCM16
from otel_tts.grpc import aio_server_interceptor

otel_tts.configure(local=True)
tts = otel_tts.Telemetry()

async def chunks():
    yield bytes(32000)
    yield bytes(32000)

async def stream(request, context):
    async with tts.synthesis("hello", stream=True) as s, s.attempt("piper") as attempt:
        async for chunk in attempt.stream(chunks(), PCM16(16000)):
            yield chunk
        await asyncio.Event().wait()

async def main():
    server = grpc.aio.server(interceptors=[aio_server_interceptor(tts)])
    handler = grpc.method_handlers_generic_handler("test.Speech", {"Speak": grpc.unary_stream_rpc_method_handler(stream)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    rpc = grpc.aio.insecure_channel(f"127.0.0.1:{port}").unary_stream("/test.Speech/Speak")(b"a")
    await rpc.read(), await rpc.read()
    return server, rpc, tts.synthesis("alone")

kept = asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "code", "outcomes"),
    [
        # Python waits for the threads of a synchronous server, whose handlers so come to their end.
        ("ending = 'end'" + SYNC_END, "OK", [("error", "shutdown"), ("ok", None)]),
        (AIO_END, "UNAVAILABLE", [("error", "shutdown"), ("partial", "shutdown")]),
    ],
    ids=["sync", "aio"],
)
def test_what_is_open_at_a_normal_end(tmp_path: Path, program: str, code: str, outcomes: list[tuple[str, str | None]]) -> None:
    """A program that just comes to its end, its server running and an RPC open: all is counted once, and nothing as the caller's doing."""
    process = run(program, OTEL_TTS_DATA_DIR=str(tmp_path))
    assert process.returncode == 0, process.stderr
    spans = by_name(tmp_path)
    (rpc,) = spans.pop("test.Speech/Speak")
    assert rpc["rpc.response.status_code"] == code
    assert sorted((s["tts.outcome"], s.get("error.type")) for s in spans.pop("tts.synthesize")) == outcomes
    assert len(spans.pop("text_to_speech")) == 1


@pytest.mark.parametrize("call", ["flush", "shutdown"])
def test_what_local_files_dropped_did_not_leave(call: str, tmp_path: Path) -> None:
    """Where nothing can be written, neither a flush nor the shutdown says that all of it left; where it can, both do."""
    program = (
        RECORD
        + f"""
pipeline = otel_tts.configure(local=True)
record("a")
print(pipeline.{call}())
"""
    )
    obstacle = tmp_path / "file"
    obstacle.touch()
    answers = {}
    for directory in (obstacle, tmp_path / "data"):
        environment = os.environ | {"OTEL_TTS_DATA_DIR": str(directory)}
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100, check=True
        )
        answers[directory.name] = ended.stdout.strip()
    assert answers == {"file": "False", "data": "True"}
