"""Pipecat with six of its services, in an environment of its own: it needs an older protobuf than the reference service.

The program writes local files, which are read here; that also shows that otel-tts without its extras installs beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_tts import semconv
from otel_tts.history import Request, Trace, open_history
from otel_tts.history.otlp import Unreadable
from otel_tts.history.partitions import partitions, readable
from otel_tts.history.requests import RequestFilter
from otel_tts.history.traces import spans
from otel_tts.instrumentation.pipecat import PipecatInstrumentor
from otel_tts.settings import HistorySettings
from tests.instrumentation.speech_http import SpeechHttp
from tests.instrumentation.speech_sockets import RATE, SpeechSockets

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".tools" / "pipecat" / "bin" / "python"
PROGRAM = ROOT / "tests" / "instrumentation" / "programs" / "pipecat_agent.py"
REQUIRES = PipecatInstrumentor.requires
TURNS = ("Good morning. How are you today?", "This is another one.")
SOCKETS = ("cartesia", "elevenlabs", "deepgram")
NEWER = ("elevenlabs dialogue", "deepgram flux")
"""Their other protocols."""

pytestmark = pytest.mark.skipif(
    not PYTHON.exists() and os.environ.get("REQUIRE_TOOLS") != "1", reason="`make tools` installs Pipecat"
)


class Run:
    """One run of the program: what its sink got, and what was recorded."""

    def __init__(self, directory: Path, provider: SpeechSockets | None, *arguments: str, faults: Sequence[str] = ()) -> None:
        environ = {**os.environ, "OTEL_TTS_DATA_DIR": str(directory), "PYTHONPATH": str(ROOT), "OTEL_SERVICE_NAME": "agent"}
        process = subprocess.Popen(
            [str(PYTHON), str(PROGRAM), *arguments], env=environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        if "interrupt" in arguments and provider is not None:
            assert process.stdout.readline() == "interrupted\n"
            provider.hold.set()
        for fault in faults:
            assert process.stdout.readline() == "next\n"
            assert provider is not None
            provider.fault = fault if fault != "none" else ""
            process.stdin.write(fault + "\n")
            process.stdin.flush()
        out, err = process.communicate("\n" if "interrupt" in arguments else None, timeout=100)
        assert process.returncode == 0, err[-3000:]
        self.got: dict[str, Any] = json.loads(out.splitlines()[-1])
        self._directory = directory
        self._history = open_history(HistorySettings.load(data_dir=directory))
        self.requests: Sequence[Request] = sorted(self._history.requests(RequestFilter()), key=lambda request: request.start)

    def connections(self, name: str) -> list[str | None]:
        """The connections to a provider that were opened, or not: what was wrong with each, the first one first."""
        opened = [
            span
            for partition in partitions(self._directory, "traces")
            for _, line in readable(partition.path)
            for span in spans(json.loads(line), Unreadable(), "tts.connect")
            if span.attributes[semconv.PROVIDER.key] == name
        ]
        return [span.attributes.get(semconv.ERROR_TYPE.key) for span in sorted(opened, key=lambda span: span.start)]

    def trace(self, request: Request) -> Trace:
        """Its trace."""
        trace = self._history.trace(request.trace_id)
        assert trace is not None
        return trace

    def attempts(self, request: Request) -> list[tuple[Any, ...]]:
        """Provider, outcome and whether the connection was reused."""
        keys = semconv.PROVIDER.key, semconv.OUTCOME.key, semconv.CONNECTION_REUSED.key
        return [
            tuple(span.attributes.get(key) for key in keys)
            for _, span in self.trace(request).walk()
            if span.parent_id == request.span_id and span.name.startswith("text_to_speech")
        ]


def seconds(size: int) -> float:
    """Of 16 bit samples."""
    return size / 2 / RATE


@pytest.mark.parametrize("name", SOCKETS + NEWER)
def test_two_turns_on_one_connection(name: str, provider: SpeechSockets, tmp_path: Path) -> None:
    """Each turn is one request, however many sentences it has, with the audio that the sink got, below Pipecat's span of the turn."""
    run = Run(tmp_path, provider, name, provider.url, "speak")
    assert run.got["errors"] == 0
    assert [request.outcome for request in run.requests] == ["ok", "ok"]
    for request, size, text in zip(run.requests, run.got["audio"], TURNS, strict=True):
        assert (request.provider, request.conversation) == (name.partition(" ")[0], "call 7")
        assert request.delivered == pytest.approx(seconds(size), abs=0.001)
        assert request.audio_duration == pytest.approx(seconds(size), abs=0.02)
        assert abs((request.characters or 0) - len(text)) <= 3  # Pipecat ends sentences with a blank
        assert 0 < (request.ttfb or 0) <= request.duration
        assert 0 < (request.rtf or 0) < 20
        assert [attempt[:2] for attempt in run.attempts(request)] == [(name.partition(" ")[0], "ok")]
        names = [span.name for _, span in run.trace(request).walk()]
        assert "turn" in names
        assert names.index("turn") < names.index("tts.synthesize")
    sent_s = seconds(sum(map(len, provider.audio.values())))
    assert sum(request.audio_duration or 0 for request in run.requests) == pytest.approx(sent_s, abs=0.04), "what the server sent"


def test_the_host_gets_the_same(provider: SpeechSockets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Observed or not, the sink gets the same audio; what it cost is the user's price for the text."""
    prices = tmp_path / "prices.toml"
    prices.write_text("[cartesia]\nusd_per_million_characters = 4.0\n")
    monkeypatch.setenv("OTEL_TTS_PRICES", str(prices))
    run = Run(tmp_path / "observed", provider, "cartesia", provider.url, "speak")
    plain = Run(tmp_path / "plain", provider, "cartesia", provider.url, "speak", "plain")
    assert (run.got, list(plain.requests)) == (plain.got, [])
    assert [request.cost for request in run.requests] == [pytest.approx(4e-6 * (r.characters or 0)) for r in run.requests]


def test_a_provider_that_falls_silent(provider: SpeechSockets, tmp_path: Path) -> None:
    """Pipecat gives it up after a while and says nothing: the turn is partial, because of a timeout."""
    provider.hold.clear()
    run = Run(tmp_path, provider, "cartesia", provider.url, "break")
    assert (run.requests[0].outcome, run.requests[0].error_type) == ("partial", "timeout")


@pytest.mark.parametrize("name", SOCKETS)
def test_a_turn_without_audio(name: str, provider: SpeechSockets, tmp_path: Path) -> None:
    """The provider says that it is done and has made nothing: a failure of it, though Pipecat takes it for a turn as any other."""
    provider.mute = True
    run = Run(tmp_path, provider, name, provider.url, "break")
    assert run.got["audio"] == []
    assert [(request.outcome, request.error_type) for request in run.requests] == [("empty", "no_audio")]


@pytest.mark.parametrize("name", SOCKETS + NEWER)
def test_an_interruption(name: str, provider: SpeechSockets, tmp_path: Path) -> None:
    """The interrupted turn is cancelled with its reason and what went on before it; the next turn is whole."""
    provider.hold.clear()
    run = Run(tmp_path, provider, name, provider.url, "interrupt")
    cut, whole = run.requests
    assert (cut.outcome, cut.cancel_reason) == ("cancelled", "interrupted")
    assert (cut.delivered or 0) == pytest.approx(seconds(run.got["audio"][0]), abs=0.001)
    assert 0 < (cut.interrupted or 0) <= cut.duration
    assert cut.silent is not None
    assert whole.outcome == "ok"
    assert whole.delivered == pytest.approx(seconds(run.got["audio"][1]), abs=0.001)


@pytest.mark.parametrize("name", SOCKETS)
def test_what_breaks_in_the_middle(name: str, provider: SpeechSockets, tmp_path: Path) -> None:
    """An error of the server, a lost connection, a close without an end: none of these turns is ok, and the one after them is."""
    connections = provider.connections
    run = Run(tmp_path, provider, name, provider.url, "faults", faults=("error", "lost", "closed", "none"))
    outcomes = [request.outcome for request in run.requests]
    assert outcomes[:3] == ["partial"] * 3
    if name != "deepgram":  # after a close that is no error, its service does not connect again
        assert outcomes[3:] == ["ok"]
        assert provider.connections >= connections + 3, "it connected again after each of the two, and after an error at most"
    assert run.connections(name) == [None] * (provider.connections - connections), "each that the server accepted, and no other"
    after = seconds(sum(run.got["audio"])) - sum(request.delivered or 0 for request in run.requests)
    assert -0.01 < after < 0.3, "a piece at most went on to the sink after its turn had failed"


@pytest.mark.parametrize("name", SOCKETS)
def test_a_connection_that_cannot_be_opened(name: str, provider: SpeechSockets, tmp_path: Path) -> None:
    """The turn fails: nothing was handed out, and all its text was in vain."""
    provider.refuse = True
    run = Run(tmp_path, provider, name, provider.url, "refused")
    assert run.got["audio"] == []
    assert run.got["errors"] > 0
    assert set(run.connections(name)) == {"unauthorized"}, "each try is a connection that could not be opened"
    assert [request.outcome for request in run.requests] in (["error"], [])


def test_a_service_over_http(studio: str, tmp_path: Path) -> None:
    """OpenAI's: one request a turn, also where its SDK is observed, with an attempt for each."""
    run = Run(tmp_path, None, "openai", studio, "speak")
    assert [(request.outcome, request.provider) for request in run.requests] == [("ok", "openai"), ("ok", "openai")]
    for request, size in zip(run.requests, run.got["audio"], strict=True):
        assert request.delivered == pytest.approx(seconds(size), abs=0.001)


def test_resends_of_a_vendor_s_sdk(tmp_path: Path) -> None:
    """A service whose SDK asks again by itself after a 429: the turn is ok, and says how often, why and after how long."""
    with SpeechHttp().running() as vendor:
        vendor.statuses = [429]
        run = Run(tmp_path, None, "openai", vendor.url, "speak")
        assert vendor.asked == len(run.got["audio"]) + 1 + 1, "two sentences in the first turn, one in the second, and the resend"
    assert [(request.outcome, request.resends) for request in run.requests] == [("ok", 1), ("ok", None)]
    events = [event for _, span in run.trace(run.requests[0]).walk() for event in span.events if event.name == "tts.resend"]
    assert [(event.attributes["error.type"], event.attributes["http.response.status_code"]) for event in events] == [
        ("rate_limited", 429)
    ]
    assert 0 <= events[0].attributes["tts.resend.delay"] < 10
