"""Whether telemetry arrives: what conditions judge of the pipeline itself, and of the names in it that are not ours.

Names of the Collector and of the SDK follow their own registries: https://opentelemetry.io/docs/collector/internal-telemetry/ and the
SDK metrics of the semantic conventions.
"""

from __future__ import annotations

from otel_tts.promql.naming import count_series, label
from otel_tts.promql.query import Scope, query
from otel_tts.semconv import ERROR_TYPE, SYNTHESIS_DURATION

SIGNALS = ("spans", "metric_points", "log_records")
"""What the Collector counts, one series each."""
EXPORTER, RECEIVER = "exporter", "receiver"
"""The Collector's labels for its parts."""
_LOST, _REFUSED = ("send_failed", "enqueue_failed"), ("refused", "failed")
OVERFLOW = "otel_metric_overflow"
"""The attribute of the series into which an SDK folds what is beyond its limit."""


def _collector(scope: Scope, part: str, *counted: str) -> str:
    """The growth of some of the Collector's counters over the window, all signals together, by its part."""
    names = (f"otelcol_{part}_{what}_{signal}_total" for what in counted for signal in SIGNALS)
    grown = (f'label_replace(sum by ({part}) (increase({scope.span(name)})), "counter", "{name}", "", "")' for name in names)
    return f"sum by ({part}) ({' or '.join(grown)})"


@query("{record}")
def judged_export_failures_traffic(scope: Scope) -> str:
    """Records that each of the Collector's exporters tried to deliver."""
    sent, failed = _collector(scope, EXPORTER, "sent"), _collector(scope, EXPORTER, *_LOST)
    return f"({sent} + ({failed} or {sent} * 0) or {failed})"


@query("1")
def judged_export_failures(scope: Scope) -> str:
    """Share of its records that each of the Collector's exporters could not deliver."""
    return f"{_collector(scope, EXPORTER, *_LOST)} / ({judged_export_failures_traffic(scope)} > 0)"


@query("{record}")
def judged_refused_share_traffic(scope: Scope) -> str:
    """Records that each of the Collector's receivers was sent."""
    accepted, refused = _collector(scope, RECEIVER, "accepted"), _collector(scope, RECEIVER, *_REFUSED)
    return f"({accepted} + ({refused} or {accepted} * 0) or {refused})"


@query("1")
def judged_refused_share(scope: Scope) -> str:
    """Share of the records sent to it that each of the Collector's receivers refused."""
    return f"{_collector(scope, RECEIVER, *_REFUSED)} / ({judged_refused_share_traffic(scope)} > 0)"


@query("1")
def judged_queue_fill(scope: Scope) -> str:
    """How full the queue of each of the Collector's exporters is."""
    size, capacity = scope.select("otelcol_exporter_queue_size"), scope.select("otelcol_exporter_queue_capacity")
    return f"max by ({EXPORTER}) ({size} / {capacity})"


@query("{record}")
def judged_sdk_drops(scope: Scope) -> str:
    """Spans and log records that the SDK dropped because its queue was full, or failed to export."""
    failed = f'{label(ERROR_TYPE)}!=""'
    series = (
        f"otel_sdk_{part}_total" for part in ("processor_span_processed", "processor_log_processed", "exporter_span_exported")
    )
    grown = (f"sum by ({scope.labels()}) (increase({scope.span(name, failed)}))" for name in series)
    named = (f'label_replace({drops}, "part", "{number}", "", "")' for number, drops in enumerate(grown))
    return f"sum by ({scope.labels()}) ({' or '.join(named)})"


@query("{series}")
def judged_cardinality_overflow(scope: Scope) -> str:
    """Series that hold what was beyond the SDK's limit, by metric."""
    overflow = f'{OVERFLOW}="true"'
    named = f'label_replace({scope.select("", overflow)}, "metric", "$1", "__name__", "(.+)")'
    return f"count by ({', '.join((scope.labels(), 'metric'))}) ({named})"


@query("{service}")
def judged_telemetry_absent(scope: Scope) -> str:
    """1 for each service that sent metrics within the hour and has sent none for two minutes."""
    name = scope.select(count_series(SYNTHESIS_DURATION))
    return f"group by ({scope.labels()}) (last_over_time({name}[1h])) unless group by ({scope.labels()}) (last_over_time({name}[2m]))"


@query("1")
def judged_watchdog(_: Scope) -> str:
    """Always 1."""
    return "vector(1)"
