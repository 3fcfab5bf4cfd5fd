"""`otel-tts verify` against real services: exact when they count right, and never content when something is not."""

from __future__ import annotations

import asyncio
import math
import os
import re
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, start_http_server
from rich.console import Console

from otel_tts import promql, semconv
from otel_tts.cli import main
from otel_tts.commands.load.caller import Reply
from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.verify import account
from otel_tts.commands.verify.agreement import disagreements
from otel_tts.commands.verify.command import _verified, judge, verdict
from otel_tts.commands.verify.gaps import Gap, gaps
from otel_tts.commands.verify.measures import MEASURES
from otel_tts.commands.verify.scrape import NoMetricsError, Scrape, read
from otel_tts.core.prices import Prices
from otel_tts.semconv import CacheResult, Outcome
from otel_tts.service.proto.yap.tts.v1 import tts_pb2, tts_pb2_grpc
from tests.commands.conftest import OTEL_TTS, Served, serving
from tests.commands.lies import Lie, lies
from tests.ports import free_port

Request = tts_pb2.SynthesizeRequest
STREAM = "yap.tts.v1.TextToSpeech/SynthesizeStream"
UNARY = "yap.tts.v1.TextToSpeech/Synthesize"
FOUND = (
    semconv.SYNTHESIS_DURATION, semconv.RPC_DURATION, semconv.SYNTHESIS_REQUESTS, semconv.SYNTHESIS_ACTIVE,
    semconv.SYNTHESIS_FIRST_BYTE, semconv.SYNTHESIS_FIRST_AUDIO, semconv.SYNTHESIS_CHARACTERS, semconv.SYNTHESIS_AUDIO,
    semconv.ATTEMPT_DURATION, semconv.CLIENT_DURATION, semconv.CLIENT_FIRST_CHUNK, semconv.USAGE_COST, semconv.USAGE_COST_AVOIDED,
)  # fmt: skip


def verify(service: Served, *options: str, iterations: int = 20, seed: int = 7) -> Result:
    """What `otel-tts verify` says of a service."""
    where = ("--target", service.target, *(() if "--metrics-url" in options else ("--metrics-url", service.metrics_url)))
    arguments = ["verify", "--iterations", str(iterations), "--seed", str(seed), *where, *options]
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def rows(output: str) -> dict[tuple[str, str], tuple[str, str, str]]:
    """The table: expected, counted and verdict of each number."""
    verdicts: dict[tuple[str, str], tuple[str, str, str]] = {}
    head = next(line for line in output.splitlines() if line.startswith("metric "))
    width, title = head.index("attributes"), ""
    for line in output.partition("─\n")[2].partition("*: of any value")[0].splitlines():
        title = line[:width].strip() or title
        cells = line[width:].split()
        for position, cell in enumerate(cells):
            if cell in ("same", "within", "differs"):
                values = " ".join(pair.partition("=")[2] for pair in cells[: position - 2])
                verdicts[title, values] = (
                    cells[position - 2],
                    cells[position - 1],
                    " ".join(cells[position:]),
                )
    return verdicts


def total(output: str, title: str, value: str) -> tuple[int, int]:
    """What was expected and counted of a title, over all rows that have a value among their attributes."""
    chosen = [row for (title_of, values), row in rows(output).items() if title_of == title and value in values.split()]
    return sum(int(expected) for expected, _, _ in chosen), sum(int(counted) for _, counted, _ in chosen)


def test_a_service_that_counts_right_passes(served: Served) -> None:
    """Twenty requests, a fifth of them invalid, twice: everything agrees, whatever was counted before."""
    for _ in range(2):
        result = verify(served)
        assert result.exit_code == 0, result.output
        verdicts = rows(result.output)
        assert total(result.output, "requests", "ok") == (16, 16)
        assert total(result.output, "requests", "rejected") == (4, 4)
        assert {title for title, _ in verdicts} >= {
            "requests", "requests by voice", "characters", "seconds of audio", "RPCs", "first bytes", "under way", "seconds of requests",
        }  # fmt: skip
        assert {verdict for _, _, verdict in verdicts.values()} == {"same", "within"}
        printed = " ".join(result.output.split())
        assert f"The service counted 20 requests exactly, as far as was compared: {len(verdicts)} numbers." in printed
        assert "Not compared: the exact sums of tts.synthesis.duration," in printed


def test_identical_requests_at_once_are_accounted_for(served: Served) -> None:
    """Eight at once: some share an engine call, and that is known from their answers."""
    result = verify(served, "--concurrency", "8", iterations=120, seed=3)
    assert result.exit_code == 0, result.output
    assert any("coalesced" in values.split() for title, values in rows(result.output) if title == "requests")


def test_traffic_of_others_is_a_difference(served: Served) -> None:
    """A single client beside it, and the counts are no longer what was sent: exit code 1, and by how much they differ."""
    over = threading.Event()

    def talk() -> int:
        with grpc.insecure_channel(served.target) as channel:
            stub = tts_pb2_grpc.TextToSpeechStub(channel)
            printed = 0
            while not over.wait(0.02):
                stub.Synthesize(Request(text="Me too."))
                printed += 1
            return printed

    with futures.ThreadPoolExecutor() as pool:
        talking = pool.submit(talk)
        result = verify(served)
        over.set()
    assert result.exit_code == 1, result.output
    expected, counted = total(result.output, "requests", "ok")
    assert 16 == expected < counted <= 16 + talking.result()
    assert total(result.output, "requests", "rejected") == (4, 4)
    assert "numbers. Did another client use the service at the same time?" in " ".join(result.output.split())


def test_metrics_switched_off_fail_and_say_why(tmp_path: Path) -> None:
    """No endpoint with METRICS_ENABLED=false; somebody else's endpoint has nothing of the service."""
    with serving(tmp_path / "data", METRICS_ENABLED="false") as service:
        result = verify(service)
        assert result.exit_code == 1
        printed = " ".join(result.output.split())
        assert (
            f"Error: No metrics at {service.metrics_url}: it does not answer. Does the service run with METRICS_ENABLED=false"
            in printed
        )

        server, thread = start_http_server(0, addr="127.0.0.1", registry=CollectorRegistry())
        try:
            result = verify(service, "--metrics-url", f"http://127.0.0.1:{server.server_port}/metrics")
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        assert result.exit_code == 1
        printed = " ".join(result.output.split())
        assert "The service answered 20 requests, and the endpoint has no tts.synthesis.duration." in printed
        assert "METRICS_ENABLED=false?" in printed


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
    judgement = judge([], before, after)
    problem = verdict([], before, after, judgement)
    assert problem.startswith(
        "The service was restarted in that time, so its counts are lost. Run it again. If several replicas share"
    )


def test_nobody_there_is_one_line() -> None:
    """An unreachable target is an error of one line that says what to do."""
    target = f"127.0.0.1:{free_port()}"
    command = [*OTEL_TTS, "verify", "--target", target]
    result = subprocess.run(command, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        f"Error: No speech service answers at {target} (UNAVAILABLE). "
        "Start one with `otel-tts serve`, or give --target HOST:PORT. "
    )


def test_a_service_that_is_not_ours_is_told_what_cannot_be_done_and_what_can() -> None:
    """Another gRPC service: why its counts cannot be verified, and the commands and the fixture that are there for it."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    result = CliRunner().invoke(main, ["verify", "--target", f"127.0.0.1:{port}"])
    server.stop(None).wait()
    output = " ".join(result.output.split())
    assert result.exit_code == 1
    assert f"What listens at 127.0.0.1:{port} is not the speech service yap.tts.v1." in output
    assert "Of another service it cannot know that." in output
    for way in ("otel-tts doctor --trace-id", "--wait", "otel-tts trace", "capture_tts"):
        assert way in output
    described = " ".join(CliRunner().invoke(main, ["verify", "--help"]).output.split())
    assert "It needs a service that speaks yap.tts.v1" in described
    assert "For any other:" in described


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
    printed = Planned(Request(text="Grüße 🙂"), stream=False)
    streamed = Planned(Request(text="Once upon"), stream=True)
    calls = [
        (printed, Reply("OK", True, 1.5, 1, CacheResult.HIT, "p", "m")),
        (streamed, Reply("OK", True, 2.25, 4, CacheResult.MISS, "p", "m")),
        (Planned(Request(text="x" * 7), stream=False, invalid=True), Reply("NOT_FOUND", True)),
        (printed, Reply("RESOURCE_EXHAUSTED", True)),
        (streamed, Reply("UNAVAILABLE", True, 0.5, 1, CacheResult.MISS, "p", "m")),
        (streamed, Reply("DEADLINE_EXCEEDED", False)),  # nobody knows
    ]
    traffic = account.Traffic.judged(calls, None)
    assert not traffic.plain
    expected = {measure.title: measure.expected(traffic) for measure in MEASURES}
    assert expected["requests"] == {
        ("p", "m", "false", "hit", "ok"): (1, 1),
        ("p", "m", "true", "miss", "ok"): (1, 1),
        ("_NONE", "_NONE", "false", "bypass", "rejected"): (1, 1),
        (None, None, "false", None, "error"): (1, 1),
        ("p", "m", "true", "miss", "partial"): (1, 1),
    }
    assert expected["characters"] == {
        ("p", "m", "cached"): (7, 7),
        ("p", "m", "synthesized"): (18, 18),
        ("_NONE", "_NONE", "wasted"): (7, 7),
        (None, None, "wasted"): (7, 7),
    }
    assert expected["seconds of audio"] == {
        ("p", "m", "delivered", "cache"): (1.5, 1.5),
        ("p", "m", "delivered", "provider"): (2.75, 2.75),
        ("p", "m", "generated", "provider"): (2.75, math.inf),
    }
    assert expected["RPCs"] == {
        ("grpc", UNARY, "OK", ""): (1, 1),
        ("grpc", UNARY, "NOT_FOUND", ""): (1, 1),
        ("grpc", UNARY, "RESOURCE_EXHAUSTED", ""): (1, 1),
        ("grpc", STREAM, "OK", ""): (1, 1),
        ("grpc", STREAM, "UNAVAILABLE", "UNAVAILABLE"): (1, 1),
    }


def test_cost_follows_from_prices() -> None:
    """A price for each character of what was made or served from a cache; what has no price is counted as that."""
    made, cached = (Reply("OK", True, 1.0, 1, cache, "p", "m") for cache in (CacheResult.MISS, CacheResult.HIT))
    planned = Planned(Request(text="x" * 10), stream=False)
    calls = [(planned, made), (planned, cached), (planned, replace(made, provider="free of price"))]
    traffic = account.Traffic.judged(calls, Prices({"p": 1_000_000}))
    expected = {measure.title: measure.expected(traffic) for measure in MEASURES}
    assert expected["cost in USD"] == {("p", "m"): (10, 10)}
    assert expected["avoided in USD"] == {("p", "m"): (10, 10)}
    assert expected["without a price"] == {("free of price", "m"): (1, 1)}


# -- lies --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[Planned, Reply]], Scrape, Scrape, Prices]:
    """Calls, what was scraped before and after them, and prices, of a service that counts right."""
    directory = tmp_path_factory.mktemp("priced")
    prices = directory / "prices.toml"
    prices.write_text("[hibari]\nusd_per_million_characters = 15.0\n")
    with serving(directory / "data", OTEL_TTS_PRICES=str(prices)) as service:
        for seed in (3, 4):  # so that there is something before
            calls, before, after = asyncio.run(
                _verified(service.target, [service.metrics_url], 30, 2, seed, Prices.from_file(prices), Console(quiet=True))
            )
    return calls, before, after, Prices.from_file(prices)


@pytest.fixture(scope="module")
def judged(true: tuple[list[tuple[Planned, Reply]], Scrape, Scrape, Prices]) -> list[tuple[Lie, bool]]:
    """Every lie, and whether it is found."""
    calls, before, after, prices = true
    return [
        (lie, bool(verdict(calls, before, lie.scrape, judge(calls, before, lie.scrape, prices)))) for lie in lies(after, before)
    ]


def test_every_lie_is_found_or_listed(
    true: tuple[list[tuple[Planned, Reply]], Scrape, Scrape, Prices], judged: list[tuple[Lie, bool]]
) -> None:
    """Hundreds of changes of one number, label or series each: found, or about something that the output says is not compared."""
    calls, before, after, prices = true
    truth = judge(calls, before, after, prices)
    assert truth.agrees
    assert not verdict(calls, before, after, truth)
    accepted = [
        f"{lie.metric.name}: {lie.what}"
        for lie, verdicts in judged
        if not verdicts and not any(lie.metric in gap.metrics and _is_about(gap, lie) for gap in truth.gaps)
    ]
    assert accepted == []
    assert sum(verdicts for _, verdicts in judged) > 500


def test_lies_about_what_matters_most_are_found(
    true: tuple[list[tuple[Planned, Reply]], Scrape, Scrape, Prices], judged: list[tuple[Lie, bool]]
) -> None:
    """Not one of the lies about these is let pass, but for some about exact sums, which are listed; the next test says which."""
    calls, before, after, prices = true
    [exact] = [gap for gap in judge(calls, before, after, prices).gaps if gap.what == "the exact sums"]
    chosen = [
        (lie, verdicts)
        for lie, verdicts in judged
        if lie.metric in FOUND
        and not (lie.metric is semconv.SYNTHESIS_REQUESTS and "rejected" in lie.what)
        and (verdicts or not (lie.aspect == "sum" and lie.metric in exact.metrics))
    ]
    assert len({(lie.metric, lie.aspect) for lie, _ in chosen}) > 40
    assert [f"{lie.metric.name}: {lie.what}" for lie, verdicts in chosen if not verdicts] == []


def histogram(metric: semconv.Metric, values: Sequence[float], total: float | None = None, **labels: str) -> Scrape:
    """What is scraped of a histogram of these values: those of any service."""
    names = promql.count_series(metric), promql.sum_series(metric), promql.bucket_series(metric)
    attributes = frozenset(labels.items())
    bounds = (*metric.buckets, math.inf)
    return Scrape(
        {
            (names[0], attributes): float(len(values)),
            (names[1], attributes): sum(values) if total is None else total,
            **{
                (names[2], attributes | {("le", f"{bound:g}".replace("inf", "+Inf"))}): float(
                    sum(value <= bound for value in values)
                )
                for bound in bounds
            },
        }
    )


@given(
    values=st.lists(st.floats(1e-6, 50), min_size=1, max_size=6),
    factor=st.sampled_from([0.0, 0.01, 0.1, 0.5, 2.0, 10.0, 100.0, -1.0]),
    metric=st.sampled_from([metric for metric in FOUND if metric.buckets]),
)
def test_a_sum_that_its_buckets_do_not_allow_is_found(values: list[float], factor: float, metric: semconv.Metric) -> None:
    """Whatever the times were: a sum is refused when and only when no values in these buckets can have it."""
    bounds = (0.0, *metric.buckets, math.inf)
    low = sum(max(bound for bound in bounds if bound < value) for value in values)
    high = sum(min(bound for bound in bounds if bound >= value) for value in values)
    total = sum(values) * factor
    assume(not any(math.isclose(total, bound, abs_tol=1e-5) for bound in (low, high) if bound))
    lines = [line for line in disagreements(Scrape({}), histogram(metric, values, total)) if "its sum" in line]
    assert bool(lines) is not (total > 0 and low <= total <= high)


@given(
    values=st.lists(st.floats(0.01, 50), min_size=1, max_size=6),
    moved_s=st.floats(-0.005, 0.005),
    others=st.lists(st.floats(0.01, 50), max_size=3),
)
def test_requests_and_rpcs_are_the_same_calls(values: list[float], moved_s: float, others: list[float]) -> None:
    """Seconds of requests that are not those of their RPCs are found, also where the buckets allow both; other RPCs do not count."""
    assume(not math.isclose(abs(moved_s), 1e-3, rel_tol=0.01))
    requests = histogram(semconv.SYNTHESIS_DURATION, values)
    rpcs = histogram(semconv.RPC_DURATION, values, sum(values) + moved_s, rpc_method=STREAM)
    beside = histogram(semconv.RPC_DURATION, others, rpc_method="grpc.health.v1.Health/Check")
    lines = disagreements(Scrape({}), Scrape({**requests.values, **rpcs.values, **beside.values}))
    assert bool([line for line in lines if "tell the same calls" in line]) is (abs(moved_s) > 1e-3)


def test_lies_about_cost_are_listed_without_prices(true: tuple[list[tuple[Planned, Reply]], Scrape, Scrape, Prices]) -> None:
    """A service that has prices, and a caller that has none: cost is not compared, and the output says how it would be."""
    calls, before, after, _ = true
    judgement = judge(calls, before, after)
    assert judgement.agrees
    assert "everything of tts.usage.cost, tts.usage.cost_avoided: the service has prices: give them with --prices FILE." in map(
        str, judgement.gaps
    )


def test_every_metric_is_compared_or_listed() -> None:
    """No metric of the registry is left out of the account in silence."""
    everything = Scrape({(name, frozenset()): 1.0 for metric in semconv.METRICS for name in _names(metric)})
    listed = {metric for gap in gaps(account.Traffic.judged([], Prices()), everything) for metric in gap.metrics}
    compared = {measure.metric for measure in MEASURES}
    assert compared | listed == set(semconv.METRICS)


@pytest.mark.parametrize(
    ("pattern", "lie"),
    [
        (r"(_duration_seconds_sum\{.*\}) (.+)", lambda match: f"{match[1]} {float(match[2]) * 10}"),
        (r'gen_ai_provider_name="hibari"', lambda match: 'gen_ai_provider_name="elevenlabs"'),
        (r'tts_voice="heart"', lambda match: 'tts_voice="sky"'),
        (r"(?m)^tts_synthesis_time_to_first_byte_seconds.*\n", lambda match: ""),
        (r'(tts_synthesis_active\{.*"true"\}) .+', lambda match: f"{match[1]} 1.0"),
    ],
    ids=["durations", "provider", "voice", "first bytes", "active"],
)
def test_a_lying_endpoint_fails_the_command(served: Served, pattern: str, lie: Callable[[re.Match[str]], str]) -> None:
    """Between the service and `otel-tts verify` stands a proxy that changes what is scraped: the exit code is 1."""

    class Lying(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with urllib.request.urlopen(served.metrics_url) as response:
                body = re.sub(pattern, lie, response.read().decode()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lying)
    with futures.ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever, 0.02)
        try:
            result = verify(served, "--metrics-url", f"http://127.0.0.1:{server.server_port}/metrics")
        finally:
            server.shutdown()
            server.server_close()
    assert result.exit_code == 1, result.output
    assert "exactly" not in result.output.partition("Error")[0]


def _is_about(gap: Gap, lie: Lie) -> bool:
    match gap.what:
        case "everything":
            return True
        case "the exact sums" | "the values":
            return lie.aspect == "sum"
        case "tiers, and misses beyond one a request,":
            return lie.aspect == "tts_cache_tier" or "miss" in lie.what.split()
        case "voices and languages of refused requests":
            return lie.aspect in ("tts_voice", "tts_language") and "rejected" in lie.what.split()
    return False


def _names(metric: semconv.Metric) -> list[str]:
    histogram = metric.instrument is semconv.Instrument.HISTOGRAM
    return [promql.count_series(metric), promql.sum_series(metric)] if histogram else [promql.series(metric)]


@pytest.mark.parametrize(
    ("reply", "knowable"),
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
def test_what_a_caller_can_know(reply: Reply, knowable: Outcome | None) -> None:
    """The outcome follows from the answer, or there is no telling."""
    assert account.outcome(reply) is knowable


def test_what_cannot_be_known_is_no_pass() -> None:
    """A call that ended on this side leaves the verdict open, and that is said."""
    calls = [(Planned(Request(text="a"), stream=False), Reply("DEADLINE_EXCEEDED", False))]
    assert verdict(calls, Scrape({}), Scrape({}), judge(calls, Scrape({}), Scrape({}))) == (
        "Of 1 request the client cannot know what the service should have counted: 1 DEADLINE_EXCEEDED."
    )


def test_what_is_no_metrics_text_is_refused() -> None:
    """Some other page behind the address is told from metrics."""
    with pytest.raises(NoMetricsError, match="not Prometheus's text format"):
        Scrape.parse("<html>\nhello {")
