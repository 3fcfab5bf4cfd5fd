"""Instrumentor of Pipecat: the speech of every service, at the base class for TTS.

An audio context is an utterance: the text of one turn, sentence by sentence, and the audio for it, which comes inside the call over HTTP,
or from a receiving task over a WebSocket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.context import Context, get_current, set_value

from otel_tts.core import outcome
from otel_tts.core.audio import PCM16
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.outcome import OK, Cause
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.speech import Speech
from otel_tts.instrumentation.utterance import OBSERVED, Asked
from otel_tts.semconv import ErrorType, Outcome

_SERVICES = "pipecat.services."
_MODULE = "pipecat.services.tts_service"
_STARTS = ("LLMFullResponseStartFrame", "TTSSpeakFrame")
"""Frames with which a new turn begins."""
_TEXTS = ("LLMTextFrame", "TextFrame", "TTSSpeakFrame")
"""Frames with text for the service."""
_QUIET = Cause(Outcome.ERROR, ErrorType.TIMEOUT)
_FAILED = Cause(Outcome.ERROR, ErrorType.OTHER)


class PipecatInstrumentor(Instrumentor):
    """Instrumentor of ``TTSService`` and all its subclasses, and of the frames that they push."""

    requires = "pipecat-ai >= 1.14, < 2"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return all patches."""
        services = _Services(telemetry)

        def patch(name: str, wrapper: Wrapper) -> Patch:
            return Patch(_MODULE, f"TTSService.{name}", lambda _: wrapper)

        return [
            patch("__init__", services.init),
            patch("process_frame", services.process),
            patch("append_to_audio_context", services.append),
            patch("remove_audio_context", services.remove),
            patch("push_frame", services.push),
            patch("_end_audio_context", services.quiet),
            patch("_handle_interruption", services.interrupt),
            patch("cancel", services.leave),
            patch("stop", services.leave),
        ]


class _ObservedService:
    """The state of one service, with its utterances by the ids of their audio contexts."""

    def __init__(self, telemetry: Telemetry, service: Any) -> None:
        self._telemetry = telemetry
        self.speeches: dict[str, Speech] = {}
        self.running: set[str] = set()
        """The utterances for which the service's ``run_tts`` is running."""
        self._first_ns: int | None = None
        self._stopped: set[str] = set()
        """Utterances that were stopped before anything said that all their audio was made: an error may follow."""

    @guarded
    def frame(self, kind: str) -> None:
        """Note a frame that the service gets: the start of a turn, or a piece of text, perhaps not enough to speak."""
        if kind in _STARTS:
            self._first_ns = None  # what is left of the turn before was not to be spoken
        if kind in _TEXTS and self._first_ns is None:
            self._first_ns = self._telemetry.emitter.clock.monotonic()

    @guarded
    def text(self, service: Any, context_id: str, text: str) -> None:
        """Note that the service gets text for an utterance."""
        speech = self.speeches.get(context_id)
        first_ns, self._first_ns = self._first_ns, None
        if speech is None:
            self._settle()
            context, conversation = _surroundings(service)
            asked = _asked(service)
            speech = Speech(self._telemetry, asked, context=context, conversation=conversation, start_ns=first_ns)
            self.speeches[context_id] = speech
        speech.text(text)
        speech.flush()
        if speech.invocation is None:
            speech.ask(_asked(service), delivers=False)

    @guarded_or(lambda *_: get_current())
    def working(self, context_id: str) -> Context:
        """Return the context in which the service works for an utterance."""
        speech = self.speeches.get(context_id)
        return speech.observed_context() if speech is not None else set_value(OBSERVED, True)

    @guarded
    def made(self, context_id: str, frame: Any) -> None:
        """Note audio of the provider."""
        speech = self.speeches.get(context_id)
        if speech is not None:
            speech.made(frame.audio)

    @guarded
    def ended(self, context_id: str) -> None:
        """Note that the provider has no more audio for an utterance. Pipecat may learn that long after its last audio."""
        speech = self.speeches.get(context_id)
        if speech is not None and not speech.interrupted:
            speech.attempted(OK, None, speech.last_ns)

    @guarded
    def handed_out(self, frame: Any) -> None:
        """Note audio that goes to the transport."""
        speech = self.speeches.get(frame.context_id or "")
        if speech is not None:
            speech.handed_out(frame.audio, PCM16(frame.sample_rate, frame.num_channels))

    @guarded
    def failed(self, error: BaseException | None, context_id: str | None = None) -> None:
        """Note a failure: of one utterance, or of all that wait for audio."""
        for name in [context_id] if context_id is not None else list(self.speeches):
            speech = self.speeches.get(name)
            if speech is not None and speech.invocation is not None:
                speech.attempted(outcome.from_exception(error) if error is not None else _FAILED, error)
                if name in self._stopped:
                    self.finish(name, _FAILED)

    @guarded
    def stopped(self, context_id: str) -> None:
        """End an utterance whose end was pushed, unless nothing has said yet that all its audio was made."""
        speech = self.speeches.get(context_id)
        if speech is not None and speech.invocation is not None and not speech.interrupted:
            self._stopped.add(context_id)
        else:
            self.finish(context_id, OK)

    def _settle(self) -> None:
        """End the utterances that were stopped, and that no error has followed."""
        for name in list(self._stopped):
            self.finish(name, OK)

    @guarded
    def finish(self, context_id: str, cause: Cause | None) -> None:
        """End an utterance: all its audio was pushed, or no more will be."""
        self._stopped.discard(context_id)
        speech = self.speeches.pop(context_id, None)
        if speech is None:
            return
        if speech.interrupted:
            speech.finish(None)
        else:
            speech.finish(cause, None, speech.last_ns if cause is OK else None)

    @guarded
    def quiet(self, context_id: str) -> None:
        """End an utterance whose audio context has ended, unless it was stopped: then an error may follow."""
        if context_id not in self._stopped:
            self.finish(context_id, _QUIET)

    @guarded
    def interrupted(self, preserved: Sequence[str]) -> None:
        """Note that the listener interrupts all utterances except the preserved ones."""
        self._first_ns = None
        self._settle()
        for name, speech in self.speeches.items():
            if name not in preserved:
                speech.interrupt()

    @guarded
    def close(self, preserved: Sequence[str]) -> None:
        """End all utterances except the preserved ones: no more audio will come for them."""
        self._settle()
        for name in [name for name in self.speeches if name not in preserved]:
            self.finish(name, None)


class _Services:
    """The wrappers, and the state of all services. References are weak: Pipecat's objects are freed as without us."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._services: MutableMapping[Any, _ObservedService] = WeakKeyDictionary()

    def _state(self, service: Any) -> _ObservedService:
        state = self._services.get(service)
        if state is None:
            state = self._services[service] = _ObservedService(self._telemetry, service)
        return state

    def init(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Wrap ``run_tts`` of a new service. Subclasses override it, so the base class cannot be patched."""
        wrapped(*args, **kwargs)
        run = service.run_tts

        async def observed(text: str, *rest: Any, **named: Any) -> AsyncIterator[Any]:
            context_id = str(rest[0] if rest else named.get("context_id") or "")
            state = self._state(service)
            state.text(service, context_id, text)
            context = state.working(context_id)
            frames = run(text, *rest, **named)
            state.running.add(context_id)
            try:
                while True:
                    with Current(context):
                        try:
                            frame = await anext(frames)
                        except StopAsyncIteration:
                            return
                        except Exception as error:
                            state.failed(error, context_id)
                            raise
                    yield frame
            finally:
                state.running.discard(context_id)
                await frames.aclose()

        service.run_tts = observed

    async def process(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a frame that a service gets."""
        kind = type(args[0] if args else kwargs.get("frame")).__name__
        if kind in _STARTS or kind in _TEXTS:
            self._state(service).frame(kind)
        return await wrapped(*args, **kwargs)

    async def append(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note what comes for an audio context: audio, its end, or an error."""
        context_id, frame = (*args, kwargs.get("context_id"), kwargs.get("frame"))[:2] if len(args) > 1 else _named(args, kwargs)
        if context_id:
            kind = type(frame).__name__
            if kind == "TTSAudioRawFrame":
                self._state(service).made(context_id, frame)
            elif kind == "TTSStoppedFrame":
                self._state(service).ended(context_id)
            elif kind == "ErrorFrame":
                self._state(service).failed(getattr(frame, "exception", None), context_id)
        return await wrapped(*args, **kwargs)

    async def remove(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that no more will come for an audio context."""
        context_id = args[0] if args else kwargs.get("context_id")
        if context_id:
            self._state(service).ended(context_id)
        return await wrapped(*args, **kwargs)

    async def push(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a frame that a service pushes."""
        frame = args[0] if args else kwargs.get("frame")
        kind, state = type(frame).__name__, self._state(service)
        if kind == "TTSAudioRawFrame":
            state.handed_out(frame)
        elif kind == "ErrorFrame":
            state.failed(getattr(frame, "exception", None))
        result = await wrapped(*args, **kwargs)
        context_id = getattr(frame, "context_id", None)
        if (
            kind == "TTSStoppedFrame" and context_id and context_id not in state.running
        ):  # else only a pause was too long, and more audio will come
            state.stopped(context_id)
        return result

    async def quiet(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that an audio context ended, or that nothing came for it any more."""
        result = await wrapped(*args, **kwargs)
        context_id, state = (args[0] if args else kwargs.get("context_id")), self._state(service)
        if context_id not in state.running:
            state.quiet(str(context_id))
        return result

    async def interrupt(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the listener interrupts."""
        state, contexts = self._state(service), getattr(service, "_tts_contexts", {})
        preserved = [name for name, context in contexts.items() if not getattr(context, "interruptible", True)]
        state.interrupted(preserved)
        try:
            return await wrapped(*args, **kwargs)
        finally:
            state.close(preserved)

    async def leave(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the pipeline ends."""
        try:
            return await wrapped(*args, **kwargs)
        finally:
            self._state(service).close([])


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return (args[0] if args else kwargs.get("context_id")), kwargs.get("frame")


def _asked(service: Any) -> Asked:
    settings = getattr(service, "_settings", None)

    def text(name: str) -> str | None:
        value = getattr(settings, name, None)
        return str(value) if isinstance(value, str) and value else None

    module = type(service).__module__
    provider = module.removeprefix(_SERVICES).partition(".")[0] if module.startswith(_SERVICES) else type(service).__name__
    return Asked(
        provider=provider.lower(),
        model=text("model"),
        voice=text("voice"),
        language=text("language"),
        audio=PCM16(service.sample_rate or 24000),
        stream=True,
    )


def _surroundings(service: Any) -> tuple[Context, str | None]:
    """Return the context with the turn's span of Pipecat's tracing, else the current one; and the id of the conversation."""
    tracing = getattr(service, "_tracing_context", None)
    turn = tracing.get_turn_context() if tracing is not None else None
    here = get_current()
    if turn is None:
        return here, getattr(tracing, "conversation_id", None)
    from opentelemetry.trace import get_current_span, set_span_in_context

    return set_span_in_context(get_current_span(turn), here), getattr(tracing, "conversation_id", None)
