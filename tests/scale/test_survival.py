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
    """What a service did: when each of its traces ended, in seconds since 1970, by trace id."""

    service: str
    began: float
    ended: dict[str, float] = field(default_factory=dict)

    @property
    def spans(self) -> dict[str, int]:
        """What the store must hold: how many spans of each trace."""
        return dict.fromkeys(self.ended, SPANS)


@contextmanager
def load(cluster: Cluster, directory: Path, failing_share: float = 0.0, **environ: str) -> Iterator[Account]:
    """A service under load for the length of the block; its account is complete when it is left."""
    account = Account(f"speech-{uuid.uuid4()}", time.time())
    environ = {**os.environ, **cluster.service_environ, "OTEL_SERVICE_NAME": account.service, **environ}
    output, log = directory / "account", directory / "load.log"
    with output.open("wb") as stdout, log.open("wb") as stderr:
        command = cluster.within([sys.executable, str(LOAD), str(RATE), str(failing_share)])
        process = subprocess.Popen(command, env=environ, stdout=stdout, stderr=stderr)
        try:
            until(lambda: len(output.read_bytes().splitlines()) > RATE, "a second of traffic", 60)
            yield account
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(90)
    assert status == 0, log.read_text()
    lines = map(json.loads, output.read_text().splitlines())
    account.ended = {line["trace_id"]: line["ended"] for line in lines}


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
    assert_all_counted(cluster, account)
    history = readers(cluster)
    until(lambda: spans(history, account) == account.spans, f"all spans of {len(account.spans)} traces", 240)


def assert_all_counted(cluster: Cluster, account: Account) -> None:
    """Every request is counted once."""
    assert len(account.ended) > 3 * RATE
    history = readers(cluster)
    until(lambda: counted(history, account) == len(account.ended), f"{len(account.ended)} requests counted", 240)


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
