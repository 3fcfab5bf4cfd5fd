"""Readers take nothing on trust: what is wrong in a file costs itself, is counted and said, and is never a stack trace."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_tts import files, semconv
from otel_tts.cli import main
from otel_tts.history import RequestFilter
from otel_tts.history.local import LocalHistory
from otel_tts.semconv import Attribute

NINE = 1795424400
HOUR = "2026-11-23T09"
TRACE = "0af7651916cd43dd8448eb211c80319c"
GOOD = "11111111111111111111111111111111"


def span(trace_id: str = TRACE, span_id: str = "b7ad6b7169203331", **fields: Any) -> dict[str, Any]:
    """A synthesis span in OTLP/JSON."""
    return {
        "traceId": trace_id,
        "spanId": span_id,
        "name": "tts.synthesize",
        "kind": 1,
        "startTimeUnixNano": f"{NINE}000000000",
        "endTimeUnixNano": f"{NINE + 1}000000000",
        "attributes": [
            {"key": "tts.outcome", "value": {"stringValue": "ok"}},
            {"key": "tts.text.length", "value": {"intValue": "5"}},
        ],
        "status": {"code": 2, "message": "timeout"},
        "events": [{"name": "tts.first_byte", "timeUnixNano": f"{NINE}500000000", "attributes": []}],
        "links": [{"traceId": GOOD, "spanId": "b7ad6b7169203331", "attributes": []}],
    } | fields


def export(*spans: Any) -> dict[str, Any]:
    """A line of a traces file."""
    process = [{"key": "service.name", "value": {"stringValue": "speech"}}]
    return {
        "resourceSpans": [{"resource": {"attributes": process}, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(spans)}]}]
    }


def metrics(moment: int, count: int) -> dict[str, Any]:
    """A line of a metrics file: how many requests there were, and how long they took."""
    at = {"startTimeUnixNano": f"{NINE}000000000", "timeUnixNano": f"{moment}000000000"}
    labels = [{"key": "tts.outcome", "value": {"stringValue": "ok"}}]
    bounds = list(semconv.SYNTHESIS_DURATION.buckets)
    return {
        "resourceMetrics": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "speech"}}]},
                "scopeMetrics": [
                    {
                        "scope": {"name": "otel_tts"},
                        "metrics": [
                            {
                                "name": "tts.synthesis.requests",
                                "sum": {"isMonotonic": True, "dataPoints": [{**at, "attributes": labels, "asInt": str(count)}]},
                            },
                            {
                                "name": "tts.synthesis.duration",
                                "histogram": {
                                    "dataPoints": [
                                        {
                                            **at,
                                            "attributes": labels,
                                            "count": str(count),
                                            "explicitBounds": bounds,
                                            "bucketCounts": [str(count), *("0" for _ in bounds)],
                                        }
                                    ]
                                },
                            },
                        ],
                    }
                ],
            }
        ]
    }


def write(directory: Path, signal: files.Signal, *lines: Any) -> Path:
    """A file with these lines, each JSON or text."""
    path = directory / signal / f"{HOUR}.1-abc.0.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))) + "\n" for line in lines)
    )
    return path


def run(directory: Path, *command: str) -> Result:
    """What a user sees; a stack trace fails the test."""
    environ = {"OTEL_TTS_DATA_DIR": str(directory), "OTEL_TTS_PROMETHEUS_URL": "", "OTEL_TTS_TEMPO_URL": "", "COLUMNS": "150"}
    result = CliRunner().invoke(main, command, env=environ)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    return result


def read_all(directory: Path) -> LocalHistory:
    """Every command and every question."""
    for command in (["requests"], ["requests", "--json"], ["trace", TRACE], ["trace", TRACE, "--all"], ["trace", TRACE[:8]]):
        run(directory, *command)
    history = LocalHistory(directory)
    history.requests()
    list(history.every_request(RequestFilter(slower_than=0.1)))
    history.traces([TRACE], NINE, NINE + 60)
    assert history.began is None or history.began > 0
    history.aggregates(NINE, NINE + 60, 30)
    for by in ("provider", "language"):
        history.aggregates(NINE, NINE + 60, by=[by])  # type: ignore[list-item]
    for metric in semconv.METRICS:
        history.series(metric, NINE, NINE + 60, 30, metric.attributes)
    history.services(NINE, NINE + 60)
    return history


WRONG: list[Any] = [
    None, {}, {"stringValue": None}, {"stringValue": "\ud83d\x1b]52;c;x\x07"}, {"stringValue": 5}, {"intValue": "x"},
    {"intValue": "9" * 400},
    {"intValue": 1.5}, {"intValue": True}, {"doubleValue": "NaN"}, {"doubleValue": "Infinity"}, {"doubleValue": 10**400}, {"boolValue": 1},
    {"boolValue": "true"}, {"arrayValue": {"values": [{"stringValue": "x"}]}}, {"arrayValue": None}, {"kvlistValue": {"values": [5]}},
    {"unknown": 1}, {"intValue": "1", "stringValue": "x"}, 5, "x", [],
]  # fmt: skip
KNOWN = sorted({a.key: a for a in vars(semconv).values() if isinstance(a, Attribute)}.items())


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_an_attribute_of_a_wrong_type_costs_itself(
    tmp_path: Path, wrong: Any, record_property: Callable[[str, object], None]
) -> None:
    """Each attribute of the registry with that value: the request is shown with all else, and what is left out is counted."""
    spans = [
        span(
            f"{number:032x}", attributes=[{"key": "tts.outcome", "value": {"stringValue": "error"}}, {"key": key, "value": wrong}]
        )
        for number, (key, _) in enumerate(KNOWN, 1)
    ]
    write(tmp_path, "traces", export(*spans), export(span(GOOD)))
    answer = LocalHistory(tmp_path).requests(limit=1000)
    assert len(answer) == len(KNOWN) + 1
    record_property("hostile inputs: files", len(KNOWN))
    for number in range(1, len(KNOWN) + 1):
        assert "tts.synthesize" in run(tmp_path, "trace", f"{number:032x}").output
        assert "tts.synthesize" in run(tmp_path, "trace", f"{number:032x}", "--all").output
    run(tmp_path, "requests", "--limit", "1000")
    read_all(tmp_path)


FIELDS: list[tuple[dict[str, Any], bool]] = [
    ({"kind": 99}, True), ({"kind": "SPAN_KIND_NOVEL"}, True), ({"kind": None}, True), ({"status": {"code": 7}}, True),
    ({"status": {"code": "x", "message": 5}}, True), ({"status": None}, True), ({"status": 3}, True),
    ({"parentSpanId": 5}, True), ({"parentSpanId": "zz"}, True), ({"attributes": None}, True), ({"attributes": {"a": 1}}, True),
    ({"events": None}, True), ({"events": [None, {"name": 5, "timeUnixNano": "1"}, {"name": "x"}]}, True),
    ({"links": [{"traceId": 5}]}, True),
    ({"startTimeUnixNano": "9" * 400}, False), ({"startTimeUnixNano": "-5"}, False), ({"endTimeUnixNano": None}, False),
    ({"endTimeUnixNano": "1"}, True), ({"startTimeUnixNano": 1e400}, False), ({"spanId": "x"}, False), ({"spanId": None}, False),
    ({"traceId": "\ud83d" * 32}, False), ({"traceId": 7}, False), ({"name": None}, False), ({"name": 5}, False),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "shown"), FIELDS, ids=range(len(FIELDS)))
def test_a_bad_field_costs_itself_and_a_bad_span_itself(
    tmp_path: Path, fields: dict[str, Any], shown: bool, record_property: Callable[[str, object], None]
) -> None:
    """The other spans of its line are read, and what is missing is said."""
    write(tmp_path, "traces", export(span(**fields), span(GOOD)))
    history = LocalHistory(tmp_path)
    assert [r.trace_id for r in history.requests()].count(GOOD) == 1
    record_property("hostile inputs: files", 1)
    assert (TRACE in [r.trace_id for r in history.requests()]) is shown
    output = run(tmp_path, "trace", GOOD).output
    assert "tts.synthesize" in output
    assert "cannot be read" in output
    read_all(tmp_path)


def places(node: Any) -> Iterator[Callable[[Any], None]]:
    """What sets each value of a JSON document."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield lambda value, key=key: node.__setitem__(key, value)
        yield from places(child)


ANYTHING: list[Any] = [
    None, True, -1, 0, 1.5, 10**400, "", "\ud83d", "9" * 400, "\x1b[2J", [], [None], [[]], {}, {"a": None}, float("nan"), "NaN",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_any_value_anywhere(
    tmp_path: Path, signal: files.Signal, seed: int, record_property: Callable[[str, object], None]
) -> None:
    """Lines in which random values are something else: every question is answered, from the line beside them at least."""
    chosen = random.Random(seed)
    lines: list[Any] = []
    for moment in range(20):
        document = export(span(), span(GOOD)) if signal == "traces" else metrics(NINE + 10 + moment, 3)
        for change in chosen.sample(list(places(document)), chosen.choice([1, 1, 3])):
            change(copy.deepcopy(chosen.choice(ANYTHING)))
        lines.append(document)
    lines.append(export(span("2" * 32)) if signal == "traces" else metrics(NINE + 50, 7))
    write(tmp_path, signal, *lines)
    history = read_all(tmp_path)
    record_property("hostile inputs: files", len(lines) - 1)
    if signal == "traces":
        assert "2" * 32 in [request.trace_id for request in history.requests()]
    else:
        assert history.totals(NINE, NINE + 60).request_count >= 7


PIECES = [
    b"\x00", b"\n", b"\r", b'"', b"}", b"{", b"[[[[", b",", b":", b"-", b"1e999", b"NaN", b"null", b"true", b"9" * 50, b"\\ud83d",
    b"\xed\xa0\xbd",
    b"\xef\xbb\xbf", b"\x1f\x8b", b"\x1b[2J",
]  # fmt: skip


def damaged(line: bytes, chosen: random.Random) -> bytes:
    """A line in which bytes are others, are missing, are there twice, or where something else stands between them."""
    damaged = bytearray(line)
    for _ in range(chosen.choice([1, 1, 2, 5, 30])):
        at = chosen.randrange(len(damaged) + 1)
        how = chosen.randrange(4)
        if how == 0:
            damaged[at : at + 1] = chosen.randbytes(1)
        elif how == 1:
            del damaged[at : at + chosen.randrange(1, 40)]
        elif how == 2:
            damaged[at:at] = chosen.choice(PIECES)
        else:
            damaged[at:at] = damaged[at : at + chosen.randrange(60)]
    return bytes(damaged)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_any_bytes_anywhere(
    tmp_path: Path, separators: tuple[str, str], seed: int, record_property: Callable[[str, object], None]
) -> None:
    """Lines of which bytes are damaged, as a disk or an editor may leave them: the line behind them is read all the same."""
    chosen = random.Random(seed)
    traces, metered = export(span(), span(GOOD)), metrics(NINE + 10, 3)
    last: dict[files.Signal, Any] = {"traces": export(span("2" * 32)), "metrics": metrics(NINE + 50, 7)}
    for signal, document in (("traces", traces), ("metrics", metered)):
        good = json.dumps(document, separators=separators).encode()
        lines = [damaged(good, chosen) for _ in range(20)]
        record_property("hostile inputs: files", len(lines))
        path = write(tmp_path, signal)
        path.write_bytes(b"\n".join([*lines, json.dumps(last[signal], separators=separators).encode(), b""]))
    history = read_all(tmp_path)
    assert "2" * 32 in [request.trace_id for request in history.requests()]
    assert (
        history.totals(NINE, NINE + 60).request_count >= 4
    )  # as many as it has grown by where the line before is all that is known


def test_what_can_be_read_of_a_metrics_line_is(tmp_path: Path) -> None:
    """A point that is something else leaves out itself, and the histogram beside it counts."""
    first, last = metrics(NINE + 10, 3), metrics(NINE + 50, 9)
    for line in (first, last):
        points = line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"]
        points += [{"asInt": "x"}, None, {"attributes": 5}, {"asDouble": "NaN", "timeUnixNano": "9" * 400}]
        line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].append({"name": None, "sum": None})
    write(tmp_path, "metrics", first, last)
    history = LocalHistory(tmp_path)
    assert history.totals(NINE, NINE + 60).request_count == 9
    assert history.unreadable


@pytest.mark.timeout(60)  # it fails where it would not end
def test_a_chain_and_a_circle_of_any_length(tmp_path: Path) -> None:
    """3,000 spans below each other, and spans that are each other's parents, are drawn, every one of them."""
    deep = [span(span_id=f"{n:016x}", parentSpanId=f"{n - 1:016x}" if n > 1 else "", name=f"span-{n}") for n in range(1, 3001)]
    write(
        tmp_path,
        "traces",
        export(*deep),
        export(span(GOOD, "a" * 16, parentSpanId="b" * 16), span(GOOD, "b" * 16, parentSpanId="a" * 16)),
    )
    output = run(tmp_path, "trace", TRACE).output
    assert all(f"span-{number} " in output for number in (1, 2, 1500, 3000))
    assert run(tmp_path, "trace", GOOD).output.count("tts.synthesize") == 2
    answer = LocalHistory(tmp_path).trace(TRACE)
    assert answer is not None
    assert [depth for depth, _ in answer.walk()] == list(range(3000))


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"a":' * 100_000, '{"arrayValue":{"values":[' * 30_000])
def test_nesting_without_end(tmp_path: Path, nested: str) -> None:
    """A line that is nested deeper than any parser goes is one unreadable line."""
    write(tmp_path, "traces", '{"resourceSpans":' + nested, '{"resourceSpans":[{"resource":' + nested, export(span(GOOD)))
    assert [request.trace_id for request in LocalHistory(tmp_path).requests()] == [GOOD]
    read_all(tmp_path)


@pytest.mark.timeout(60)  # as above
def test_a_line_without_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over piece by piece, and the lines before and behind it are read."""
    monkeypatch.setattr(files, "LONGEST_LINE", 4096)
    good = [json.dumps(export(span(f"{n:032x}"))) for n in (1, 2, 3)]
    assert all(len(line) < 4096 for line in good)
    for size in (4095, 4096, 8191, 8192, 50_000):
        huge = '{"resourceSpans":[' + "x" * (size - 18)
        path = write(tmp_path, "traces", good[0], huge, good[1], huge, good[2])
        assert max(len(line) for _, line in files.lines(path)) <= 4096
        assert len(list(files.lines(path))) == 5
        history = LocalHistory(tmp_path)
        assert len(history.requests()) == 3
        assert history.unreadable == 2


@pytest.mark.timeout(60)  # as above
def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe, a directory and links to nowhere and to themselves with the names of files: nothing waits for them."""
    write(tmp_path, "traces", export(span(GOOD)))
    os.mkfifo(tmp_path / "traces" / f"{HOUR}.2-pipe.0.jsonl")
    (tmp_path / "traces" / f"{HOUR}.3-directory.0.jsonl").mkdir()
    (tmp_path / "traces" / f"{HOUR}.4-link.0.jsonl").symlink_to(tmp_path / "nowhere")
    (circle := tmp_path / "traces" / f"{HOUR}.4-circle.0.jsonl").symlink_to(circle.name)
    (tmp_path / "traces" / f"9999-99-99T99.5-hour.{'9' * 200}.jsonl").write_text("x")
    (tmp_path / "metrics").write_text("no directory")
    assert len(read_all(tmp_path).requests()) == 1


@pytest.mark.parametrize("command", ["requests", "status", "cardinality", "report"])
def test_a_directory_that_is_none(tmp_path: Path, command: str) -> None:
    """A file, or a link that leads in a circle, where the directory should be: a sentence that names it."""
    (directory := tmp_path / "data").write_text("x")
    (circle := tmp_path / "circle").symlink_to(circle.name)
    for path in (directory, circle):
        result = run(path, command)
        assert result.exit_code != 0 or command == "requests", "there are none"
        assert str(path) in result.output.replace("\n", "")


@pytest.mark.parametrize("closed", ["directory", "file"])
def test_files_of_another_user(tmp_path: Path, closed: str) -> None:
    """What may not be read is said in a sentence; a file among others costs itself."""
    path = write(tmp_path, "traces", export(span(TRACE)))
    (tmp_path / "traces" / f"{HOUR}.2-other.0.jsonl").write_text(json.dumps(export(span(GOOD))) + "\n")
    (tmp_path / "traces" if closed == "directory" else path).chmod(0)
    script = f"""
import os
import _strptime  # while it may read them
from otel_tts import cli, history
from otel_tts.commands import requests, trace
from otel_tts.history import local
for parent in {[str(parent) for parent in (tmp_path, *tmp_path.parents) if parent.is_relative_to("/tmp") and str(parent) != "/tmp"]}:
    os.chmod(parent, 0o755)
if os.getuid() == 0:  # who may read everything
    os.setuid(65534)
cli.main(["requests", "--json"])
"""
    environ = {"PATH": os.environ["PATH"], "OTEL_TTS_DATA_DIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in process.stderr
    if closed == "directory":
        assert process.returncode == 1
        assert "cannot be read: Permission denied. It may belong to another user" in process.stderr
    else:
        assert GOOD in process.stdout
        assert "1 record of stored telemetry" in process.stderr


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_a_file_of_another_user_costs_itself(tmp_path: Path, signal: files.Signal) -> None:
    """Every question is answered from the files beside it; it counts as one record that cannot be read."""
    mine: list[Any] = [export(span(GOOD))] if signal == "traces" else [metrics(NINE + 10, 3), metrics(NINE + 50, 9)]
    theirs = write(tmp_path, signal, export(span()) if signal == "traces" else metrics(NINE + 20, 5))
    own = theirs.with_name(f"{HOUR}.2-own.0.jsonl")
    own.write_text("".join(json.dumps(line) + "\n" for line in mine))
    theirs.chmod(0)
    script = f"""
import os
import _strptime  # while it may read them
from pathlib import Path
from otel_tts.history.local import LocalHistory
for parent in {[str(parent) for parent in (tmp_path, *tmp_path.parents) if parent.is_relative_to("/tmp") and str(parent) != "/tmp"]}:
    os.chmod(parent, 0o755)
if os.getuid() == 0:  # who may read everything
    os.setuid(65534)
history = LocalHistory(Path({str(tmp_path)!r}))
for _ in range(2):
    print(len(history.requests()), history.totals({NINE}, {NINE + 60}).request_count, history.unreadable)
"""
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout == ("1 0 1\n" if signal == "traces" else "0 9 1\n") * 2


def test_nothing_controls_the_terminal(tmp_path: Path) -> None:
    """Escape sequences in every name, attribute, event, message and service are shown as what they are."""
    evil = "\x1b]52;c;aGk=\x07\x1b[2J\r\u202e\x9b5n"
    attributes = [{"key": key, "value": {"stringValue": evil}} for key, a in KNOWN if a.type == "string"]
    attributes += [{"key": evil, "value": {"stringValue": evil}}]
    line = export(span(attributes=attributes, status={"code": 2, "message": evil}, events=[
        {"name": evil, "timeUnixNano": f"{NINE}000000000", "attributes": attributes},
        {"name": "exception", "timeUnixNano": f"{NINE}000000000", "attributes": attributes},
    ]), span(span_id="b" * 16, name=evil))  # fmt: skip
    line["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"] = evil
    write(tmp_path, "traces", line)
    outputs = [run(tmp_path, *command).output for command in (["requests"], ["trace", TRACE], ["trace", TRACE, "--all"])]
    for output in outputs:
        assert "]52;c;aGk=" in output
        assert not any(character in output for character in "\x07\x1b\r\u202e\x9b")
