"""Which engine answers Prometheus's API, and the flags that it lacks for metrics of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from otel_tts import promql, semconv
from otel_tts.commands.doctor.asking import Server
from otel_tts.settings import SELECTABLE


class MetricsEngine(StrEnum):
    """An engine that answers Prometheus's API."""

    PROMETHEUS = "Prometheus"
    THANOS = "Thanos"
    MIMIR = "Mimir"
    VICTORIA = "VictoriaMetrics"
    OTHER = "the store of metrics"


_SUFFIXES = {
    MetricsEngine.PROMETHEUS: "otlp: {translation_strategy: UnderscoreEscapingWithSuffixes} in its configuration",
    MetricsEngine.MIMIR: "-distributor.otel-metric-suffixes-enabled",
    MetricsEngine.VICTORIA: "-opentelemetry.usePrometheusNaming",
}
_PROMOTED = {
    MetricsEngine.PROMETHEUS: "otlp: {{promote_resource_attributes: [{}]}} in its configuration",
    MetricsEngine.THANOS: "--receive.otlp-promote-resource-attributes={} of each receive",
    MetricsEngine.MIMIR: "-distributor.otel-promote-resource-attributes={}",
}
_FEATURES = {
    "exemplar-storage": "links from metrics to traces",
    "created-timestamp-zero-ingestion": "the first value of each series on dashboards",
}
_TOLD_APART = ("service.version", *SELECTABLE)
"""Resource attributes that series have as labels where the service says them and the engine promotes them."""
_IDENTITIES = (("job", "instance"), ("service_name", "service_instance_id"))
"""Labels that tell processes apart: Prometheus's own, or what stands for them."""
_UNSUFFIXED = "{__name__=~" + '"tts[._]synthesis[._]duration(_count|_bucket)?"}'


def engine(server: Server) -> MetricsEngine:
    """Which engine it is, by what only it answers.

    Args:
        server: answers PromQL.

    Raises:
        HopBrokenError: it does not answer.
    """
    if _data(server, "/api/v1/stores") is not None:
        return MetricsEngine.THANOS
    match _data(server, "/api/v1/status/buildinfo"):
        case {"application": str(application)} if "mimir" in application.lower():
            return MetricsEngine.MIMIR
        case {"goVersion": _, "revision": _}:
            return MetricsEngine.PROMETHEUS
        case {"version": _, **others} if not others:
            return MetricsEngine.VICTORIA
    return MetricsEngine.OTHER


def lacking(server: Server) -> list[str]:
    """What the engine lacks for metrics of ours, a sentence each; empty when nothing is known to be missing.

    Args:
        server: answers PromQL.

    Raises:
        HopBrokenError: it does not answer.
    """
    kind = engine(server)
    return [*_lacking_in_series(server, kind), *(_lacking_flags(server) if kind is MetricsEngine.PROMETHEUS else ())]


def _lacking_in_series(server: Server, kind: MetricsEngine) -> Iterator[str]:
    name = promql.count_series(semconv.SYNTHESIS_DURATION)
    labels = _series(server, f"topk(1, {name})")
    if labels is None:
        native = promql.series(semconv.SYNTHESIS_DURATION)
        if _series(server, f"count by (job) ({native})") is not None:
            yield (
                f"{kind} has {native} as a native histogram, without the buckets that rules and dashboards count by: see "
                "docs/series.md, exponential and native histograms."
            )
            return
        if _series(server, f"topk(1, {_UNSUFFIXED})") is not None:
            yield f"{kind} has our metrics without units and suffixes{_by(_SUFFIXES.get(kind))}."
        elif kind is MetricsEngine.THANOS:
            yield (
                "Thanos takes OTLP at exactly /api/v1/otlp: give the Collector that whole address as METRICS_OTLP_ENDPOINT, with "
                "exact-endpoint.yaml."
            )
        return
    scraped = unnamed_scrape(server)
    if scraped is not None:
        yield scraped
    missing = ["service.name"] if "service_name" not in labels and scraped is None else []
    missing += [attribute for attribute in _TOLD_APART if _is_unpromoted(server, name, attribute)]
    if missing:
        flag = _PROMOTED.get(kind)
        yield f"{kind} does not promote {' and '.join(missing)}{_by(flag and flag.format(', '.join(missing)))}."
    if not any(labels.keys() >= set(names) for names in _IDENTITIES):
        without = [label for label in _IDENTITIES[0] if label not in labels]
        yield f"{kind} makes no label {' and '.join(without)}: processes cannot be told apart, and counts of several are wrong."


def unnamed_scrape(server: Server) -> str | None:
    """Say that a service is scraped whose series do not say its name; None where there is none.

    A scrape gives ``job`` and ``instance`` only, and ``up`` for each target: what came by OTLP has no ``up``.

    Args:
        server: answers PromQL.

    Raises:
        HopBrokenError: it does not answer.
    """
    labels = _series(
        server, f'topk(1, {promql.count_series(semconv.SYNTHESIS_DURATION)}{{service_name=""}} and on (job, instance) up)'
    )
    if labels is None:
        return None
    return (
        f"The job {labels.get('job', '')!r} is scraped without a label service_name: rules put its services together, and dashboards list "
        "none of them. Give the target one: `labels: {service_name: NAME}` below static_configs, or target_label: service_name in "
        "relabel_configs (docs/migration.md)."
    )


def _lacking_flags(server: Server) -> Iterator[str]:
    match _data(server, "/api/v1/status/flags"):
        case dict(flags):
            if flags.get("web.enable-otlp-receiver") == "false":
                yield "Prometheus was started without --web.enable-otlp-receiver."
            enabled = str(flags.get("enable-feature", "")).split(",")
            if "enable-feature" in flags and (off := [feature for feature in _FEATURES if feature not in enabled]):
                loses = " and ".join(_FEATURES[feature] for feature in off)
                yield f"Prometheus was started without --enable-feature={','.join(off)}: {loses} are missing."


def _is_unpromoted(server: Server, name: str, attribute: str) -> bool:
    """Whether a process has a resource attribute that its series of this name lack: ``target_info`` has what is not promoted.

    A series without it is no fault of the engine: most services never say their version, or their cluster.
    """
    key = promql.sanitized(attribute)
    query = f'topk(1, target_info{{{key}!=""}} and on (job, instance) {name}{{{key}=""}})'
    return _series(server, query) is not None


def _by(flag: str | None) -> str:
    return f": set {flag}" if flag else ""


def _series(server: Server, query: str) -> Mapping[str, Any] | None:
    """The labels of one series that a query gives; None without any."""
    match server.ask("/api/v1/query", {"query": query}).body:
        case {"status": "success", "data": {"result": [{"metric": dict(labels)}, *_]}}:
            return labels
    return None


def _data(server: Server, path: str) -> Any:
    """What a path of the API answers; None where it is not there."""
    response = server.ask(path)
    match response.body:
        case {"status": "success", "data": data} if response.ok:
            return data
    return None
