"""Data frames for notebooks: what history holds, with units, in UTC, and without anything made up."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator

import pandas
import pytest

from otel_tts import semconv
from otel_tts.history import History, Point, Request, RequestFilter, Row, Timeline, open_history, to_frame
from otel_tts.history.frames import UNITS
from otel_tts.semconv import Metric


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """The history of a program that spoke twice and failed once, opened without arguments."""
    directory = tmp_path_factory.mktemp("frames")
    program = """
import otel_tts
from otel_tts import PCM16
pipeline = otel_tts.configure(service_name="notebook", local=True)
tts = otel_tts.Telemetry()
for text in ("One.", "Two.", "Nothing."):
    with tts.synthesis(text=text, voice="ada", language="en-US") as synthesis, synthesis.attempt("tone", "sine") as attempt:
        attempt.audio(bytes(48_000 if text != "Nothing." else 0), PCM16(24_000))
pipeline.shutdown()
"""

    environ = os.environ | {"OTEL_TTS_DATA_DIR": str(directory)}
    subprocess.run([sys.executable, "-c", program], env=environ, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_TTS_DATA_DIR", str(directory))
        yield open_history()


def span_of(history: History) -> tuple[float, float]:
    """From before the first request to after the last export."""
    began = history.began
    assert began is not None
    return began - 60, began + 600


def test_requests(history: History) -> None:
    """A row a request: moments in UTC, durations in seconds, and what is not known missing."""
    frame = to_frame(history.requests())
    assert list(frame.columns) == [field.name for field in dataclasses.fields(Request)]
    assert sorted(frame["outcome"]) == ["empty", "ok", "ok"]
    assert str(frame["start"].dt.tz) == "UTC"
    assert frame.attrs["units"]["duration"] == "s"
    assert frame.attrs["units"]["characters"] == "{character}"
    spoken = frame[frame["outcome"] == "ok"]
    assert list(spoken["audio_duration"]) == [1.0, 1.0]
    assert frame["cost"].isna().all()  # nobody said a price: unknown, and not 0


def test_aggregates(history: History) -> None:
    """A row a window and provider, with counts and quantiles."""
    start, end = span_of(history)
    frame = to_frame(history.aggregates(start, end))
    assert list(frame.columns) == [field.name for field in dataclasses.fields(Row)]
    assert (frame["request_count"].sum(), frame["request_ok"].sum(), frame["request_empty"].sum()) == (3, 2, 1)
    assert pandas.isna(frame["request_cost"][0])
    assert frame.attrs["units"]["request_duration_p95"] == "s"


def test_series(history: History) -> None:
    """A row a window and combination of attributes: growth of a counter, count and quantiles of a histogram."""
    start, end = span_of(history)
    counted = to_frame(
        history.series(semconv.SYNTHESIS_REQUESTS, start, end, end - start, [semconv.OUTCOME]), semconv.SYNTHESIS_REQUESTS
    )
    assert dict(zip(counted["tts.outcome"], counted["value"], strict=True)) == {"ok": 2, "empty": 1}
    assert counted.attrs["units"] == {"value": semconv.SYNTHESIS_REQUESTS.unit}
    measured = to_frame(history.series(semconv.SYNTHESIS_DURATION, start, end, 60), semconv.SYNTHESIS_DURATION)
    assert measured["count"].sum() == 3
    assert measured["p95"].isna().any()  # windows without a request
    assert measured.attrs["units"] == {"p50": "s", "p95": "s", "p99": "s", "count": "1"}


def test_every_number_has_a_unit() -> None:
    """Each field of requests and rows that is a number has one, and each unit belongs to a field."""
    numbers = set()
    for kind in (Request, Row):
        for field in dataclasses.fields(kind):
            if ("float" in str(field.type) or "int" in str(field.type)) and field.name not in ("start", "end"):
                numbers.add(field.name)
    assert numbers == set(UNITS)


def test_nothing_is_an_empty_frame() -> None:
    """No requests give no rows and no error; units are those of the columns."""
    frame = to_frame([])
    assert (len(frame), frame.attrs["units"]) == (0, UNITS)


def test_timelines_need_their_metric(history: History) -> None:
    """Without it the unit is not known, and the message says what to pass."""
    start, end = span_of(history)
    with pytest.raises(ValueError, match=r"to_frame\(history.series\(METRIC"):
        to_frame(history.series(semconv.SYNTHESIS_DURATION, start, end, 60))


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pandas"):
        to_frame([])


def test_nothing_has_columns_and_units_too(history: History) -> None:
    """A service without requests: whatever is asked of a frame with some is answered, with nothing."""
    requests = to_frame(history.requests(RequestFilter(service="nobody")))
    assert requests.groupby("outcome")["duration"].agg(["count", "median"]).empty
    assert list(requests[requests["outcome"].str.startswith("o")]["start"].dt.hour) == []
    rows = to_frame(history.aggregates(*span_of(history), by=["provider"], service="nobody"))
    assert rows.set_index("provider")["request_count"].sum() == 0
    for kind in (Request, Row):
        assert {field.name for field in dataclasses.fields(kind)} <= set(requests.columns)
    assert requests.attrs["units"] == UNITS
    assert not requests.duplicated().any()


@pytest.mark.parametrize("metric", [semconv.SYNTHESIS_DURATION, semconv.SYNTHESIS_REQUESTS, semconv.PROVIDER_AVAILABLE])
def test_no_timeline_has_the_columns_of_its_metric(history: History, metric: Metric) -> None:
    """Without the attributes, which timelines have and a metric may have."""
    start, end = span_of(history)
    frame = to_frame(history.series(metric, start, end, end - start, service="nobody"), metric)
    some = to_frame([Timeline({}, (Point(start, end, None),))], metric)
    assert list(frame.columns) == list(some.columns)
    assert frame.attrs == some.attrs
    assert [dtype.kind for dtype in frame.dtypes] == [dtype.kind for dtype in some.dtypes]
