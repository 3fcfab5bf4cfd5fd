"""Alertmanager: which receiver gets which alert, and which alerts are inhibited because another one explains them."""

from __future__ import annotations

from typing import Any

from otel_tts.conditions import BY_NAME, CONDITIONS, Severity
from otel_tts.conditions.telemetry import WATCHDOG
from otel_tts.promql.naming import label
from otel_tts.promql.slo import SUBJECT
from otel_tts.rules.document import document

RECEIVERS = ("pages", "tickets", "watchdog")
"""Who is told; the address of each stands in a file of this name."""
DIRECTORY = "/etc/alertmanager/receivers"
"""Where these files are. Alertmanager knows no environment variables, and an address is a secret."""


def alertmanager(directory: str = DIRECTORY) -> str:
    """The configuration, as YAML. directory: where the files with the receivers' addresses are, an absolute path."""
    content = {
        "route": {
            "receiver": "tickets",
            "group_by": ["alertname", *SUBJECT],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "1d",
            "routes": [
                _route("watchdog", f'alertname="{WATCHDOG.name}"', group_wait="0s", group_interval="1m", repeat_interval="5m"),
                _route("pages", f'severity="{Severity.PAGE}"', group_wait="5s", group_interval="1m", repeat_interval="4h"),
                _route("nobody", f'severity="{Severity.INFO}"'),
            ],
        },
        "inhibit_rules": _inhibitions(),
        "receivers": [
            *({"name": name, "webhook_configs": [{"url_file": f"{directory}/{name}"}]} for name in RECEIVERS),
            {"name": "nobody"},
        ],
    }
    return document(content, "otel_tts/conditions and otel_tts/rules/routing.py")


def _route(receiver: str, matcher: str, **timing: str) -> dict[str, Any]:
    return {"receiver": receiver, "matchers": [matcher], **timing}


def _inhibitions() -> list[dict[str, Any]]:
    """What is down is not also degraded; and who is paged for a service needs none of its tickets meanwhile."""
    explained = [
        _inhibition([f'alertname=~"{"|".join(condition.causes)}"'], [f'alertname="{condition.name}"'], _common(condition.name))
        for condition in CONDITIONS
        if condition.causes
    ]
    return [*explained, _inhibition([f'severity="{Severity.PAGE}"'], [f'severity="{Severity.TICKET}"'], [*SUBJECT])]


def _common(name: str) -> list[str]:
    """The labels that a condition shares with all that explain it: what they must agree in."""
    condition = BY_NAME[name]
    shared = [attribute for attribute in condition.by if all(attribute in BY_NAME[cause].by for cause in condition.causes)]
    return [*SUBJECT, *map(label, shared)]


def _inhibition(source: list[str], target: list[str], equal: list[str]) -> dict[str, Any]:
    return {"source_matchers": source, "target_matchers": target, "equal": equal}
