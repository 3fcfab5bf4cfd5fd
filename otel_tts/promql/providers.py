"""Providers: whether they can be used, how their attempts end, and what they cost."""

from __future__ import annotations

from otel_tts.promql.expressions import ASKED, COUNTED, OK, growth, level, none, percentiles, rate, replicas, share
from otel_tts.promql.naming import label
from otel_tts.promql.query import Queries, Scope
from otel_tts.semconv import (
    ATTEMPT_DURATION,
    ATTEMPT_REAL_TIME_FACTOR,
    ATTEMPT_REASON,
    CHARACTERS_STATE,
    ERROR_TYPE,
    FALLBACK_FROM,
    FALLBACK_TO,
    OUTCOME,
    PROVIDER,
    PROVIDER_AVAILABLE,
    PROVIDER_FALLBACKS,
    PROVIDER_HEALTH_AGE,
    SYNTHESIS_CHARACTERS,
    SYNTHESIS_DURATION,
    USAGE_COST,
    USAGE_UNPRICED,
)

QUERIES = Queries()

percentiles(
    QUERIES,
    ("p50", "p95"),
    "attempt_duration",
    "Duration of attempts, probes included",
    ATTEMPT_DURATION,
    labels=(PROVIDER, ATTEMPT_REASON),
)
percentiles(
    QUERIES,
    ("p50", "p95"),
    "real_time_factor",
    "Waiting for the engine per second of audio, of attempts that succeeded",
    ATTEMPT_REAL_TIME_FACTOR,
    labels=(PROVIDER,),
)


@QUERIES.query("1", PROVIDER)
def provider_state(scope: Scope) -> str:
    """2 when all replicas can use the provider, 1 when only some can, 0 when none can."""
    each, by = replicas(scope, PROVIDER_AVAILABLE), scope.labels(PROVIDER)
    return f"max by ({by}) ({each}) + min by ({by}) ({each})"


@QUERIES.query("s", PROVIDER)
def provider_health_age(scope: Scope) -> str:
    """Time since the provider was last known to be good, on the replica that knows least."""
    return level(scope, PROVIDER_HEALTH_AGE, by=(PROVIDER,), over="max")


@QUERIES.query("1", PROVIDER)
def provider_success_rate(scope: Scope) -> str:
    """Share of the provider's attempts that succeeded; probes, cancelled and rejected ones don't count."""
    whole = rate(scope, ATTEMPT_DURATION, COUNTED, ASKED, by=(PROVIDER,))
    return share(rate(scope, ATTEMPT_DURATION, OK, ASKED, by=(PROVIDER,)), whole)


@QUERIES.query("{attempt}/s", PROVIDER, OUTCOME)
def attempt_rate(scope: Scope) -> str:
    """Attempts a second, by how they ended."""
    return rate(scope, ATTEMPT_DURATION, ASKED, by=(PROVIDER, OUTCOME))


@QUERIES.query("{attempt}/s", PROVIDER, ERROR_TYPE)
def attempt_errors(scope: Scope) -> str:
    """Attempts a second that went wrong, by what did; 0 for a provider with which nothing did."""
    wrong = rate(scope, ATTEMPT_DURATION, COUNTED, f'{label(ERROR_TYPE)}!=""', by=(PROVIDER, ERROR_TYPE))
    quiet = none(rate(scope, ATTEMPT_DURATION, by=(PROVIDER,)), ERROR_TYPE)
    return f"{wrong} or on ({scope.labels(PROVIDER)}) {quiet}"


@QUERIES.query("{fallback}/s", FALLBACK_FROM, FALLBACK_TO)
def fallback_rate(scope: Scope) -> str:
    """Moves a second from a failed provider to the next; one 0 while there are none."""
    quiet = none(rate(scope, SYNTHESIS_DURATION), FALLBACK_FROM, FALLBACK_TO)
    return f"{rate(scope, PROVIDER_FALLBACKS, by=(FALLBACK_FROM, FALLBACK_TO))} or on () {quiet}"


@QUERIES.query("{character}/s", PROVIDER, CHARACTERS_STATE)
def character_rate(scope: Scope) -> str:
    """Characters of text a second, by what became of them."""
    return rate(scope, SYNTHESIS_CHARACTERS, by=(PROVIDER, CHARACTERS_STATE))


@QUERIES.query("{USD}/h", PROVIDER)
def cost_rate(scope: Scope) -> str:
    """US dollars an hour, at the current pace; nothing for a provider without a price."""
    return f"3600 * {rate(scope, USAGE_COST, by=(PROVIDER,))}"


@QUERIES.query("{USD}", PROVIDER)
def cost(scope: Scope) -> str:
    """US dollars in the window; nothing for a provider without a price."""
    return growth(scope, USAGE_COST, by=(PROVIDER,))


@QUERIES.query("{request}", PROVIDER)
def unpriced(scope: Scope) -> str:
    """Requests in the window whose price is not known; one 0 while all are."""
    return f"{growth(scope, USAGE_UNPRICED, by=(PROVIDER,))} or on () {none(growth(scope, SYNTHESIS_DURATION), PROVIDER)}"
