"""Overview: do listeners get their audio in time?"""

from __future__ import annotations

from otel_tts.grafana.layout import PanelSection, Placed
from otel_tts.grafana.links import TO_REQUESTS, PanelLink
from otel_tts.grafana.panels import Panels
from otel_tts.grafana.queries import WHOLE, PanelQuery
from otel_tts.grafana.units import NUMBER
from otel_tts.palette import OUTCOMES, QUANTILES, REFERENCE, STATUS, STREAMS, WINDOWS


def sections(panels: Panels) -> list[PanelSection]:
    """The sections of the dashboard.

    Args:
        panels: makes the panels.
    """
    return [
        PanelSection("", _now(panels)),
        PanelSection("Requests", _requests(panels)),
        PanelSection("How long listeners wait", _latency(panels)),
    ]


def _now(panels: Panels) -> list[Placed]:
    objectives = panels.home.objectives
    return [
        panels.alerts(),
        panels.watchdog(width=3),
        panels.silence(width=3),
        panels.stat(
            "Success rate, last $window",
            "The panel of requests by outcome shows which failure grows; the Providers dashboard shows which provider fails. Yellow: "
            "below the objective, and no alert yet.",
            PanelQuery(query="success_rate"),
            condition="TTSRequestsFailing",
            objective=objectives.success,
            links=[TO_REQUESTS],
        ),
        panels.stat(
            "Success rate in this time",
            "Green: the objective is met, and a part of the error budget is left.",
            PanelQuery(query="success_rate", window=WHOLE),
            objective=objectives.success,
            links=[TO_REQUESTS],
        ),
        panels.stat(
            "Error budget left in this time",
            "Below 0, the objective is missed in the time shown. Choose 30 days to see the month. Stop risky "
            "changes until it recovers.",
            PanelQuery(query="success_budget_left", window=WHOLE),
            objective=0.0,
        ),
        panels.stat(
            "First audio in time, last $window",
            "The Streaming dashboard shows whether the queue, the provider or silence at the start takes the time.",
            PanelQuery(query="first_audio_in_time"),
            objective=objectives.first_audio,
            absent="no stream in this time",
        ),
        panels.stat(
            "Streams with a gap, last $window",
            "The provider makes audio more slowly than it is played: see underruns and real-time factor on the Streaming dashboard.",
            PanelQuery(query="gap_share"),
            condition="TTSSpeechInterrupted",
            absent="no stream in this time",
        ),
        panels.stat(
            "Requests in this time",
            "0: there are no callers, or telemetry does not arrive; see the Telemetry pipeline dashboard.",
            PanelQuery(query="requests_counted", window=WHOLE),
            links=[TO_REQUESTS],
        ),
    ]


def _requests(panels: Panels) -> list[Placed]:
    return [
        panels.chart(
            "Requests by outcome",
            "error, deadline, partial and empty count against the service, rejected and cancelled do not. A "
            "point leads to its requests.",
            PanelQuery(query="request_rate"),
            colours=OUTCOMES,
            stacked=True,
            links=[TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Success rate",
            "A step after a deployment: roll it back. A slow decline: one voice or language, see the Requests dashboard.",
            PanelQuery(query="success_rate", legend="success"),
            condition="TTSRequestsFailing",
            near="all",
            links=[TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Failures by kind",
            "connection, timeout and unavailable are a provider's; queue_full is too little capacity; _OTHER is a bug: open a trace.",
            PanelQuery(query="failure_rate"),
            stacked=True,
            links=[TO_REQUESTS],
        ),
        panels.chart(
            "Error budget burn rate",
            "At 14.4, the budget of a month is used up in two days. The alert's runbook says what to check.",
            PanelQuery(query="judged_success_burn_rate", legend="over 1 hour", window="1h"),
            PanelQuery(query="judged_success_burn_rate", legend="over 6 hours", window="6h"),
            unit=NUMBER,
            colours=WINDOWS,
            condition="TTSSuccessBudgetBurn1h",
        ),
        panels.chart(
            "Active requests",
            "It grows while the request rate does not: requests take longer, or hang. Compare with queue wait on "
            "the Streaming dashboard.",
            PanelQuery(query="active_requests", legend="stream: {{gen_ai_request_stream}}"),
            colours=STREAMS,
            stacked=True,
        ),
        panels.chart(
            "Requests by language and voice",
            "A voice that disappeared is no longer requested or no longer offered. A new voice starts with a cold cache.",
            PanelQuery(query="requests_by_voice"),
            stacked=True,
            width=12,
        ),
        panels.chart(
            "gRPC calls by status",
            "INVALID_ARGUMENT and NOT_FOUND are callers' mistakes; RESOURCE_EXHAUSTED is a full queue; "
            "UNAVAILABLE is no provider left.",
            PanelQuery(query="rpc_rate"),
            colours=STATUS,
            stacked=True,
            width=12,
        ),
    ]


def _latency(panels: Panels) -> list[Placed]:
    return [
        panels.chart(
            "Time to first audio",
            "A higher p50: all requests are slower. Only p99 is higher: cold cache, long texts or a fallback. "
            "Dots are exemplars: each opens its trace.",
            *(PanelQuery(query=f"first_audio_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Duration of unary requests",
            "Compare with the length of texts and with the cache's hit rate first. Dots are exemplars: each opens its trace.",
            *(PanelQuery(query=f"request_duration_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[TO_REQUESTS],
            width=12,
        ),
        panels.heatmap(
            "Time to first audio, distribution",
            "Two bands are the cache and the provider; a new band has another cause. Dots are exemplars: each opens its trace.",
            PanelQuery(query="first_audio_distribution", exemplars=True),
        ),
        panels.heatmap(
            "Duration, distribution",
            "Two bands are the cache and the provider; a new band has another cause. Dots are exemplars: each opens its trace.",
            PanelQuery(query="duration_distribution", exemplars=True),
        ),
        panels.chart(
            "First audio against its reference",
            "At 1.5 times the reference, a ticket is opened. See the Providers dashboard; if this latency is "
            "right, set a new reference.",
            PanelQuery(query="first_audio_made_p95", legend="p95 {{gen_ai_provider_name}}", exemplars=True),
            PanelQuery(query="first_audio_reference", legend="reference {{gen_ai_provider_name}} ({{reference}})"),
            colours={"reference.*": REFERENCE},
            links=[TO_REQUESTS, PanelLink("This provider", "providers")],
        ),
        panels.chart(
            "Duration against its reference",
            "At 1.5 times the reference, a ticket is opened. See the Providers dashboard; if this latency is "
            "right, set a new reference.",
            PanelQuery(query="duration_made_p95", legend="p95 {{gen_ai_provider_name}}", exemplars=True),
            PanelQuery(query="duration_reference", legend="reference {{gen_ai_provider_name}} ({{reference}})"),
            colours={"reference.*": REFERENCE},
            links=[TO_REQUESTS, PanelLink("This provider", "providers")],
        ),
        panels.chart(
            "Real-time factor",
            "Above 1, audio is made more slowly than it is played, and every stream has gaps: use more CPU or "
            "GPU, or allow fewer requests at once.",
            PanelQuery(query="real_time_factor_p50", legend="p50 {{gen_ai_provider_name}}"),
            PanelQuery(query="real_time_factor_p95", legend="p95 {{gen_ai_provider_name}}"),
            unit=NUMBER,
        ),
    ]
