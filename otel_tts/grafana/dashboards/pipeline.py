"""Telemetry pipeline: can the other dashboards be believed?"""

from __future__ import annotations

from otel_tts.grafana.layout import Section
from otel_tts.grafana.panels import WHOLE, Line, Panels
from otel_tts.promql.loss import EXPORTER, RECEIVER, SIGNAL
from otel_tts.promql.slo import SERVICE

_BY_EXPORTER = f"{{{{{EXPORTER}}}}} · {{{{{SIGNAL}}}}}"
_BY_RECEIVER = f"{{{{{RECEIVER}}}}} · {{{{{SIGNAL}}}}}"
_BY_SERVICE = f"{{{{{SERVICE}}}}}"


def sections(panels: Panels) -> list[Section]:
    """Its sections."""
    arrives = [
        panels.stat(
            "Age of the newest sample",
            "More than a minute: the service is down, or the Collector or Prometheus. The alert follows after two.",
            Line(query="newest_sample_age", legend=_BY_SERVICE),
            width=6,
        ),
        panels.stat(
            "Dropped by SDKs in this time",
            "Traces and logs have holes; counts and latencies come from metrics and stay right. Can the service reach the Collector?",
            Line(query="sdk_drops", window=WHOLE, legend=_BY_SERVICE),
            condition="TTSTelemetryDropped",
            width=6,
        ),
        panels.stat(
            "Cardinality overflow",
            "Figures by provider, model or voice are wrong from here on: one attribute has too many values. Remove or bound it.",
            Line(query="cardinality_overflow", legend=f"{_BY_SERVICE} {{{{metric}}}}"),
            condition="TTSCardinalityOverflow",
            width=6,
        ),
        panels.stat(
            "Collectors in this time",
            "More than there are: it was killed or crashed, and started anew; its log and its memory, below, say why.",
            Line(query="collector_processes", window=WHOLE, of="collector"),
            width=6,
        ),
        panels.chart(
            "Age of the newest sample",
            "A saw-tooth below the export interval is well. A slope is silence.",
            Line(query="newest_sample_age", legend=_BY_SERVICE),
        ),
        panels.chart(
            "Spans that SDKs pass on",
            "0 with requests: traces are off, or sampled away.",
            Line(query="sdk_spans", legend=_BY_SERVICE),
        ),
        panels.chart(
            "Spans waiting in SDKs",
            "Towards 2048, the default capacity, spans are dropped: raise OTEL_BSP_MAX_QUEUE_SIZE, or look at the Collector.",
            Line(query="sdk_queue", legend=_BY_SERVICE),
        ),
    ]
    collector = [
        panels.chart(
            "Accepted, by signal",
            "A fall to 0: senders are gone, or cannot connect.",
            Line(query="collector_accepted", legend=_BY_RECEIVER, of="collector"),
        ),
        panels.chart(
            "Refused, by signal",
            "The Collector is short of memory or its queue is full. Senders try again for a while, then drop.",
            Line(query="collector_refused", legend=_BY_RECEIVER, of="collector"),
        ),
        panels.chart(
            "Share refused",
            "More memory, or more Collectors.",
            Line(query="judged_refused_share", legend=f"{{{{{RECEIVER}}}}}", of="collector"),
            condition="TTSTelemetryRefused",
            share=True,
        ),
        panels.chart(
            "Delivered, by signal",
            "A fall to 0 with data accepted: the destination is down, and the queue grows.",
            Line(query="collector_sent", legend=_BY_EXPORTER, of="collector"),
        ),
        panels.chart(
            "Failed for good, by signal",
            "The destination refused the data: the Collector's log has its reason. An outage is not here, it waits in the queue.",
            Line(query="collector_failed", legend=_BY_EXPORTER, of="collector"),
        ),
        panels.chart(
            "Queue, how full",
            "The destination is down or too slow. Bring it back and the queue drains; full, it loses telemetry.",
            Line(query="judged_queue_fill", legend=f"{{{{{EXPORTER}}}}}", of="collector"),
            condition="TTSTelemetryQueueNearlyFull",
            share=True,
        ),
        panels.chart(
            "Queue, bytes on disk",
            "Growing means that the destination takes less than comes. Compare with the room on the disk.",
            Line(query="collector_queue", legend=f"{{{{{EXPORTER}}}}}", of="collector"),
        ),
        panels.chart(
            "Memory of the Collector",
            "Near MEMORY_LIMIT_MIB it begins to refuse: give it more, or run more of them.",
            Line(query="collector_memory", legend="{{instance}}", of="collector"),
        ),
        panels.chart(
            "Series by service",
            "A steady rise is an attribute without bounds, or replicas that come and go: what Prometheus's memory goes to.",
            Line(query="series_count", legend=_BY_SERVICE),
        ),
    ]
    return [Section("Does telemetry arrive?", arrives), Section("The Collector", collector)]
