"""The monitor: what a service tells of itself in its own log, once when it begins and once when it is over."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.metrics import Histogram, MeterProvider, ObservableGauge
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

from otel_tts import PCM16, Settings, Telemetry
from otel_tts.conditions.speech import PROVIDER_DOWN
from otel_tts.monitor import Monitor
from otel_tts.monitor.message import MonitorMessage
from otel_tts.monitor.notify import Notifier
from otel_tts.settings import MonitorSettings, Secret, SettingError
from otel_tts.settings.judging import RUNBOOKS

TONE = PCM16(8000)
SOUND = b"\x00\x40" * 800
# Apprise imports a module of the standard library that Python 3.13 has no more, where it is still there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
RUNBOOK = f" Runbook: {RUNBOOKS}#"
TEMPORALITIES = [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA]


class Time:
    """A clock that is set: the monitor's, and that of what it judges."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def monotonic(self) -> int:
        return int(self.seconds * 1e9)

    def wall(self) -> int:
        return int(self.seconds * 1e9)


class Speech:
    """A service whose requests take as long as they are told to, and whose metrics are judged every ten seconds."""

    def __init__(self, temporality: AggregationTemporality = AggregationTemporality.CUMULATIVE, **environ: str) -> None:
        self.time = Time()
        self.reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality, ObservableGauge: temporality})
        self.telemetry = Telemetry(
            settings=Settings.load(environ), meter_provider=MeterProvider([self.reader], shutdown_on_exit=False), clock=self.time
        )
        self.monitor = Monitor(MonitorSettings.load(environ), clock=self.time)

    def ok(self, count: int, seconds: float = 0.1, *, provider: str = "piper", stream: bool = False) -> None:
        """Requests that a provider served."""
        for _ in range(count):
            with self.telemetry.synthesis("hello", stream=stream) as synthesis, synthesis.attempt(provider) as attempt:
                self.time.seconds += seconds
                attempt.audio(SOUND, TONE)

    def failed(self, count: int) -> None:
        """Requests that no provider served."""
        for _ in range(count):
            with pytest.raises(ConnectionError), self.telemetry.synthesis("hello") as synthesis, synthesis.attempt("piper"):
                raise ConnectionError

    def messages(self, *, after: float = 10.0) -> list[str]:
        """What the next export makes the monitor say."""
        self.time.seconds += after
        data = self.reader.get_metrics_data()
        return [str(message) for message in self.monitor.judge(data)] if data else []


@pytest.mark.parametrize("temporality", TEMPORALITIES)
def test_success_that_falls_is_told_once_and_so_is_its_recovery(temporality: AggregationTemporality) -> None:
    """With the figures, whether the exporter asks for sums or for differences; while it lasts there is nothing new to say."""
    speech = Speech(temporality)
    speech.telemetry.provider("piper").available(True)
    speech.ok(57, 0.01)
    assert speech.messages() == []
    speech.failed(3)
    assert speech.messages() == []  # 95 % is the limit, and not below it
    speech.failed(1)
    assert speech.messages() == [
        "Page: TTSRequestsFailing: Only 93.4% of requests succeed (57 of 61 in the last 300 s; the limit is 95%)."
        + RUNBOOK
        + "ttsrequestsfailing"
    ]
    speech.failed(10)
    assert [speech.messages() for _ in range(20)] == [[]] * 20
    speech.ok(100, 0.01)
    quiet = [line_of_log for _ in range(20) for line_of_log in speech.messages()]
    assert quiet == ["Resolved: TTSRequestsFailing: It lasted 6 min (100 of 100 in the last 300 s; the limit is 95%)."]


def test_too_little_traffic_is_not_judged() -> None:
    """Nineteen requests that all failed say nothing yet, the twentieth does."""
    speech = Speech()
    speech.telemetry.provider("piper").available(True)
    assert speech.messages() == []
    speech.failed(19)
    assert speech.messages() == []
    speech.failed(1)
    assert speech.messages() == [
        "Page: TTSRequestsFailing: Only 0% of requests succeed (0 of 20 in the last 300 s; the limit is 95%)."
        + RUNBOOK
        + "ttsrequestsfailing"
    ]


@pytest.mark.parametrize("temporality", TEMPORALITIES)
def test_what_began_is_over_when_its_traffic_ends(temporality: AggregationTemporality) -> None:
    """Nothing stays open for ever where messages are read: the end says that there is nothing to judge, and comes once for each."""
    speech = Speech(temporality)
    speech.ok(30, 4.5)
    speech.failed(30)
    began = {line.split(":")[1] for line in speech.messages()}
    assert began == {
        " TTSRequestsFailing",
        " TTSProviderDown, piper",
        " TTSSynthesisSlow, piper",
        " TTSSynthesisMeanSlow, piper",
    }
    speech.telemetry.provider("piper").available(True)
    ends = [line for _ in range(20) for line in speech.messages(after=100)]
    assert {line.split(":")[1] for line in ends} == began
    assert len(ends) == len(began)
    assert all(line.startswith("Resolved: ") for line in ends)
    slow = next(line for line in ends if "TTSSynthesisSlow" in line)
    assert slow.endswith("(no requests in the last 300 s, so nobody knows whether the cause is gone).")


def test_few_requests_are_enough_to_recover() -> None:
    """A service that has little to do after its fault is not left failing in the log for ever."""
    speech = Speech()
    speech.failed(20)
    assert speech.messages()[0].startswith("Page: TTSRequestsFailing: Only 0%")
    speech.messages(after=280)
    speech.ok(2, 0.01)
    assert speech.messages(after=60)[0].endswith("(2 of 2 in the last 300 s; the limit is 95%).")


def test_one_failed_request_is_no_outage() -> None:
    """The log names a provider after its third failure in a row, and says when it works again."""
    speech = Speech()
    speech.ok(1)
    for failures in range(1, 3):
        speech.failed(1)
        assert [line for _ in range(3) for line in speech.messages()] == [], failures
    speech.failed(1)
    assert [line for _ in range(3) for line in speech.messages()] == [
        "Page: TTSProviderDown, piper: This process cannot use the provider." + RUNBOOK + "ttsproviderdown"
    ]
    speech.ok(1)
    assert any(line.startswith("Resolved: TTSProviderDown, piper:") for _ in range(10) for line in speech.messages())


def test_what_wavers_around_its_limit_is_told_once() -> None:
    """A provider that comes and goes with every export is said to be gone, and to be back only when it stays for a fifth of the window."""
    speech = Speech()
    provider = speech.telemetry.provider("piper")
    messages = []
    for minute in range(30):
        provider.available(minute % 2 == 1)
        messages += speech.messages(after=30)
    assert messages == ["Page: TTSProviderDown, piper: This process cannot use the provider." + RUNBOOK + "ttsproviderdown"]
    provider.available(True)
    assert [line_of_log for _ in range(10) for line_of_log in speech.messages()] == [
        "Resolved: TTSProviderDown, piper: It lasted 15 min."
    ]


def test_a_slow_provider_is_told_with_its_reference() -> None:
    """Streams by first audio, other requests by duration; each provider by itself, at 1.5 times the default reference."""
    speech = Speech()
    speech.ok(30, 0.1, provider="espeak")
    speech.ok(30, 1.15)
    assert speech.messages() == []
    speech.ok(8, 4.5)
    p95, mean = speech.messages()
    assert p95 == (
        "Ticket: TTSSynthesisSlow, piper: Unary requests take about 1.9x their reference at the 95th percentile "
        "(about 4.7 s against 2.50 s, the default; 38 requests in the last 300 s)." + RUNBOOK + "ttssynthesisslow"
    )
    assert mean == (
        "Ticket: TTSSynthesisMeanSlow, piper: Unary requests take 2.32x their reference on average "
        "(1.86 s against 800 ms, the default; 38 requests in the last 300 s)." + RUNBOOK + "ttssynthesismeanslow"
    )


def test_the_reference_that_was_set_comes_first() -> None:
    """And the factor is a setting too."""
    speech = Speech(
        OTEL_TTS_REFERENCE_LATENCY_MEAN="5",
        OTEL_TTS_REFERENCE_LATENCY_P95="0.1",
        OTEL_TTS_MONITOR_LATENCY_FACTOR="2",
        OTEL_TTS_MONITOR_MINIMUM_TRAFFIC="5",
    )
    speech.ok(5, 0.25)
    (messages,) = speech.messages()
    assert messages == (
        "Ticket: TTSSynthesisSlow, piper: Unary requests take about 2.9x their reference at the 95th percentile "
        "(about 290 ms against 100 ms, the setting; 5 requests in the last 300 s)." + RUNBOOK + "ttssynthesisslow"
    )


def test_without_a_reference_the_last_hour_is_one() -> None:
    """A service that was quick until now is slow long before the default says so, and stays slow until it is quick again."""
    speech = Speech()
    for _ in range(20):
        speech.ok(30, 0.4)
        assert speech.messages(after=100) == []
    speech.ok(30, 1.0)
    messages = speech.messages(after=100)
    assert [line_of_log.partition(" (")[0] for line_of_log in messages] == [
        "Ticket: TTSSynthesisSlow, piper: Unary requests take about 2.3x their reference at the 95th percentile"
    ]
    assert "the last hour; 90 requests in the last 300 s)." in messages[0]
    for _ in range(40):
        speech.ok(30, 1.0)
        assert [line_of_log for line_of_log in speech.messages(after=100) if line_of_log.startswith("Resolved")] == []


def test_cached_audio_is_not_what_latency_is_judged_on() -> None:
    """A provider that is slow behind a good cache is slow."""
    speech = Speech()
    speech.ok(20, 5.0)
    for _ in range(500):
        with speech.telemetry.synthesis("hello") as synthesis, synthesis.lookup("memory") as lookup:
            lookup.found(SOUND, provider="piper", audio=TONE)
    assert [line_of_log.partition(" (")[0] for line_of_log in speech.messages()] == [
        "Ticket: TTSSynthesisSlow, piper: Unary requests take about 2.0x their reference at the 95th percentile",
        "Ticket: TTSSynthesisMeanSlow, piper: Unary requests take 6.25x their reference on average",
    ]


CONFIGURED = """
import logging, sys, time
import otel_tts
logging.basicConfig(format="%(name)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stdout)
pipeline = otel_tts.configure(service_name="speech", monitor=True, local=True)
tts = otel_tts.Telemetry()
"""


def program(script: str, **environ: str) -> list[str]:
    """What a program prints that configures telemetry as users do."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CONFIGURED + script]
    run = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


COUNTED = """
from opentelemetry.metrics import Observation, get_meter

asked = flushed = 0
def ask(_):
    global asked
    asked += 1
    return [Observation(1)]
def flush(flush=pipeline.flush):
    global flushed
    flushed += 1
    flush()
pipeline.flush = flush
get_meter("test").create_observable_gauge("asked", [ask])
"""
BREAKDOWN = """
tts.provider("piper").available(False)
pipeline.flush()
pipeline.flush()
tts.provider("piper").available(True)
while True:
    pipeline.flush()
    time.sleep(0.02)
    if time.monotonic() - began > 1: break
"""


def test_configure_switches_it_on() -> None:
    """Once when it begins, once when it is over, in the log that the application has set up; with no further reader.

    What is exported is what is judged: metrics are collected once for both, and a value that is asked at export is asked once.
    """
    *messages, asked = program(
        COUNTED + "began = time.monotonic()" + BREAKDOWN + "print(asked == flushed)",
        OTEL_TTS_MONITOR_WINDOW="1",
        OTEL_TTS_RUNBOOKS_URL="https://wiki.example.org/tts",
    )
    assert asked == "True"
    assert messages == [
        "otel_tts.monitor WARNING Page: TTSProviderDown, piper: This process cannot use the provider. Runbook: https://wiki.example.org/tts#ttsproviderdown",
        "otel_tts.monitor WARNING Resolved: TTSProviderDown, piper: It lasted 0 s.",
    ]


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"METRICS_ENABLED": "false"}, "switched off by METRICS_ENABLED"),
        ({"OTEL_METRICS_EXPORTER": "none"}, "nowhere"),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}, "pulled from"),
    ],
)
def test_without_pushed_metrics_it_says_that_it_is_off(environ: dict[str, str], where: str) -> None:
    """Nobody relies on a monitor that has nothing to judge."""
    messages = [line for line in program("", **environ) if "monitor" in line]
    assert len(messages) == 1
    assert messages[0].startswith("otel_tts.sdk.providers WARNING The monitor is off")
    assert where in messages[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_judges_itself() -> None:
    """What the parent has told, the child tells of itself, since its own requests fail too."""
    script = """
import os
tts.provider("piper").available(False)
pipeline.flush()
sys.stdout.flush()
if (child := os.fork()) == 0:
    pipeline.flush()
    pipeline.shutdown()
    os._exit(0)
os.waitpid(child, 0)
pipeline.flush()
"""
    assert (
        program(script)
        == [
            "otel_tts.monitor WARNING Page: TTSProviderDown, piper: This process cannot use the provider."
            + RUNBOOK
            + "ttsproviderdown"
        ]
        * 2
    )


class Inbox(ThreadingHTTPServer):
    """A webhook that keeps what it gets, or refuses it."""

    def __init__(self) -> None:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                inbox.got.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.got: queue.Queue[tuple[str, dict[str, str]]] = queue.Queue()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A running one."""
    with Inbox() as inbox:
        thread = threading.Thread(target=inbox.serve_forever, args=(0.01,))
        thread.start()
        yield inbox
        inbox.shutdown()
        thread.join()


def test_people_are_notified(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged is sent too; a failure is logged once, and at no level does any log show the address's secret."""
    caplog.set_level(logging.DEBUG)
    notifier = Notifier(Secret(f"json://127.0.0.1:{inbox.server_port}/canary"), "speech")
    notifier.send("speech", "It burns.", "FAILURE")
    path, message = inbox.got.get(timeout=30)
    assert (path, message["title"], message["message"], message["type"]) == ("/canary", "speech", "It burns.", "failure")
    inbox.status = 500
    for _ in range(3):
        notifier.send("speech", "It burns.", "FAILURE")
        inbox.got.get(timeout=30)
    inbox.status = 200
    notifier.send("speech", "It's over.", "SUCCESS")
    inbox.got.get(timeout=30)
    messages = [record.getMessage() for record in caplog.records if record.name == "otel_tts.monitor"]
    assert messages == ["A notification could not be delivered. Check OTEL_TTS_NOTIFY_URLS and the service behind it."]
    assert "canary" not in caplog.text


def test_a_notification_says_how_grave_it_is_and_of_whom(inbox: Inbox) -> None:
    """Severity, service, process, version and time: of who reads it on a telephone nothing else is there. Its end has another type."""
    speech = Speech(OTEL_TTS_NOTIFY_URLS=f"json://127.0.0.1:{inbox.server_port}/")
    monitor = Monitor.from_settings(
        MonitorSettings.load({"OTEL_TTS_NOTIFY_URLS": f"json://127.0.0.1:{inbox.server_port}/"}), "speech"
    )
    resource = {"service.instance.id": "instance-1", "service.version": "1.4"}
    speech.ok(30, 4.5)
    speech.failed(30)
    data = speech.reader.get_metrics_data()
    assert data is not None
    monitor.tell(monitor.judge(data), resource)
    got = [inbox.got.get(timeout=30)[1] for _ in range(4)]
    types = {message["title"]: message["type"] for message in got}
    assert types == {
        "speech: page TTSRequestsFailing": "failure",
        "speech: page TTSProviderDown, piper": "failure",
        "speech: ticket TTSSynthesisSlow, piper": "warning",
        "speech: ticket TTSSynthesisMeanSlow, piper": "warning",
    }
    for message in got:
        assert RUNBOOK in message["message"]
        assert re.search(
            rf"\nHost .+, process {os.getpid()}, instance instance-1, version 1\.4, \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
            message["message"],
        )
    over = MonitorMessage(PROVIDER_DOWN, "piper", "It lasted 5 min.", is_over=True)
    monitor.tell([over], resource)
    message = inbox.got.get(timeout=30)[1]
    assert (message["title"], message["type"]) == ("speech: resolved TTSProviderDown, piper", "success")
    assert message["message"].startswith("It lasted 5 min.")


def test_an_address_that_cannot_be_used_is_refused_at_once() -> None:
    """With the variable's name, and without the address."""
    with pytest.raises(SettingError, match="OTEL_TTS_NOTIFY_URLS") as refusal:
        Monitor.from_settings(MonitorSettings.load({"OTEL_TTS_NOTIFY_URLS": "canary"}), "speech")
    assert "canary" not in str(refusal.value)
    assert "canary" not in str(MonitorSettings.load({"OTEL_TTS_NOTIFY_URLS": "canary"}))
