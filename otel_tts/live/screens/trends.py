"""Trends: any metric over hours to days, with its reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st

from otel_tts import formatting, palette, semconv
from otel_tts.history import Point, Service, Timeline
from otel_tts.live import charts
from otel_tts.live.cached_history import CachedHistory
from otel_tts.live.charts import Line
from otel_tts.live.screens import chart, widget
from otel_tts.live.view import Period, View
from otel_tts.semconv import Attribute, Instrument, Metric
from otel_tts.settings import LiveSettings

_METRICS = {metric.name: metric for metric in semconv.METRICS}
_JUDGED = {semconv.SYNTHESIS_DURATION, semconv.SYNTHESIS_FIRST_AUDIO, semconv.ATTEMPT_DURATION}
"""The metrics that the reference latency applies to."""


def controls(view: View, services: Sequence[Service]) -> View:
    """Draw the choice of a metric and of the attribute to split it by.

    Args:
        view: what is chosen on the page.
        services: the services to choose from.
    """
    first, second = st.columns(2)
    names = list(_METRICS)
    name = first.selectbox(
        "Measure",
        names,
        names.index(view.measure or semconv.SYNTHESIS_DURATION.name),
        format_func=lambda name: f"{name} · {_METRICS[name].description}",
        key=widget("measure"),
    )
    keys = ["", *(attribute.key for attribute in _METRICS[name].attributes)]
    split = second.selectbox(
        "Split by",
        keys,
        keys.index(view.split) if view.split in keys else 0,
        format_func=lambda key: key or "nothing",
        key=widget(f"split {name}"),
    )
    return replace(view, measure=name, split=split)


def draw(history: CachedHistory, period: Period, view: View, settings: LiveSettings) -> None:
    """Draw one large chart, and the number of values of a histogram.

    Args:
        history: the telemetry that is read.
        period: the period that is shown.
        view: what is chosen on the page.
        settings: the settings.
    """
    metric = _METRICS[view.measure or semconv.SYNTHESIS_DURATION.name]
    by = next((attribute for attribute in metric.attributes if attribute.key == view.split), None)
    every = history.series(metric, period, [by] if by else (), service=view.service)
    timelines = charts.most(every)
    lines, unit = course(timelines, metric, by)
    reference = (
        {"reference mean": settings.reference_latency_mean, "reference p95": settings.reference_latency_p95}
        if metric in _JUDGED
        else {}
    )
    figure = charts.course(lines, unit, period, reference=reference, height=460, band=True)
    titles = {
        Instrument.HISTOGRAM: "p95 of each window" if by else "Quantiles of each window",
        Instrument.COUNTER: "Growth per second",
    }
    chart(f"{titles.get(metric.instrument, 'Level')}: {metric.description}", figure, "trends", formatting.definition(metric))
    if len(every) > len(timelines):
        st.caption(f"Drawn are the {len(timelines)} of {formatting.count(len(every))} that have the most or the highest values.")
    if metric.instrument is Instrument.HISTOGRAM:
        chart(
            "Number of values",
            charts.bars(_lines(timelines, by, charts.rate), "1/s", period),
            "trends-count",
            "Values per second.",
        )


def course(timelines: Sequence[Timeline], metric: Metric, by: Attribute | None) -> tuple[list[Line], str]:
    """Make the lines of a metric and give their unit: quantiles of a histogram, the rate of a counter, the level of a gauge.

    Args:
        timelines: of the metric.
        metric: the metric.
        by: the attribute whose values are told apart; None: none.
    """
    match metric.instrument:
        case Instrument.HISTOGRAM if by is None:
            return [
                Line(
                    name, [(p.start, p.end, charts.quantile(q)(p)) for t in timelines for p in t.points], palette.QUANTILES[name]
                )
                for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            ], metric.unit
        case Instrument.HISTOGRAM:
            return _lines(timelines, by, charts.quantile(0.95)), metric.unit
        case Instrument.COUNTER:
            return _lines(timelines, by, charts.rate), "1/s"
    return _lines(timelines, by, charts.amount), metric.unit


def _lines(timelines: Sequence[Timeline], by: Attribute | None, value: Callable[[Point], float | None]) -> list[Line]:
    if by is not None:
        return charts.of_timelines(timelines, by, value)
    return [Line("all", [(p.start, p.end, value(p)) for p in timeline.points], palette.SKY) for timeline in timelines]
