"""`otel-tts requests` and `otel-tts trace`: on files that a real service wrote, and on ones written here for exact pictures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from otel_tts import files
from otel_tts.cli import main
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.commands.conftest import Served, until

Request = tts_pb2.SynthesizeRequest


def run(*arguments: str, columns: int = 120) -> Result:
    """A command, in a terminal of that width."""
    return CliRunner().invoke(main, arguments, env={"COLUMNS": str(columns)})


# -- what a service wrote ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trace_ids(served: Served) -> dict[str, str]:
    """The ids that callers got back for a stream, the same from the cache, and a refusal."""
    trace_ids = {}
    with grpc.insecure_channel(served.target) as channel:
        stub = tts_pb2_grpc.TextToSpeechStub(channel)
        for name in ("stream", "cached"):
            parts = list(stub.SynthesizeStream(Request(text="A text for the list of requests.", voice="heart")))
            trace_ids[name] = parts[0].header.trace_id
        with pytest.raises(grpc.RpcError) as refused:
            stub.Synthesize(Request(text="Who?", voice="nobody"))
        metadata: Any = refused.value
        trace_ids["refused"] = dict(metadata.trailing_metadata())["traceresponse"].split("-")[1]
    return trace_ids


@pytest.fixture
def read_back(served: Served, trace_ids: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Their ids, as soon as all can be read."""
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(served.data_dir))
    until(lambda: all(run("trace", trace_id).exit_code == 0 for trace_id in trace_ids.values()))
    return trace_ids


def test_recent_requests_come_newest_first(read_back: dict[str, str]) -> None:
    """The last three are there with the ids that callers know, what they asked for and how it went."""
    listed = json.loads(run("requests", "--json", "--limit", "3").stdout)["requests"]
    assert [request["trace_id"] for request in listed] == [read_back["refused"], read_back["cached"], read_back["stream"]]
    kept = ("outcome", "error_type", "provider", "voice", "stream", "characters", "cache_result", "fallback_used")
    assert [[request[key] for key in kept] for request in listed] == [
        ["rejected", "invalid_input", None, "nobody", False, 4, "bypass", False],
        ["ok", None, "hibari", "heart", True, 32, "hit", False],
        ["ok", None, "hibari", "heart", True, 32, "miss", False],
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--outcome", "rejected", "--limit", "1"), ["refused"]),
        (("--provider", "hibari", "--limit", "2"), ["cached", "stream"]),
        (("--since", "10m", "--limit", "3"), ["refused", "cached", "stream"]),
        (("--since", "1h", "--outcome", "ok", "--limit", "1"), ["cached"]),
        (("--slower-than", "100"), []),
        (("--error-type", "invalid_input", "--limit", "1"), ["refused"]),
        (("--voice", "heart", "--service", "otel-tts-service", "--limit", "2"), ["cached", "stream"]),
        (("--service", "another"), []),
        (("--until", "10m"), []),
        (("--problem", "affected", "--voice", "heart"), []),
        (("--where", "tts.cache.result=hit", "--until", "2100-01-01T00:00Z", "--limit", "1"), ["cached"]),
    ],
)
def test_filters(read_back: dict[str, str], options: tuple[str, ...], names: list[str]) -> None:
    """Each option leaves out what it says, and they add up."""
    listed = json.loads(run("requests", "--json", *options).stdout)["requests"]
    assert [request["trace_id"] for request in listed] == [read_back[name] for name in names]


@pytest.mark.parametrize(("columns", "digits"), [(80, 8), (120, 12)])
def test_the_list_fits_the_terminal(read_back: dict[str, str], columns: int, digits: int) -> None:
    """No line is longer than the terminal is wide, nothing is cut off, and the ids find their traces."""
    output = run("requests", "--limit", "3", columns=columns).output
    assert max(map(len, output.splitlines())) <= columns
    assert "…" not in output
    newest, cached, _ = (line.split() for line in output.splitlines()[2:5])
    first = 1 if columns < 120 else 2  # behind the date, where there is room for one
    assert newest[first : first + 3] == [read_back["refused"][:digits], "rejected", "-"]
    assert newest[-1] == "invalid_input"
    assert [cached[first], cached[-1]] == [read_back["cached"][:digits], "hit"]
    assert run("trace", newest[first]).output.startswith(f"trace {read_back['refused']}")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_trace_is_drawn(read_back: dict[str, str], columns: int) -> None:
    """The tree of a stream: RPC, request and attempt below each other with their facts and events."""
    output = run("trace", read_back["stream"], columns=columns).output
    assert max(map(len, output.splitlines())) <= columns
    lines = [re.sub(r"\s+", " ", line).strip(" ━") for line in output.splitlines()]
    patterns = [
        f"trace {read_back['stream']}",
        r"20\d\d-.*, took .*, otel-tts-service",
        r"yap.tts.v1.TextToSpeech/SynthesizeStream [\d.]+ m?s",
        "server, OK",
        r"└── tts.synthesize [\d.]+ m?s",
        "ok, by hibari, model hibari-heart, voice heart",
        "32 characters, cache miss, 1 attempt",
        r"first byte .*, first audio .*, real-time factor 0\.\d{3}",
        r"[\d.]+ s of audio, .*pcm16, 24000 Hz",
        r"└── text_to_speech hibari-heart [\d.]+ m?s",
        "ok, initial attempt, by hibari, model hibari-heart",
        r"\+[\d.]+ m?s first byte",
        r"\+[\d.]+ m?s first audio",
    ]
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.match(pattern, line) for line in rest), f"{pattern!r} is missing, or in another place, in:\n{output}"


def test_every_attribute_on_demand(read_back: dict[str, str]) -> None:
    """`--all` has the attributes by their own names."""
    output = run("trace", read_back["refused"], "--all").output
    assert {"rpc.response.status_code NOT_FOUND", "tts.outcome rejected", "tts.text.length 4"} <= {
        line.strip(" │└─") for line in output.splitlines()
    }


# -- what is written here ----------------------------------------------------------------------------------------------


def span(number: int, parent: int, name: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    """A span in OTLP/JSON; times are seconds after the minute, attributes as Python has them."""
    kinds = {str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}

    def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in values.items()]

    minute = 1_767_225_600
    at = more.pop("trace", "0af7651916cd43dd8448eb211c80319c")
    return {
        "traceId": at,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": more.get("kind", 1),
        "startTimeUnixNano": str(int((minute + start) * 1e9)),
        "endTimeUnixNano": str(int((minute + end) * 1e9)),
        "status": {"code": more.get("status", 0)},
        "attributes": attributes(more.get("attributes", {})),
        "events": [
            {"name": event, "timeUnixNano": str(int((minute + moment) * 1e9)), "attributes": attributes(values)}
            for event, moment, values in more.get("events", ())
        ],
    }


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A trace of a request whose first provider failed, and another with a similar id."""
    attempt = {
        "gen_ai.provider.name": "openai",
        "tts.outcome": "error",
        "error.type": "unavailable",
        "tts.attempt.reason": "initial",
    }
    second = {"gen_ai.provider.name": "hibari", "tts.outcome": "ok", "tts.attempt.reason": "fallback"}
    whole = {
        "tts.outcome": "ok", "gen_ai.provider.name": "hibari", "tts.cache.result": "miss", "tts.text.length": 12,
        "tts.attempt.count": 2, "tts.fallback.used": True, "tts.audio.duration": 1.5,
    }  # fmt: skip
    exception = ("exception", 0.25, {"exception.type": "httpx.HTTPStatusError"})
    spans = [
        span(1, 9, "yap.tts.v1.TextToSpeech/Synthesize", 0, 1, kind=2, attributes={"rpc.response.status_code": "OK"}),
        span(2, 1, "tts.synthesize", 0, 1, attributes=whole),
        span(3, 2, "text_to_speech cloud-1", 0, 0.25, kind=3, status=2, attributes=attempt, events=[exception]),
        span(4, 2, "text_to_speech hibari-heart", 0.5, 1, attributes=second, events=[("tts.first_byte", 0.75, {})]),
        span(5, 0, "tts.synthesize", 0, 1, trace="0af7651916cd43dd" + "f" * 16, attributes={"tts.outcome": "ok"}),
    ]
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "speech"}}]}
    path = files.partition(tmp_path / "data", "traces", time.time(), "1-a", 0).path
    path.parent.mkdir(parents=True)
    request = {"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": spans}]}]}
    path.write_text(json.dumps(request, separators=(",", ":")) + "\n", encoding="utf-8")
    monkeypatch.setenv("OTEL_TTS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield path
    monkeypatch.undo()
    time.tzset()


def test_the_picture_of_a_fallback(written: Path) -> None:
    """The whole drawing: durations, offsets in the waterfall, both attempts, events, and words for whatever has a colour."""
    output = run("trace", "0af7651916cd43dd8", columns=80).output
    assert [line.rstrip() for line in output.splitlines()] == [
        "trace 0af7651916cd43dd8448eb211c80319c",
        "2026-01-01 00:00:00 UTC, took 1.00 s, speech",
        "yap.tts.v1.TextToSpeech/Synthesize               1.00 s ━━━━━━━━━━━━━━━━━━━━━━━━",
        "server, OK",
        "└── tts.synthesize                               1.00 s ━━━━━━━━━━━━━━━━━━━━━━━━",
        "    ok, by hibari",
        "    12 characters, cache miss, 2 attempts, fallback used",
        "    1.50 s of audio",
        "    ├── text_to_speech cloud-1                   250 ms ━━━━━━",
        "    │   failed, client, error, because of unavailable, initial attempt, by",
        "    │   openai",
        "    │   +250 ms exception httpx.HTTPStatusError",
        "    └── text_to_speech hibari-heart              500 ms             ━━━━━━━━━━━━",
        "        ok, fallback attempt, by hibari",
        "        +250 ms first byte",
    ]


def test_what_happened_beside_the_attempts_is_drawn(written: Path) -> None:
    """Providers that were skipped, requests that were joined, and what the caller said of the request."""
    request = json.loads(written.read_text())
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    skipped = ("tts.provider.skipped", 0.1, {"gen_ai.provider.name": "piper", "error.type": "circuit_open"})
    joined = span(
        6, 0, "tts.synthesize", 0, 1, trace="1af7651916cd43dd" + "f" * 16,
        attributes={"tts.outcome": "ok", "app.tenant": "acme", "app.seat": 3, "gen_ai.conversation.id": "c-1"},
        events=[skipped, ("tts.coalesced", 0.2, {"gen_ai.provider.name": "hibari"})],
    )  # fmt: skip
    joined["links"] = [{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": f"{2:016x}"}]
    spans.append(joined)
    written.write_text(json.dumps(request, separators=(",", ":")) + "\n", encoding="utf-8")
    output = " ".join(run("trace", "1af7651916cd43dd").output.split())
    assert "caller's attributes app.seat=3, app.tenant=acme" in output
    assert "conversation c-1" in output
    assert "+100 ms skipped piper: circuit_open" in output
    assert "+200 ms joined an identical request that was under way at hibari" in output
    assert "joined the request of trace 0af7651916cd43dd8448eb211c80319c" in output


@pytest.mark.parametrize(("first_audio", "late"), [(0.2, False), (0.374, False), (0.699, True)])
def test_first_audio_after_the_end_is_explained(first_audio: float, late: bool, written: Path) -> None:
    """Audio that is made faster than it is played begins to sound later than it was handed out, where it begins with silence."""
    request = json.loads(written.read_text())
    trace = "3af7651916cd43dd" + "f" * 16
    times = {"tts.time_to_first_byte": 0.1, "tts.time_to_first_audio": first_audio}
    request["resourceSpans"][0]["scopeSpans"][0]["spans"] += [
        span(7, 0, "tts.synthesize", 0, 0.374, trace=trace, attributes={"tts.outcome": "ok", **times}),
        span(8, 7, "text_to_speech", 0, 0.374, trace=trace, events=[("tts.first_audio", first_audio, {})]),
    ]
    written.write_text(json.dumps(request, separators=(",", ":")) + "\n", encoding="utf-8")
    output = " ".join(run("trace", trace[:16]).output.split())
    assert ("first audio is heard after the end: the audio begins with 599 ms of silence" in output) is late
    assert ("+699 ms first audio, heard after the end" in output) is late
    assert ("Where 1st audio is later than took, the audio begins with silence" in run("requests").output) is late


def test_what_an_sdk_sent_once_more_is_drawn(written: Path) -> None:
    """How often, why and after how long; the list of requests has a column for it, and a filter."""
    request = json.loads(written.read_text())
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    trace = "2af7651916cd43dd" + "f" * 16
    limited = ("tts.resend", 0.6, {"error.type": "rate_limited", "http.response.status_code": 429, "tts.resend.delay": 0.5})
    reset = ("tts.resend", 0.8, {"error.type": "connection", "tts.resend.delay": 0.1})
    spans += [
        span(7, 0, "tts.synthesize", 0, 1, trace=trace, attributes={"tts.outcome": "ok", "tts.resend.count": 2}),
        span(8, 7, "text_to_speech", 0, 1, trace=trace, attributes={"tts.resend.count": 2}, events=[limited, reset]),
    ]
    written.write_text(json.dumps(request, separators=(",", ":")) + "\n", encoding="utf-8")
    output = " ".join(run("trace", trace[:16]).output.split())
    assert "2 resends" in output
    assert "+600 ms sent again after rate_limited (429), 500 ms later" in output
    assert "+800 ms sent again after connection, 100 ms later" in output
    listed = json.loads(run("requests", "--json", "--where", "tts.resend.count=2").stdout)["requests"]
    assert [(request["trace_id"], request["resends"]) for request in listed] == [(trace, 2)]
    assert "resends" in run("requests", columns=200).output
    assert "resends" not in run("requests", "--where", "tts.outcome=partial", columns=200).output


def test_an_ambiguous_id_asks_for_more(written: Path) -> None:
    """Digits that two traces begin with are refused with both ids."""
    result = run("trace", "0af76519")
    assert result.exit_code == 2
    assert "Several traces begin with '0af76519'" in result.output


@pytest.mark.parametrize(
    ("given", "code", "message"), [("deadbeef", 1, "No trace deadbeef in "), ("xyz", 2, "'xyz' is no trace id")]
)
def test_an_unknown_id_is_an_error(written: Path, given: str, code: int, message: str) -> None:
    """It says what was looked for and where, or what an id looks like."""
    result = run("trace", given)
    assert (result.exit_code, message in result.output) == (code, True)


def test_nothing_yet_says_what_to_do(tmp_path: Path) -> None:
    """Before any telemetry there are no requests, and two commands to have some."""
    result = run("requests")
    assert result.exit_code == 0
    assert f"there is no telemetry in local files in {tmp_path}" in result.output
    assert "Run `otel-tts demo`, or `otel-tts serve`" in result.output
    assert json.loads(run("requests", "--json").output) == {"version": 1, "command": "requests", "requests": []}


def test_no_match_says_so(written: Path) -> None:
    """Where there is telemetry and a filter leaves nothing of it, that is not the empty state."""
    assert "No request matches. Remove a filter" in run("requests", "--since", "1s").output


def test_a_wrong_length_of_time_is_refused() -> None:
    """`--since` says how a length of time is written."""
    result = run("requests", "--since", "soon")
    assert result.exit_code == 2
    assert "'soon' is no length of time: say 30s, 10m, 2h or 1d." in " ".join(result.output.split())
