"""What the service prints: a stack trace once, so that a line of the monitor stands out."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from otel_tts.service import log

RECORD = "otel_tts.service"
SECRET = "what somebody said"


class Printed:
    """A logger of its own with the service's handler, and what that has printed."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = log.FoldingHandler(self.stream)
        self.at = 1_000_000.0

    def write(self, message: str, error: BaseException | None = None, name: str = RECORD, line: int = 1) -> list[str]:
        """Lines that one record prints."""
        before = len(self.stream.getvalue())
        exc_info: Any = (type(error), error, error.__traceback__) if error is not None else None
        record = logging.LogRecord(name, logging.WARNING, "program.py", line, message, None, exc_info)
        record.created = self.at
        self.handler.handle(record)
        return self.stream.getvalue()[before:].splitlines()


@pytest.fixture
def printed() -> Printed:
    """One."""
    return Printed()


def raised(raise_it: Callable[[], object]) -> BaseException:
    """The exception of a call."""
    try:
        raise_it()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError


def _value(message: str = "no") -> None:
    raise ValueError(message)


def _chained(message: str) -> None:
    try:
        _value(message)
    except ValueError as error:
        raise RuntimeError(message) from error


def _group(message: str) -> None:
    raise ExceptionGroup(message, [raised(lambda: _value(message))])  # type: ignore[type-var]


@pytest.mark.parametrize("fail", [_value, _chained, _group])
def test_a_trace_is_printed_once_and_then_a_line_each_time(printed: Printed, fail: Callable[[str], None]) -> None:
    """The line has what the exception says, which may differ, and how often it came; after an hour the trace is printed again."""

    def written(message: str) -> list[str]:
        return printed.write("It failed.", raised(partial(fail, message)))

    first = written("one")
    assert len(first) > 3
    for number in range(1, 30):
        (line,) = written("another")
        assert "It failed.: " in line
        assert "another" in line
        assert f"repetition {number} of the stack trace of " in line
    printed.at += 3600
    assert len(written("one")) == len(first)


def test_other_traces_are_not_folded(printed: Printed) -> None:
    """Another class, another line: another trace. Messages of several lines without a trace are printed as they are."""
    errors = [raised(partial(fail, "no")) for fail in (_value, _chained, _group, int)]
    assert all(len(printed.write("It failed.", error)) > 1 for error in errors)
    assert all(len(printed.write("one\ntwo")) == 2 for _ in range(3))


def test_memory_of_traces_is_bounded(printed: Printed) -> None:
    """A program whose traces are all different does not fill the memory."""
    for number in range(2000):
        printed.write(f'failed\n  File "x.py", line {number}\nValueError')
        printed.write("retrying", name="opentelemetry.exporter", line=number)
    assert all(len(memory) <= 500 for memory in (printed.handler._traces, printed.handler._warnings))


def test_an_exporter_that_retries_prints_a_line_a_minute(printed: Printed) -> None:
    """With how many there were in between; other places of it, and everybody else, print as before."""
    name = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
    assert printed.write("retrying in 1 s", name=name)
    for _ in range(59):
        printed.at += 1
        assert printed.write("retrying in 2 s", name=name) == []
        assert len(printed.write("piper: This process cannot use the provider.", name="otel_tts.monitor")) == 1
    assert printed.write("gave up", name=name, line=2)
    printed.at += 1
    (line,) = printed.write("retrying in 3 s", name=name)
    assert line.partition(" (")[2].startswith("59 more like this since ")


@pytest.fixture
def console() -> Iterator[io.StringIO]:
    """What the service prints while a test runs."""
    stream = io.StringIO()
    handler = log.FoldingHandler(stream)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


async def test_an_engine_that_fails_all_the_time_does_not_bury_the_monitor(
    start: Any, scripted: Any, console: io.StringIO
) -> None:
    """Each failure is a line with the engine's name; where it was raised stands in the log once."""

    class Broken(scripted):  # type: ignore[misc]  # a fixture
        async def stream(self, speech: object) -> AsyncGenerator[bytes, None]:
            raise ValueError(SECRET)
            yield b""

    client = await start(Broken("broken"), circuit_failures=1000)
    for _ in range(20):
        await client.refused()
    lines = console.getvalue().splitlines()
    assert sum("broken failed: ValueError" in line for line in lines) == 20
    assert sum(line.startswith("  File") and "test_log" in line for line in lines) == 1
    assert len(lines) < 20 + 30
    assert SECRET not in console.getvalue()


def test_the_program_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`otel-tts serve` prints by it, to stderr."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    log.configure()
    (handler,) = root.handlers
    assert isinstance(handler, log.FoldingHandler)
    assert handler.stream is sys.stderr
