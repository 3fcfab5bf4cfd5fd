"""Instrumentor of Pipecat: the speech of every service, at the base class for TTS.

An audio context is an utterance: the text of one turn, sentence by sentence, and the audio for it, which comes inside the call over HTTP,
or from a receiving task over a WebSocket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.pipecat_service import STARTS, TEXTS, ObservedService

_MODULE = "pipecat.services.tts_service"


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
            patch("cleanup", services.leave),
        ]


class _Services:
    """The wrappers, and the state of all services. References are weak: Pipecat's objects are freed as without us."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._services: MutableMapping[Any, ObservedService] = WeakKeyDictionary()

    def _state(self, service: Any) -> ObservedService:
        state = self._services.get(service)
        if state is None:
            state = self._services[service] = ObservedService(self._telemetry)
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
        if kind in STARTS or kind in TEXTS:
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
                self._state(service).queued.append(frame)
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
            if not any(frame is queued for queued in state.queued):
                state.failed(getattr(frame, "exception", None))
            state.queued = [queued for queued in state.queued if queued is not frame]
        result = await wrapped(*args, **kwargs)
        context_id = getattr(frame, "context_id", None)
        if (
            kind == "TTSStoppedFrame" and context_id and context_id not in state.running
        ):  # else only a pause was too long, and more audio will come
            state.stopped(context_id)
        return result

    async def quiet(self, wrapped: Any, service: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that an audio context ended, or that nothing came for it any more."""
        context_id, state = str(args[0] if args else kwargs.get("context_id")), self._state(service)
        if context_id not in state.running:
            state.silent(context_id)
        result = await wrapped(*args, **kwargs)
        if context_id not in state.running:
            state.quiet(context_id)
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
