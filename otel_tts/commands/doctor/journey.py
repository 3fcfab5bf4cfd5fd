"""The journey: one synthesis, and every hop that its telemetry takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.collector import collector
from otel_tts.commands.doctor.finding import Hop, HopAbsentError, HopResult, HopState, HopUnknownError, find
from otel_tts.commands.doctor.followed import FollowedRequest
from otel_tts.commands.doctor.grafana import grafana
from otel_tts.commands.doctor.telemetry import Counter, Spans


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where telemetry goes.

    traces: Jaeger or Tempo, as traces_kind says. collector_expected, grafana_expected: whether it is a fault when there is none.
    patience_s: seconds that telemetry may take to arrive.
    """

    collector: Server
    collector_expected: bool
    prometheus: Server
    traces: Server
    traces_kind: Literal["jaeger", "tempo"]
    grafana: Server
    grafana_expected: bool
    patience_s: float


class Journey:
    """One request, followed. What counts is that its points and spans arrive; that servers answer is no proof.

    Args:
        pipeline: where everything is.
        followed: the request whose telemetry is followed.
        counter: counts requests in Prometheus.
        spans: finds traces.
    """

    def __init__(self, pipeline: Destinations, followed: FollowedRequest, counter: Counter, spans: Spans) -> None:
        self._pipeline = pipeline
        self._followed = followed
        self._counter = counter
        self._spans = spans
        self._cut = ""
        self._deadline = 0.0

    def findings(self) -> Iterator[HopResult]:
        """What is seen at each hop, in their order, as soon as it is known. Metrics and spans are waited for at once."""
        self._followed.begin()
        service = find(Hop.SERVICE, self._followed.service)
        if service.state is HopState.BROKEN:
            self._cut = f"not checked, since the {Hop.SERVICE.title} is broken"
        yield service
        yield find(Hop.COLLECTOR, self._collector)
        self._deadline = time.monotonic() + self._pipeline.patience_s
        with ThreadPoolExecutor() as both:
            checks: tuple[tuple[Hop, Callable[[], str]], ...] = ((Hop.METRICS, self._metrics), (Hop.TRACES, self._traces))
            for future in [both.submit(find, hop, check) for hop, check in checks]:
                yield future.result()
        yield find(Hop.GRAFANA, self._grafana)

    def _collector(self) -> str:
        return collector(self._pipeline.collector, expected=self._pipeline.collector_expected)

    def _metrics(self) -> str:
        self._counter.counts()  # whether it answers is known in any case
        if self._cut:
            raise HopUnknownError(f"{self._pipeline.prometheus.shown} answers; {self._cut}")
        return self._followed.metrics(self._deadline)

    def _traces(self) -> str:
        self._spans.reachable()
        if self._cut:
            raise HopUnknownError(f"{self._pipeline.traces.shown} answers; {self._cut}")
        return self._followed.traces(self._deadline)

    def _grafana(self) -> str:
        try:
            return grafana(self._pipeline.grafana, self._pipeline.traces_kind)
        except HopAbsentError as absent:
            if self._pipeline.grafana_expected:
                raise
            raise HopUnknownError(f"{absent.message}, and no Grafana is configured") from None
