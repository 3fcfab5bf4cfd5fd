"""The status that an RPC ends with: that of its handler, or what interceptors further out than ours have made of it."""

from __future__ import annotations

from otel_tts.core.outcome import Cause
from otel_tts.grpc.status import fault

Answer = tuple[str, BaseException | None, Cause | None]
"""The name of a status code, the exception that left the handler, and what that means if the status does not say it."""


def sent(answer: Answer | None, code: str | None, default: str, begun: bool, responded: bool, single_response: bool) -> Answer:
    """Return the answer that grpc sent, where a handler decided it.

    Interceptors further out may have changed how the handler ended. A status that they set is known. Without one, a response that
    was serialized after a failure tells that they have replaced it, and one that was not serialized at all that they have failed.

    Args:
        answer: that of the handler; None if it was not called, or its responses were not taken to their end.
        code: the name of the status code that was set in the end; None: none, or unknown.
        default: the name of the status code that grpc sends if no handler was called.
        begun: whether the handler was called.
        responded: whether a response was serialized since the handler was called, or has failed.
        single_response: whether the caller gets one response at most.
    """
    if answer is None:
        return code or ("OK" if begun or responded else default), None, None
    ended, error, _ = answer
    if code is None:
        unanswered = not responded and (single_response or ended != "OK")
        code = "OK" if not unanswered else "UNKNOWN" if ended == "OK" else ended
    if code == ended:
        return answer
    if code == "OK":
        return code, None, None
    return code, error, None if error is None else fault(code, error)
