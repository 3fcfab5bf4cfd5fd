"""Conditions of the speech itself: what listeners, providers and the cache experience."""

from __future__ import annotations

from collections.abc import Sequence

from otel_tts.conditions import figure
from otel_tts.conditions.commands import AFFECTED, FAILED, GAPS, MISSES, REFERENCE, REPORT, SLOW, STATUS, TRACE, UNAVAILABLE
from otel_tts.conditions.condition import Comparison, Condition, Severity
from otel_tts.semconv import DRIFT_COLUMN, PROVIDER

ABOVE, BELOW = Comparison.ABOVE, Comparison.BELOW
PAGE, TICKET, INFO = Severity.PAGE, Severity.TICKET, Severity.INFO
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

REQUESTS_FAILING = Condition(
    name="TTSRequestsFailing",
    title="Only {value} of requests succeed",
    meaning="Listeners get no audio, or audio that ends early.",
    severity=PAGE,
    figure=figure.SUCCESS_RATE,
    comparison=BELOW,
    threshold=0.95,
    window_s=2 * MINUTE,
    minimum_traffic=5,
    minimum_events=5,
    query="judged_success_rate",
    steps=(
        f"Overview dashboard, or {FAILED}: which outcome grows, `error`, `deadline`, `partial` or `empty`?",
        (
            "Providers dashboard, or the same list: does one provider fail, and with which error type? Take it out of the chain if "
            "the next one works."
        ),
        f"Requests dashboard, failed, or {TRACE} with an id of that list: its last attempt has the error.",
        "After a deployment: roll back first, then look for the cause.",
    ),
)
SPEECH_INTERRUPTED = Condition(
    name="TTSSpeechInterrupted",
    title="{value} of streams have gaps because the provider is too slow",
    meaning="Listeners hear gaps: the provider makes audio more slowly than it is played.",
    severity=PAGE,
    figure=figure.GAP_SHARE,
    comparison=ABOVE,
    threshold=0.05,
    window_s=2 * MINUTE,
    minimum_traffic=5,
    minimum_events=5,
    query="judged_gap_share",
    steps=(
        (
            f"Streaming dashboard, or {GAPS}, then {TRACE}: is the real-time factor of the provider above 1? Then it lacks CPU or GPU, or "
            "it is throttled."
        ),
        "Queue wait on the same dashboard, or `queued` in the same trace: if it grows too, add replicas or allow fewer requests at once.",
        "Move traffic to a faster provider or voice until it recovers.",
    ),
)
PROVIDER_DOWN = Condition(
    name="TTSProviderDown",
    title="No replica can use the provider",
    meaning="Requests for its voices go to the next provider in the chain, or fail.",
    severity=PAGE,
    figure=figure.PROVIDER_AVAILABLE,
    comparison=BELOW,
    threshold=1,
    pending_s=15.0,
    by=(PROVIDER,),
    query="judged_provider_available",
    steps=(
        (
            f"Providers dashboard, or {AFFECTED}, then {TRACE}: which error type do its attempts have? `unauthorized` is the key, "
            "`rate_limited` the quota, `connection` the network or the host."
        ),
        "A vendor's provider: check the vendor's status page.",
        "An engine in the process: check its log, its model files and its memory.",
        "Make sure that another provider has the voices; else inform the callers whose voices fail.",
    ),
)
PROVIDER_DEGRADED = Condition(
    name="TTSProviderDegraded",
    title="Some replicas cannot use the provider, others can",
    meaning="Some requests fall back to another provider, depending on the replica that serves them.",
    severity=TICKET,
    figure=figure.PROVIDER_DEGRADED,
    comparison=ABOVE,
    threshold=0,
    pending_s=2 * MINUTE,
    by=(PROVIDER,),
    query="judged_provider_degraded",
    causes=("TTSProviderDown",),
    steps=(
        (
            f"Providers dashboard, availability by instance, or the query {UNAVAILABLE} in Prometheus: which replicas? "
            f"{AFFECTED} lists the requests that could not use it."
        ),
        "Compare their version, node, network policy and credentials with the others'; restart one and see whether it recovers.",
    ),
)
PROVIDER_FAILING = Condition(
    name="TTSProviderFailing",
    title="Only {value} of attempts at the provider succeed",
    meaning="Requests fall back to another provider: they take longer, and may have another voice. Without a fallback they fail.",
    severity=TICKET,
    figure=figure.PROVIDER_SUCCESS_RATE,
    comparison=BELOW,
    threshold=0.95,
    window_s=5 * MINUTE,
    minimum_traffic=20,
    minimum_events=5,
    by=(PROVIDER,),
    query="judged_provider_success_rate",
    causes=("TTSProviderDown",),
    steps=(
        f"Providers dashboard, or {AFFECTED}: where do requests fall back to?",
        f"Requests dashboard, fallen back, or {TRACE} with an id of that list: the attempt has the error.",
    ),
)


def _slow(name: str, title: str, judged: figure.Figure, query: str = "") -> Condition:
    return Condition(
        name=name,
        title=title,
        meaning="Listeners wait noticeably longer than usual for audio.",
        severity=TICKET,
        figure=judged,
        comparison=ABOVE,
        threshold=1.5,
        window_s=5 * MINUTE,
        minimum_traffic=20,
        by=(PROVIDER,),
        query=query,
        steps=(
            (
                f"Overview dashboard, latency against its reference, or {STATUS}: when did it rise, and did traffic or the length of texts "
                "change then?"
            ),
            f"Requests dashboard, slowest, or {SLOW}, then {TRACE}: does the queue, the provider or encoding take the time?",
            (f"If the new latency is the right one: set {REFERENCE}, or let the batch job publish it ({REPORT})."),
        ),
    )


FIRST_AUDIO_SLOW = _slow(
    "TTSFirstAudioSlow",
    "First audio takes {value} its reference at the 95th percentile",
    figure.FIRST_AUDIO_P95,
    "judged_first_audio_slowdown",
)
FIRST_AUDIO_MEAN_SLOW = _slow(
    "TTSFirstAudioMeanSlow", "First audio takes {value} its reference on average", figure.FIRST_AUDIO_MEAN
)
SYNTHESIS_SLOW = _slow(
    "TTSSynthesisSlow",
    "Unary requests take {value} their reference at the 95th percentile",
    figure.DURATION_P95,
    "judged_duration_slowdown",
)
SYNTHESIS_MEAN_SLOW = _slow(
    "TTSSynthesisMeanSlow", "Unary requests take {value} their reference on average", figure.DURATION_MEAN
)
REFERENCE_MISSING = Condition(
    name="TTSReferenceLatencyMissing",
    title="Latency is compared with the built-in default, since there is no reference",
    meaning="Only extreme latency raises an alert.",
    severity=INFO,
    figure=figure.REFERENCE_MISSING,
    comparison=ABOVE,
    threshold=0,
    window_s=HOUR,
    minimum_traffic=20,
    pending_s=30 * MINUTE,
    by=(PROVIDER,),
    query="judged_reference_missing",
    steps=(
        "On a service's first day there is no day before to compare with: wait.",
        (
            f"Run the batch job, which publishes one: {REPORT}. Or set {REFERENCE} and generate the rules again: "
            "`otel-tts rules --out rules`."
        ),
    ),
)
HIT_RATE_COLLAPSED = Condition(
    name="TTSCacheHitRateCollapsed",
    title="The cache's hit rate is {value} what it was the day before",
    meaning="More requests wait for a provider and cost money; the cache is cold or lost, or the texts are different.",
    severity=TICKET,
    figure=figure.HIT_RATE_CHANGE,
    comparison=BELOW,
    threshold=0.5,
    window_s=30 * MINUTE,
    minimum_traffic=100,
    pending_s=15 * MINUTE,
    query="judged_hit_rate_change",
    steps=(
        (
            f"Cache dashboard, look-ups, or {MISSES}, then {TRACE}: errors mean that a tier cannot be reached; misses with few "
            "entries mean that it was emptied or evicts."
        ),
        "A deployment that changed a voice, an engine or its settings starts with a cold cache: it warms up by itself.",
        "Otherwise the texts have changed: see the batch job's report.",
    ),
)
DRIFT_DETECTED = Condition(
    name="TTSDriftDetected",
    title="The batch job judged {value} measure(s) drifted",
    meaning="Audio differs from its reference: speaking rate, loudness, silence or speed of synthesis.",
    severity=TICKET,
    figure=figure.DRIFT,
    comparison=ABOVE,
    threshold=0,
    by=(PROVIDER, DRIFT_COLUMN),
    query="judged_drift",
    steps=(
        (
            "Open the latest drift report, in MLflow or on the page Drift of `otel-tts live`: which provider, model and voice, by how "
            "much, and on how many requests?"
        ),
        (
            "Audio quality dashboard, or the scores on the page Drift: when did the measure change? Let both versions speak the same text, "
            "and listen."
        ),
        "If the change is intended, save a new reference profile: `otel-tts report reference save NEW --service {service}`.",
    ),
)

SPEECH: Sequence[Condition] = (
    REQUESTS_FAILING, SPEECH_INTERRUPTED, PROVIDER_DOWN, PROVIDER_DEGRADED, PROVIDER_FAILING, FIRST_AUDIO_SLOW,
    FIRST_AUDIO_MEAN_SLOW, SYNTHESIS_SLOW, SYNTHESIS_MEAN_SLOW, REFERENCE_MISSING, HIT_RATE_COLLAPSED, DRIFT_DETECTED,
)  # fmt: skip
