"""Thanos's ruler evaluates the repository's rules over all stores, and what they find reaches the Alertmanager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.e2e.stack import DEPLOY, get, until
from tests.scale.cluster import Cluster
from tests.scale.test_survival import load

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


def test_rules_over_the_query(cluster: Cluster, tmp_path: Path) -> None:
    """Every rule is evaluated without an error; what one records can be asked for; an alert comes without the ruler's own label."""
    names = ("alertmanager", "ruler")
    for name in names:
        cluster.members[name].start()
    try:
        with load(cluster, tmp_path, failing_share=0.5) as account:

            def alerts() -> list[dict[str, Any]]:
                reply = get(f"{cluster.alertmanager}/api/v2/alerts", filter=f'service_name="{account.service}"') or []
                return [alert["labels"] for alert in reply if alert["labels"]["alertname"] == ALERT]

            [labels] = until(alerts, f"{ALERT} at the Alertmanager", 180)
            assert labels == {"alertname": ALERT, "service_name": account.service, "severity": "page"}

            def recorded() -> list[float]:
                reply = get(f"{cluster.prometheus}/api/v1/query", query=f'{RECORD}{{service_name="{account.service}"}}')
                return [float(series["value"][1]) for series in reply["data"]["result"]] if reply else []

            [share] = until(recorded, f"{RECORD} is in the receives", 60)
            assert 0.3 < share < 0.7

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
    finally:
        for name in names:
            cluster.members[name].kill()
