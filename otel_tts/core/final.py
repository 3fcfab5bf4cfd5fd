"""Which of the causes that are known of a request counts."""

from __future__ import annotations

from otel_tts.core import outcome
from otel_tts.core.call import Call
from otel_tts.core.clock import NANOSECOND
from otel_tts.core.leaving import departs
from otel_tts.core.outcome import Cause
from otel_tts.core.record import Record
from otel_tts.core.sources import AudioSources
from otel_tts.semconv import SERVED_FROM_CACHE, Outcome


def final_cause(record: Record, ended: Cause, declared: Cause | None, failure: Cause | None, call: Call | None = None) -> Cause:
    """Return the cause: what the application stated, a failed invocation without a later success, or ``ended``.

    Args:
        record: what is known of the request.
        ended: how it ended.
        declared: what the application stated; None: nothing.
        failure: of an invocation, without a later success; None without one, or if the request was interrupted.
        call: the RPC that decides how it ended, by the status that its caller saw; None: none.
    """
    if call is None and ended.good and _is_left(record):
        ended = outcome.CANCELLED
    if ended.outcome is Outcome.CANCELLED and _is_speaking(record):
        failure = None
    cause = declared or failure or ended
    if declared is None and not record.duration_s:
        cause = record.without_audio(cause)
    if cause.outcome in (Outcome.ERROR, Outcome.EMPTY) and record.handed_out:
        return cause.as_partial()
    return cause


def _is_speaking(record: Record) -> bool:
    """Whether the provider that was called last was still speaking: then one that failed before is not why the request ended."""
    results = record.bill.results
    return bool(results) and results[-1].cause.outcome is Outcome.CANCELLED


def _is_left(record: Record) -> bool:
    """Whether the application left each call of a provider before its end, and nothing else made the audio."""
    results = record.bill.results
    return (
        bool(results)
        and record.cache not in SERVED_FROM_CACHE
        and all(result.cause.outcome is Outcome.CANCELLED and result.cause != outcome.STOPPED for result in results)
    )


def apparent_cause(record: Record, sources: AudioSources, error: BaseException) -> Cause:
    """Return what an exception means that left the block of a request. A connection that breaks while audio is sent is the listener's.

    Args:
        record: what is known of the request.
        sources: of its audio; what they left undecided is decided now.
        error: the exception.
    """
    sources.decide(None)
    cause = outcome.from_exception(error)
    if not departs(error):
        return cause
    if sources.departed:
        return outcome.CANCELLED
    is_all_sent = record.duration_s is not None and abs(record.duration_s - record.playback.audio_s) < NANOSECOND
    return cause if is_all_sent or sources.failure is not None or not record.handed_out else outcome.CANCELLED
