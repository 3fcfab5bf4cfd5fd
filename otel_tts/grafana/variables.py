"""The choices at the top of dashboards, and what they narrow queries to."""

from __future__ import annotations

from otel_tts.conditions import Objectives
from otel_tts.grafana.elements import JSON, DashboardVariable
from otel_tts.grafana.home import Home
from otel_tts.grafana.places import PLACES
from otel_tts.promql import Scope, label, pipeline, requests
from otel_tts.semconv import PROVIDER

METRICS: JSON = {"type": "prometheus", "uid": "${datasource}"}
TRACES: JSON = {"uid": "${traces}"}
"""Jaeger or Tempo: whichever is chosen."""
_SERVICE, _COLLECTOR = 'service_name=~"$service"', 'service_name=~"$collector"'
_AT_PLACE = {place.label: f"${name}" for name, place in PLACES.items()}
_PLACED = [f'{label}=~"{pattern}"' for label, pattern in _AT_PLACE.items()]
_SERVICES = requests.label_values("service_name", *_PLACED)

WINDOW = "$window"
"""The chosen window of shares, quantiles and means."""


def scope(name: str, window: str, objectives: Objectives) -> Scope:
    """Make the scope of a panel's queries: the chosen places, service and provider or, for ``name`` "collector", the chosen Collectors.

    Collectors are chosen by their name only: their own metrics do not say where they run, unless somebody's configuration adds it.

    Args:
        name: the name.
        window: in PromQL, or a variable of Grafana.
        objectives: the objectives.
    """
    if name == "collector":
        return Scope(matchers=(_COLLECTOR,), window=window, objectives=objectives)
    return Scope(
        matchers=(_SERVICE,),
        places=_AT_PLACE,
        window=window,
        narrowed={PROVIDER: "$provider"},
        objectives=objectives,
        ranked_over="$__range",
    )


def metrics_source(home: Home) -> DashboardVariable:
    """Which Prometheus.

    Args:
        home: where the dashboards are: Grafana, data sources and runbooks.
    """
    return DashboardVariable(
        name="datasource", label="Metrics", description="The Prometheus that has the metrics.", kind="datasource", query="prometheus",
        chosen=home.prometheus,
    )  # fmt: skip


def traces_source(home: Home) -> DashboardVariable:
    """Which Jaeger or Tempo; Grafana's own choice of data sources offers one kind only.

    Args:
        home: where the dashboards are: Grafana, data sources and runbooks.
    """
    uids = {"Jaeger": home.jaeger, "Tempo": home.tempo}
    chosen = home.traces.capitalize()
    return DashboardVariable(
        name="traces",
        label="Traces",
        description="What has the traces: a click on a trace opens it there, and searches are asked in its language.",
        kind="custom",
        query=", ".join(f"{kind} : {uid}" for kind, uid in uids.items()),
        chosen=uids[chosen],
        chosen_text=chosen,
    )


def places() -> list[DashboardVariable]:
    """Which environments, clusters and namespaces, each among those that were chosen before; "All" includes what names none."""
    return [
        _values(name, place.title, place.description, requests.label_values(place.label, *_PLACED[:number]), ".*")
        for number, (name, place) in enumerate(PLACES.items())
    ]


def service(home: Home) -> DashboardVariable:
    """Which services.

    Args:
        home: where the dashboards are: Grafana, data sources and runbooks.
    """
    return _values("service", "Service", "Services that sent metrics in this time.", _SERVICES, ".+", home.service)


def one_service(home: Home) -> DashboardVariable:
    """Which service, one at a time.

    Args:
        home: where the dashboards are: Grafana, data sources and runbooks.
    """
    description = "Services that sent metrics in this time; one at a time, since Jaeger searches within one."
    return _values("service", "Service", description, _SERVICES, "", home.service)


def provider() -> DashboardVariable:
    """Which providers; "All" includes requests for which none was asked."""
    query = requests.label_values(label(PROVIDER), *_PLACED, _SERVICE)
    return _values("provider", "Provider", "Providers that made audio, or were asked for it.", query, ".*")


def window() -> DashboardVariable:
    """Over which time shares, quantiles and means are taken; by default a twenty-fourth of what is shown, and five minutes at least."""
    return DashboardVariable(
        name="window",
        label="Window",
        description="The time before each point over which shares, quantiles and means are taken. Longer, where requests are few.",
        kind="interval",
        query="5m,15m,1h,6h,1d",
        chosen="$__auto_interval_window",
        chosen_text="auto",
    )


def collector() -> DashboardVariable:
    """Which Collectors."""
    return _values("collector", "Collector", "Collectors that sent their own metrics.", pipeline.COLLECTORS, ".+")


def _values(name: str, label: str, description: str, query: str, every: str, chosen: str = "") -> DashboardVariable:
    asked = {"qryType": 1, "query": query, "refId": f"variable-{name}"}  # 1: values of a label
    return DashboardVariable(
        name=name, label=label, description=description, kind="query", query=asked, datasource=METRICS, every=every, chosen=chosen
    )
