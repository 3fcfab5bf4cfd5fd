"""Feedback: the job's results as telemetry, for dashboards and alerts.

It uses the OpenTelemetry API, like any application; without an SDK nothing happens.
"""

from __future__ import annotations

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Tracer

from otel_tts import semconv
from otel_tts.report.drift import Judgement
from otel_tts.report.sample import Sample
from otel_tts.semconv import MADE_BY_PROVIDER, Outcome


class Feedback:
    """The gauges of the last judged window of each provider and measure, and the tracer of the job's own steps.

    Args:
        meter: records scores; None: that of the global provider.
        tracer: records passes; None: that of the global provider.
    """

    def __init__(self, meter: Meter | None = None, tracer: Tracer | None = None) -> None:
        meter = meter or metrics.get_meter(semconv.SCOPE)
        self.tracer = tracer or trace.get_tracer(semconv.SCOPE)
        self._reference, self._score, self._detected = (
            meter.create_gauge(metric.name, metric.unit, metric.description)
            for metric in (semconv.REFERENCE_LATENCY, semconv.DRIFT_SCORE, semconv.DRIFT_DETECTED)
        )

    def tell(self, judgement: Judgement, reference: Sample | None) -> None:
        """Emit a judgement. Traffic that changed has a score, but is never a detection: no engine drifted.

        Args:
            judgement: the comparison of two samples.
            reference: with which the window was compared; None: it was not.
        """
        for (provider, measure), finding in judgement.worst().items():
            attributes = {semconv.PROVIDER.key: provider, semconv.DRIFT_COLUMN.key: measure}
            self._score.set(finding.score or 0.0, attributes)
            if finding.family != "traffic":
                self._detected.set(int(finding.status == "drifted"), attributes)
        for (provider, stream), seconds in latencies(reference).items() if reference else ():
            self._reference.set(seconds, {semconv.PROVIDER.key: provider, semconv.STREAM.key: stream})


def latencies(sample: Sample) -> dict[tuple[str, bool], float]:
    """The 95th percentile of latency in seconds, by provider and whether it streamed: of first audio for streams, else of duration.

    Only requests count that went well and that the provider spoke for.

    Args:
        sample: of the reference.
    """
    frame = sample.frame()
    spoken = frame[frame.outcome.eq(Outcome.OK) & frame.cache_result.isin(MADE_BY_PROVIDER)]
    percentiles: dict[tuple[str, bool], float] = {}
    for stream, column in ((True, "ttfa"), (False, "duration")):
        by_provider = spoken[spoken.stream.eq(stream)].astype({column: float}).groupby("provider")[column].quantile(0.95)
        percentiles |= {(str(provider), stream): float(seconds) for provider, seconds in by_provider.dropna().items()}
    return percentiles
