"""The index of local traces files: it is read instead of them, and never believed when it is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tts import files, semconv
from otel_tts.history import Request, RequestFilter, traces
from otel_tts.history.columns import Columns
from otel_tts.history.local import LocalHistory
from otel_tts.history.otlp import Unreadable
from otel_tts.history.requests import as_array
from otel_tts.history.table import Table
from tests.history.test_spans import NINE, Service


def ends(directory: Path, wanted: RequestFilter | None = None) -> list[float]:
    """When requests ended, as a process that begins now finds them."""
    return [request.end - NINE for request in LocalHistory(directory).requests(wanted or RequestFilter())]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two hours of requests, long ago, of which all files are worth an index."""
    monkeypatch.setattr("otel_tts.history.index._SMALL", 0)
    service = Service(tmp_path)
    for minute in (0, 30, 60, 90):
        service.synthesize(NINE + minute * 60, 1.0, provider="piper" if minute else "hibari")
        service.write(NINE + minute * 60 + 2)
    return tmp_path


def index(directory: Path) -> list[Path]:
    """Its files."""
    return sorted((directory / ".index").glob("*"))


def test_each_file_is_read_once(written: Path) -> None:
    """Another process finds in the index what the first one read, and needs no line of the file for it."""
    assert ends(written) == [5401, 3601, 1801, 1]
    assert len(index(written)) == 2
    for partition in files.partitions(written, "traces"):
        whole = partition.path.read_bytes()
        partition.path.write_bytes(b"x" * (len(whole) - 5000) + whole[-5000:])
    assert ends(written) == [5401, 3601, 1801, 1]
    assert ends(written, RequestFilter(provider="hibari")) == [1]


def test_what_is_new_is_found(written: Path) -> None:
    """By the process that has read before, and by one that only has the index."""
    first, second = (partition.path for partition in files.partitions(written, "traces"))
    history = LocalHistory(written)
    assert len(history.requests()) == 4
    service = Service(written, "late")
    service.synthesize(NINE + 10, 1.0)
    service.write(NINE + 20)
    first.write_bytes(first.read_bytes() + second.read_bytes().replace(b"speech", b"spoken"))
    assert len(history.requests()) == 7
    assert len(ends(written)) == 7
    assert {request.service for request in history.requests()} == {"speech", "late", "spoken"}


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and no more", b"\x00" * 4000])
def test_a_spoilt_index_is_made_anew(written: Path, damage: bytes) -> None:
    """A crash, a full disk or another program: what is in the files is found all the same."""
    expected = ends(written)
    for path in index(written):
        path.write_bytes(damage or path.read_bytes()[:-100])
    assert ends(written) == expected
    for path in index(written):
        np.savez(path, unknown=np.zeros(3))
    assert ends(written) == expected


def test_a_file_that_is_another_is_read_again(written: Path) -> None:
    """The index does not speak for a file that was replaced, whatever its size."""
    first, second = (partition.path for partition in files.partitions(written, "traces"))
    assert len(ends(written)) == 4
    first.write_bytes(second.read_bytes() * 3)
    assert sorted(ends(written)) == [3601] * 4 + [5401] * 4


def test_it_goes_with_its_file(written: Path) -> None:
    """What retention deletes is gone from the index too, with the next look ahead."""
    LocalHistory(written).prepare()
    files.partitions(written, "traces")[0].path.unlink()
    LocalHistory(written).prepare()
    assert [path.name for path in index(written)] == [f"{files.partitions(written, 'traces')[0].path.name}.npz"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no read-only directories")
def test_where_nothing_may_be_written(written: Path) -> None:
    """The index is a help, not a need."""
    (written / ".index").write_text("A file is in its place, so that not even root can make a directory there.")
    history = LocalHistory(written)
    history.prepare()
    assert len(history.requests()) == 4


def test_small_files_are_read_without_an_index(tmp_path: Path) -> None:
    """Of thousands of short processes, each file is read faster than its index, so that none is written; and it is read once."""
    for number in range(30):
        service = Service(tmp_path, f"job{number}")
        service.synthesize(NINE + number, 1.0)
        service.write(NINE + 60)
    history = LocalHistory(tmp_path)
    history.prepare()
    assert len(history.requests()) == 30
    assert index(tmp_path) == []


def test_progress_is_told(written: Path) -> None:
    """In bytes, up to all of them."""
    progress: list[tuple[int, int]] = []
    LocalHistory(written).prepare(on_progress=lambda done, total: progress.append((done, total)))
    sizes = [partition.path.stat().st_size for partition in files.partitions(written, "traces")]
    assert progress == [(sizes[0], sum(sizes)), (sum(sizes), sum(sizes))]
    LocalHistory(written).prepare(since=NINE + 3600, on_progress=lambda done, total: progress.append((done, total)))
    assert progress[2:] == [(sizes[1], sizes[1])]


OURS = [attribute.key for attribute in semconv.SYNTHESIS_SPAN.attributes]
good_values = st.one_of(
    st.builds(lambda value: {"stringValue": value}, st.text(max_size=3)),
    st.builds(lambda value: {"intValue": value}, st.integers(-5, 2**63) | st.integers(0, 99).map(str)),
    st.builds(lambda value: {"doubleValue": value}, st.floats(-1e9, 1e9) | st.integers(0, 5)),
    st.builds(lambda value: {"boolValue": value}, st.booleans()),
    st.builds(lambda value: {"arrayValue": {"values": [{"stringValue": value}]}}, st.text(max_size=2)),
    st.just({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}),
    st.just({"bytesValue": "AAAA"}),
)
bad_values = st.sampled_from(
    [
        {},
        {"intValue": "x"},
        {"intValue": 2**65},
        {"stringValue": None},
        {"other": 1},
        {"boolValue": "true"},
        {"doubleValue": "NaN"},
    ]
)
fitting = {
    "string": st.builds(lambda value: {"stringValue": value}, st.text(max_size=3)),
    "boolean": st.builds(lambda value: {"boolValue": value}, st.booleans()),
    "int": st.builds(lambda value: {"intValue": value}, st.integers(0, 9).map(str) | st.integers(0, 9)),
    "double": st.builds(lambda value: {"doubleValue": value}, st.floats(0, 9)) | st.just({"intValue": "3"}),
    "string[]": st.lists(st.text(max_size=3), max_size=2).map(
        lambda texts: {"arrayValue": {"values": [{"stringValue": text} for text in texts]}}
    ),
}
keys = st.sampled_from([*semconv.SYNTHESIS_SPAN.attributes, *(None,) * 9]).flatmap(
    lambda attribute: (
        st.tuples(st.just(attribute.key), fitting[attribute.type])
        if attribute is not None and attribute.type in fitting
        else st.tuples(st.sampled_from(["acme.tenant", "acme.list"]), good_values)
    )
)
some_spans = st.lists(
    st.fixed_dictionaries(
        {
            "traceId": st.text("0123456789abcdef", min_size=32, max_size=32),
            "spanId": st.text("0123456789abcdef", min_size=16, max_size=16),
            "startTimeUnixNano": st.integers(0, 2**40) | st.integers(0, 2**40).map(str),
            "endTimeUnixNano": st.integers(2**41, 2**62),
            "name": st.sampled_from(["tts.synthesize", "tts.synthesize", "other"]),
            "attributes": st.lists(keys, max_size=6),
        }
    ),
    max_size=5,
)


@given(some_spans, st.none() | st.tuples(st.sampled_from([*OURS, "acme.tenant"]), good_values | bad_values))
def test_reading_fast_and_reading_carefully_are_the_same(spans: list[Any], odd: tuple[str, Any] | None) -> None:
    """Whatever the spans of a line say, what the fast reading takes is what the careful one makes of it, in the same order."""
    if odd is not None and spans:
        spans[0]["attributes"].insert(0, odd)
    for span in spans:
        span["attributes"] = [{"key": key, "value": value} for key, value in span["attributes"]]
    process = {"attributes": [{"key": "service.name", "value": {"stringValue": "speech"}}]}
    line = {"resourceSpans": [{"resource": process, "scopeSpans": [{"spans": spans}]}]}
    unreadable, table = Unreadable(), Table()
    carefully = [Request.from_span(span) for span in traces.spans(line, unreadable, semconv.SYNTHESIS_SPAN.name)]
    try:
        count = table.add_export(json.dumps(line).encode())
    except ValueError:
        assert odd is not None or any(len({a["key"] for a in span["attributes"]}) < len(span["attributes"]) for span in spans)
        assert len(table) == 0
        return
    assert count == len(table) == len(carefully)
    assert odd is not None or unreadable.count == 0
    read = list(table.columns().requests(np.arange(count)))
    assert [replace(request, start=round(request.start, 6), duration=round(request.duration, 3)) for request in read] == [
        replace(request, start=round(request.start, 6), duration=round(request.duration, 3)) for request in carefully
    ]


names = st.text(max_size=5).filter(lambda text: "\x00" not in text)
texts = st.none() | names
numbers = st.none() | st.floats(-1e9, 1e9)
wholes = st.none() | st.integers(0, 10**9)
truths = st.none() | st.booleans()
hexadecimal = "0123456789abcdef"
some_requests = st.builds(
    Request, st.text(hexadecimal, min_size=32, max_size=32), st.text(hexadecimal, min_size=16, max_size=16), st.floats(0, 2e9),
    st.floats(0, 100), st.sampled_from(["a", "b"]), st.sampled_from(["1", ""]), texts, texts, texts, texts, texts, texts, truths,
    texts, wholes, numbers, numbers, numbers, numbers, wholes, truths, numbers, numbers, numbers, numbers, numbers, numbers,
    failed_providers=st.none() | st.lists(names, min_size=1, max_size=3).map(as_array),
)  # fmt: skip


def _providers(requests: list[Request]) -> set[str]:
    """All who made audio, failed, or were skipped; the one without a name, too."""
    return {"", *(name for r in requests for name in (r.provider or "", *json.loads(r.failed_providers or "[]")))}


@given(st.lists(st.lists(some_requests, max_size=4), min_size=1, max_size=3), st.data())
def test_columns_are_the_requests(parts: list[list[Request]], data: st.DataObject) -> None:
    """Whatever they say, joined from parts: the same comes out that went in, and filters hold for the same ones."""
    everything = [request for part in parts for request in part]
    columns = Columns.joined(
        [Columns.from_rows([tuple(getattr(r, name) for name in Request.__slots__) for r in part]) for part in parts]
    )
    assert list(columns.requests(np.arange(len(columns)))) == everything
    some = data.draw(st.sampled_from(everything or [None]))
    if some is not None:
        for wanted in (
            RequestFilter(outcome=some.outcome, provider=some.provider, service=some.service, version=some.version),
            RequestFilter(slower_than=some.duration),
            RequestFilter(provider=data.draw(st.sampled_from(sorted(_providers(everything))) | names)),
            RequestFilter(since=some.start, ended_before=some.end + 1),
            RequestFilter(until=some.start, ended_since=some.end),
        ):
            assert list(columns.requests(columns.wanted(wanted))) == [r for r in everything if wanted.holds(r)]
            latest = sorted((r for r in everything if wanted.holds(r)), key=lambda r: -r.end)
            assert list(columns.latest(wanted, 2)) == latest[:2]
