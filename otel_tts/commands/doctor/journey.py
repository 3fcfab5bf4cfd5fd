"""The journey: one synthesis, and every hop that its telemetry takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from otel_tts.commands.doctor.asking import Server
from otel_tts.commands.doctor.collector import Collector
from otel_tts.commands.doctor.finding import Hop, HopAbsentError, HopBrokenError, HopResult, HopState, HopUnknownError, find
from otel_tts.commands.doctor.followed import FollowedRequest
from otel_tts.commands.doctor.grafana import grafana
from otel_tts.commands.doctor.telemetry import Counter, Spans


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where telemetry goes.

    traces: Jaeger or Tempo, as traces_kind says. grafana_expected: whether it is a fault when there is none.
    patience_s: seconds that telemetry may take to arrive.
    """

    collector: Collector
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
        self._missing: set[Hop] = set()
        self._deadline = 0.0

    def findings(self) -> Iterator[HopResult]:
        """What is seen at each hop, in their order, as soon as it is known. Metrics and spans are waited for at once.

        The Collector is asked first: where it is configured and dead nothing is waited for, neither a request nor its telemetry.

        Where no Collector answers and none is configured, telemetry may take another way: the verdict waits for what arrives.
        """
        self._followed.begin()
        collector = self._pipeline.collector
        result = find(Hop.COLLECTOR, collector.check)
        cut_off = collector.dead and collector.expected
        service = find(Hop.SERVICE, lambda: self._followed.service(can_arrive=not cut_off))
        if service.state is HopState.BROKEN:
            self._cut = f"not checked, since the {Hop.SERVICE.title} is broken"
        yield service
        waits = collector.dead and not collector.expected
        if not waits:
            yield result
        self._deadline = time.monotonic() + (0.0 if cut_off else self._pipeline.patience_s)
        with ThreadPoolExecutor() as both:
            checks: tuple[tuple[Hop, Callable[[], str]], ...] = ((Hop.METRICS, self._metrics), (Hop.TRACES, self._traces))
            arriving = [both.submit(find, hop, check) for hop, check in checks]
            if not waits:
                for future in arriving:
                    yield future.result()
        if waits:
            yield from self._blamed(result, [future.result() for future in arriving])
        yield find(Hop.GRAFANA, self._grafana)

    def _blamed(self, collector: HopResult, arrived: list[HopResult]) -> Iterator[HopResult]:
        """The results where no Collector answers and none is configured: it is to blame when neither signal arrived."""
        if self._missing == {Hop.METRICS, Hop.TRACES}:
            silence = f"{self._pipeline.collector.silence}; no telemetry arrived"
            yield replace(collector, state=HopState.BROKEN, message=silence, remedy=self._pipeline.collector.remedy)
            yield from (replace(each, remedy="Mend the Collector first: see above.") for each in arrived)
            return
        without = "; telemetry arrives without one" if all(each.state is HopState.OK for each in arrived) else ""
        yield replace(collector, message=f"{collector.message}{without}")
        yield from arrived

    def _metrics(self) -> str:
        self._counter.counts()  # whether it answers is known in any case
        return self._arrived(Hop.METRICS, self._pipeline.prometheus, self._followed.metrics)

    def _traces(self) -> str:
        self._spans.reachable()
        return self._arrived(Hop.TRACES, self._pipeline.traces, self._followed.traces)

    def _arrived(self, hop: Hop, store: Server, wait: Callable[[float], str]) -> str:
        """Wait until a signal is in its store, unless a part before it is known to be broken."""
        if self._cut:
            raise HopUnknownError(f"{store.shown} answers; {self._cut}")
        try:
            return wait(self._deadline)
        except HopAbsentError:
            raise
        except HopBrokenError:
            self._missing.add(hop)
            if self._pipeline.collector.dead and self._pipeline.collector.expected:
                reason = f"nothing has arrived, and nothing can, since the {Hop.COLLECTOR.title} is broken"
                raise HopUnknownError(f"{store.shown} answers; {reason}") from None
            raise

    def _grafana(self) -> str:
        try:
            return grafana(self._pipeline.grafana, self._pipeline.traces_kind)
        except HopAbsentError as absent:
            if self._pipeline.grafana_expected:
                raise
            raise HopUnknownError(f"{absent.message}, and no Grafana is configured") from None
