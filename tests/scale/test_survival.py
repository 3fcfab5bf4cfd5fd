"""Members of every tier are killed under load, and whoever sent the telemetry counts what arrived: nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from otel_tts.history import History, HistoryUnavailableError, RequestFilter, open_history
from otel_tts.settings import HistorySettings
from tests.e2e.stack import Process, until
from tests.scale.cluster import Cluster

RATE = 20.0
SPANS = 2  # of each request: the synthesis and its attempt
LOAD = Path(__file__).with_name("load.py")


@dataclass
class Account:
    """What a service did: the ids of its traces, in order."""

    service: str
    began: float
    trace_ids: list[str] = field(default_factory=list)


@contextmanager
def load(cluster: Cluster, directory: Path) -> Iterator[Account]:
    """A service under load for the length of the block; its account is complete when it is left."""
    account = Account(f"speech-{uuid.uuid4()}", time.time())
    environ = {**os.environ, **cluster.service_environ, "OTEL_SERVICE_NAME": account.service}
    output, log = directory / "account", directory / "load.log"
    with output.open("wb") as stdout, log.open("wb") as stderr:
        command = cluster.within([sys.executable, str(LOAD), str(RATE)])
        process = subprocess.Popen(command, env=environ, stdout=stdout, stderr=stderr)
        try:
            until(lambda: len(output.read_bytes().splitlines()) > RATE, "a second of traffic")
            yield account
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(90)
    assert status == 0, log.read_text()
    account.trace_ids = [json.loads(line)["trace_id"] for line in output.read_text().splitlines()]


def readers(cluster: Cluster) -> History:
    """The history as somebody has it who knows how many copies there are."""
    settings = HistorySettings.load(
        {
            "OTEL_TTS_PROMETHEUS_URL": cluster.prometheus,
            "OTEL_TTS_PROMETHEUS_STORES_AWAY": "1",
            "OTEL_TTS_JAEGER_URL": cluster.traces,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
    )
    return open_history(settings)


def counted(history: History, account: Account) -> int | None:
    """The requests that metrics count of a service; None while they cannot be counted."""
    try:
        return history.aggregates(account.began - 1, time.time(), service=account.service)[0].request_count
    except HistoryUnavailableError:
        return None


def spans(history: History, account: Account) -> Counter[str] | None:
    """How many spans of each of a service's traces are stored; None while they cannot be read."""
    wanted = RequestFilter(service=account.service, since=account.began - 1)
    try:
        stored = {request.trace_id for request in history.every_request(wanted)}
        traces = history.traces(stored, account.began, time.time())
    except HistoryUnavailableError:
        return None
    return Counter({trace.trace_id: len(list(trace.walk())) for trace in traces})


def assert_all_arrived(cluster: Cluster, account: Account) -> None:
    """Every request is counted once, and every span of every trace is there once."""
    history = readers(cluster)
    expected = dict.fromkeys(account.trace_ids, SPANS)
    assert len(expected) > 3 * RATE
    until(lambda: counted(history, account) == len(expected), f"{len(expected)} requests counted", 240)
    until(lambda: spans(history, account) == expected, f"all spans of {len(expected)} traces", 240)


@pytest.mark.parametrize("member", ["gateway 1", "collector 1"])
def test_a_member_is_killed_and_comes_back(cluster: Cluster, tmp_path: Path, member: str) -> None:
    """As it stands, in the middle of traffic; what it had on its disk is there when it comes back."""
    with load(cluster, tmp_path) as account:
        time.sleep(2)
        cluster.members[member].kill()
        time.sleep(4)
        cluster.members[member].start()
        time.sleep(2)
    assert_all_arrived(cluster, account)


@pytest.mark.parametrize("member", ["gateway 2", "receive 1", "node 3", "jaeger 2"])
def test_all_arrives_without_a_member(cluster: Cluster, tmp_path: Path, member: str) -> None:
    """Nothing waits for it to come back, and readers answer meanwhile."""
    try:
        with load(cluster, tmp_path) as account:
            time.sleep(2)
            cluster.members[member].kill()
            time.sleep(4)
        assert_all_arrived(cluster, account)
    finally:
        cluster.members[member].start()


def test_two_of_three_stores_are_away(cluster: Cluster, tmp_path: Path) -> None:
    """Readers say that it is so, and give neither counts nor requests that may be too few; when they are back, everything is there."""
    away = [cluster.members[name] for name in ("receive 1", "receive 3", "node 2", "node 3")]
    history = readers(cluster)
    with load(cluster, tmp_path) as account:
        time.sleep(2)
    assert_all_arrived(cluster, account)

    def refusal(question: Callable[[], object]) -> str:
        with pytest.raises(HistoryUnavailableError) as raised:
            question()
        return str(raised.value)

    try:
        for member in away:
            member.kill()
        totals = partial(history.totals, account.began, time.time())
        message = until(lambda: "2 of its stores are away" in (text := refusal(totals)) and text, "Thanos has noticed", 60)
        assert "gave only a part of the metrics" in message
        assert refusal(history.requests).startswith("Jaeger at ")
    finally:
        with ThreadPoolExecutor(len(away)) as starting:
            list(starting.map(Process.start, away))
    assert_all_arrived(cluster, account)
