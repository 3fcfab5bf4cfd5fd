"""The few shapes that queries have: rates, growth, shares, quantiles and levels of a metric, over a scope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from otel_tts import semconv
from otel_tts.conditions import Figure
from otel_tts.conditions.telemetry import ENDED_AFTER
from otel_tts.distribution import enough
from otel_tts.promql.naming import bucket_series, count_series, label, series, sum_series
from otel_tts.promql.query import Queries, Scope
from otel_tts.semconv import (
    ATTEMPT_REASON,
    CACHE_RESULT,
    OUTCOME,
    STREAM,
    SYNTHESIS_DURATION,
    SYNTHESIS_FIRST_AUDIO,
    AttemptReason,
    Attribute,
    Instrument,
    Metric,
    Outcome,
)

BOUND = "le"
"""The label of a histogram's buckets: their bound."""
LIMIT = "_limit"
"""What the name of a query ends with that tells where a percentile is only known to be at least its last bucket's bound."""
PERCENTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
"""Percentiles, by what the names of their queries end with."""


def among(attribute: Attribute, *values: str) -> str:
    """A matcher: the attribute has one of the values.

    Args:
        attribute: the attribute.
        values: of the attribute.
    """
    return f'{label(attribute)}=~"{"|".join(values)}"' if len(values) > 1 else f'{label(attribute)}="{values[0]}"'


def outside(attribute: Attribute, *values: str) -> str:
    """A matcher: the attribute has none of the values.

    Args:
        attribute: the attribute.
        values: of the attribute.
    """
    return f'{label(attribute)}!~"{"|".join(values)}"' if len(values) > 1 else f'{label(attribute)}!="{values[0]}"'


def counted_in(figure: Figure) -> tuple[str, ...]:
    """The matchers of the values that a figure is taken of.

    Args:
        figure: that a condition judges.
    """
    return tuple(among(attribute, *(_word(value) for value in values)) for attribute, values in figure.where)


def _word(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def up_to(bound: float) -> str:
    """A matcher: the bucket that ends at ``bound``. The ways into Prometheus write a whole number with and without ``.0``."""
    return f'le=~"{bound:g}([.]0)?"' if bound == int(bound) else f'le="{bound:g}"'


COUNTED = outside(OUTCOME, *sorted(set(Outcome) - set(semconv.COUNTED)))
"""The outcomes that count in a success rate."""
OK = among(OUTCOME, Outcome.OK)
MADE_BY_PROVIDER = among(CACHE_RESULT, *semconv.MADE_BY_PROVIDER)
"""Requests whose audio a provider made."""
CACHE_ASKED = among(CACHE_RESULT, *semconv.CACHE_ASKED)
"""Requests that asked a cache."""
ASKED = outside(ATTEMPT_REASON, AttemptReason.PROBE)
"""Attempts that somebody waited for."""


def counted(metric: Metric) -> str:
    """The series that counts: a counter's own, or a histogram's number of values.

    Args:
        metric: the metric.
    """
    return count_series(metric) if metric.instrument is Instrument.HISTOGRAM else series(metric)


def rate(scope: Scope, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """How many a second, over the window.

    Args:
        scope: which series, over which window.
        metric: the metric.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
    """
    return _summed("rate", scope, counted(metric), metric, matchers, scope.labels(*by))


def growth(scope: Scope, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """How many in the window.

    Args:
        scope: which series, over which window.
        metric: the metric.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
    """
    return _summed("increase", scope, counted(metric), metric, matchers, scope.labels(*by))


def grown(scope: Scope, name: str, *matchers: str, labels: tuple[Attribute, ...] = (), by: tuple[str, ...] = ()) -> str:
    """How many in the window of the series ``name``, also where Prometheus does not know when a series began.

    A series that was not there when the window began, nor for an hour before, counted from 0. One that was silent for less, as when its
    telemetry was held up, is not new: its total is of all its life.

    Args:
        scope: which series, over which window.
        name: of the queries, without the percentile.
        matchers: of labels, in PromQL.
        labels: the attributes by which the answer is split.
        by: the labels by which the answer is split.
    """
    span, before = scope.span(name, *matchers), f"last_over_time({scope.select(name, *matchers)}[1h] offset {scope.window})"
    total = f"(last_over_time({span}) unless {before}) or increase({span})"
    return f"{_over('sum', ', '.join((scope.labels(*labels), *by)))}({total})"


def below(scope: Scope, metric: Metric, bound: float, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """How many values a second are at most ``bound``, which is a bound of the metric's buckets.

    Args:
        scope: which series, over which window.
        metric: the metric.
        bound: of one of the metric's buckets, in its unit.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
    """
    return _summed("rate", scope, bucket_series(metric), metric, (*matchers, up_to(bound)), scope.labels(*by))


def buckets(scope: Scope, metric: Metric, *matchers: str) -> str:
    """How many values fell into each bucket and those below it in the window: what a heatmap is drawn of.

    Args:
        scope: which series, over which window.
        metric: the metric.
        matchers: of labels, in PromQL.
    """
    return _summed("increase", scope, bucket_series(metric), metric, matchers, ", ".join((*scope.by, BOUND)))


def quantile(scope: Scope, share: float, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """A quantile of the values in the window, where it is known: there are `enough`, and it does not lie beyond the last bucket.

    Args:
        scope: which series, over which window.
        share: from 0 to 1.
        metric: the metric.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
    """
    labels = ", ".join((BOUND, *scope.by, *map(label, by)))
    spread = _summed("rate", scope, bucket_series(metric), metric, matchers, labels)
    has_enough = f"{growth(scope, metric, *matchers, by=by)} >= {enough(share)}"
    return f"(histogram_quantile({share:g}, {spread}) and {has_enough}) unless {_beyond(scope, share, metric, *matchers, by=by)}"


def limit(scope: Scope, share: float, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """The bound of the last bucket, where a quantile of the values in the window lies beyond it; else nothing.

    Args:
        scope: which series, over which window.
        share: from 0 to 1.
        metric: the metric.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
    """
    beyond = f"{_beyond(scope, share, metric, *matchers, by=by)} * 0 + {metric.buckets[-1]:g}"
    return f"{beyond} and {growth(scope, metric, *matchers, by=by)} >= {enough(share)}"


def _beyond(scope: Scope, share: float, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """The share of values within the last finite bucket, where that is less than ``share``."""
    within = below(scope, metric, metric.buckets[-1], *matchers, by=by)
    return f"({within} / {rate(scope, metric, *matchers, by=by)} < {share:g})"


def mean(scope: Scope, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """The mean of the values in the window; nothing where there were none.

    Args:
        scope: which series, over which window.
        metric: the metric.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
    """
    total = _summed("rate", scope, sum_series(metric), metric, matchers, scope.labels(*by))
    return f"{total} / ({rate(scope, metric, *matchers, by=by)} > 0)"


def level(scope: Scope, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = (), over: str = "sum") -> str:
    """The value now, ``over`` (sum, max, min) all replicas.

    Args:
        scope: which series, over which window.
        metric: the metric.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
        over: `sum`, `max` or `min`.
    """
    return f"{_over(over, scope.labels(*by))}({scope.select(series(metric), *scope.narrow(metric), *matchers)})"


def replicas(scope: Scope, metric: Metric) -> str:
    """The value now of each replica. One that has ended is gone soon: by itself Prometheus would keep its last value for five minutes.

    Args:
        scope: which series, over which window.
        metric: the metric.
    """
    return f"last_over_time({scope.select(series(metric), *scope.narrow(metric))}[{ENDED_AFTER:.0f}s])"


def last_run(scope: Scope, metric: Metric, *matchers: str, by: tuple[Attribute, ...] = ()) -> str:
    """The value that the batch job exported last, within two days: each run is a process with series of its own, which end with it.

    The job is a service of its own, so nothing of the scope selects but what its attributes are narrowed to.

    Args:
        scope: which series, over which window.
        metric: the metric.
        matchers: of labels, in PromQL.
        by: the attributes by which the answer is split.
    """
    now = level(Scope(narrowed=scope.narrowed, by=scope.by), metric, *matchers, by=by, over="max")
    return f"({now} or last_over_time({now}[2d:5m]))"


def share(part: str, whole: str) -> str:
    """The share of ``part`` in ``whole``: 0 where there is a whole and no part yet, nothing where the whole is nothing."""
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def known_first_audio(count: Callable[..., str]) -> str:
    """Streams that the objective for first audio is judged on: those whose first audio is known, and their part of those without any.

    Nobody knows when a listener hears the first of compressed audio, so such a stream is neither in time nor late. A stream that failed
    without audio was late; where only some streams say when their first audio came, as many of the failed ones count.

    Args:
        count: how many values a metric has, by the metric and matchers of labels in PromQL.
    """
    made = among(OUTCOME, Outcome.OK, Outcome.PARTIAL)
    failed = among(OUTCOME, Outcome.DEADLINE, Outcome.EMPTY, Outcome.ERROR)
    all_made, all_failed = (count(SYNTHESIS_DURATION, among(STREAM, "true"), outcome) for outcome in (made, failed))
    made_audible, failed_audible = (count(SYNTHESIS_FIRST_AUDIO, outcome) for outcome in (made, failed))
    with_first_audio = count(SYNTHESIS_FIRST_AUDIO, outside(OUTCOME, Outcome.REJECTED))
    silent = f"clamp_min({all_failed} - ({failed_audible} or {all_failed} * 0), 0)"
    part = f"(clamp_max(({made_audible} or {all_made} * 0) / ({all_made} > 0), 1) or {all_failed} * 0 + 1)"
    return f"({with_first_audio} + ({silent} * {part} or {with_first_audio} * 0) or {silent} * {part})"


def named(expression: str, **labels: str) -> str:
    """The expression with labels of these values: for a 0 that stands in for series that are not there yet.

    Args:
        expression: in PromQL.
        labels: names and values.
    """
    for name, value in labels.items():
        expression = f'label_replace({expression}, "{name}", "{value}", "", "")'
    return expression


def none(expression: str, *attributes: Attribute) -> str:
    """0 where the expression has a value, with "none" for the attributes: nothing of that kind has happened yet.

    Args:
        expression: in PromQL.
        attributes: that get the value "none".
    """
    return named(f"({expression}) * 0", **{label(attribute): "none" for attribute in attributes})


def percentiles(
    queries: Queries,
    which: tuple[str, ...],
    name: str,
    description: str,
    metric: Metric,
    *matchers: str,
    labels: tuple[Attribute, ...] = (),
) -> None:
    """Add a query for each of the percentiles, which are of `PERCENTILES`: ``{name}_{percentile}``; and one for its `limit`.

    Args:
        queries: to which they are added.
        which: of `PERCENTILES`.
        name: of the queries, without the percentile.
        description: of the values, for people.
        metric: the metric.
        matchers: of labels, in PromQL.
        labels: the attributes by which the answer is split.
    """

    def build(expression: Callable[..., str], share: float, scope: Scope) -> str:
        return expression(scope, share, metric, *matchers, by=labels)

    for percentile in which:
        share = PERCENTILES[percentile]
        text = f"{description}, {share * 100:.0f}th percentile."
        queries.define(f"{name}_{percentile}", text, metric.unit, partial(build, quantile, share), labels)
        text = f"{description}: {metric.buckets[-1]:g}, where the {share * 100:.0f}th percentile is at least that."
        last = metric.buckets[-1]
        queries.define(f"{name}_{percentile}{LIMIT}", text, metric.unit, partial(build, limit, share), labels, last)


def _summed(function: str, scope: Scope, name: str, metric: Metric, matchers: tuple[str, ...], labels: str) -> str:
    return f"{_over('sum', labels)}({function}({scope.span(name, *scope.narrow(metric), *matchers)}))"


def _over(aggregation: str, labels: str) -> str:
    return f"{aggregation} by ({labels}) " if labels else aggregation
