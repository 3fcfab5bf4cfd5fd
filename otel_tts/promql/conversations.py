"""Conversations: interruptions and what nobody heard, connections, work that nobody waits for, and the GenAI conventions' view."""

from __future__ import annotations

from otel_tts.promql.expressions import below, none, percentiles, rate, share
from otel_tts.promql.naming import label
from otel_tts.promql.query import Queries, Scope
from otel_tts.semconv import (
    BACKGROUND_DURATION,
    CLIENT_DURATION,
    CLIENT_FIRST_CHUNK,
    CONNECT_DURATION,
    CONNECTION_REUSED,
    CONNECTION_USES,
    ERROR_TYPE,
    KIND,
    OUTCOME,
    PROVIDER,
    SYNTHESIS_DURATION,
    SYNTHESIS_TIME_TO_SILENCE,
    USAGE_COST_WASTED,
)

QUERIES = Queries()

percentiles(
    QUERIES, ("p50", "p95"), "time_to_silence", "Interrupted requests: to the last audio handed out", SYNTHESIS_TIME_TO_SILENCE
)
percentiles(
    QUERIES, ("p95",), "connection_open", "How long opening a connection to a provider took", CONNECT_DURATION, labels=(PROVIDER,)
)
percentiles(
    QUERIES, ("p95",), "background_duration", "Duration of prefetch and batch requests", BACKGROUND_DURATION, labels=(KIND,)
)
percentiles(
    QUERIES, ("p95",), "first_chunk", "Streams: from asking a provider to its first audio", CLIENT_FIRST_CHUNK, labels=(PROVIDER,)
)


@QUERIES.query("{request}/s")
def interruption_rate(scope: Scope) -> str:
    """Interrupted requests a second; 0 while there are none."""
    return f"{rate(scope, SYNTHESIS_TIME_TO_SILENCE)} or {none(rate(scope, SYNTHESIS_DURATION))}"


@QUERIES.query("1")
def silent_in_time_share(scope: Scope) -> str:
    """Share of interrupted requests that were silent within 0.2 s."""
    return share(below(scope, SYNTHESIS_TIME_TO_SILENCE, 0.2), rate(scope, SYNTHESIS_TIME_TO_SILENCE))


@QUERIES.query("{USD}/h", PROVIDER)
def cost_wasted_rate(scope: Scope) -> str:
    """US dollars an hour for speech that nobody heard; nothing for a provider without a price."""
    return f"3600 * {rate(scope, USAGE_COST_WASTED, by=(PROVIDER,))}"


@QUERIES.query("{connection}/s", PROVIDER, ERROR_TYPE)
def connection_failures(scope: Scope) -> str:
    """Connections a second that could not be opened, by why; 0 for a provider with which all could."""
    failed = rate(scope, CONNECT_DURATION, f'{label(ERROR_TYPE)}!=""', by=(PROVIDER, ERROR_TYPE))
    quiet = none(rate(scope, CONNECT_DURATION, by=(PROVIDER,)), ERROR_TYPE)
    return f"{failed} or on ({scope.labels(PROVIDER)}) {quiet}"


@QUERIES.query("1", PROVIDER)
def connection_reuse_share(scope: Scope) -> str:
    """Share of utterances that did not wait for a connection to be opened."""
    reused = rate(scope, CONNECTION_USES, f'{label(CONNECTION_REUSED)}="true"', by=(PROVIDER,))
    return share(reused, rate(scope, CONNECTION_USES, by=(PROVIDER,)))


@QUERIES.query("{request}/s", KIND, OUTCOME)
def background_rate(scope: Scope) -> str:
    """Prefetch and batch requests a second, by how they ended."""
    return rate(scope, BACKGROUND_DURATION, by=(KIND, OUTCOME))


@QUERIES.query("{call}/s", PROVIDER, ERROR_TYPE)
def client_rate(scope: Scope) -> str:
    """Calls of providers a second as the GenAI conventions count them, of every kind of request."""
    return rate(scope, CLIENT_DURATION, by=(PROVIDER, ERROR_TYPE))
