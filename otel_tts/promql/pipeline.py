"""The pipeline itself: what the Collector and the services' SDKs tell of the telemetry that passes through them.

Names of the Collector and of the SDK follow their own registries; see `otel_tts.promql.loss`, which judges the same series.
"""

from __future__ import annotations

from otel_tts.conditions.telemetry import WATCHDOG
from otel_tts.promql.expressions import named
from otel_tts.promql.loss import EXPORTER, RECEIVER, SIGNAL, by_signal, dropped, judged_cardinality_overflow
from otel_tts.promql.naming import count_series, label
from otel_tts.promql.query import Queries, Scope
from otel_tts.promql.slo import SERVICE, SUBJECT
from otel_tts.semconv import PROVIDER, SYNTHESIS_DURATION

QUERIES = Queries()

ALERT, RUNBOOK = "alertname", "runbook"
"""The label of an alert: its name; and the copy of it that a table shows as its runbook."""
_BY_SUBJECT = ", ".join(SUBJECT)
"""Services of one name in two clusters, environments or namespaces are two."""
_OURS = f'{ALERT}=~"TTS.+", {ALERT}!="{WATCHDOG.name}"'
_FIRING = f'alertstate="firing", {_OURS}'


def _by_signal(scope: Scope, part: str, what: str) -> str:
    """Records a second of each signal, by the part of the Collector that counts them."""
    return by_signal(part, what, lambda name: f"sum by ({part}) (rate({scope.span(name)}))")


@QUERIES.query("{record}/s")
def collector_accepted(scope: Scope) -> str:
    """Records a second that the Collector's receivers accepted, by signal."""
    return _by_signal(scope, RECEIVER, "accepted")


@QUERIES.query("{record}/s")
def collector_refused(scope: Scope) -> str:
    """Records a second that the Collector's receivers refused, by signal; senders keep them and try again."""
    return _by_signal(scope, RECEIVER, "refused")


@QUERIES.query("{record}/s")
def collector_sent(scope: Scope) -> str:
    """Records a second that the Collector delivered, by exporter and signal."""
    return _by_signal(scope, EXPORTER, "sent")


@QUERIES.query("{record}/s")
def collector_failed(scope: Scope) -> str:
    """Records a second that the Collector could not deliver and gave up, by exporter and signal; 0 while there are none."""
    return (
        f"{_by_signal(scope, EXPORTER, 'send_failed')} or on ({EXPORTER}, {SIGNAL}) ({_by_signal(scope, EXPORTER, 'sent')}) * 0"
    )


@QUERIES.query("By")
def collector_queue(scope: Scope) -> str:
    """Bytes that wait on disk in the queue of each of the Collector's exporters."""
    return f"sum by ({EXPORTER}) ({scope.select('otelcol_exporter_queue_size')})"


@QUERIES.query("By")
def collector_memory(scope: Scope) -> str:
    """Memory of the largest Collector of each name. It is 0 only where Prometheus marks that it began."""
    return f"max by ({SERVICE}) ({scope.select('otelcol_process_memory_rss_bytes')} > 0)"


@QUERIES.query("{process}")
def collector_processes(scope: Scope) -> str:
    """Processes of the Collector in the window: each start is a new one."""
    return f"count(count by (instance) (last_over_time({scope.span('otelcol_process_memory_rss_bytes')})))"


@QUERIES.query("{span}/s")
def sdk_spans(scope: Scope) -> str:
    """Spans a second that each service's SDK exported or lost."""
    return f"sum by ({_BY_SUBJECT}) (rate({scope.span('otel_sdk_processor_span_processed_total')}))"


@QUERIES.query("{span}")
def sdk_queue(scope: Scope) -> str:
    """Spans that wait in each service's SDK; it drops those beyond its capacity."""
    return f"max by ({_BY_SUBJECT}) ({scope.select('otel_sdk_processor_span_queue_size')})"


@QUERIES.query("{record}")
def sdk_drops(scope: Scope) -> str:
    """Spans and log records that each service's SDK dropped in the window; 0 for a service that counts them and dropped none."""
    counts = f"group by ({_BY_SUBJECT}) ({scope.select('otel_sdk_processor_span_queue_capacity')})"
    drops = dropped(_split(scope), lambda name, failed: f"sum by ({_BY_SUBJECT}) (increase({scope.span(name, failed)}))")
    return f"{drops} or {counts} * 0"


@QUERIES.query("{series}")
def cardinality_overflow(scope: Scope) -> str:
    """Series that hold what was beyond the SDK's limit, by metric; one 0 for a service without any."""
    return (
        f"{judged_cardinality_overflow(_split(scope))} or on ({_BY_SUBJECT}) {named(f'{_alive(scope)} * 0', metric='no metric')}"
    )


@QUERIES.query("{series}")
def series_count(scope: Scope) -> str:
    """Series of each service in Prometheus."""
    return f"count by ({_BY_SUBJECT}) ({scope.select('')})"


@QUERIES.query("s")
def newest_sample_age(scope: Scope) -> str:
    """Time since the newest sample of each service, up to an hour."""
    name = scope.select(count_series(SYNTHESIS_DURATION))
    return f"time() - max by ({_BY_SUBJECT}) (timestamp({name}) or max_over_time(timestamp({name})[1h:1m]))"


@QUERIES.query("s")
def silence(scope: Scope) -> str:
    """Time since the newest sample of the service that has been silent longest, up to an hour."""
    return f"max({newest_sample_age(scope)})"


@QUERIES.query("ms", PROVIDER)
def alerts_firing(scope: Scope) -> str:
    """Alerts that fire, the watchdog left out: since when, in milliseconds since the Unix epoch. The label `runbook` repeats the name."""
    by = f"{ALERT}, severity, {_BY_SUBJECT}, {label(PROVIDER)}"
    since = f"{scope.select_alerts('ALERTS_FOR_STATE', _OURS)} and ignoring (alertstate) {scope.select_alerts('ALERTS', _FIRING)}"
    repeated = "".join(f', "{copy}", "$1", "{ALERT}", "(.*)")' for copy in ("meaning", RUNBOOK))
    return f"label_replace(label_replace(1000 * max by ({by}) ({since}){repeated}"


@QUERIES.query("{alert}")
def watchdog(_: Scope) -> str:
    """1 while the watchdog fires, which it always does where alerting works; 0 where it does not."""
    return f'max(ALERTS{{alertstate="firing", {ALERT}="{WATCHDOG.name}"}}) or vector(0)'


@QUERIES.query("{alert}", PROVIDER)
def alerts_over_time(scope: Scope) -> str:
    """1 while an alert fires, the watchdog left out."""
    return f"max by ({ALERT}, severity, {_BY_SUBJECT}, {label(PROVIDER)}) ({scope.select_alerts('ALERTS', _FIRING)})"


@QUERIES.query("{service}")
def deploys(scope: Scope) -> str:
    """1 for five minutes from when a service that was there before has another version."""
    spoken, version = scope.select(count_series(SYNTHESIS_DURATION)), f"{_BY_SUBJECT}, service_version"
    new = f"group by ({version}) ({spoken}) unless group by ({version}) ({spoken} offset 5m)"
    return f"({new}) and on ({_BY_SUBJECT}) group by ({_BY_SUBJECT}) ({spoken} offset 5m)"


def _split(scope: Scope) -> Scope:
    return Scope(matchers=scope.matchers, places=scope.places, window=scope.window, by=SUBJECT)


def _alive(scope: Scope) -> str:
    return f"group by ({_BY_SUBJECT}) ({scope.select(count_series(SYNTHESIS_DURATION))})"


COLLECTORS = f"label_values(otelcol_process_memory_rss_bytes, {SERVICE})"
"""For Grafana's variable: the Collectors' service names."""
