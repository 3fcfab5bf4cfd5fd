"""The command itself: its options, and a line for each hop."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from otel_tts import formatting, promql, semconv
from otel_tts.commands import terminal
from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.collector import Collector, configured, is_one_for_all, usual
from otel_tts.commands.doctor.finding import HopResult, HopState
from otel_tts.commands.doctor.followed import FollowedRequest, MadeRequest, NextRequest, SentOrNextRequest, SentRequest
from otel_tts.commands.doctor.journey import Destinations, Journey
from otel_tts.commands.doctor.start import start_part
from otel_tts.commands.doctor.telemetry import Counter, Spans
from otel_tts.commands.output import json_option, print_json
from otel_tts.commands.security import Security, security_options
from otel_tts.history import open_history
from otel_tts.promql.readings import equals
from otel_tts.semconv import CacheResult
from otel_tts.settings import DoctorSettings, Secret, ServerSettings, url

T = TypeVar("T", bound=ServerSettings)

_HEALTH_PORT, _PROMETHEUS = 13133, "http://127.0.0.1:9090"
_JAEGER, _GRAFANA = "http://127.0.0.1:16686", "http://127.0.0.1:3000"
_STYLES = {HopState.OK: "green", HopState.BROKEN: "bold red", HopState.UNKNOWN: "yellow"}
_WIDTHS = (7, 9, 8)
_GAP = 2
_EXPORTED_S = 15
"""Seconds within which telemetry has arrived at the default intervals of exports."""


class _DestinationUrl(click.ParamType[str]):
    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return url(value)
        except ValueError as error:
            self.fail(f"it takes {error}.", param, ctx)


class _TraceId(click.ParamType[str]):
    name = "ID"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{8,32}", value):
            self.fail(f"{value!r} is no trace id: it takes 32 hexadecimal digits, or the first 8 or more of them.", param, ctx)
        return value.lower()


@click.command()
@click.option("--target", metavar="HOST:PORT", help="The reference service; by default where `otel-tts serve` would be.")
@click.option("--trace-id", type=_TraceId(), help="Follow a request that was made already, of any service.")
@click.option("--wait", is_flag=True, help="Wait for the next request of any service, and follow that.")
@click.option("--service", metavar="NAME", help="Wait for the next request of this service, by its service.name.")
@click.option(
    "--collector-url",
    type=_DestinationUrl(),
    help=f"The Collector's health check; by default port {_HEALTH_PORT} where OTLP goes, or here.",
)
@click.option("--prometheus-url", type=_DestinationUrl(), help=f"Prometheus; by default {_PROMETHEUS}.")
@click.option("--jaeger-url", type=_DestinationUrl(), help=f"Jaeger; by default {_JAEGER}.")
@click.option("--tempo-url", type=_DestinationUrl(), help="Tempo, in place of Jaeger.")
@click.option("--grafana-url", type=_DestinationUrl(), help=f"Grafana; by default {_GRAFANA}, where it may be missing.")
@click.option(
    "--grafana-password", "password", type=Secret, metavar="TEXT", help="That of its user admin; better by the environment."
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    default=45.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for telemetry, and before that for a request.",
)
@json_option
@security_options
def doctor(
    target: str | None,
    trace_id: str | None,
    wait: bool,
    service: str | None,
    patience_s: float,
    as_json: bool,
    security: Security,
    **given: Any,
) -> None:
    """Follow the telemetry of one request, hop by hop.

    --trace-id names a request that was made already; --wait and --service take the next one. Without these options one is sent to the
    reference service; where there is none, the next request of any service is taken.

    From the service through the Collector to Prometheus, where a counter must move, and to Jaeger or Tempo, where all spans of its
    trace must be; then Grafana. Each hop has a line with how long it took, and what to do where it is broken. `otel-tts config` names the
    variables that the addresses may stand in.

    \b
    The exit code is 0 when nothing is broken, else that of the first broken hop:
    3 service   4 Collector   5 metrics   6 traces   7 Grafana
    """  # noqa: D301 - \b keeps click from joining the lines
    if sum(map(bool, (target, trace_id, wait or service))) > 1:
        raise click.UsageError(
            "--target, --trace-id and --wait or --service exclude one another: each names a request to follow."
        )
    settings = _settings(given)
    pipeline = Destinations(
        collector=_collector(settings.collector),
        prometheus=_server(settings.prometheus, "prometheus"),
        traces=_server(settings.traces, settings.trace_backend),
        traces_kind=settings.trace_backend,
        grafana=Server(
            _at(settings.grafana, _GRAFANA),
            start_part("grafana"),
            _as_admin(settings.password),
        ),
        grafana_expected=bool(settings.grafana.url),
        patience_s=patience_s,
    )
    console, results = terminal.console(), []

    def announce(sentence: str) -> None:
        if not as_json:
            console.print(sentence, style="dim", highlight=False)

    if patience_s < _EXPORTED_S:
        announce(
            f"Services export metrics every 10 s by default: with --patience {patience_s:g}, what is still on its way looks broken. "
            f"Give {_EXPORTED_S} or more."
        )
    history = open_history(settings)
    counter, spans = Counter(pipeline.prometheus, service=service), Spans(pipeline.traces, history)
    following = NextRequest(service, counter, spans, history, patience_s, announce)
    followed: FollowedRequest = following
    if trace_id:
        followed = MadeRequest(trace_id, counter, spans, history, patience_s)
    elif not (wait or service):
        past_cache = Counter(pipeline.prometheus, equals(promql.label(semconv.CACHE_RESULT), CacheResult.BYPASS))
        followed = SentRequest(target or "", past_cache, spans, security)
        followed = followed if target else SentOrNextRequest(followed, following)
    for result in Journey(pipeline, followed, counter, spans).findings():
        results.append(result)
        if not as_json:
            _print(console, result)
    broken = [result.hop.exit_code for result in results if result.state is HopState.BROKEN]
    exit_code = broken[0] if broken else 0
    if as_json:
        print_json("doctor", {"exit_code": exit_code, "hops": [_plain(result) for result in results]})
    raise SystemExit(exit_code)


def _settings(given: dict[str, Any]) -> DoctorSettings:
    for one, other in (("jaeger_url", "tempo_url"), ("tempo_url", "jaeger_url")):
        if given[one] and not given[other]:
            given[other] = ""  # the option counts more than a variable of the other
    settings = DoctorSettings.load(**given)
    if not settings.tempo.url:
        settings = replace(settings, jaeger=_at(settings.jaeger, _JAEGER))
    return replace(settings, prometheus=_at(settings.prometheus, _PROMETHEUS))


def _plain(result: HopResult) -> dict[str, Any]:
    content = {field.name: getattr(result, field.name) for field in fields(result)}
    return content | {"hop": result.hop.title}


def _at(server: T, default_url: str) -> T:
    return server if server.url else replace(server, url=default_url)


def _as_admin(password: Secret) -> Mapping[str, str]:
    if not password:
        return {}
    return {"Authorization": f"Basic {b64encode(f'admin:{password.value}'.encode()).decode()}"}


def _collector(settings: ServerSettings) -> Collector:
    """The Collector, where it is configured or OpenTelemetry's variables send telemetry; else on this machine."""
    addresses = configured(os.environ)
    host = addresses[0][0] if addresses else "127.0.0.1"
    health = _at(settings, f"http://{f'[{host}]' if ':' in host else host}:{_HEALTH_PORT}")
    expected = bool(settings.url) or is_one_for_all(os.environ)
    return Collector(_server(health, "collector"), addresses or usual(health.url), start_part("collector"), expected=expected)


def _server(settings: ServerSettings, name: str) -> Server:
    return Server(settings, start_part(name))


def _print(console: Console, result: HopResult) -> None:
    line = Table.grid(padding=(0, _GAP, 0, 0))
    for width in _WIDTHS:
        line.add_column(width=width, no_wrap=True, justify="right" if width == _WIDTHS[-1] else "left")
    line.add_column(overflow="fold")
    took = "" if result.seconds is None else formatting.duration(result.seconds)
    line.add_row(result.state, result.hop.title, took, result.message)
    line.columns[0].style = _STYLES[result.state]
    console.print(line)
    if result.remedy:
        console.print(Padding(result.remedy, (0, 0, 0, sum(_WIDTHS) + len(_WIDTHS) * _GAP), expand=False))
