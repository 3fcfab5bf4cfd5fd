"""The table of `otel-tts requests`: what can be read of each request, however long the names are."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from otel_tts.commands import terminal
from otel_tts.commands.requests import listing, of_services, unknown
from otel_tts.history import Request, RequestFilter
from otel_tts.semconv import CancelReason, Outcome
from otel_tts.semconv.values import CacheResult, ErrorType


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "outcome": st.sampled_from(Outcome),
                "cancel_reason": st.sampled_from([None, *CancelReason]),
                "error_type": st.sampled_from([None, *ErrorType]),
                "provider": st.sampled_from([None, "piper", "azure-cognitive-services-neural-westeurope-2", "x" * 5_000]),
                "voice": st.sampled_from([None, "/models/en_US-joe-medium.onnx" * 9]),
                "service": st.sampled_from(["a", "b" * 200]),
                "conversation": st.sampled_from([None, "c" * 300]),
                "cache_result": st.sampled_from([None, *CacheResult]),
                "first_text": st.sampled_from([None, 2.0]),
                "resends": st.sampled_from([None, 2]),
                "ttfa": st.floats(0, 100),
            }
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([80, 100, 120, 200]),
)
@settings(max_examples=40, deadline=None)
def test_long_names_do_not_push_out_what_matters(facts: list[dict[str, Any]], width: int) -> None:
    """Whatever names there are, time, trace id, outcome and type of error of each request can be read, within the terminal."""
    none = dict.fromkeys(Request.__dataclass_fields__)
    every = {"trace_id": "0123456789abcdef" * 2, "start": 1.8e9, "duration": 1.2, "stream": True, "characters": 12_345, "own": ()}
    requests = [Request(**{**none, **every, **fact}) for fact in facts]
    printed = io.StringIO()
    Console(file=printed, width=width).print(listing(requests, width))
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines[2:] if "0123456" in line]
    assert len(rows) == len(requests)
    for request, row in zip(requests, rows, strict=True):
        assert re.search(r"\d\d:\d\d(:\d\d)? +01234567", row)
        reason = None if request.cancel_reason == CancelReason.CALLER else request.cancel_reason
        words = row.split()
        assert str((request.outcome == Outcome.CANCELLED and reason) or request.outcome) in words
        assert width > 80 or request.error_type is None or request.error_type in words


def _named(service: str, **facts: Any) -> Request:
    """A request of a service."""
    none = dict.fromkeys(Request.__dataclass_fields__)
    every = {"trace_id": "0" * 32, "span_id": "0" * 16, "start": 1.8e9, "duration": 1.0, "service": service, "outcome": "ok"}
    return Request(**{**none, **every, **facts})


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"service": "my-grp"}, "No service is 'my-grp' among the newest 3 requests; there is my-grpc."),
        ({"service": "xyz"}, "No service is 'xyz' among the newest 3 requests; there is my-grpc, my-web."),
        ({"provider": "opnai", "voice": "joe"}, "No provider is 'opnai' among the newest 3 requests; there is openai."),
        ({"provider": "lost"}, None),  # it was asked, and another one in its place
        ({"error_type": "server_error"}, None),  # no request has an error
    ],
)
def test_a_name_that_is_not_there_is_said(wanted: dict[str, Any], line: str | None) -> None:
    """With the names that there are, or the one that is meant."""
    newest = [
        _named("my-grpc", provider="openai", voice="joe"),
        _named("my-web", provider="piper", failed_providers='["lost"]'),
        _named("my-web"),
    ]
    assert list(unknown(RequestFilter(**wanted), newest)) == ([] if line is None else [line])


def test_of_which_services_they_are() -> None:
    """One service is named below the table, since no column says it; several where the table has no room for them."""
    several = [_named("my-grpc"), _named("my-web")]
    assert of_services(several[:1], wide=True) == of_services(several[:1], wide=False) == "Service: my-grpc"
    assert of_services(several, wide=True) == ""
    assert of_services(several, wide=False) == "Services: my-grpc, my-web. At 120 columns and more the table says which."


def test_names_that_differ_at_their_end_are_told_apart() -> None:
    """Long names keep their beginning and their end in a terminal of any width, and are whole where nobody looks."""
    none = dict.fromkeys(Request.__dataclass_fields__)
    every = {"trace_id": "0123456789abcdef" * 2, "start": 1.8e9, "duration": 1.2, "outcome": "ok", "own": ()}
    names = [f"speech-provider-of-a-region-{number:02}" for number in range(30)]
    requests = [Request(**{**none, **every, "provider": name, "voice": f"{name}-voice"}) for name in names]
    for width in (80, 120, 1000):
        printed = io.StringIO()
        Console(file=printed, width=width).print(listing(requests, width))
        for number, name in enumerate(names):
            assert re.search(rf"{name}\b" if width == 1000 else rf"speech-\S*…\S*-{number:02}\b", printed.getvalue()), width


@pytest.mark.parametrize("width", [80, 200, 1000])
@pytest.mark.parametrize("name", ["[/]", "[bold red]x[/]", "[link=http://e]x", "[x", "\\[x]", ":smile:", "[@click=1]y"])
def test_names_are_no_markup(name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that looks like rich's markup stands in the table as it is, and breaks nothing."""
    monkeypatch.setenv("COLUMNS", str(width))
    facts: dict[str, Any] = dict.fromkeys(("provider", "voice", "conversation", "error_type"), name)
    terminal.console().print(listing([_named(name, **facts), _named("my-web")], width))
    assert capsys.readouterr().out.count(name) == (5 if width >= 120 else 2)
