"""Thanos's ruler evaluates the repository's rules over all stores, and what they find reaches the Alertmanager."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import yaml

from tests.e2e.stack import DEPLOY, Process, get, until
from tests.scale.cluster import Cluster
from tests.scale.test_survival import Account, assert_all_arrived, load

RECORD = "service:tts_success_rate:2m"
ALERT = "TTSRequestsFailing"


def groups() -> dict[str, list[str]]:
    """The names of the rules of each group in the repository, sorted."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))]
    return {
        group["name"]: sorted(rule.get("record") or rule["alert"] for rule in group["rules"])
        for file in files
        for group in file["groups"]
    }


def alerts(cluster: Cluster, service: str) -> list[dict[str, Any]]:
    """The labels of the service's alerts that fire at the Alertmanager."""
    reply = get(f"{cluster.alertmanager}/api/v2/alerts", filter=f'service_name="{service}"') or []
    return [alert["labels"] for alert in reply if alert["labels"]["alertname"] == ALERT]


def recorded(cluster: Cluster, service: str, window: str = "10m") -> list[tuple[float, float]]:
    """What was recorded of the service in the window before now: moments and shares."""
    reply = get(f"{cluster.prometheus}/api/v1/query", query=f'{RECORD}{{service_name="{service}"}}[{window}]')
    return [
        (float(time), float(share)) for series in (reply["data"]["result"] if reply else ()) for time, share in series["values"]
    ]


@pytest.fixture(scope="module")
def failing(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A service of which half of the requests fail, all the while, with a ruler and an Alertmanager. In the end everything has arrived."""
    names = ("alertmanager", "ruler")
    for name in names:
        cluster.members[name].start()
    try:
        with load(cluster, tmp_path_factory.mktemp("failing"), failing_share=0.5) as account:
            yield account
        assert_all_arrived(cluster, account)
    finally:
        for name in names:
            cluster.members[name].kill()


def test_rules_over_the_query(cluster: Cluster, failing: Account) -> None:
    """Every rule is evaluated without an error; what one records can be asked for; an alert comes without the ruler's own label."""
    [labels] = until(partial(alerts, cluster, failing.service), f"{ALERT} at the Alertmanager", 180)
    assert labels == {"alertname": ALERT, "service_name": failing.service, "severity": "page"}
    shares = until(partial(recorded, cluster, failing.service), f"{RECORD} is in the receives", 60)
    assert 0.3 < shares[-1][1] < 0.7

    def evaluated() -> list[dict[str, Any]]:
        reply = get(f"{cluster.ruler}/api/v1/rules")
        ruled = reply["data"]["groups"] if reply else []
        return ruled if all(rule["health"] != "unknown" for group in ruled for rule in group["rules"]) else []

    ruled = until(evaluated, "every rule was evaluated", 120)
    assert {group["name"]: sorted(rule["name"] for rule in group["rules"]) for group in ruled} == groups()
    errors = {rule["name"]: rule.get("lastError") for group in ruled for rule in group["rules"] if rule["health"] != "ok"}
    assert errors == {}
    # A group that is answered in part is not evaluated: it fails instead.
    assert {group["partialResponseStrategy"].lower() for group in ruled} == {"abort"}


def test_two_of_three_stores_are_away(cluster: Cluster, failing: Account) -> None:
    """What the rules record meanwhile is true or missing, never of a part; when the stores are back it goes on, and the alert fires."""
    until(partial(alerts, cluster, failing.service), f"{ALERT} at the Alertmanager", 180)
    away = [cluster.members[name] for name in ("receive 1", "receive 3")]
    try:
        for member in away:
            member.kill()
        time.sleep(10)
    finally:
        with ThreadPoolExecutor(len(away)) as starting:
            list(starting.map(Process.start, away))
    back = time.time()
    until(lambda: [at for at, _ in recorded(cluster, failing.service) if at > back], "recorded again", 120)
    until(partial(alerts, cluster, failing.service), f"{ALERT} is at the Alertmanager still", 60)
    shares = [share for _, share in recorded(cluster, failing.service)]
    assert 0.3 < min(shares) <= max(shares) < 0.7
