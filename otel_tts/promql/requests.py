"""Requests: how many, how they end, and how long listeners wait."""

from __future__ import annotations

from otel_tts.conditions.figure import DURATION_P95, FIRST_AUDIO_P95
from otel_tts.promql.expressions import (
    COUNTED,
    OK,
    PERCENTILES,
    among,
    below,
    buckets,
    counted,
    counted_in,
    growth,
    known_first_audio,
    last_run,
    level,
    named,
    none,
    outside,
    percentiles,
    rate,
    share,
)
from otel_tts.promql.naming import label
from otel_tts.promql.query import Queries, Query, Scope
from otel_tts.promql.slo import REFERENCE, REFERENCE_WINDOW, judged_duration_reference, judged_first_audio_reference, recorded
from otel_tts.semconv import (
    ERROR_TYPE,
    LANGUAGE,
    OUTCOME,
    PROVIDER,
    REFERENCE_LATENCY,
    RPC_DURATION,
    RPC_METHOD,
    RPC_RESPONSE_STATUS_CODE,
    STREAM,
    SYNTHESIS_ACTIVE,
    SYNTHESIS_DURATION,
    SYNTHESIS_FAILURES,
    SYNTHESIS_FIRST_AUDIO,
    SYNTHESIS_REQUESTS,
    VOICE,
    Metric,
    Outcome,
)

QUERIES = Queries()

_STREAMS, _UNARY = among(STREAM, "true"), among(STREAM, "false")

percentiles(
    QUERIES,
    tuple(PERCENTILES),
    "request_duration",
    "Duration of successful unary requests, from arrival to the last byte",
    SYNTHESIS_DURATION,
    _UNARY,
    OK,
)
percentiles(
    QUERIES, tuple(PERCENTILES), "first_audio", "Streams: from arrival to the first audible sample", SYNTHESIS_FIRST_AUDIO
)
percentiles(
    QUERIES,
    ("p95",),
    "first_audio_made",
    "What is judged against the reference: time to first audio of streams that the cache did not have",
    SYNTHESIS_FIRST_AUDIO,
    *counted_in(FIRST_AUDIO_P95),
    labels=(PROVIDER,),
)
percentiles(
    QUERIES,
    ("p95",),
    "duration_made",
    "What is judged against the reference: duration of successful unary requests that the cache did not have",
    SYNTHESIS_DURATION,
    *counted_in(DURATION_P95),
    labels=(PROVIDER,),
)


@QUERIES.query("{request}/s", OUTCOME)
def request_rate(scope: Scope) -> str:
    """Requests a second, by how they ended."""
    return rate(scope, SYNTHESIS_DURATION, by=(OUTCOME,))


@QUERIES.query("{request}")
def requests_counted(scope: Scope) -> str:
    """Requests in the window, as a whole number."""
    return f"round({growth(scope, SYNTHESIS_DURATION)})"


@QUERIES.query("1")
def success_rate(scope: Scope) -> str:
    """Share of requests that succeeded: ok of ok, deadline, partial, empty and error."""
    return share(rate(scope, SYNTHESIS_DURATION, OK), rate(scope, SYNTHESIS_DURATION, COUNTED))


@QUERIES.query("1")
def success_budget_left(scope: Scope) -> str:
    """How much of the window's error budget is left: 1 all of it, 0 where the objective is just met, below 0 where it is missed."""
    return f"({success_rate(scope)} - {scope.objectives.success:g}) / {1 - scope.objectives.success:.6g}"


@QUERIES.query("1")
def first_audio_in_time(scope: Scope) -> str:
    """Share of streams whose first audio came within the objective's bound; those that failed without audio did not.

    Streams that were rejected, or cancelled before anything was heard, don't count, nor do those whose first audio is unknown.
    """
    good = below(scope, SYNTHESIS_FIRST_AUDIO, scope.objectives.first_audio_seconds, outside(OUTCOME, Outcome.REJECTED))
    return share(good, known_first_audio(lambda metric, *matchers: rate(scope, metric, *matchers)))


@QUERIES.query("{request}/s", OUTCOME, ERROR_TYPE)
def failure_rate(scope: Scope) -> str:
    """Failed requests a second, by how they ended and what went wrong; one 0 while there are none."""
    quiet = none(rate(scope, SYNTHESIS_DURATION), OUTCOME, ERROR_TYPE)
    return f"{rate(scope, SYNTHESIS_FAILURES, by=(OUTCOME, ERROR_TYPE))} or on () {quiet}"


@QUERIES.query("{request}", STREAM)
def active_requests(scope: Scope) -> str:
    """Requests under way, streams and unary."""
    return level(scope, SYNTHESIS_ACTIVE, by=(STREAM,))


@QUERIES.query("{request}/s", LANGUAGE, VOICE)
def requests_by_voice(scope: Scope) -> str:
    """Requests a second, by the language and voice that they asked for."""
    return rate(scope, SYNTHESIS_REQUESTS, by=(LANGUAGE, VOICE))


@QUERIES.query("{request}")
def duration_distribution(scope: Scope) -> str:
    """Requests by the bucket of their duration, each bucket with all below it."""
    return buckets(scope, SYNTHESIS_DURATION)


@QUERIES.query("{request}")
def first_audio_distribution(scope: Scope) -> str:
    """Streams by the bucket of their time to first audio, each bucket with all below it."""
    return buckets(scope, SYNTHESIS_FIRST_AUDIO)


@QUERIES.query("s", PROVIDER)
def first_audio_reference(scope: Scope) -> str:
    """What first audio is judged against, by provider; the label `reference` says where it comes from."""
    return _reference(scope, judged_first_audio_reference, SYNTHESIS_FIRST_AUDIO, _STREAMS)


@QUERIES.query("s", PROVIDER)
def duration_reference(scope: Scope) -> str:
    """What the duration of unary requests is judged against, by provider; the label `reference` says where it comes from."""
    return _reference(scope, judged_duration_reference, SYNTHESIS_DURATION, _UNARY)


@QUERIES.query("{call}/s", RPC_METHOD, RPC_RESPONSE_STATUS_CODE)
def rpc_rate(scope: Scope) -> str:
    """Calls of gRPC a second, by method and status."""
    return rate(scope, RPC_DURATION, by=(RPC_METHOD, RPC_RESPONSE_STATUS_CODE))


def _reference(scope: Scope, judged: Query, metric: Metric, published_for: str) -> str:
    """What the rules judge against. Where they have judged nothing for an hour, or are not there: set, published or the default."""
    source = "environment" if scope.objectives.reference_is_set else "default"
    constant = named(f"vector({scope.objectives.reference:g})", **{label(PROVIDER): "all", REFERENCE: source})
    used = scope.select(recorded(judged, REFERENCE_WINDOW), *scope.narrow(metric))
    ways = [f"max by ({scope.labels(PROVIDER)}, {REFERENCE}) (last_over_time({used}[1h]))"]
    if not scope.objectives.reference_is_set:
        ways.append(named(last_run(scope, REFERENCE_LATENCY, published_for, by=(PROVIDER,)), **{REFERENCE: "published"}))
    return " or on () ".join((*ways, constant))


def label_values(name: str, *matchers: str) -> str:
    """For a variable of Grafana: the values of a label among services that sent metrics.

    Args:
        name: of the label.
        matchers: of other labels, in PromQL: what was chosen before.
    """
    selector = f"{{{', '.join(matchers)}}}" if matchers else ""
    return f"label_values({counted(SYNTHESIS_DURATION)}{selector}, {name})"
