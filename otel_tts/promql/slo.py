"""What conditions judge: figures over a window, and how much traffic they are taken over.

Rules record each figure under the name that `recorded` gives it, so that an alert compares one series with one number. Counters are
read by `grown`: ``increase()`` alone misses the first value of a new series where Prometheus does not store when it began, and the first
failures make a new series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_tts.conditions import MINIMUM_REFERENCE, Figure
from otel_tts.conditions.figure import DURATION_P95, FIRST_AUDIO_P95
from otel_tts.promql.expressions import (
    ASKED,
    CACHE_ASKED,
    COUNTED,
    MADE_BY_PROVIDER,
    OK,
    among,
    counted_in,
    grown,
    known_first_audio,
    last_run,
    outside,
    replicas,
    share,
    up_to,
)
from otel_tts.promql.naming import bucket_series, count_series, label
from otel_tts.promql.query import Queries, Query, Scope
from otel_tts.promql.readings import PLACE
from otel_tts.semconv import (
    ATTEMPT_DURATION,
    CACHE_RESULT,
    DRIFT_COLUMN,
    DRIFT_DETECTED,
    OUTCOME,
    PROVIDER,
    PROVIDER_AVAILABLE,
    REFERENCE_LATENCY,
    STREAM,
    STREAM_UNDERRUN,
    SYNTHESIS_DURATION,
    SYNTHESIS_FIRST_AUDIO,
    UNDERRUN_CAUSE,
    CacheResult,
    Metric,
    Outcome,
)  # fmt: skip

QUERIES = Queries()

SERVICE = "service_name"
"""The label of the service, which Prometheus makes of the resource."""
SUBJECT = (SERVICE, *PLACE)
"""What each figure is recorded for: services of one name in two clusters, environments or namespaces are two."""
REFERENCE = "reference"
"""The label that says where a reference comes from: ``environment``, ``published``, ``yesterday`` or ``default``."""
REFERENCE_WINDOW = "5m"
"""The window of the latencies that are compared with a reference."""
_PREFIX = "judged_"


def recorded(judged: Query, window: str) -> str:
    """The name under which a figure over a window is recorded: what it is split by, what it is, the window.

    Args:
        judged: the query.
        window: in PromQL.
    """
    levels = "_".join(["service", *(label(attribute).removeprefix("gen_ai_").partition("_")[0] for attribute in judged.labels)])
    return f"{levels}:tts_{judged.name.removeprefix(_PREFIX)}:{window}"


def _recorded(judged: Query, scope: Scope, *matchers: str) -> str:
    return scope.select(recorded(judged, scope.window), *matchers)


_STREAMS, _UNARY = among(STREAM, "true"), among(STREAM, "false")
_ATTEMPTS = (COUNTED, ASKED)
_DEFAULT, _NOT_DEFAULT = (f'{REFERENCE}{operator}"default"' for operator in ("=", "!="))


@QUERIES.query("{request}")
def judged_success_rate_traffic(scope: Scope) -> str:
    """Requests that count in the success rate: neither cancelled nor rejected."""
    return grown(scope, count_series(SYNTHESIS_DURATION), COUNTED)


@QUERIES.query("1")
def judged_success_rate(scope: Scope) -> str:
    """Share of requests that succeeded."""
    return share(grown(scope, count_series(SYNTHESIS_DURATION), OK), judged_success_rate_traffic(scope))


@QUERIES.query("1")
def judged_success_burn_rate(scope: Scope) -> str:
    """How many times faster than allowed failures use up the error budget."""
    return f"(1 - {judged_success_rate(scope)}) / {_budget(scope.objectives.success)}"


@QUERIES.query("{request}")
def judged_success_burn_rate_traffic(scope: Scope) -> str:
    """Requests that the error budget is judged on."""
    return judged_success_rate_traffic(scope)


@QUERIES.query("{request}")
def judged_gap_share_traffic(scope: Scope) -> str:
    """Streams whose audio could be followed."""
    return grown(scope, count_series(STREAM_UNDERRUN), among(UNDERRUN_CAUSE, "provider"))


@QUERIES.query("1")
def judged_gap_share(scope: Scope) -> str:
    """Share of streams in which the provider left a gap."""
    without = grown(scope, bucket_series(STREAM_UNDERRUN), among(UNDERRUN_CAUSE, "provider"), up_to(0))
    return f"1 - {share(without, judged_gap_share_traffic(scope))}"


@QUERIES.query("{request}")
def judged_first_audio_burn_rate_traffic(scope: Scope) -> str:
    """Streams whose first audio is known, or that failed without any."""
    return known_first_audio(lambda metric, *matchers: grown(scope, count_series(metric), *matchers))


@QUERIES.query("1")
def judged_first_audio_burn_rate(scope: Scope) -> str:
    """How many times faster than allowed streams with late or no audio use up their budget."""
    late = outside(OUTCOME, Outcome.REJECTED)
    good = grown(scope, bucket_series(SYNTHESIS_FIRST_AUDIO), late, up_to(scope.objectives.first_audio_seconds))
    return f"(1 - {share(good, judged_first_audio_burn_rate_traffic(scope))}) / {_budget(scope.objectives.first_audio)}"


@QUERIES.query("{provider}", PROVIDER)
def judged_provider_available(scope: Scope) -> str:
    """1 when any replica can use the provider, 0 when none can."""
    return f"max by ({scope.labels(PROVIDER)}) ({replicas(scope, PROVIDER_AVAILABLE)})"


@QUERIES.query("{replica}", PROVIDER)
def judged_provider_degraded(scope: Scope) -> str:
    """Replicas that cannot use the provider, while others can."""
    unable = f"count by ({scope.labels(PROVIDER)}) ({replicas(scope, PROVIDER_AVAILABLE)} == 0)"
    return f"{unable} and {judged_provider_available(scope)} == 1"


@QUERIES.query("{attempt}", PROVIDER)
def judged_provider_success_rate_traffic(scope: Scope) -> str:
    """Attempts that count in a provider's success rate: neither cancelled nor rejected, nor probes."""
    return grown(scope, count_series(ATTEMPT_DURATION), *_ATTEMPTS, labels=(PROVIDER,))


@QUERIES.query("1", PROVIDER)
def judged_provider_success_rate(scope: Scope) -> str:
    """Share of the provider's attempts that succeeded."""
    succeeded = grown(scope, count_series(ATTEMPT_DURATION), OK, *_ATTEMPTS[1:], labels=(PROVIDER,))
    return share(succeeded, judged_provider_success_rate_traffic(scope))


@QUERIES.query("{request}", PROVIDER)
def judged_first_audio_slowdown_traffic(scope: Scope) -> str:
    """Streams with audio that the cache did not have."""
    return grown(scope, count_series(SYNTHESIS_FIRST_AUDIO), *counted_in(FIRST_AUDIO_P95), labels=(PROVIDER,))


@QUERIES.query("s", PROVIDER)
def judged_first_audio_p95(scope: Scope) -> str:
    """95th percentile of time to first audio, of streams that the cache did not have."""
    return _p95(scope, SYNTHESIS_FIRST_AUDIO, FIRST_AUDIO_P95, over=judged_first_audio_slowdown_traffic)


@QUERIES.query("s", PROVIDER)
def judged_first_audio_reference(scope: Scope) -> str:
    """What time to first audio is compared with; the label `reference` says where it comes from."""
    return _reference(scope, judged_first_audio_p95, _STREAMS)


@QUERIES.query("1", PROVIDER)
def judged_first_audio_slowdown(scope: Scope) -> str:
    """Time to first audio at the 95th percentile, as a multiple of its reference."""
    return _slowdown(scope, judged_first_audio_p95, judged_first_audio_reference)


@QUERIES.query("{request}", PROVIDER)
def judged_duration_slowdown_traffic(scope: Scope) -> str:
    """Successful unary requests that the cache did not have."""
    return grown(scope, count_series(SYNTHESIS_DURATION), *counted_in(DURATION_P95), labels=(PROVIDER,))


@QUERIES.query("s", PROVIDER)
def judged_duration_p95(scope: Scope) -> str:
    """95th percentile of duration, of successful unary requests that the cache did not have."""
    return _p95(scope, SYNTHESIS_DURATION, DURATION_P95, over=judged_duration_slowdown_traffic)


@QUERIES.query("s", PROVIDER)
def judged_duration_reference(scope: Scope) -> str:
    """What the duration of unary requests is compared with; the label `reference` says where it comes from."""
    return _reference(scope, judged_duration_p95, outside(STREAM, "true"))


@QUERIES.query("1", PROVIDER)
def judged_duration_slowdown(scope: Scope) -> str:
    """Duration of unary requests at the 95th percentile, as a multiple of its reference."""
    return _slowdown(scope, judged_duration_p95, judged_duration_reference)


@QUERIES.query("{reference}", PROVIDER)
def judged_reference_missing(scope: Scope) -> str:
    """How many latencies of the provider were judged against the default within the hour, and have no reference still."""
    recorded_names = [
        recorded(reference, REFERENCE_WINDOW) for reference in (judged_first_audio_reference, judged_duration_reference)
    ]
    judged = " or ".join(f"last_over_time({scope.select(name, _DEFAULT)}[1h])" for name in recorded_names)
    others = " or ".join(scope.select(name, _NOT_DEFAULT) for name in recorded_names)
    return f"count by ({scope.labels(PROVIDER)}) ({judged}) unless on ({scope.labels(PROVIDER)}) ({others})"


@QUERIES.query("{request}", PROVIDER)
def judged_reference_missing_traffic(scope: Scope) -> str:
    """Requests that the cache did not have."""
    return grown(scope, count_series(SYNTHESIS_DURATION), OK, MADE_BY_PROVIDER, labels=(PROVIDER,))


@QUERIES.query("{request}")
def judged_hit_rate_change_traffic(scope: Scope) -> str:
    """Requests that asked the cache."""
    return grown(scope, count_series(SYNTHESIS_DURATION), CACHE_ASKED)


@QUERIES.query("1")
def judged_hit_rate(scope: Scope) -> str:
    """Share of requests that the cache had, of those that asked it."""
    hits = grown(scope, count_series(SYNTHESIS_DURATION), among(CACHE_RESULT, CacheResult.HIT))
    return share(hits, judged_hit_rate_change_traffic(scope))


@QUERIES.query("1")
def judged_hit_rate_change(scope: Scope) -> str:
    """The hit rate, as a multiple of that of the day before, where that was at least a tenth."""
    before = f"avg_over_time({_recorded(judged_hit_rate, scope)}[1d] offset {scope.window}) >= 0.1"
    return f"{_recorded(judged_hit_rate, scope)} / ({before})"


@QUERIES.query("{detection}", PROVIDER, DRIFT_COLUMN)
def judged_drift(scope: Scope) -> str:
    """1 for each measure that the batch job's last run, within two days, judged drifted."""
    return last_run(scope, DRIFT_DETECTED, by=(PROVIDER, DRIFT_COLUMN))


def _budget(objective: float) -> str:
    return f"{1 - objective:.6g}"


def _p95(scope: Scope, metric: Metric, figure: Figure, *, over: Query) -> str:
    """Nothing, and not NaN, where nothing was counted."""
    buckets = grown(scope, bucket_series(metric), *counted_in(figure), labels=(PROVIDER,), by=("le",))
    return f"histogram_quantile(0.95, {buckets}) and {over(scope)} > 0"


def _reference(scope: Scope, p95: Query, published_for: str) -> str:
    """What was set; else what the batch job published; else the same hour of the day before; else the default."""
    now, provider_label = _recorded(p95, scope), scope.labels(PROVIDER)

    def constant(source: str) -> str:
        return _from(f"{now} * 0 + {scope.objectives.reference:g}", source)

    if scope.objectives.reference_is_set:
        return constant("environment")
    last_published = last_run(Scope(), REFERENCE_LATENCY, published_for, by=(PROVIDER,))
    published = _from(
        f"{now} * 0 + on ({label(PROVIDER)}) group_left () clamp_min({last_published}, {MINIMUM_REFERENCE:g})", "published"
    )
    yesterday = _from(f"clamp_min(avg_over_time({now}[1h] offset 23h30m), {MINIMUM_REFERENCE:g}) and {now}", "yesterday")
    return f"{published} or on ({provider_label}) {yesterday} or on ({provider_label}) {constant('default')}"


def _from(reference: str, source: str) -> str:
    return f'label_replace({reference}, "{REFERENCE}", "{source}", "", "")'


def _slowdown(scope: Scope, p95: Query, reference: Query) -> str:
    return f"{_recorded(p95, scope)} / ignoring ({REFERENCE}) {_recorded(reference, scope)}"


LIMITS: Mapping[str, tuple[Query, float]] = {
    judged_first_audio_slowdown.name: (judged_first_audio_p95, SYNTHESIS_FIRST_AUDIO.buckets[-1]),
    judged_duration_slowdown.name: (judged_duration_p95, SYNTHESIS_DURATION.buckets[-1]),
}
"""Of figures that are made of a quantile: which, and the last bucket's bound. There, they are at least what they are."""
INPUTS: Mapping[str, Sequence[Query]] = {
    judged_first_audio_slowdown.name: (judged_first_audio_p95, judged_first_audio_reference),
    judged_duration_slowdown.name: (judged_duration_p95, judged_duration_reference),
    judged_hit_rate_change.name: (judged_hit_rate,),
}
"""What figures are made of: it is recorded over the same window, before them."""
