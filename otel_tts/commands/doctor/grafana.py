"""Grafana: its data sources reach their backends, and its dashboards are there."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import FORBIDDEN, OK, UNAUTHORIZED
from typing import Literal

from otel_tts import formatting
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.finding import HopBrokenError, HopUnknownError

_SOURCES: Mapping[str, str] = {
    "prometheus": "/api/datasources/uid/prometheus/health",
    "jaeger": "/api/datasources/proxy/uid/jaeger/api/services",
    "tempo": "/api/datasources/proxy/uid/tempo/api/echo",
}
"""By uid, what is asked of each. Prometheus has a health check in Grafana; the others are asked through Grafana to answer themselves."""
DASHBOARDS = tuple(
    f"otel-tts-{name}"
    for name in ("overview", "providers", "cache", "streaming", "conversations", "requests", "quality", "pipeline")
)
"""The uids of the dashboards."""
_ADVICE = "Check that deploy/grafana/provisioning and dashboards are mounted. Grafana's log has what it could not provision."


def grafana(server: Server, traces: Literal["jaeger", "tempo"]) -> str:
    """Data sources are healthy, and dashboards present.

    Args:
        server: Grafana.
        traces: where traces are; the other data source may lead nowhere.

    Raises:
        HopBrokenError: they are not, or Grafana does not answer.
        HopUnknownError: Grafana does not tell without a password.
    """
    healthy = server.ask("/api/health")
    if healthy.status != OK:
        raise HopBrokenError(f"{server.shown} answers {healthy.excerpt}", "Grafana's log says why.")
    asked = ("prometheus", traces)
    for uid in asked:
        answer = server.ask(_SOURCES[uid])
        if answer.status in (UNAUTHORIZED, FORBIDDEN):
            raise HopUnknownError(f"{server.shown} answers, but its checks need the right password: give --grafana-password")
        if answer.status != OK:
            raise HopBrokenError(f"the data source {uid} at {server.shown} is not healthy: {answer.excerpt}", _ADVICE)
    dashboards = server.ask("/api/search", {"type": "dash-db", "tag": "otel-tts", "limit": "1000"}).body
    there = {item.get("uid") for item in dashboards} if isinstance(dashboards, list) else set()
    if missing := [uid for uid in DASHBOARDS if uid not in there]:
        raise HopBrokenError(
            f"missing at {server.shown}: {len(missing)} of {formatting.counted(len(DASHBOARDS), 'dashboard')} ({', '.join(missing)})",
            _ADVICE,
        )
    return f"{formatting.counted(len(asked), 'data source')} healthy, {formatting.counted(len(DASHBOARDS), 'dashboard')} present"
