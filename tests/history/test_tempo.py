"""Tempo's answers, in the form of 2.9.0, the last version that the reader was run against: nothing here may install a Tempo.

Where one is at hand, `tests/e2e/test_history.py` runs against it (OTEL_TTS_TEST_TEMPO_URL).
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import pytest

from otel_tts.history import HistoryUnavailableError, RequestFilter
from tests.history.answering import answering as scripted

TRACE, SPAN = "00c0ffee" * 4, "00ab" * 4
NINE = 1795424400
SAID = {
    "key": "tts.outcome", "value": {"stringValue": "ok"}
}, {"key": "tts.text.length", "value": {"intValue": "12"}}, {"key": "gen_ai.request.stream", "value": {"boolValue": True}}  # fmt: skip
FOUND = {
    "traces": [
        {
            "traceID": TRACE.lstrip("0"),
            "spanSets": [
                {
                    "spans": [
                        {
                            "spanID": SPAN,
                            "startTimeUnixNano": f"{NINE}500000000",
                            "durationNanos": "250000000",
                            "attributes": [*SAID, {"key": "service.name", "value": {"stringValue": "speech"}}],
                        }
                    ]
                }
            ],
        }
    ],
    "metrics": {},
}
WHOLE = {
    "trace": {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "speech"}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": base64.b64encode(bytes.fromhex(TRACE)).decode(),
                                "spanId": base64.b64encode(bytes.fromhex(SPAN)).decode(),
                                "name": "tts.synthesize",
                                "kind": "SPAN_KIND_INTERNAL",
                                "startTimeUnixNano": f"{NINE}500000000",
                                "endTimeUnixNano": f"{NINE}750000000",
                                "attributes": SAID,
                                "status": {"code": "STATUS_CODE_ERROR", "message": "gone"},
                            }
                        ]
                    }
                ],
            }
        ]
    }
}


answering = partial(scripted, "OTEL_TTS_TEMPO_URL")


def test_a_search() -> None:
    """What is asked for is asked in TraceQL; ids get back the zeros that an answer leaves out."""
    wanted = RequestFilter(service='the "best"', outcome="ok", slower_than=0.2, since=NINE, until=NINE + 600)
    with answering({"/api/search": FOUND}) as (history, asked):
        [request] = history.requests(RequestFilter(outcome="ok", slower_than=0.2, since=NINE, until=NINE + 600))
        assert history.requests(wanted) == []  # it is of another service, whatever the server says
    assert (request.trace_id, request.span_id, request.service) == (TRACE, SPAN, "speech")
    assert (request.start, request.duration, request.outcome) == (NINE + 0.5, 0.25, "ok")
    assert (request.characters, request.stream, request.voice) == (12, True, None)
    assert (asked[-1]["start"], asked[-1]["end"]) == (str(NINE), str(NINE + 600))
    conditions, _, selected = asked[-1]["q"].partition(" | ")
    assert conditions == (
        '{ name = "tts.synthesize" && span.tts.outcome = "ok" && resource.service.name = "the \\"best\\"" && duration > 200000000ns }'
    )
    assert selected.startswith("select(resource.service.name, resource.service.version, ")
    assert "span.gen_ai.provider.name" in selected


def test_only_selected_processes_are_asked_for() -> None:
    """Tempo compares attributes of resources itself; quotes in a value stay in it."""
    selection = "k8s.cluster.name=eu,service.namespace=a%22b"
    with answering({"/api/search": {"traces": [], "metrics": {}}}, OTEL_TTS_SELECT=selection) as (history, asked):
        assert history.requests(RequestFilter(since=NINE, until=NINE + 60)) == []
    assert 'resource.k8s.cluster.name = "eu" && resource.service.namespace = "a\\"b" }' in asked[-1]["q"]


def test_a_trace() -> None:
    """By its id or the beginning of it; protobuf's JSON, with ids in base64 and names of kinds."""
    with answering({f"/api/v2/traces/{TRACE}": WHOLE, "/api/search": FOUND}) as (history, asked):
        answer = history.trace(TRACE)
        assert history.trace(TRACE[:10]) == answer
        searches = [question for question in asked if "q" in question]
        assert {question["q"] for question in searches} == {f'{{ trace:id =~ "{TRACE[2:10]}.{{22}}" }}'}
        assert int(searches[0]["end"]) - int(searches[-1]["start"]) >= 14 * 86400
        assert history.trace("f" * 32) is None
    assert answer is not None
    [span] = answer.roots
    assert (span.trace_id, span.span_id, span.name, span.kind) == (TRACE, SPAN, "tts.synthesize", "INTERNAL")
    assert (span.status, span.status_message, span.service, span.duration) == ("ERROR", "gone", "speech", 0.25)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, "it is  on\nfire", r"answered 500: it is on fire\. Its own log says more\."),
        (
            401,
            "no",
            r"refuses access \(401\)\. Put a user and password into OTEL_TTS_TEMPO_URL, or a token into OTEL_TTS_TEMPO_HEADERS\.",
        ),
        (200, "<html>", r"answered something else than JSON\. Is OTEL_TTS_TEMPO_URL the address of its API\?"),
        (200, {"status": "fine"}, r"does not answer as Tempo does\. Is that the address of its API\?"),
    ],
)
def test_other_answers(status: int, body: Any, message: str) -> None:
    """What happened and what to do, without the password."""
    with answering({"/api/search": body}, status) as (history, _), pytest.raises(HistoryUnavailableError) as raised:
        history.requests()
    assert "secret" not in str(raised.value)
    raised.match(rf"^Tempo at http://127\.0\.0\.1:\d+ {message}$")


PARTS: dict[str, Any] = {
    "a part of a trace": ({f"/api/v2/traces/{TRACE}": {**WHOLE, "status": "PARTIAL", "message": "too large"}}, "too large"),
    "a part of a search": ({"/api/search": {**FOUND, "status": "PARTIAL"}}, "the traces"),
    "unfinished jobs": ({"/api/search": {**FOUND, "metrics": {"totalJobs": 7, "completedJobs": 3}}}, "jobs done: 3 of 7"),
    "unfinished jobs and nothing found": ({"/api/search": {"metrics": {"totalJobs": 2}}}, "jobs done: 0 of 2"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_not_taken_for_all(part: str) -> None:
    """What Tempo itself calls a part, or did not finish, is an error wherever it is asked for."""
    answers, why = PARTS[part]
    with answering(answers) as (history, _):
        asked = [lambda: history.trace(TRACE), lambda: history.traces([TRACE], 0, NINE)]
        if "/api/search" in answers:
            asked = [history.requests, lambda: list(history.every_request()), lambda: history.trace(TRACE[:10])]
        for ask in asked:
            with pytest.raises(HistoryUnavailableError, match=rf"^Tempo at http\S+ gave only a part of .*{why}"):
                ask()


def test_finished_jobs_are_all() -> None:
    """As many as there are, or fewer where the search found as many traces as it may: these are asked for again, in parts of the time."""
    with answering({"/api/search": {**FOUND, "metrics": {"totalJobs": 7, "completedJobs": 7}}}) as (history, _):
        assert len(history.requests()) == 1


def test_a_trace_with_more_syntheses_than_a_search_tells() -> None:
    """They are taken from the whole trace."""
    [trace] = FOUND["traces"]
    span_set = {**trace["spanSets"][0], "matched": 2}
    search = {"traces": [{**trace, "spanSets": [span_set]}], "metrics": {}}
    [resource] = WHOLE["trace"]["resourceSpans"]
    [span] = resource["scopeSpans"][0]["spans"]
    both = [span, {**span, "spanId": base64.b64encode(bytes.fromhex("00cd" * 4)).decode()}]
    whole = {"trace": {"resourceSpans": [{**resource, "scopeSpans": [{"spans": both}]}]}}
    with answering({"/api/search": search, f"/api/v2/traces/{TRACE}": whole}) as (history, _):
        assert {request.span_id for request in history.requests(RequestFilter(since=NINE, until=NINE + 600))} == {
            SPAN,
            "00cd" * 4,
        }


def test_a_server_that_is_no_tempo() -> None:
    """Its 404 is not taken for an answer about a trace."""
    with answering({}) as (history, _), pytest.raises(HistoryUnavailableError, match="does not answer as Tempo does"):
        history.trace(TRACE)
