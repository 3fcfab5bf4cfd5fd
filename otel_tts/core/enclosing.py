"""The enclosing request: how a piece of code finds the request that it works for, and starts one where there is none."""

from __future__ import annotations

from typing import cast

from opentelemetry.context import Context, get_current, set_value
from opentelemetry.trace import INVALID_SPAN_ID, Span, get_current_span, set_span_in_context

from otel_tts.core import clean, enclosure
from otel_tts.core.blocks import OUTSIDE, REQUEST, innermost
from otel_tts.core.call import CALL, Call
from otel_tts.core.deferred import run_deferred
from otel_tts.core.emitter import Emitter
from otel_tts.core.guard import guarded_or
from otel_tts.core.invocation import INVOCATION, Invocation
from otel_tts.core.purpose import Purpose
from otel_tts.core.purpose import current as current_purpose
from otel_tts.core.request import SynthesisRequest
from otel_tts.core.span_key import SPAN_KEY
from otel_tts.core.streams import is_pulled
from otel_tts.core.turn import Turn
from otel_tts.semconv import SERVED_FROM_CACHE


def begin_request(
    emitter: Emitter,
    text: str | None,
    voice: str | None,
    language: str | None,
    *,
    stream: bool,
    purpose: Purpose | None = None,
    start_ns: int | None = None,
    implicit: bool = False,
) -> SynthesisRequest:
    """Return the request that the caller works for: the open one that encloses it, else a new one.

    So a request is counted once, however many layers ask for one. What an inner layer knows in addition is added.

    Args:
        emitter: of its Telemetry.
        text: as received; None if not known yet.
        voice: as requested.
        language: as requested.
        stream: whether audio is delivered in pieces.
        purpose: by default that of the current context.
        start_ns: when it began, if that is in the past: on the clock of the request, in nanoseconds.
        implicit: whether it is started by a call of an engine or SDK alone. Then it continues the request that failed for the same text
            in the same enclosure, if there is one.
    """
    context = get_current()
    purpose = current_purpose(context) if purpose is None else purpose
    call, request = _enclosing(context)
    if request is not None and (call is not None or not _is_another(request, purpose)):
        request.update(text, voice, language, purpose)
        return request
    if OUTSIDE in context:
        context = _outside(context)
    run_deferred()
    # Of a request made by hand in an RPC, the end of the RPC decides.
    around = (call if implicit else None) if call is not None else enclosure.current()
    failed = around.take(clean.spoken(text)) if implicit and around is not None else None
    if isinstance(failed, SynthesisRequest) and failed.reopen(voice, language, purpose, stream=stream):
        return failed
    if call is None and not implicit:
        outer = _outer(purpose)
        if outer is not None:
            return _inside(outer, emitter, text, voice, language, stream, purpose, context, start_ns, around)
    turn = call.turn if call is not None else Turn()
    try:
        with turn.lock:  # another thread may end the RPC right now: a request that it no longer sees would never be ended by it
            if call is not None and call.over:
                call = around = None
            return SynthesisRequest(
                emitter, call, turn, text, voice, language, stream, purpose, context, start_ns, around, implicit
            )
    finally:
        if turn.left:
            turn.leave()


def _is_another(request: SynthesisRequest, purpose: Purpose) -> bool:
    """Return whether a request is of another conversation than the open one in its context, in which a task may live that serves many.

    What is stated inside counts, not what was around that one already.
    """
    stated, outer = purpose.conversation, request.record.purpose.conversation
    return None not in (stated, outer) and stated not in (outer, current_purpose(request.context).conversation)


def _outer(purpose: Purpose) -> SynthesisRequest | None:
    """Return the request in whose block the caller is, if nothing is known of its audio yet: the new one may speak in its place.

    So a generator that has yielded audio inside its block does not take in what its consumer begins.
    """
    reference = innermost()
    outer = reference() if reference is not None else None
    if not isinstance(outer, SynthesisRequest) or not outer.open:
        return None
    record = outer.record
    has_audio = record.attempts or record.cache in SERVED_FROM_CACHE or record.playback.chunks or record.duration_s is not None
    return None if has_audio or record.interrupted_ns is not None or not record.purpose.may_be(purpose) else outer


def _inside(
    outer: SynthesisRequest,
    emitter: Emitter, text: str | None, voice: str | None, language: str | None, stream: bool,
    purpose: Purpose, context: Context, start_ns: int | None, around: enclosure.Enclosure | None,
) -> SynthesisRequest:  # fmt: skip
    """Return a new request begun directly in the block of another one: what is not stated of it is as it is there."""
    record = outer.record
    request = SynthesisRequest(
        emitter, None, Turn(), text, clean.optional_name(voice) or record.voice, clean.optional_name(language) or record.language, stream,
        record.purpose.around(purpose), _below(outer, context), start_ns, around, False,
    )  # fmt: skip
    request.record.cache = record.cache  # asked in vain, or not at all
    outer.begin_inside(request)
    return request


def _below(outer: SynthesisRequest, context: Context) -> Context:
    """Return the context with the outer request's span as the current one, unless the host has begun a span of its own since."""
    span, here = get_current_span(outer.context), get_current_span(context).get_span_context()
    parent = getattr(span, "parent", None)  # of OpenTelemetry's SDK and of ours, not of one that is not recorded
    if (parent.span_id if parent is not None else INVALID_SPAN_ID) != here.span_id:
        return context
    return set_span_in_context(span, context)


def enclosing_request() -> SynthesisRequest | None:
    """Return the open request that encloses the caller, by the OpenTelemetry context or by its own block; None without one."""
    return _enclosing(current_context())[1]


@guarded_or(get_current)
def current_context() -> Context:
    """Return the current context, with the request whose block is running here added to it.

    Entering that block does not change OpenTelemetry's current context: a generator may yield inside it, and the code that consumes the
    generator would then run inside the request. So engines that are called in the block, and threads that are started there, ask here.
    """
    context, reference = enclosure.carried(get_current()), innermost()
    request = reference() if reference is not None else None
    if (
        not isinstance(request, SynthesisRequest)
        or not request.open
        or request.record.interrupted_ns is not None
        or REQUEST in context
    ):
        return context
    return set_value(REQUEST, reference, context)


def call_around(request: SynthesisRequest) -> Invocation | None:
    """Return the call of a provider for this request that the caller works for; None without one.

    Args:
        request: the request.
    """
    reference = get_current().get(INVOCATION)
    invocation = reference() if callable(reference) else None
    return invocation if isinstance(invocation, Invocation) and invocation.speaks_for(request) else None


def purpose_here() -> Purpose:
    """Return the purpose of the enclosing request, else that of the current context."""
    request = enclosing_request()
    return current_purpose() if request is None else request.record.purpose


def _enclosing(context: Context) -> tuple[Call | None, SynthesisRequest | None]:
    """Return the RPC and the open request in a context."""
    around, reference = context.get(CALL), context.get(REQUEST)
    call = around if isinstance(around, Call) and not around.over else None
    request: object = reference() if callable(reference) else None
    if isinstance(request, SynthesisRequest) and request.open and (call is None or request.part_of(call)):
        return call, request if _works_for(request, context) else None
    request = call.current if call is not None else None
    return call, request if isinstance(
        request, SynthesisRequest
    ) and request.open and request.record.interrupted_ns is None else None


def _works_for(request: SynthesisRequest, context: Context) -> bool:
    """Return whether code in the context of an open request works for it.

    Not any more once it was cut off, nor between two pieces that a generator yields inside a block of an attempt or a look-up: there runs
    the code that consumes them, also after it has left the generator, which an event loop closes later. What runs while a piece is pulled
    does, and so does what the block has started in another task or thread, until the request is cut off.
    """
    reference, record = context.get(INVOCATION), request.record
    invocation = reference() if callable(reference) else None
    if record.interrupted_ns is None:
        if isinstance(invocation, Invocation):
            hands_out = invocation.hands_out
        else:
            hands_out = OUTSIDE in context and record.cache in SERVED_FROM_CACHE and record.playback.chunks > 0
        if not hands_out:
            return True
    return is_pulled(context.get(REQUEST))


def _outside(context: Context) -> Context:
    """Return the context without the request that it is of, but with all that the host has added since."""
    span, before = cast("tuple[Span, Context]", context[OUTSIDE])
    values = {key: value for key, value in context.items() if key not in (REQUEST, INVOCATION, OUTSIDE)}
    if values.get(SPAN_KEY) is span:
        del values[SPAN_KEY]
        if SPAN_KEY in before:
            values[SPAN_KEY] = before[SPAN_KEY]
    return Context(values)
