"""Records that libraries emit through OpenTelemetry's Logs API, past `logging`: without what exceptions say."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_tts.sdk.log_records import Masked
from otel_tts.sdk.tracebacks import without_messages

CANARY = "the text that must not leave"

FASTAPI = f"""
import otel_tts
from fastapi import FastAPI
from fastapi.testclient import TestClient

pipeline = otel_tts.configure(service_name="records", local=True)
app = FastAPI()

@app.get("/speech")
def speak() -> None:
    try:
        raise KeyError({CANARY!r})
    except KeyError as error:
        raise ValueError("engine cannot say " + {CANARY!r}) from error

with TestClient(app, raise_server_exceptions=False) as client:
    assert client.get("/speech").status_code == 500
pipeline.shutdown()
"""


class Emitted:
    """What leaves of records that a library emits, and what another processor of the provider gets."""

    def __init__(self) -> None:
        self._left, self._whole = InMemoryLogRecordExporter(), InMemoryLogRecordExporter()
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(Masked(SimpleLogRecordProcessor(self._left)))
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._whole))
        self.provider = provider

    def emit(self, scope: str = "library", **parts: Any) -> None:
        """Emit a record as a library does."""
        self.provider.get_logger(scope).emit(LogRecord(**parts))

    def left(self) -> list[Any]:
        """The records that leave."""
        return [log.log_record for log in self._left.get_finished_logs()]

    def whole(self) -> str:
        """All that the other processor gets, as text."""
        return str([(log.log_record.body, dict(log.log_record.attributes or {})) for log in self._whole.get_finished_logs()])


@pytest.fixture
def emitted() -> Emitted:
    """A provider with two processors, of which one is masked."""
    return Emitted()


def failures() -> list[BaseException]:
    """Exceptions with the text in them, of many shapes."""
    shapes = []
    for error in (
        ValueError(CANARY),
        ValueError(f"two lines\n{CANARY}\n    {CANARY}"),
        ValueError(f"\x07{CANARY}\r", "x" * 70_000),
        ValueError(f"{CANARY}:\n  {CANARY}: {CANARY}"),
        KeyError(CANARY),
        ExceptionGroup(CANARY, [ValueError(CANARY), ExceptionGroup(CANARY, [OSError(1, CANARY)])]),
        SyntaxError(CANARY, ("engine.txt", 1, 2, CANARY)),
        UnicodeEncodeError("ascii", CANARY, 0, 1, CANARY),
    ):
        for cause in (None, RuntimeError(CANARY)):
            error.add_note(CANARY)
            shapes.append(raised(error, cause))
    return shapes


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception with frames and a cause."""
    try:
        raise error from cause  # noqa: TRY301 - for its frames
    except BaseException as caught:  # noqa: BLE001 - all of them
        return caught


def test_exceptions_of_every_shape_leave_as_class_and_frames(emitted: Emitted) -> None:
    """Given as an exception, or written into attributes and body by the library: the message stays here, the rest leaves."""
    for error in failures():
        written = {
            "exception.type": type(error).__name__,
            "exception.message": str(error),
            "exception.stacktrace": "".join(traceback.format_exception(error)),
        }
        emitted.emit(body="It failed.", exception=error)
        emitted.emit(body=f"It failed: {error}", attributes=written | {"reason": str(error), "nested": {"reasons": [str(error)]}})
        try:
            raise error  # noqa: TRY301 - handled while it is emitted
        except BaseException as caught:  # noqa: BLE001 - all of them
            emitted.emit(body={"error": str(caught)}, attributes={"reason": f"because of {caught}", "code": 7})
    assert len(emitted.left()) == 3 * len(failures())
    assert not [record for record in emitted.left() if CANARY in f"{record.body} {dict(record.attributes)}"]
    given, reported, _ = emitted.left()[:3]
    for record in (given, reported):
        assert record.attributes["exception.type"] == "ValueError"
        assert "test_log_records.py" in record.attributes["exception.stacktrace"]
        assert record.attributes["exception.stacktrace"].rstrip().endswith("ValueError")
    assert emitted.whole().count(CANARY) > len(failures())


def test_what_is_no_exception_leaves_as_it_is(emitted: Emitted) -> None:
    """Body, attributes, event name and severity of any other record arrive."""
    emitted.emit(body={"a": [1, "b"]}, attributes={"x": 1.5}, event_name="said", severity_number=SeverityNumber.WARN)
    [record] = emitted.left()
    assert (record.body, dict(record.attributes), record.event_name) == ({"a": [1, "b"]}, {"x": 1.5}, "said")
    assert record.severity_number is SeverityNumber.WARN


def test_messages_of_a_conversation_stay(emitted: Emitted) -> None:
    """Events with a message of a conversation leave without it, and attributes that are marked as content do not leave."""
    emitted.emit(body={"content": CANARY}, attributes={"content": CANARY}, event_name="gen_ai.user.message")
    emitted.emit(body="a turn", attributes={"lk.pii.response.text": CANARY, "gen_ai.input.messages": CANARY, "turn": 3})
    emitted.emit(body={"content": CANARY}, attributes={"event.name": "gen_ai.user.message", "message": {"content": CANARY}})
    message, turn, older = emitted.left()
    assert (older.body, dict(older.attributes)) == (None, {})
    assert (message.event_name, message.body, dict(message.attributes)) == ("gen_ai.user.message", None, {})
    assert (turn.body, dict(turn.attributes)) == ("a turn", {"turn": 3})


def test_details_of_installed_packages_stay(emitted: Emitted) -> None:
    """Below INFO, libraries write whole requests; the host's own records and events without a severity leave."""
    emitted.emit("openai.chat", body=CANARY, severity_number=SeverityNumber.DEBUG)
    emitted.emit("my_service", body="mine", severity_number=SeverityNumber.DEBUG)
    emitted.emit("openai.chat", body="an event")
    emitted.emit("openai.chat", body="a warning", severity_number=SeverityNumber.WARN)
    assert [record.body for record in emitted.left()] == ["mine", "an event", "a warning"]


def test_a_traceback_of_ours_stays_as_it_is() -> None:
    """What is masked already has its frames, its chain and its classes after another pass; text that is none leaves nothing."""
    error = raised(ValueError(CANARY), raised(KeyError(CANARY)))
    masked = without_messages("".join(traceback.format_exception(error)))
    assert without_messages(masked) == masked
    assert [line for line in masked.splitlines() if not line.startswith(" ") and line] == [
        "Traceback (most recent call last):",
        "KeyError",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        "ValueError",
    ]
    assert without_messages(f"{CANARY}\n    {CANARY}\n{CANARY}: x") == ""


@pytest.mark.parametrize("capture", ["false", "true"])
def test_telemetry_of_a_framework(tmp_path: Path, capture: str) -> None:
    """FastAPI reports an exception of a handler by itself: its message is in the local files only with text capture."""
    environ = {"OTEL_TTS_DATA_DIR": str(tmp_path), "OTEL_TTS_CAPTURE_TEXT": capture, "PATH": ""}
    subprocess.run([sys.executable, "-c", FASTAPI], env=environ, check=True, capture_output=True, timeout=120)
    written = "".join(path.read_text() for path in (tmp_path / "logs").glob("*.jsonl"))
    assert "Unhandled exception in FastAPI request" in written
    assert "exception.stacktrace" in written
    assert (f"engine cannot say {CANARY}" in written) == (capture == "true")
