"""For every alert: telemetry in which it fires, telemetry just on the right side, and too little traffic to judge.

Series are named by the registry, so that a scene follows a renamed metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from otel_tts.conditions import OBJECTIVES, Condition, Objectives
from otel_tts.conditions.figure import FIRST_AUDIO_BURN, SUCCESS_BURN
from otel_tts.promql import bucket_series, count_series, label, series
from otel_tts.semconv import (
    ATTEMPT_DURATION,
    ATTEMPT_REASON,
    CACHE_RESULT,
    DRIFT_COLUMN,
    DRIFT_DETECTED,
    OUTCOME,
    PROVIDER,
    PROVIDER_AVAILABLE,
    REFERENCE_LATENCY,
    STREAM,
    STREAM_UNDERRUN,
    SYNTHESIS_DURATION,
    SYNTHESIS_FIRST_AUDIO,
    UNDERRUN_CAUSE,
    Attribute,
)  # fmt: skip

State = Mapping[str, float | None]
"""By series: what a counter gains a step, or a gauge's value (its name begins with ``=``). None: no sample."""
SERVICE = 'service_name="speech"'


@dataclass(frozen=True, kw_only=True)
class Scene:
    """States that last long enough, and the labels of the alert that fires in the bad one.

    step: seconds between samples. evaluated: seconds between evaluations, ``step`` unless given. before: steps of the good state that
    the bad one needs before it. lasts: steps of the bad state. after: steps of the good state until nothing fires any more.
    """

    step: int
    good: State
    bad: State
    fine: State
    thin: State | None = None
    before: int = 0
    lasts: int = 40
    after: int = 40
    evaluated: int = 0
    labels: Mapping[str, str] = field(default_factory=lambda: {"service_name": "speech"})


def named(name: str, *labels: str, instance: str = "a") -> str:
    """A series of the service."""
    return f"{name}{{{', '.join((SERVICE, f'instance={chr(34)}{instance}{chr(34)}', *labels))}}}"


def selector(attribute: Attribute, value: str) -> str:
    """A label."""
    return f'{label(attribute)}="{value}"'


PIPER = selector(PROVIDER, "piper")
BY_PROVIDER = {"service_name": "speech", label(PROVIDER): "piper"}


def requests(outcome: str, *, stream: bool = False, cache: str = "miss") -> str:
    """Requests that ended."""
    flags = (selector(STREAM, str(stream).lower()), selector(CACHE_RESULT, cache), selector(OUTCOME, outcome))
    return named(count_series(SYNTHESIS_DURATION), PIPER, *flags)


def outcomes(ok: float, failed: float) -> State:
    """Requests a step."""
    return {requests("ok"): ok, requests("error"): failed}


def gaps(without: float, having: float) -> State:
    """Streams a step."""
    cause = selector(UNDERRUN_CAUSE, "provider")
    return {
        named(bucket_series(STREAM_UNDERRUN), PIPER, cause, 'le="0"'): without,
        named(bucket_series(STREAM_UNDERRUN), PIPER, cause, 'le="+Inf"'): without + having,
        named(count_series(STREAM_UNDERRUN), PIPER, cause): without + having,
    }


def attempts(ok: float, failed: float) -> State:
    """Attempts a step, and probes that fail and don't count."""
    initial = selector(ATTEMPT_REASON, "initial")
    return {
        named(count_series(ATTEMPT_DURATION), PIPER, initial, selector(OUTCOME, "ok")): ok,
        named(count_series(ATTEMPT_DURATION), PIPER, initial, selector(OUTCOME, "error")): failed,
        named(count_series(ATTEMPT_DURATION), PIPER, selector(ATTEMPT_REASON, "probe"), selector(OUTCOME, "error")): 50,
    }


def first_audio(quick: float, slow: float, *, at: tuple[float, float] = (3.75, 5.0), cache: str = "miss") -> State:
    """Streams a step: those in the bucket up to ``at[0]``, and those in the next one."""
    flags = (PIPER, selector(CACHE_RESULT, cache), selector(OUTCOME, "ok"))
    return _buckets(bucket_series(SYNTHESIS_FIRST_AUDIO), count_series(SYNTHESIS_FIRST_AUDIO), flags, quick, slow, at)


def unary(quick: float, slow: float, *, at: tuple[float, float] = (3.75, 5.0), cache: str = "miss") -> State:
    """Unary requests a step, likewise."""
    flags = (PIPER, selector(STREAM, "false"), selector(CACHE_RESULT, cache), selector(OUTCOME, "ok"))
    return _buckets(bucket_series(SYNTHESIS_DURATION), count_series(SYNTHESIS_DURATION), flags, quick, slow, at)


def _buckets(buckets: str, count: str, flags: Sequence[str], quick: float, slow: float, at: tuple[float, float]) -> State:
    metric = SYNTHESIS_FIRST_AUDIO if buckets == bucket_series(SYNTHESIS_FIRST_AUDIO) else SYNTHESIS_DURATION
    below = max(bound for bound in metric.buckets if bound < at[0])
    bounds = sorted({below, *at, 10.0} & {*metric.buckets})
    state = {named(buckets, *flags, f'le="{bound:g}"'): (bound >= at[0]) * quick + (bound >= at[1]) * slow for bound in bounds}
    return {**state, named(buckets, *flags, 'le="+Inf"'): quick + slow, named(count, *flags): quick + slow}


def streams(good: float, late: float) -> State:
    """Streams a step: first audio within the objective, and not at all."""
    ended = {requests("ok", stream=True): good, requests("deadline", stream=True): late}
    bounds = Objectives().first_audio_seconds, Objectives().first_audio_seconds
    return {**ended, **first_audio(good, 0, at=bounds)}


def available(first: float, second: float) -> State:
    """Two replicas."""
    return {f"={named(series(PROVIDER_AVAILABLE), PIPER, instance=name)}": value for name, value in (("a", first), ("b", second))}


def cache(hits: float, misses: float) -> State:
    """Requests a step."""
    return {requests("ok", cache="hit"): hits, requests("ok"): misses}


def collector(part: str, well: str, badly: str) -> Callable[[float, float], State]:
    """The Collector's counters of spans, a step."""

    def state(good: float, bad: float) -> State:
        name = f'{part}="otlp_http"'
        return {f"otelcol_{part}_{well}_spans_total{{{name}}}": good, f"otelcol_{part}_{badly}_spans_total{{{name}}}": bad}

    return state


def queue(size: float) -> State:
    """The Collector's queue of 1000."""
    return {
        '=otelcol_exporter_queue_size{exporter="otlp_http", data_type="traces"}': size,
        '=otelcol_exporter_queue_capacity{exporter="otlp_http", data_type="traces"}': 1000,
    }


def drift(first: float | None, second: float | None) -> State:
    """Two runs of the batch job, a process each."""
    of_column = selector(DRIFT_COLUMN, "loudness")
    return {
        f"={named(series(DRIFT_DETECTED), PIPER, of_column, instance=name)}": value
        for name, value in (("a", first), ("b", second))
    }


def _burn(condition: Condition, state: Callable[[float, float], State], objective: float) -> Scene:
    step, evaluated = (60, 300) if condition.window_s <= 3600 else (300, 1800)
    steps = round(condition.window_s / step)

    def at(factor: float, total: float) -> State:
        bad = total * factor * (1 - objective)
        return state(total - bad, bad)

    return Scene(
        step=step,
        good=at(0, 10),
        bad=at(condition.threshold * 1.02, 10),
        fine=at(condition.threshold * 0.98, 10),
        thin=at(condition.threshold * 1.02, (condition.minimum_traffic - 1) / steps),
        lasts=steps + evaluated // step,
        after=round((condition.short_window_s + 2 * evaluated) / evaluated) * evaluated // step,
        evaluated=evaluated,
    )


_exported, _received = collector("exporter", "sent", "send_failed"), collector("receiver", "accepted", "refused")
_published = f"={named(series(REFERENCE_LATENCY), PIPER, selector(STREAM, 'true'))}"
_dropped = 'otel_sdk_processor_span_processed_total{service_name="speech", error_type="queue_full"}'
_kept = 'otel_sdk_processor_span_processed_total{service_name="speech"}'
_overflow = named("=" + count_series(SYNTHESIS_DURATION), 'otel_metric_overflow="true"')
_alive = named("=" + count_series(SYNTHESIS_DURATION), selector(OUTCOME, "ok"))
_COLLECTOR = {"exporter": "otlp_http"}
_RECEIVER = {"receiver": "otlp_http"}

SCENES: Mapping[str, Scene] = {
    "TTSRequestsFailing": Scene(
        step=15, good=outcomes(10, 0), bad=outcomes(90, 10), fine=outcomes(951, 49), thin=outcomes(0, 0.5)
    ),
    "TTSSpeechInterrupted": Scene(step=15, good=gaps(10, 0), bad=gaps(94, 6), fine=gaps(951, 49), thin=gaps(0, 0.5)),
    "TTSProviderDown": Scene(
        step=15, good=available(1, 1), bad=available(0, 0), fine=available(0, 1), lasts=4, labels=BY_PROVIDER
    ),
    "TTSProviderDegraded": Scene(step=15, good=available(1, 1), bad=available(0, 1), fine=available(0, 0), labels=BY_PROVIDER),
    "TTSProviderFailing": Scene(
        step=15, good=attempts(10, 0), bad=attempts(94, 6), fine=attempts(951, 49), thin=attempts(0, 0.9), labels=BY_PROVIDER
    ),
    "TTSFirstAudioSlow": Scene(
        step=15,
        good=first_audio(10, 0, at=(0.5, 0.8)),
        bad=first_audio(94, 6),
        fine={**first_audio(96, 4), **first_audio(0, 100, cache="hit")},
        thin=first_audio(0, 0.9),
        labels=BY_PROVIDER,
    ),
    "TTSSynthesisSlow": Scene(
        step=15,
        good=unary(10, 0, at=(0.5, 0.8)),
        bad=unary(94, 6),
        fine={**unary(96, 4), **unary(0, 100, cache="hit")},
        thin=unary(0, 0.9),
        labels=BY_PROVIDER,
    ),
    "TTSReferenceLatencyMissing": Scene(
        step=60,
        good={**streams(10, 0), _published: 1.0},
        bad={**streams(10, 0), _published: None},
        fine={**streams(10, 0), _published: 1.0},
        thin={**streams(0.3, 0), _published: None},
        lasts=60,
        after=10,
        labels=BY_PROVIDER,
    ),
    "TTSCacheHitRateCollapsed": Scene(
        step=300, good=cache(50, 50), bad=cache(24, 76), fine=cache(26, 74), thin=cache(2, 14), before=288, lasts=14, after=10
    ),
    "TTSDriftDetected": Scene(
        step=60,
        good=drift(None, 0),
        bad=drift(1, None),
        fine=drift(0, None),
        labels={**BY_PROVIDER, label(DRIFT_COLUMN): "loudness"},
    ),
    "TTSTelemetryExportFailing": Scene(
        step=15, good=_exported(100, 0), bad=_exported(985, 15), fine=_exported(995, 5), thin=_exported(0, 0), labels=_COLLECTOR
    ),
    "TTSTelemetryRefused": Scene(
        step=15,
        good=_received(100, 0),
        bad=_received(985, 15),
        fine=_received(995, 5),
        thin=_received(0, 0),
        labels={"receiver": "otlp_http"},
    ),
    "TTSTelemetryQueueNearlyFull": Scene(step=60, good=queue(0), bad=queue(801), fine=queue(800), labels=_COLLECTOR),
    "TTSTelemetryDropped": Scene(
        step=60, good={_kept: 10, _dropped: 0}, bad={_kept: 10, _dropped: 1}, fine={_kept: 10, _dropped: 0}
    ),
    "TTSCardinalityOverflow": Scene(
        step=60,
        good={_overflow: None},
        bad={_overflow: 1},
        fine={_alive: 1},
        after=10,
        labels={"service_name": "speech", "metric": count_series(SYNTHESIS_DURATION)},
    ),
    "TTSTelemetryAbsent": Scene(step=15, good={_alive: 1}, bad={_alive: None}, fine={_alive: 1}, before=10),
    **{c.name: _burn(c, outcomes, Objectives().success) for c in OBJECTIVES if c.figure is SUCCESS_BURN},
    **{c.name: _burn(c, streams, Objectives().first_audio) for c in OBJECTIVES if c.figure is FIRST_AUDIO_BURN},
}
"""By alert. The Watchdog has none: it always fires."""
