"""Overview: are listeners fine?"""

from __future__ import annotations

from otel_tts.grafana.layout import Placed, Section
from otel_tts.grafana.panels import WHOLE, Line, Panels, link
from otel_tts.grafana.units import NUMBER
from otel_tts.palette import OUTCOMES, QUANTILES, REFERENCE
from otel_tts.promql import label
from otel_tts.semconv import PROVIDER

_TO_REQUESTS = link("Requests of this time", "requests")


def sections(panels: Panels) -> list[Section]:
    """Its sections."""
    return [
        Section("Now", _now(panels)),
        Section("Requests", _requests(panels)),
        Section("How long listeners wait", _latency(panels)),
    ]


def _now(panels: Panels) -> list[Placed]:
    return [
        panels.stat(
            "Success rate",
            "Requests by outcome, below, says which failure grows; the Providers dashboard says whose it is.",
            Line(query="success_rate"),
            condition="TTSRequestsFailing",
        ),
        panels.stat(
            "Error budget left",
            "Below 0 the objective is missed for the time shown. Choose 30 days to see the month; stop risky changes until it recovers.",
            Line(query="success_budget_left", window=WHOLE),
            least=0,
        ),
        panels.stat(
            "First audio in time",
            "Look whether the queue, the provider or leading silence takes the time: Streaming dashboard.",
            Line(query="first_audio_in_time"),
        ),
        panels.stat(
            "Streams with a gap",
            "The provider makes audio more slowly than it is played: Streaming dashboard, underruns and real-time factor.",
            Line(query="gap_share"),
            condition="TTSSpeechInterrupted",
        ),
        panels.stat(
            "Requests in this time",
            "None at all: nobody asks, or telemetry does not arrive; the Telemetry pipeline dashboard tells which.",
            Line(query="requests_counted", window=WHOLE),
        ),
        panels.stat(
            "Alerts firing",
            "Each alert's runbook says what to do. The watchdog fires always: without it alerting itself is broken.",
            Line(query="alerts_firing", legend="{{alertname}}"),
        ),
    ]


def _requests(panels: Panels) -> list[Placed]:
    return [
        panels.chart(
            "Requests by outcome",
            "error, deadline, partial and empty count against the service, rejected and cancelled do not. A point leads to its requests.",
            Line(query="request_rate"),
            colours=OUTCOMES,
            stacked=True,
            links=[_TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Success rate",
            "A step after a deployment: roll it back. A slow decline: one voice or language, see the Requests dashboard.",
            Line(query="success_rate", legend="success"),
            condition="TTSRequestsFailing",
            share=True,
            links=[_TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Failures by kind",
            "connection, timeout and unavailable are a provider's; queue_full is too little capacity; _OTHER is a bug: open a trace.",
            Line(query="failure_rate"),
            stacked=True,
            links=[_TO_REQUESTS],
        ),
        panels.chart(
            "Error budget burn rate",
            "At 14.4 a month's budget is gone in two days. The alert's runbook says where to look.",
            Line(query="judged_success_burn_rate", legend="over 1 hour", window="1h"),
            Line(query="judged_success_burn_rate", legend="over 6 hours", window="6h"),
            unit=NUMBER,
            condition="TTSSuccessBudgetBurn1h",
        ),
        panels.chart(
            "Active requests",
            "Growing while the request rate does not: requests take longer, or hang. Compare with queue wait on the Streaming dashboard.",
            Line(query="active_requests", legend="stream: {{gen_ai_request_stream}}"),
            stacked=True,
        ),
        panels.chart(
            "Requests by language and voice",
            "A voice that vanished is one that callers can no longer ask for; a new one starts with a cold cache.",
            Line(query="requests_by_voice"),
            stacked=True,
            width=12,
        ),
        panels.chart(
            "gRPC calls by status",
            "INVALID_ARGUMENT and NOT_FOUND are callers' mistakes; RESOURCE_EXHAUSTED is a full queue; UNAVAILABLE is no provider left.",
            Line(query="rpc_rate"),
            stacked=True,
            width=12,
        ),
    ]


def _latency(panels: Panels) -> list[Placed]:
    return [
        panels.chart(
            "Time to first audio",
            "p50 moves: everybody waits. Only p99: cold cache, long texts or a fallback. Dots are exemplars: each opens its trace.",
            *(Line(query=f"first_audio_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[_TO_REQUESTS],
            width=12,
        ),
        panels.chart(
            "Duration of unary requests",
            "Compare with the length of texts and with the cache's hit rate first. Dots are exemplars: each opens its trace.",
            *(Line(query=f"request_duration_{name}", legend=name, exemplars=name == "p95") for name in QUANTILES),
            colours=QUANTILES,
            links=[_TO_REQUESTS],
            width=12,
        ),
        panels.heatmap(
            "Time to first audio, distribution",
            "Two bands are cache and provider; a new band is a new reason. Dots are exemplars: each opens its trace.",
            Line(query="first_audio_distribution", exemplars=True),
        ),
        panels.heatmap(
            "Duration, distribution",
            "Two bands are cache and provider; a new band is a new reason. Dots are exemplars: each opens its trace.",
            Line(query="duration_distribution", exemplars=True),
        ),
        panels.chart(
            "First audio against its reference",
            "Half as much again as the reference makes a ticket. See the provider's page; or, if all is well, set the reference anew.",
            Line(query="first_audio_made_p95", legend="p95 {{gen_ai_provider_name}}", exemplars=True),
            Line(query="first_audio_reference", legend="reference {{gen_ai_provider_name}} ({{reference}})"),
            colours={"reference.*": REFERENCE},
            links=[_TO_REQUESTS, link("This provider", "providers", provider=f"${{__field.labels.{label(PROVIDER)}}}")],
        ),
        panels.chart(
            "Duration against its reference",
            "Half as much again as the reference makes a ticket. See the provider's page; or, if all is well, set the reference anew.",
            Line(query="duration_made_p95", legend="p95 {{gen_ai_provider_name}}", exemplars=True),
            Line(query="duration_reference", legend="reference {{gen_ai_provider_name}} ({{reference}})"),
            colours={"reference.*": REFERENCE},
            links=[_TO_REQUESTS, link("This provider", "providers", provider=f"${{__field.labels.{label(PROVIDER)}}}")],
        ),
        panels.chart(
            "Real-time factor",
            "Above 1 the engine is slower than speech, and every stream stops: more CPU or GPU, or fewer requests at once.",
            Line(query="real_time_factor_p50", legend="p50 {{gen_ai_provider_name}}"),
            Line(query="real_time_factor_p95", legend="p95 {{gen_ai_provider_name}}"),
            unit=NUMBER,
        ),
    ]
