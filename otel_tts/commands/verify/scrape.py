"""Scrape: the content of a Prometheus pull endpoint at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from otel_tts import promql
from otel_tts.errors import OtelTtsError
from otel_tts.http import Client, NoResponseError
from otel_tts.semconv import Attribute, Instrument, Metric
from otel_tts.settings import ServerSettings

_TIMEOUT_S = 5.0
_RESOURCE = "target_info"  # the resource, as OpenTelemetry's Prometheus compatibility has it

Labels = frozenset[tuple[str, str]]


class NoMetricsError(OtelTtsError):
    """There is nothing to be read; the message says what was there instead."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """All series with their values."""

    values: Mapping[tuple[str, Labels], float]
    _by_name: dict[str, dict[Labels, float]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for (name, labels), value in self.values.items():
            self._by_name.setdefault(name, {})[labels] = value

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse Prometheus's text format.

        Args:
            text: in the exposition format.

        Raises:
            NoMetricsError: it is none.
        """
        try:
            return cls(
                {
                    (sample.name, frozenset(sample.labels.items())): sample.value
                    for family in text_string_to_metric_families(text)
                    for sample in family.samples
                }
            )
        except ValueError:
            raise NoMetricsError("what it answers is not Prometheus's text format") from None

    def amounts(self, metric: Metric, by: Sequence[Attribute], *, sums: bool = False) -> dict[tuple[str, ...], float]:
        """What there is of a metric for each combination of values of the attributes ``by``.

        Of a counter or gauge its value, of a histogram how many values it has, or with ``sums`` their sum.

        Args:
            metric: the metric.
            by: the attributes whose values are told apart.
            sums: whether the sum of a histogram is meant, not its number of values.
        """
        if metric.instrument is Instrument.HISTOGRAM:
            wanted = promql.sum_series(metric) if sums else promql.count_series(metric)
        else:
            wanted = promql.series(metric)
        amounts: dict[tuple[str, ...], float] = {}
        for labels, value in self._series(wanted):
            key = tuple(labels.get(promql.label(attribute), "") for attribute in by)
            amounts[key] = amounts.get(key, 0.0) + value
        return amounts

    def buckets(self, metric: Metric) -> dict[Labels, dict[float, float]]:
        """The buckets of a histogram: for each attribute set, how many values are at most each bound.

        Args:
            metric: the metric.
        """
        buckets: dict[Labels, dict[float, float]] = {}
        for labels, value in self._series(promql.bucket_series(metric)):
            bound = float(labels.pop("le"))
            buckets.setdefault(frozenset(labels.items()), {})[bound] = value
        return buckets

    def attribute_sets(self, name: str) -> set[Labels]:
        """The attribute sets of the series called ``name``."""
        return set(self._by_name.get(name, ()))

    def value(self, name: str, labels: Labels) -> float:
        """The value of one series; 0 where there is none yet.

        Args:
            name: of the series.
            labels: that a series has.
        """
        return self.values.get((name, labels), 0.0)

    def _series(self, wanted: str) -> Iterator[tuple[dict[str, str], float]]:
        return ((dict(labels), value) for labels, value in self._by_name.get(wanted, {}).items())

    def has(self, metric: Metric) -> bool:
        """Whether there is anything of the metric.

        Args:
            metric: the metric.
        """
        return bool(self.amounts(metric, ()))

    def processes(self) -> frozenset[Labels]:
        """What identifies each process that answered; empty when it does not say."""
        return frozenset(labels for name, labels in self.values if name == _RESOURCE)


def read(url: str) -> Scrape:
    """Read a pull endpoint.

    Args:
        url: of the metrics endpoint.

    Raises:
        NoMetricsError: nobody answers, or something else does.
    """
    client = Client(ServerSettings(url=url, timeout=_TIMEOUT_S))
    try:
        response = client.request("GET", "")
    except NoResponseError as error:
        raise NoMetricsError(f"it {error.problem}") from None
    finally:
        client.close()
    if not response.ok:
        raise NoMetricsError(f"it answers with HTTP status {response.status}")
    return Scrape.parse(response.text)
