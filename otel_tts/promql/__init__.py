"""PromQL: the registry's names as Prometheus knows them, and every named query.

Dashboards, rules and readers take their queries from `QUERIES` by name; no PromQL is written anywhere else.
"""

from otel_tts.promql import cache, conversations, loss, pipeline, providers, quality, requests, slo, streaming
from otel_tts.promql.naming import bucket_series, count_series, label, sanitized, series, sum_series
from otel_tts.promql.query import Queries, Query, Scope

QUERIES = Queries(
    *(module.QUERIES for module in (slo, requests, providers, cache, streaming, conversations, quality, loss, pipeline))
)
"""Every named query, by its name."""

__all__ = [
    "QUERIES", "Queries", "Query", "Scope", "bucket_series", "cache", "conversations", "count_series", "label", "loss", "pipeline",
    "providers", "quality", "requests", "sanitized", "series", "slo", "streaming", "sum_series",
]  # fmt: skip
