"""The steps of the runbooks: each command in them is run where its condition is met, and shows the requests behind it."""

from __future__ import annotations

import json
import math
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import promql_parser
import pytest
from click.testing import CliRunner, Result
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_tts import PCM16, Telemetry, semconv
from otel_tts.cli import main
from otel_tts.conditions import BY_NAME, CONDITIONS, Condition, Objectives
from otel_tts.history import open_history
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.judgement import Judge
from otel_tts.live.view import Period
from otel_tts.sdk.store import Store
from otel_tts.settings import LiveSettings
from tests.commands.test_status import exports
from tests.ports import free_port

SERVICE, PROVIDER = "speech", "piper"
FORMAT = PCM16(24_000)
SECOND = b"\0\x40" * 24_000
"""A second of audio that can be heard."""


@dataclass
class Clock:
    """Time that goes when it is told to, and ends about now."""

    now: int = field(default_factory=lambda: time.time_ns() - 60 * 10**9)

    def monotonic(self) -> int:
        return self.now

    wall = monotonic

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


class Service:
    """A replica of a service, whose telemetry goes to local files."""

    def __init__(self, directory: Path, name: str = SERVICE) -> None:
        resource = Resource({"service.name": name})
        store = Store(directory, max_age_s=1e9, max_bytes=2**30)
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracers.add_span_processor(SimpleSpanProcessor(store.span_exporter()))
        reader = PeriodicExportingMetricReader(store.metric_exporter(), export_interval_millis=math.inf)
        self.meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self.clock = Clock()
        self.tts = Telemetry(tracer_provider=self._tracers, meter_provider=self.meters, clock=self.clock)

    def export(self) -> None:
        self.meters.force_flush()

    def good(self, number: int, provider: str = PROVIDER) -> None:
        """Requests that nothing is wrong with."""
        for _ in range(number):
            with self.tts.synthesis("A text.", stream=True) as synthesis:
                list(synthesis.stream([SECOND], provider, audio=FORMAT))

    def failing(self, number: int, fallback: str = "") -> None:
        """Requests that the provider fails, with a fallback or without."""
        for _ in range(number):
            with suppress(ConnectionError), self.tts.synthesis("A text.", stream=True) as synthesis:
                with suppress(*[ConnectionError] if fallback else []), synthesis.attempt(PROVIDER):
                    raise ConnectionError
                with synthesis.attempt(fallback) as attempt:
                    attempt.audio(SECOND, FORMAT)

    def slow(self, number: int, *, stream: bool, missed: bool = False) -> None:
        """Requests that wait for the queue and the provider. missed: a cache was asked before."""
        for _ in range(number):
            with self.tts.synthesis("A text.", stream=stream) as synthesis:
                if missed:
                    with synthesis.lookup("memory") as lookup:
                        lookup.found(None, PROVIDER)
                self.clock.advance(0.3)
                synthesis.queued(0.3)
                with synthesis.attempt(PROVIDER) as attempt:
                    list(attempt.stream(self._after(5.0), FORMAT))

    def with_gaps(self, number: int) -> None:
        """Streams of whose three pieces each comes a second late."""
        for _ in range(number):
            with self.tts.synthesis("A text.", stream=True) as synthesis:
                synthesis.queued(0.2)
                list(synthesis.stream(self._after(2.0, 2.0, 2.0), PROVIDER, audio=FORMAT))

    def _after(self, *waits_s: float) -> Iterator[bytes]:
        """A second of audio after each wait."""
        for wait_s in waits_s:
            self.clock.advance(wait_s)
            yield SECOND


def _requests_fail(service: Service) -> None:
    service.failing(300)


def _gaps(service: Service) -> None:
    service.with_gaps(20)


def _provider_fails(service: Service) -> None:
    service.failing(30, fallback="hibari")


def _some_fail(service: Service) -> None:
    for _ in range(15):
        service.failing(2, fallback="hibari")
        service.good(1)


def _late(service: Service) -> None:
    service.slow(30, stream=True)


def _long(service: Service) -> None:
    service.slow(30, stream=False)


def _misses(service: Service) -> None:
    service.slow(30, stream=False, missed=True)


def _one_replica_fails(service: Service) -> None:
    service.failing(5, fallback="hibari")


SCENES: Mapping[str, tuple[Callable[[Service], None], str]] = {
    "TTSRequestsFailing": (_requests_fail, "because of connection"),
    "TTSSpeechInterrupted": (_gaps, "real-time factor 2.000"),
    "TTSProviderDown": (_provider_fails, "because of connection"),
    "TTSProviderDegraded": (_one_replica_fails, "because of connection"),
    "TTSProviderFailing": (_some_fail, "because of connection"),
    "TTSFirstAudioSlow": (_late, "queued 300 ms"),
    "TTSFirstAudioMeanSlow": (_late, "first byte 5.3"),
    "TTSSynthesisSlow": (_long, "queued 300 ms"),
    "TTSSynthesisMeanSlow": (_long, "queued 300 ms"),
    "TTSCacheHitRateCollapsed": (_misses, "cache miss"),
    **{name: (_requests_fail, "because of connection") for name in BY_NAME if name.startswith("TTSSuccessBudgetBurn")},
    **{name: (_late, "first byte 5.3") for name in BY_NAME if name.startswith("TTSFirstAudioBudgetBurn")},
    "TTSReferenceLatencyMissing": (_late, ""),
}
"""What happens to a service when a condition is met, and what the trace of a request shows then."""
ELSEWHERE = ("otel-tts live", "otel-tts report", "otel-tts rules", "otel-tts doctor")
"""Commands of which only the options are looked at here; doctor is run below, the others in tests/live, tests/report and tests/rules."""


def commands(condition: Condition) -> list[str]:
    """The commands of a runbook, for a service and a provider."""
    slow = condition.threshold * Objectives().reference if condition.threshold == 1.5 else Objectives().first_audio_seconds
    text = "\n".join(condition.steps_for(SERVICE, PROVIDER, slow))
    return re.findall(r"`(otel-tts [^`]+)`", text)


def run(command: str, directory: Path, trace_id: str = "") -> Result:
    """The command as a shell would run it, on local files."""
    words = [trace_id if word == "ID" else word for word in shlex.split(command)[1:]]
    environ = {"OTEL_TTS_DATA_DIR": str(directory), "OTEL_METRIC_EXPORT_INTERVAL": "1000", "COLUMNS": "200"}
    return CliRunner().invoke(main, words, env=environ)


def met(directory: Path) -> set[str]:
    """The conditions that are met, whatever else explains them."""
    settings = LiveSettings.load({}, data_dir=directory, export_interval=1.0)
    history = CachedHistory(open_history(settings))
    now = time.time()
    judge = Judge(history, Period(now - 900, now - 20, now, 30.0), settings, SERVICE)
    judged = [verdict.condition for verdict in judge.verdicts()]
    return {condition.name for condition in judged if judge.holding(condition)}


JUDGED = {
    "TTSRequestsFailing", "TTSSpeechInterrupted", "TTSProviderDown", "TTSProviderDegraded", "TTSProviderFailing", "TTSFirstAudioSlow",
    "TTSSynthesisSlow", *(name for name in BY_NAME if name.startswith("TTSSuccessBudgetBurn")),
}  # fmt: skip
"""Those that local files are judged by, so that it is known that they are met."""


@pytest.mark.parametrize("name", SCENES)
def test_the_commands_of_a_runbook_show_what_is_wrong(name: str, tmp_path: Path) -> None:
    """Lists have only requests behind the condition, none of another service and none that is well; a trace has what the step asks for."""
    happens, shown = SCENES[name]
    service, other = Service(tmp_path), Service(tmp_path, "another")
    other.good(3)
    other.failing(3)
    other.export()
    if name == "TTSProviderDegraded":
        replica = Service(tmp_path)
        replica.good(3)
        replica.export()
    service.good(3, "hibari")
    service.export()
    happens(service)
    service.export()
    assert name not in JUDGED or name in met(tmp_path)
    trace_id, listed = "", 0
    for command in commands(BY_NAME[name]):
        if command.startswith(ELSEWHERE):
            continue
        result = run(command, tmp_path, trace_id)
        assert result.exit_code in ((0, 1, 2) if " status " in command else (0,)), result.output
        if " requests " in command:
            requests = json.loads(run(f"{command} --json", tmp_path).output)["requests"]
            if name.startswith("TTSFirstAudio") and "--problem failed" in command:
                assert requests == []  # all streams have audio here
                continue
            assert {request["service"] for request in requests} == {SERVICE}
            assert "hibari" not in {request["provider"] for request in requests if request["attempts"] == 1}
            assert requests[0]["trace_id"][:12] in result.output
            trace_id, listed = requests[0]["trace_id"], listed + 1
        elif " trace " in command:
            assert trace_id
            assert shown in result.output
        elif " status " in command and name in JUDGED:
            explained = (name, *BY_NAME[name].causes)
            assert any(f"#{each.lower()}" in result.output for each in explained)
    assert listed or name == "TTSReferenceLatencyMissing"


def test_silence_is_seen_by_status(tmp_path: Path) -> None:
    """The command of TTSTelemetryAbsent that asks the pipeline fails and names what does not answer; status names the service."""
    exports(tmp_path, SERVICE, time.time() - 300, (100, 110, 120))
    assert "TTSTelemetryAbsent" in met(tmp_path)
    nowhere = f"http://127.0.0.1:{free_port()}"
    addresses = " ".join(f"--{name}-url {nowhere}" for name in ("collector", "prometheus", "jaeger", "grafana"))
    asked = [command for condition in CONDITIONS for command in commands(condition) if command.startswith("otel-tts doctor")]
    assert {f"otel-tts doctor --service {SERVICE}", "otel-tts doctor --wait"} == set(asked)
    for command in set(asked):
        result = run(f"{command} --patience 0 {addresses}", tmp_path)
        assert result.exit_code in (3, 4), result.output  # 3: no request came in that time
        assert re.search(rf"broken +Collector.*{nowhere}", result.output), result.output


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_each_dashboard_has_a_command_beside_it(condition: Condition) -> None:
    """Who has no Grafana can take each step: with a command, a query of Prometheus, or the list that an earlier step printed."""
    for step in condition.steps:
        assert "dashboard" not in step or "`" in step or "same list" in step or "page Drift" in step, step
    context = click.Context(main)
    for command in commands(condition):
        words = list(shlex.split(command)[1:])
        parsed: click.Command | None = main.get_command(context, words[0])
        while isinstance(parsed, click.Group) and (below := parsed.get_command(context, words[1] if len(words) > 1 else "")):
            parsed, words = below, words[1:]
        assert parsed is not None, command
        parsed.make_context(words[0], words[1:])


def test_without_names_the_steps_have_words_to_replace() -> None:
    """The page has them in capitals, and says what they stand for; Prometheus takes the queries; a name is quoted as a shell needs it."""
    page = (Path(__file__).parents[1] / "docs" / "runbooks.md").read_text("utf-8")
    steps = "\n".join(step for condition in CONDITIONS for step in condition.steps_for())
    assert set(re.findall(r"\b(NAME|PROVIDER|SECONDS|ID)\b", steps)) == {"NAME", "PROVIDER", "SECONDS", "ID"}
    assert not re.search(r"\{(service|provider|seconds|id)\}", steps)
    queries = re.findall(r"query `([^`]+)`", steps)
    assert len(queries) == 3
    for query in queries:
        promql_parser.parse(query)
    assert "--service 'my speech'" in BY_NAME["TTSRequestsFailing"].steps_for("my speech")[0]  # as a shell must have it
    for word in ("NAME", "PROVIDER", "SECONDS", "ID"):
        assert f"`{word}`" in page.partition("## Programs that end")[0]
    assert semconv.PROVIDER.key.replace(".", "_") in page
