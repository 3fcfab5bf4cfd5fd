"""The journey: one synthesis, and every hop that its telemetry takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.finding import Finding, Hop, HopAbsentError, HopUnknownError, State, find
from otel_tts.commands.doctor.grafana import grafana
from otel_tts.commands.doctor.service import Spoken, speak
from otel_tts.commands.doctor.telemetry import Counter, Spans, collector
from otel_tts.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
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

    def __init__(self, way: Way) -> None:
        self._way = way
        self._counter = Counter(way.prometheus)
        self._spans = Spans(way.traces, way.history)
        self._spoken: Spoken | None = None
        self._cut = ""
        self._deadline = 0.0

    def findings(self) -> Iterator[Finding]:
        """What is seen at each hop, in their order, as soon as it is known. Metrics and spans are waited for at once."""
        self._counter.remember()
        for hop, look in ((Hop.SERVICE, self._service), (Hop.COLLECTOR, self._collector)):
            finding = find(hop, look)
            if finding.state is State.BROKEN:
                self._cut = self._cut or f"nothing can come from the {hop.title}"
            yield finding
        self._deadline = time.monotonic() + self._way.patience
        with ThreadPoolExecutor() as both:
            looks: tuple[tuple[Hop, Callable[[], str]], ...] = ((Hop.METRICS, self._metrics), (Hop.TRACES, self._traces))
            for found in [both.submit(find, hop, look) for hop, look in looks]:
                yield found.result()
        yield find(Hop.GRAFANA, self._grafana)

    def _service(self) -> str:
        self._spoken = speak(self._way.target)
        return self._spoken.said

    def _collector(self) -> str:
        return collector(self._way.collector)

    def _metrics(self) -> str:
        self._counter.counts()  # whether it answers is known in any case
        if self._cut:
            raise HopUnknownError(f"{self._way.prometheus.shown} answers; {self._cut}")
        return self._counter.moved(self._deadline)

    def _traces(self) -> str:
        self._spans.reachable()
        if self._cut or self._spoken is None:
            raise HopUnknownError(f"{self._way.traces.shown} answers; {self._cut}")
        return self._spans.arrived(self._spoken, self._deadline)

    def _grafana(self) -> str:
        try:
            return grafana(self._way.grafana, self._way.traces_kind)
        except HopAbsentError as absent:
            if self._way.grafana_expected:
                raise
            raise HopUnknownError(f"{absent.said}, and none is asked for") from None
