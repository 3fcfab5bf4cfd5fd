"""Telemetry pipeline: are the other dashboards complete?"""

from __future__ import annotations

from otel_tts.conditions.telemetry import SILENT_AFTER
from otel_tts.grafana.layout import PanelSection
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import WHOLE, PanelQuery
from otel_tts.palette import SIGNALS
from otel_tts.promql.loss import EXPORTER, RECEIVER, SIGNAL
from otel_tts.promql.slo import SERVICE, SUBJECT

_BY_EXPORTER = f"{{{{{EXPORTER}}}}} · {{{{{SIGNAL}}}}}"
_BY_RECEIVER = f"{{{{{RECEIVER}}}}} · {{{{{SIGNAL}}}}}"
_BY_SERVICE = " · ".join(f"{{{{{name}}}}}" for name in SUBJECT)
_BY_COLLECTOR = f"{{{{{SERVICE}}}}}"


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard.

    Args:
        panels: makes the panels.
    """
    arrives = [
        panels.stat(
            "Newest telemetry, age",
            "More than two minutes: the service, the Collector or Prometheus is down. The alert fires after three minutes.",
            PanelQuery(query="newest_sample_age", legend=_BY_SERVICE),
            at_most=SILENT_AFTER,
            absent="nothing received for an hour",
            width=6,
        ),
        panels.stat(
            "Dropped by SDKs in this time",
            "Traces and logs are incomplete; counts and latencies come from metrics and stay correct. Check that "
            "the service reaches the Collector.",
            PanelQuery(query="sdk_drops", window=WHOLE, legend=_BY_SERVICE),
            condition="TTSTelemetryDropped",
            width=6,
        ),
        panels.stat(
            "Cardinality overflow",
            "Figures by provider, model or voice are wrong from now on: an attribute has too many values. Remove "
            "it or limit its values.",
            PanelQuery(query="cardinality_overflow", legend=f"{{{{metric}}}}: {_BY_SERVICE}"),
            condition="TTSCardinalityOverflow",
            width=6,
        ),
        panels.stat(
            "Collectors in this time",
            "More than are deployed: a Collector was killed or crashed, and restarted. See its log, and its memory below.",
            PanelQuery(query="collector_processes", window=WHOLE, scope="collector"),
            absent="no Collector sends its own metrics",
            width=6,
        ),
        panels.chart(
            "Age of the newest sample",
            "A saw-tooth below the export interval is normal. A rising line: no samples arrive.",
            PanelQuery(query="newest_sample_age", legend=_BY_SERVICE),
        ),
        panels.chart(
            "Spans that SDKs pass on",
            "0 with requests: traces are switched off, or not sampled.",
            PanelQuery(query="sdk_spans", legend=_BY_SERVICE),
        ),
        panels.chart(
            "Spans waiting in SDKs",
            "At 2048, the default capacity, spans are dropped: raise OTEL_BSP_MAX_QUEUE_SIZE, or look at the Collector.",
            PanelQuery(query="sdk_queue", legend=_BY_SERVICE),
        ),
    ]
    collector = [
        panels.chart(
            "Accepted, by signal",
            "A fall to 0: the senders stopped, or cannot connect.",
            PanelQuery(query="collector_accepted", legend=_BY_RECEIVER, scope="collector"),
            colours=SIGNALS,
            absent="no Collector sends its own metrics",
        ),
        panels.chart(
            "Refused, by signal",
            "The Collector is short of memory or its queue is full. Senders retry for a while, then drop data.",
            PanelQuery(query="collector_refused", legend=_BY_RECEIVER, scope="collector"),
            colours=SIGNALS,
            absent="no Collector sends its own metrics",
        ),
        panels.chart(
            "Share refused",
            "Give the Collector more memory, or run more Collectors.",
            PanelQuery(query="judged_refused_share", legend=f"{{{{{RECEIVER}}}}}", scope="collector"),
            absent="no Collector sends its own metrics",
            condition="TTSTelemetryRefused",
            near="nothing",
        ),
        panels.chart(
            "Delivered, by signal",
            "A fall to 0 with data accepted: the destination is down, and the queue grows.",
            PanelQuery(query="collector_sent", legend=_BY_EXPORTER, scope="collector"),
            colours=SIGNALS,
            absent="no Collector sends its own metrics",
        ),
        panels.chart(
            "Lost after all retries, by signal",
            "The destination refused the data: see the Collector's log for the reason. An outage does not count "
            "here: its data waits in the queue.",
            PanelQuery(query="collector_failed", legend=_BY_EXPORTER, scope="collector"),
            colours=SIGNALS,
            absent="no Collector sends its own metrics",
        ),
        panels.chart(
            "Queue fill",
            "The destination is down or too slow. The queue drains when it is back; a full queue loses telemetry.",
            PanelQuery(query="judged_queue_fill", legend=f"{{{{{EXPORTER}}}}}", scope="collector"),
            absent="no Collector sends its own metrics",
            condition="TTSTelemetryQueueNearlyFull",
            near="nothing",
        ),
        panels.chart(
            "Queue, bytes on disk",
            "It grows while the destination takes less than arrives. Compare with the free space on the disk.",
            PanelQuery(query="collector_queue", legend=f"{{{{{EXPORTER}}}}}", scope="collector"),
            absent="no Collector sends its own metrics",
        ),
        panels.chart(
            "Memory of the Collector",
            "Near MEMORY_LIMIT_MIB the Collector refuses data: raise the limit, or run more Collectors.",
            PanelQuery(query="collector_memory", legend=_BY_COLLECTOR, scope="collector"),
            absent="no Collector sends its own metrics",
        ),
        panels.chart(
            "Series by service",
            "A steady rise: an attribute without a limit on its values, or replicas that are replaced often. "
            "Prometheus needs memory for each series.",
            PanelQuery(query="series_count", legend=_BY_SERVICE),
        ),
    ]
    return [PanelSection("", arrives), PanelSection("The Collector", collector)]
