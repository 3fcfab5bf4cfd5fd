"""OpenTelemetry names as Prometheus knows them.

Both ways into Prometheus translate alike for every metric of the registry: the pull endpoint
(``opentelemetry-exporter-prometheus``) and Prometheus's own OTLP ingestion. They would differ for a gauge of unit ``1``, which
only the latter gives the suffix ``_ratio``; the registry has none.

Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import re

from otel_tts.semconv import Attribute, Instrument, Metric

_UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "1": ""}
_PER = {"s": "second", "min": "minute", "h": "hour"}


def series(metric: Metric) -> str:
    """The metric's name in Prometheus; of a histogram, the name that its three kinds of series begin with.

    Args:
        metric: the metric.
    """
    unit = _unit(metric.unit)
    name = sanitized(metric.name)
    if unit and not name.endswith("_" + unit):
        name = f"{name}_{unit}"
    return f"{name}_total" if metric.instrument is Instrument.COUNTER else name


def bucket_series(metric: Metric) -> str:
    """The series of a histogram that count values up to their label ``le``. Raises ValueError for another instrument.

    Args:
        metric: the metric.
    """
    return _histogram(metric) + "_bucket"


def count_series(metric: Metric) -> str:
    """The series of a histogram that counts values. Raises ValueError for another instrument.

    Args:
        metric: the metric.
    """
    return _histogram(metric) + "_count"


def sum_series(metric: Metric) -> str:
    """The series of a histogram that sums values. Raises ValueError for another instrument.

    Args:
        metric: the metric.
    """
    return _histogram(metric) + "_sum"


def label(attribute: Attribute) -> str:
    """The label that carries the attribute.

    Args:
        attribute: the attribute.
    """
    return sanitized(attribute.key)


def _histogram(metric: Metric) -> str:
    if metric.instrument is not Instrument.HISTOGRAM:
        raise ValueError(f"{metric.name} is a {metric.instrument}; only a histogram has buckets, a count and a sum.")
    return series(metric)


def _unit(unit: str) -> str:
    amount, _, per = re.sub(r"\{.*?\}", "", unit).partition("/")
    amount = _UNITS.get(amount, amount)
    if not per:
        return amount
    return f"{amount}_per_{_PER.get(per, per)}".strip("_")


def sanitized(name: str) -> str:
    """A name as Prometheus has it: of a metric without its unit, or of an attribute's label.

    Args:
        name: OpenTelemetry's.
    """
    return re.sub(r"[^a-zA-Z0-9:]+", "_", name)
