"""Which of the causes that are known of a request counts."""

from __future__ import annotations

from otel_tts.core.outcome import Cause
from otel_tts.core.record import Record
from otel_tts.semconv import Outcome


def final_cause(record: Record, ended: Cause, declared: Cause | None, failure: Cause | None) -> Cause:
    """Return the cause: what the application stated, a failed invocation without a later success, or ``ended``.

    Args:
        record: what is known of the request.
        ended: how it ended.
        declared: what the application stated; None: nothing.
        failure: of an invocation, without a later success; None without one, or if the request was interrupted.
    """
    cause = declared or failure or ended
    if declared is None and not record.duration_s:
        cause = record.without_audio(cause)
    if cause.outcome in (Outcome.ERROR, Outcome.EMPTY) and record.handed_out:
        return cause.as_partial()
    return cause
