"""An answer of Prometheus's API that is only a part is never taken for the whole, whichever engine gives it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from otel_tts import semconv
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.finding import HopBrokenError
from otel_tts.commands.doctor.telemetry import Counter
from otel_tts.history import History, HistoryUnavailableError
from otel_tts.history.unavailable import HistoryIncompleteError
from otel_tts.settings import DoctorSettings
from tests.history.answering import answering

NOW = time.time()
QUERIES = ("/api/v1/query", "/api/v1/query_range")
QUESTIONS: dict[str, Callable[[History], object]] = {
    "began": lambda history: history.began,
    "newest": lambda history: history.newest,
    "last seen": lambda history: history.last_seen(NOW - 600, NOW),
    "aggregates": lambda history: history.aggregates(NOW - 600, NOW, 60),
    "aggregates by provider": lambda history: history.aggregates(NOW - 600, NOW, 60, ["provider"]),
    "totals": lambda history: history.totals(NOW - 600, NOW),
    "services": lambda history: history.services(NOW - 600, NOW),
    "series": lambda history: history.series(semconv.CACHE_ENTRIES, NOW - 600, NOW, 60),
    "fingerprint": lambda history: history.fingerprint(NOW - 600, NOW),
}
AWAY = "fetch series for receive-2: Unavailable"


def reply(**beside: Any) -> dict[str, Any]:
    """A good answer, and what stands beside its data."""
    series = {"metric": {"job": "speech", "le": "+Inf"}, "values": [[NOW, "3"]], "value": [NOW, "3"]}
    return {"status": "success", "data": {"resultType": "vector", "result": [series]}, **beside}


PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "warnings": (reply(warnings=[AWAY]), AWAY),
    "several warnings": (reply(warnings=["No StoreAPIs matched", AWAY]), f"No StoreAPIs matched; {AWAY}"),
    "a warning that is no list": (reply(warnings=AWAY), AWAY),
    "a warning that is no text": (reply(warnings=[{"store": AWAY}]), "receive-2"),
    "warnings within the data": ({"status": "success", "data": {"result": [], "warnings": [AWAY]}}, AWAY),
    "warnings and nothing else": ({"status": "success", "warnings": [AWAY]}, AWAY),
    "isPartial": (reply(isPartial=True), "a storage node is away"),
    "isPartial as text": (reply(isPartial="true"), "a storage node is away"),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_not_taken_for_all(part: str, question: str) -> None:
    """Whatever is asked, a part is an error that has the server's reason in it."""
    body, reason = PARTS[part]
    with answering("OTEL_TTS_PROMETHEUS_URL", dict.fromkeys(QUERIES, body)) as (history, _):
        with pytest.raises(HistoryIncompleteError) as raised:
            QUESTIONS[question](history)
        message = str(raised.value)
        assert message.startswith("Prometheus at http://")
        assert "gave only a part of the metrics: " in message
        assert reason in message
        assert "secret" not in message


def test_a_reason_without_end_is_cut() -> None:
    """One line, of a length that can be read."""
    body = reply(warnings=[f"store {number} is\naway" for number in range(1000)])
    with answering("OTEL_TTS_PROMETHEUS_URL", dict.fromkeys(QUERIES, body)) as (history, _):
        with pytest.raises(HistoryIncompleteError) as raised:
            history.totals(NOW - 600, NOW)
        assert len(str(raised.value)) < 500
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_asks_for_all(question: str) -> None:
    """Thanos and VictoriaMetrics leave out what is away unless a request forbids it."""
    with answering("OTEL_TTS_PROMETHEUS_URL", dict.fromkeys(QUERIES, reply())) as (history, requests):
        QUESTIONS[question](history)
        queries = [request for request in requests if "query" in request]
        assert queries
        for request in queries:
            assert request["partial_response"] == "false"
            assert request["deny_partial_response"] == "1"


@pytest.mark.parametrize(
    "beside", [{"warnings": []}, {"warnings": None}, {"isPartial": False}, {"infos": ["PromQL info: no counter"]}, {"stats": {}}]
)
def test_a_whole_answer_may_say_so(beside: dict[str, Any]) -> None:
    """Empty warnings, and remarks about the query, take nothing from it."""
    with answering("OTEL_TTS_PROMETHEUS_URL", dict.fromkeys(QUERIES, reply(**beside))) as (history, _):
        assert history.fingerprint(NOW - 600, NOW) == "3"


STORE = {"name": "10.0.0.7:10901", "lastCheck": "2026-11-28T08:16:59Z", "lastError": None}
AWAY_STORE = {**STORE, "name": "10.0.0.8:10901", "lastError": "connection refused"}


def thanos(*stores: Any, **others: Any) -> dict[str, Any]:
    """What Thanos answers, with these stores behind it."""
    return {**dict.fromkeys(QUERIES, reply()), "/api/v1/stores": {"status": "success", "data": {"receive": stores, **others}}}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_store_that_is_away_is_missed(question: str) -> None:
    """Thanos itself says nothing once it knows of it: its list of stores does."""
    message = r"1 of its stores is away \(10\.0\.0\.8:10901\)"
    with (
        answering("OTEL_TTS_PROMETHEUS_URL", thanos(STORE, AWAY_STORE)) as (history, _),
        pytest.raises(HistoryIncompleteError, match=message),
    ):
        QUESTIONS[question](history)


@pytest.mark.parametrize(
    ("away", "allowed", "whole"), [(0, 0, True), (1, 0, False), (1, 1, True), (2, 1, False), (3, 1, False), (2, 2, True)]
)
def test_as_many_stores_may_be_away_as_there_are_copies_to_lose(away: int, allowed: int, whole: bool) -> None:
    """Whatever kind they are of: receives, sidecars, object stores."""
    stores = [{**AWAY_STORE, "name": f"10.0.0.{number}:10901"} for number in range(away)]
    answers = thanos(STORE, *stores[1:], store=stores[:1])
    variables = {"OTEL_TTS_PROMETHEUS_STORES_AWAY": str(allowed)}
    with answering("OTEL_TTS_PROMETHEUS_URL", answers, **variables) as (history, _):
        if whole:
            assert history.fingerprint(NOW - 600, NOW) == "3"
        else:
            with pytest.raises(HistoryIncompleteError, match=f"{away} of its stores"):
                history.fingerprint(NOW - 600, NOW)


@pytest.mark.parametrize("stores", [None, "x", [], {"receive": None}, {"receive": [None, 5, {}, {"lastError": None}]}])
def test_a_list_of_stores_that_is_none(stores: Any) -> None:
    """Whoever has another thing at that path has no stores."""
    answers = {**dict.fromkeys(QUERIES, reply()), "/api/v1/stores": {"status": "success", "data": stores}}
    with answering("OTEL_TTS_PROMETHEUS_URL", answers) as (history, _):
        assert history.fingerprint(NOW - 600, NOW) == "3"


@pytest.mark.parametrize("status", [422, 500, 503])
def test_a_refusal_has_its_reason(status: int) -> None:
    """What Thanos answers when it may not leave out what is away."""
    body = {"status": "error", "errorType": "execution", "error": f"expanding series: {AWAY}"}
    message = f"answered {status}: expanding series: {AWAY}"
    with (
        answering("OTEL_TTS_PROMETHEUS_URL", dict.fromkeys(QUERIES, body), status) as (history, _),
        pytest.raises(HistoryUnavailableError, match=message),
    ):
        history.totals(NOW - 600, NOW)


@pytest.mark.parametrize("part", PARTS)
def test_doctor_does_not_count_in_a_part(part: str) -> None:
    """What was missing before would look like growth afterwards."""
    body, reason = PARTS[part]
    with answering("OTEL_TTS_PROMETHEUS_URL", dict.fromkeys(QUERIES, body)) as (history, requests):
        [address] = re.findall(r"http://[\d.:]+", history.source.partition(" and ")[0])
        settings = DoctorSettings.load({"OTEL_TTS_PROMETHEUS_URL": address})
        with pytest.raises(HopBrokenError, match="gave only a part of the metrics") as raised:
            Counter(Server(settings.prometheus, "")).counts()
        assert reason in str(raised.value)
        assert requests[0]["partial_response"] == "false"
