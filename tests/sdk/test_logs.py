"""Exported log records: with trace and span id, without what exceptions say, and without changing the host's own logging."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


class Texts(Exception):
    """Its class says nothing, its representation all."""

    def __repr__(self) -> str:
        return CANARY

    __str__ = __repr__


def own() -> None:
    """An exception whose representation is its message."""
    raise Texts


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


def test_exceptions_among_the_arguments_leave_as_types(exported: Exported) -> None:
    """Many programs log an exception as an argument, without a traceback."""
    error = RuntimeError(CANARY)
    logger = logging.getLogger("engine")
    logger.warning("%s failed: %s", "piper", error)
    logger.warning("%(engine)s failed: %(error)r", {"engine": "piper", "error": error})
    logger.warning(error)
    assert [record.body for record in exported.records()] == [
        "piper failed: RuntimeError",
        "piper failed: 'RuntimeError'",
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
    ],
    ids=["unconfigured", "basicConfig", "basicConfig twice", "dictConfig", "own handler", "NullHandler"],
)
def test_a_host_sees_its_logs_as_without_us(configured: str, seen: str) -> None:
    """Exporting takes nothing from a program's stderr and stays on when logging is configured afterwards."""
    assert stderr(configured + "\nlogging.getLogger('host').warning('careful')\n") == seen


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
