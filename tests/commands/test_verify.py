"""`otel-tts verify` against real services: exact when they count right, and never content when something is not."""

from __future__ import annotations

import os
import subprocess
import threading
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry, start_http_server

from otel_tts.cli import main
from otel_tts.commands.load.caller import Reply
from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.verify import account
from otel_tts.commands.verify.command import verdict
from otel_tts.commands.verify.scrape import NoMetricsError, Scrape, read
from otel_tts.semconv import CacheResult, Outcome
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.commands.conftest import OTEL_TTS, Served, serving
from tests.ports import free_port

Request = tts_pb2.SynthesizeRequest
STREAM = "yap.tts.v1.TextToSpeech/SynthesizeStream"
UNARY = "yap.tts.v1.TextToSpeech/Synthesize"


def verify(service: Served, *options: str, iterations: int = 20, seed: int = 7) -> Result:
    """What `otel-tts verify` says of a service."""
    where = ("--target", service.target, "--metrics-url", service.metrics_url)
    return CliRunner().invoke(main, ["verify", "--iterations", str(iterations), "--seed", str(seed), *where, *options])


def rows(output: str) -> dict[tuple[str, str], tuple[str, str, str]]:
    """The table: expected, counted and verdict of each number."""
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    title = ""
    table = output.partition("─\n")[2].partition("Seconds are the same")[0]
    for line in table.splitlines():
        title = line[:19].strip() or title
        cells = line[19:].split()
        for position, cell in enumerate(cells):
            if cell in ("same", "differs"):
                found[title, " ".join(cells[: position - 2])] = (
                    cells[position - 2],
                    cells[position - 1],
                    " ".join(cells[position:]),
                )
    return found


def test_a_service_that_counts_right_passes(served: Served) -> None:
    """Twenty requests, a fifth of them invalid, twice: everything agrees, whatever was counted before."""
    for _ in range(2):
        result = verify(served)
        assert result.exit_code == 0, result.output
        found = rows(result.output)
        assert found["requests", "ok"] == ("16", "16", "same")
        assert found["requests", "rejected"] == ("4", "4", "same")
        assert {title for title, _ in found} == {
            "requests", "requests by voice", "cache results", "characters", "seconds of audio", "RPCs",
        }  # fmt: skip
        assert {expected == counted for expected, counted, _ in found.values()} == {True}
        assert "The service counted all 20 requests exactly." in result.output


def test_identical_requests_at_once_are_accounted_for(served: Served) -> None:
    """Eight at once: some share an engine call, and that is known from their answers."""
    result = verify(served, "--concurrency", "8", iterations=120, seed=3)
    assert result.exit_code == 0, result.output
    assert ("cache results", "coalesced") in rows(result.output)


def test_traffic_of_others_is_a_difference(served: Served) -> None:
    """A single client beside it, and the counts are no longer what was sent: exit code 1, and by how much they differ."""
    over = threading.Event()

    def talk() -> int:
        with grpc.insecure_channel(served.target) as channel:
            stub = tts_pb2_grpc.TextToSpeechStub(channel)
            said = 0
            while not over.wait(0.02):
                stub.Synthesize(Request(text="Me too."))
                said += 1
            return said

    with futures.ThreadPoolExecutor() as pool:
        talking = pool.submit(talk)
        result = verify(served)
        over.set()
    assert result.exit_code == 1, result.output
    expected, counted, said = rows(result.output)["requests", "ok"]
    assert 16 == int(expected) < int(counted) <= 16 + talking.result()
    assert said == f"differs +{int(counted) - 16}"
    assert rows(result.output)["requests", "rejected"] == ("4", "4", "same")
    assert "numbers differ. Did another client use the service at the same time?" in " ".join(result.output.split())


def test_metrics_switched_off_fail_and_say_why(tmp_path: Path) -> None:
    """No endpoint with METRICS_ENABLED=false; somebody else's endpoint has nothing of the service."""
    with serving(tmp_path / "data", METRICS_ENABLED="false") as service:
        result = verify(service)
        assert result.exit_code == 1
        said = " ".join(result.output.split())
        assert (
            f"Error: No metrics at {service.metrics_url}: it does not answer. Does the service run with METRICS_ENABLED=false"
            in said
        )

        server, thread = start_http_server(0, addr="127.0.0.1", registry=CollectorRegistry())
        try:
            result = verify(service, "--metrics-url", f"http://127.0.0.1:{server.server_port}/metrics")
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        assert result.exit_code == 1
        said = " ".join(result.output.split())
        assert "The service answered 20 requests, and the endpoint has no tts.synthesis.duration." in said
        assert "METRICS_ENABLED=false?" in said


def test_another_service_s_endpoint_is_suspected(served: Served, tmp_path: Path) -> None:
    """Where nothing at all is counted, it is probably the wrong endpoint."""
    with serving(tmp_path / "data") as other:
        with grpc.insecure_channel(other.target) as channel:
            tts_pb2_grpc.TextToSpeechStub(channel).Synthesize(Request(text="So that it has something."))
        result = verify(served, "--metrics-url", other.metrics_url)
    assert result.exit_code == 1
    assert "Nothing was counted. If the endpoint belongs to another service," in " ".join(result.output.split())


def test_a_restart_is_noticed(tmp_path: Path) -> None:
    """Counters that began again, in a process that counted less or more meanwhile, are no verdict."""
    port, metrics_port = free_port(), free_port()
    scrapes = []
    for _ in range(2):
        with serving(tmp_path / "data", port, metrics_port) as service:
            assert verify(service).exit_code == 0
            scrapes.append(read(service.metrics_url))
    before, after = scrapes
    assert account.restarted(before, after)
    assert not account.restarted(before, before)
    assert verdict([], before, after, []) == ("The service was restarted in that time, so its counts are lost. Run it again.")


def test_nobody_there_is_one_line() -> None:
    """An unreachable target is an error of one line that says what to do."""
    target = f"127.0.0.1:{free_port()}"
    command = [*OTEL_TTS, "verify", "--target", target]
    result = subprocess.run(command, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: No speech service answers at {target} (UNAVAILABLE). "
        "Start one with `otel-tts serve`, or give --target HOST:PORT.\n"
    )


def test_the_defaults_are_those_of_serve(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables that the service has, no option is needed."""
    monkeypatch.setenv("TTS_PORT", str(served.port))
    monkeypatch.setenv("PROMETHEUS_PORT", str(served.metrics_port))
    result = CliRunner().invoke(main, ["verify", "--iterations", "5"])
    assert result.exit_code == 0, result.output


def test_a_url_that_is_none_is_refused(served: Served) -> None:
    """Only HTTP is read: no files."""
    result = verify(served, "--metrics-url", "file:///etc/hosts")
    assert result.exit_code == 2
    assert "it takes an http:// or https:// address" in result.output


# -- the account -------------------------------------------------------------------------------------------------------


def test_what_calls_must_have_added() -> None:
    """A hit, a miss that was streamed, a refusal, a full queue and a stream that broke off, number by number."""
    said = Planned(Request(text="Grüße 🙂"), stream=False)
    streamed = Planned(Request(text="Once upon"), stream=True)
    calls = [
        (said, Reply("OK", True, 1.5, 1, CacheResult.HIT)),
        (streamed, Reply("OK", True, 2.25, 4, CacheResult.MISS)),
        (said, Reply("NOT_FOUND", True)),
        (said, Reply("RESOURCE_EXHAUSTED", True)),
        (streamed, Reply("UNAVAILABLE", True, 0.5, 1, CacheResult.MISS)),
        (streamed, Reply("DEADLINE_EXCEEDED", False)),  # nobody knows
    ]
    expected = {measure.title: measure.expected(calls) for measure in account.MEASURES}
    outcomes = {("ok",): 2, ("rejected",): 1, ("error",): 1, ("partial",): 1}
    assert expected == {
        "requests": outcomes,
        "requests by voice": outcomes,
        "cache results": {("hit",): 1, ("miss",): 1},
        "characters": {("cached",): 7, ("synthesized",): 18, ("wasted",): 14},
        "seconds of audio": {("cache",): 1.5, ("provider",): 2.75},
        "RPCs": {
            (UNARY, "OK"): 1,
            (UNARY, "NOT_FOUND"): 1,
            (UNARY, "RESOURCE_EXHAUSTED"): 1,
            (STREAM, "OK"): 1,
            (STREAM, "UNAVAILABLE"): 1,
        },
    }


@pytest.mark.parametrize(
    ("reply", "known"),
    [
        (Reply("OK", True), Outcome.OK),
        (Reply("OK", False), None),  # a stream without its trailer
        (Reply("INVALID_ARGUMENT", False), Outcome.REJECTED),  # also from a service that does not trace
        (Reply("UNIMPLEMENTED", True), Outcome.REJECTED),
        (Reply("UNAVAILABLE", True), Outcome.ERROR),
        (Reply("UNAVAILABLE", False), None),  # it may never have been reached
        (Reply("INTERNAL", True), None),  # no audio, or a bug
        (Reply("CANCELLED", False), None),
    ],
)
def test_what_a_caller_can_know(reply: Reply, known: Outcome | None) -> None:
    """The outcome follows from the answer, or there is no telling."""
    assert account.outcome(reply) is known


def test_what_cannot_be_known_is_no_pass() -> None:
    """A call that ended on this side leaves the verdict open, and that is said."""
    calls = [(Planned(Request(text="a"), stream=False), Reply("DEADLINE_EXCEEDED", False))]
    assert verdict(calls, Scrape({}), Scrape({}), []) == (
        "Of 1 requests the client cannot know what the service should have counted: 1 DEADLINE_EXCEEDED."
    )


def test_what_is_no_metrics_text_is_refused() -> None:
    """Some other page behind the address is told from metrics."""
    with pytest.raises(NoMetricsError, match="not Prometheus's text format"):
        Scrape.parse("<html>\nhello {")
