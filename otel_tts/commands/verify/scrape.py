"""Scrape: what a Prometheus pull endpoint says at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    @classmethod
    def parse(cls, text: str) -> Self:
        """What stands in Prometheus's text format.

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

    def counts(
        self, metric: Metric, by: Sequence[Attribute], where: Mapping[Attribute, str] | None = None
    ) -> dict[tuple[str, ...], float]:
        """What a counter counted, or how many values a histogram has, for each combination of values of the attributes ``by``."""
        wanted = promql.count_series(metric) if metric.instrument is Instrument.HISTOGRAM else promql.series(metric)
        conditions = {(promql.label(attribute), value) for attribute, value in (where or {}).items()}
        counts: dict[tuple[str, ...], float] = {}
        for (name, labels), value in self.values.items():
            if name == wanted and conditions <= labels:
                values_by_label = dict(labels)
                key = tuple(values_by_label.get(promql.label(attribute), "") for attribute in by)
                counts[key] = counts.get(key, 0.0) + value
        return counts

    def has(self, metric: Metric) -> bool:
        """Whether there is anything of the metric."""
        return bool(self.counts(metric, ()))

    def process(self) -> Labels:
        """What identifies the process that answered; empty when it does not say."""
        return next((labels for name, labels in self.values if name == _RESOURCE), frozenset())


def read(url: str) -> Scrape:
    """Read a pull endpoint.

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
