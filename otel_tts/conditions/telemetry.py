"""Conditions of the telemetry itself: whether it arrives and is correct. All other conditions depend on it."""

from __future__ import annotations

from collections.abc import Sequence

from otel_tts.conditions import figure
from otel_tts.conditions.condition import Comparison, Condition, Severity

ABOVE, BELOW = Comparison.ABOVE, Comparison.BELOW
PAGE, TICKET, INFO = Severity.PAGE, Severity.TICKET, Severity.INFO
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

EXPORT_FAILING = Condition(
    name="TTSTelemetryExportFailing",
    title="The Collector fails to deliver {value} of its telemetry",
    meaning="Dashboards and alerts are late or incomplete. Queued telemetry is delivered later; dropped telemetry is lost.",
    severity=TICKET,
    figure=figure.EXPORT_FAILURES,
    comparison=ABOVE,
    threshold=0.01,
    window_s=5 * MINUTE,
    minimum_traffic=1,
    pending_s=5 * MINUTE,
    query="judged_export_failures",
    causes=(),
    steps=(
        (
            "Telemetry pipeline dashboard, or `otel-tts doctor --wait`: which exporter? Its destination is down, refuses the data, "
            "or is too slow."
        ),
        "The Collector's log has the reason of each failure.",
    ),
)
REFUSED = Condition(
    name="TTSTelemetryRefused",
    title="The Collector refuses {value} of the telemetry that it is sent",
    meaning="The Collector is short of memory or its queue is full; the service's SDK retries for a while, then drops.",
    severity=TICKET,
    figure=figure.REFUSED,
    comparison=ABOVE,
    threshold=0.01,
    window_s=5 * MINUTE,
    minimum_traffic=1,
    pending_s=5 * MINUTE,
    query="judged_refused_share",
    steps=(
        (
            "Telemetry pipeline dashboard, or the query `otelcol_process_memory_rss_bytes` in Prometheus: memory of the Collector against "
            "its limit."
        ),
        "Give it more memory, or run more Collectors.",
    ),
)
QUEUE_NEARLY_FULL = Condition(
    name="TTSTelemetryQueueNearlyFull",
    title="The Collector's queue is {value} full",
    meaning="When it is full, telemetry is lost.",
    severity=TICKET,
    figure=figure.QUEUE_FILL,
    comparison=ABOVE,
    threshold=0.8,
    pending_s=2 * MINUTE,
    query="judged_queue_fill",
    steps=(
        "Is the destination of that exporter down? When it is back, the queue drains by itself.",
        "Otherwise it is too slow: use more consumers, a bigger queue, or less telemetry.",
    ),
)
SDK_DROPS = Condition(
    name="TTSTelemetryDropped",
    title="Records dropped by the service's SDK: {value}",
    meaning="Traces and logs are incomplete; counts and latencies come from metrics and stay correct.",
    severity=TICKET,
    figure=figure.SDK_DROPS,
    comparison=ABOVE,
    threshold=0,
    window_s=10 * MINUTE,
    query="judged_sdk_drops",
    causes=("TTSTelemetryRefused",),
    steps=(
        "Can the service reach the Collector? Its log says so when it cannot; `otel-tts doctor --service {service}` follows a request.",
        "Otherwise there are more spans or records than its queue holds: raise OTEL_BSP_MAX_QUEUE_SIZE, or sample.",
    ),
)
OVERFLOW = Condition(
    name="TTSCardinalityOverflow",
    title="A metric has more attribute sets than the SDK's limit",
    meaning="Figures by provider, model or voice are wrong from now on; totals stay correct.",
    severity=TICKET,
    figure=figure.OVERFLOW,
    comparison=ABOVE,
    threshold=0,
    query="judged_cardinality_overflow",
    steps=(
        'Telemetry pipeline dashboard, cardinality, or the query `{{otel_metric_overflow="true"}}` in Prometheus: which metric?',
        (
            "Metrics of this project are bounded; one of the application's own has an attribute with too many "
            "values. Remove it or limit its values."
        ),
    ),
)
ENDED_AFTER = 90.0
"""Seconds without a sample after which the last value of a replica is not its state any more: more than one export at usual intervals."""
SILENT_AFTER = 2 * MINUTE
"""Seconds without a sample after which a service is silent."""
ABSENT = Condition(
    name="TTSTelemetryAbsent",
    title="A service that sent metrics within the hour sends none now",
    meaning="It is down, or its telemetry does not arrive: no other alert can fire for it.",
    severity=PAGE,
    figure=figure.ABSENT,
    comparison=ABOVE,
    threshold=0,
    window_s=HOUR,
    pending_s=MINUTE,
    query="judged_telemetry_absent",
    steps=(
        "Does the service run? If it was stopped on purpose, silence this alert for an hour.",
        "Do the Collector and Prometheus run and accept data? `otel-tts doctor --service {service}` follows a request through both.",
        "The health endpoint of the Collector answers on port 13133. The logs of both say why they refuse data.",
    ),
)
WATCHDOG = Condition(
    name="TTSWatchdog",
    title="Alerting works",
    meaning="This alert always fires. Its receiver must raise the alarm when it stops.",
    severity=INFO,
    figure=figure.ALWAYS,
    comparison=ABOVE,
    threshold=0,
    query="judged_watchdog",
    steps=("If it stopped: Prometheus or Alertmanager is down, or they cannot reach each other.",),
)

TELEMETRY: Sequence[Condition] = (EXPORT_FAILING, REFUSED, QUEUE_NEARLY_FULL, SDK_DROPS, OVERFLOW, ABSENT, WATCHDOG)
