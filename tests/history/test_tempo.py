"""Tempo's answers, in the form that its API documents: a server that gives them stands in for one that is not a Python package."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from otel_tts.history import History, HistoryUnavailableError, RequestFilter, open_history
from otel_tts.settings import HistorySettings

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


@contextmanager
def answering(answers: dict[str, Any], status: int = 200) -> Iterator[tuple[History, list[dict[str, str]]]]:
    """The history of a server that answers so by path, and what it was asked."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked.append({name: values[0] for name, values in parse_qs(url.query).items()})
            body = answers.get(url.path)
            self.send_response(404 if body is None else status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield (
            open_history(HistorySettings.load({"OTEL_TTS_TEMPO_URL": f"http://me:secret@127.0.0.1:{server.server_port}"})),
            asked,
        )
        server.shutdown()


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


def test_a_trace() -> None:
    """By its id or the beginning of it; protobuf's JSON, with ids in base64 and names of kinds."""
    with answering({f"/api/v2/traces/{TRACE}": WHOLE, "/api/search": FOUND}) as (history, asked):
        found = history.trace(TRACE)
        assert history.trace(TRACE[:10]) == found
        searches = [question for question in asked if "q" in question]
        assert {question["q"] for question in searches} == {f'{{ trace:id =~ "{TRACE[2:10]}.{{22}}" }}'}
        assert int(searches[0]["end"]) - int(searches[-1]["start"]) >= 14 * 86400
        assert history.trace("f" * 32) is None
    assert found is not None
    [span] = found.roots
    assert (span.trace_id, span.span_id, span.name, span.kind) == (TRACE, SPAN, "tts.synthesize", "INTERNAL")
    assert (span.status, span.status_message, span.service, span.duration) == ("ERROR", "gone", "speech", 0.25)


@pytest.mark.parametrize(
    ("status", "body", "said"),
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
def test_other_answers(status: int, body: Any, said: str) -> None:
    """What happened and what to do, without the password."""
    with answering({"/api/search": body}, status) as (history, _), pytest.raises(HistoryUnavailableError) as raised:
        history.requests()
    assert "secret" not in str(raised.value)
    raised.match(rf"^Tempo at http://127\.0\.0\.1:\d+ {said}$")
