"""Whether telemetry arrives: what conditions judge of the pipeline itself, and of the names in it that are not ours.

Names of the Collector and of the SDK follow their own registries: https://opentelemetry.io/docs/collector/internal-telemetry/ and the
SDK metrics of the semantic conventions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from otel_tts.conditions.telemetry import SILENT_AFTER
from otel_tts.promql.expressions import grown, named
from otel_tts.promql.naming import count_series, label
from otel_tts.promql.query import Queries, Scope
from otel_tts.semconv import ERROR_TYPE, SYNTHESIS_DURATION

QUERIES = Queries()

_SIGNALS = ("spans", "metric_points", "log_records")
SIGNAL = "signal"
"""The label that tells spans, metric points and log records apart, of which the Collector makes a series each."""
EXPORTER, RECEIVER = "exporter", "receiver"
"""The Collector's labels for its parts."""
_LOST, _REFUSED = ("send_failed", "enqueue_failed"), ("refused", "failed")
OVERFLOW = "otel_metric_overflow"
"""The attribute of the series into which an SDK folds what is beyond its limit."""


def by_signal(part: str, what: str, over: Callable[[str], str]) -> str:
    """What the Collector counts of each signal at a part of it; ``over`` makes an expression of a series' name.

    Args:
        part: of the Collector: `receiver`, `exporter` and the like.
        what: is counted, as the Collector calls it.
        over: makes an expression of a series' name, and of a matcher where it takes one.
    """
    return " or ".join(named(over(f"otelcol_{part}_{what}_{signal}_total"), **{SIGNAL: signal}) for signal in _SIGNALS)


def _collector(scope: Scope, part: str, *counted: str) -> str:
    """The growth of some of the Collector's counters over the window, all signals together, by its part."""
    of_part = replace(scope, by=(part,))
    each = (named(f"({by_signal(part, what, partial(grown, of_part))})", counter=what) for what in counted)
    return f"sum by ({part}) ({' or '.join(each)})"


@QUERIES.query("{record}")
def judged_export_failures_traffic(scope: Scope) -> str:
    """Records that each of the Collector's exporters tried to deliver."""
    sent, failed = _collector(scope, EXPORTER, "sent"), _collector(scope, EXPORTER, *_LOST)
    return f"({sent} + ({failed} or {sent} * 0) or {failed})"


@QUERIES.query("1")
def judged_export_failures(scope: Scope) -> str:
    """Share of its records that each of the Collector's exporters could not deliver."""
    return f"{_collector(scope, EXPORTER, *_LOST)} / ({judged_export_failures_traffic(scope)} > 0)"


@QUERIES.query("{record}")
def judged_refused_share_traffic(scope: Scope) -> str:
    """Records that each of the Collector's receivers was sent."""
    accepted, refused = _collector(scope, RECEIVER, "accepted"), _collector(scope, RECEIVER, *_REFUSED)
    return f"({accepted} + ({refused} or {accepted} * 0) or {refused})"


@QUERIES.query("1")
def judged_refused_share(scope: Scope) -> str:
    """Share of the records sent to it that each of the Collector's receivers refused."""
    return f"{_collector(scope, RECEIVER, *_REFUSED)} / ({judged_refused_share_traffic(scope)} > 0)"


@QUERIES.query("1")
def judged_queue_fill(scope: Scope) -> str:
    """How full the queue of each of the Collector's exporters is. Its capacity is 0 only where Prometheus marks that it began."""
    size, capacity = scope.select("otelcol_exporter_queue_size"), scope.select("otelcol_exporter_queue_capacity")
    return f"max by ({EXPORTER}) ({size} / ({capacity} > 0))"


def dropped(scope: Scope, over: Callable[[str, str], str]) -> str:
    """What SDKs dropped, of all signals together; ``over`` makes an expression of a series' name and a matcher.

    Args:
        scope: which series, over which window.
        over: makes an expression of a series' name, and of a matcher where it takes one.
    """
    failed = f'{label(ERROR_TYPE)}!=""'
    parts = ("processor_span_processed", "processor_log_processed", "exporter_span_exported")
    each = (named(over(f"otel_sdk_{part}_total", failed), part=part) for part in parts)
    return f"sum by ({scope.labels()}) ({' or '.join(each)})"


@QUERIES.query("{record}")
def judged_sdk_drops(scope: Scope) -> str:
    """Spans and log records that the SDK dropped because its queue was full, or failed to export."""
    return dropped(scope, partial(grown, scope))


@QUERIES.query("{series}")
def judged_cardinality_overflow(scope: Scope) -> str:
    """Series that hold what was beyond the SDK's limit, by metric."""
    overflow = f'{OVERFLOW}="true"'
    named = f'label_replace({scope.select("", overflow)}, "metric", "$1", "__name__", "(.+)")'
    return f"count by ({', '.join((scope.labels(), 'metric'))}) ({named})"


@QUERIES.query("{service}")
def judged_telemetry_absent(scope: Scope) -> str:
    """1 for each service that sent metrics within the hour and has sent none for two minutes."""
    name, by = scope.select(count_series(SYNTHESIS_DURATION)), scope.labels()
    now = f"last_over_time({name}[{SILENT_AFTER:.0f}s])"
    return f"group by ({by}) (last_over_time({name}[1h])) unless group by ({by}) ({now})"


@QUERIES.query("1")
def judged_watchdog(_: Scope) -> str:
    """Always 1."""
    return "vector(1)"
