"""The journey: one synthesis, and every hop that its telemetry takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.finding import Hop, HopAbsentError, HopResult, HopState, HopUnknownError, find
from otel_tts.commands.doctor.grafana import grafana
from otel_tts.commands.doctor.service import Spoken, speak
from otel_tts.commands.doctor.telemetry import Counter, Spans, collector
from otel_tts.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where telemetry goes.

    traces: Jaeger or Tempo, as traces_kind says. history: reads what is there and in Prometheus. grafana_expected: whether it is a
    fault when there is no Grafana. patience: seconds that telemetry may take to arrive.
    """

    target: str
    collector: Server
    prometheus: Server
    traces: Server
    traces_kind: Literal["jaeger", "tempo"]
    history: History
    grafana: Server
    grafana_expected: bool
    patience: float


class Journey:
    """One synthesis, followed."""

    def __init__(self, pipeline: Destinations) -> None:
        self._pipeline = pipeline
        self._counter = Counter(pipeline.prometheus)
        self._spans = Spans(pipeline.traces, pipeline.history)
        self._spoken: Spoken | None = None
        self._cut = ""
        self._deadline = 0.0

    def findings(self) -> Iterator[HopResult]:
        """What is seen at each hop, in their order, as soon as it is known. Metrics and spans are waited for at once."""
        self._counter.remember()
        for hop, check in ((Hop.SERVICE, self._service), (Hop.COLLECTOR, self._collector)):
            result = find(hop, check)
            if result.state is HopState.BROKEN:
                self._cut = self._cut or f"not checked, since the {hop.title} is broken"
            yield result
        self._deadline = time.monotonic() + self._pipeline.patience
        with ThreadPoolExecutor() as both:
            checks: tuple[tuple[Hop, Callable[[], str]], ...] = ((Hop.METRICS, self._metrics), (Hop.TRACES, self._traces))
            for future in [both.submit(find, hop, check) for hop, check in checks]:
                yield future.result()
        yield find(Hop.GRAFANA, self._grafana)

    def _service(self) -> str:
        self._spoken = speak(self._pipeline.target)
        return self._spoken.message

    def _collector(self) -> str:
        return collector(self._pipeline.collector)

    def _metrics(self) -> str:
        self._counter.counts()  # whether it answers is known in any case
        if self._cut:
            raise HopUnknownError(f"{self._pipeline.prometheus.shown} answers; {self._cut}")
        return self._counter.moved(self._deadline)

    def _traces(self) -> str:
        self._spans.reachable()
        if self._cut or self._spoken is None:
            raise HopUnknownError(f"{self._pipeline.traces.shown} answers; {self._cut}")
        return self._spans.arrived(self._spoken, self._deadline)

    def _grafana(self) -> str:
        try:
            return grafana(self._pipeline.grafana, self._pipeline.traces_kind)
        except HopAbsentError as absent:
            if self._pipeline.grafana_expected:
                raise
            raise HopUnknownError(f"{absent.message}, and no Grafana is configured") from None
