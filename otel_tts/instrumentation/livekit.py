"""Instrumentor of LiveKit Agents: the speech of every plugin, at the base classes for TTS.

A stream of LiveKit is an utterance. Each run of its plugin is an attempt; LiveKit repeats runs that fail. Adapters (fallback, sentence by
sentence) call no provider themselves: the streams inside them are attempts of the outer stream's utterance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from opentelemetry.context import set_value

from otel_tts.core.audio import PCM16, AudioFormat, Encoded, Wav
from otel_tts.core.formats import stated
from otel_tts.core.guard import guarded
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.livekit_stream import RECOVERY, LiveKitStream
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.speech import Speech

_ENCODED = {"mpeg": "mp3", "mp3": "mp3", "ogg": "opus", "opus": "opus", "flac": "flac", "aac": "aac", "mp4": "aac"}


class LiveKitInstrumentor(Instrumentor):
    """Instrumentor of ``tts.ChunkedStream`` and ``tts.SynthesizeStream`` of all plugins, of interruptions, and of the player."""

    requires = "livekit-agents >= 1.8.7, < 2"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return all patches."""
        streams = _Streams(telemetry)
        base, fallback = "livekit.agents.tts.tts", "livekit.agents.tts.fallback_adapter"
        handle, player = "livekit.agents.voice.speech_handle", "livekit.agents.voice.io"

        def patch(module: str, name: str, wrapper: Wrapper) -> Patch:
            return Patch(module, name, lambda _: wrapper)

        return [
            *(
                patch(base, f"{kind}.{name}", wrapper)
                for kind in ("ChunkedStream", "SynthesizeStream")
                for name, wrapper in (
                    ("_main_task", streams.main_task), ("__anext__", streams.following), ("aclose", streams.close),
                )
            ),
            patch(base, "SynthesizeStream.push_text", streams.push_text),
            patch(base, "SynthesizeStream._mark_started", streams.mark_started),
            patch(base, "AudioEmitter.initialize", streams.initialize),
            patch(base, "AudioEmitter.push", streams.push),
            *(patch(fallback, f"{kind}._try_recovery", _try_recovery) for kind in ("FallbackChunkedStream", "FallbackSynthesizeStream")),
            patch(handle, "SpeechHandle._cancel", streams.interrupt),
            patch(player, "AudioOutput.capture_frame", streams.capture),
            patch(player, "AudioOutput.on_playback_finished", streams.played),
        ]  # fmt: skip


def _try_recovery(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with Current(set_value(RECOVERY, True)):
        return wrapped(*args, **kwargs)


class _Streams:
    """The wrappers, and the state of all streams. References are weak: LiveKit's objects are freed as without us."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._streams: MutableMapping[Any, LiveKitStream] = WeakKeyDictionary()
        self._emitters: MutableMapping[Any, LiveKitStream] = WeakKeyDictionary()
        self._of_handle: MutableMapping[Any, list[Speech]] = WeakKeyDictionary()
        self._playing: MutableMapping[Any, Any] = WeakKeyDictionary()  # players, and the handle of what they play

    def _state(self, stream: Any) -> LiveKitStream:
        state = self._streams.get(stream)
        if state is None:
            state = self._streams[stream] = LiveKitStream(self._telemetry, stream, self._of_handle)
        return state

    async def main_task(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Wrap the task of a stream, from start to end, including retries."""
        state = self._state(stream)
        run = stream._run

        async def observed(emitter: Any) -> Any:
            self._emitters[emitter] = state
            with Current(state.run()):
                try:
                    result = await run(emitter)
                except BaseException as error:
                    state.run_ended(stream, error)
                    raise
            state.run_ended(stream, None)
            return result

        stream._run = observed
        state.start(stream)
        try:
            result = await wrapped(*args, **kwargs)
        except Exception as error:
            state.error = error
            raise
        finally:
            del stream._run
        state.complete = True
        return result

    def push_text(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a piece of text."""
        piece = args[0] if args else kwargs.get("token")
        if piece and isinstance(piece, str) and not stream._input_ch.closed:
            self._state(stream).text(piece)
        return wrapped(*args, **kwargs)

    def mark_started(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the plugin sends text to its provider."""
        self._state(stream).given()
        return wrapped(*args, **kwargs)

    def initialize(self, wrapped: Any, emitter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note the format of the audio that will come."""
        result = wrapped(*args, **kwargs)
        state = self._emitters.get(emitter)
        if state is not None:
            state.format = _format(emitter)
        return result

    def push(self, wrapped: Any, emitter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note audio of the provider."""
        state = self._emitters.get(emitter)
        data = args[0] if args else kwargs.get("data")
        if state is not None and not state.adapter and data is not None:
            state.made(data)
        return wrapped(*args, **kwargs)

    async def following(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note the next audio that the reader of the stream gets, or the end."""
        try:
            event = await wrapped(*args, **kwargs)
        except StopAsyncIteration:
            self._state(stream).end(None, left=False)
            raise
        except Exception as error:
            self._state(stream).end(error, left=False)
            raise
        self._state(stream).handed_out(event)
        return event

    async def close(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that the reader has closed the stream."""
        try:
            return await wrapped(*args, **kwargs)
        finally:
            self._state(stream).end(None, left=True)

    def interrupt(self, wrapped: Any, handle: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that an agent's speech is interrupted."""
        before = handle.interrupted
        result = wrapped(*args, **kwargs)
        if handle.interrupted and not before:
            for speech in self._of_handle.get(handle, ()):
                speech.interrupt()
        return result

    async def capture(self, wrapped: Any, player: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that a frame goes to a player."""
        self._capture(player)
        return await wrapped(*args, **kwargs)

    @guarded
    def _capture(self, player: Any) -> None:
        activity = sys.modules.get("livekit.agents.voice.agent_activity")
        variable = getattr(activity, "_SpeechHandleContextVar", None)
        handle = variable.get(None) if variable is not None else None
        if handle is not None and player.next_in_chain is None:
            self._playing[player] = ref(handle)

    def played(self, wrapped: Any, player: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note that a player has played a segment, to its end or to the interruption."""
        self._played(player, kwargs.get("playback_position"))
        return wrapped(*args, **kwargs)

    @guarded
    def _played(self, player: Any, position_s: float | None) -> None:
        reference: Callable[[], Any] | None = self._playing.get(player)
        handle = reference() if reference is not None else None
        if handle is None or position_s is None:
            return
        for speech in self._of_handle.get(handle, [])[-1:]:
            speech.add_heard(position_s)


def _format(emitter: Any) -> AudioFormat:
    """Return the format of audio that a plugin states."""
    kind = str(emitter._mime_type).lower().partition(";")[0].strip().removeprefix("audio/").removeprefix("x-")
    if emitter._is_raw_pcm:
        return stated(PCM16, emitter._sample_rate, emitter._num_channels)
    return Wav() if kind in ("wav", "wave") else Encoded(_ENCODED.get(kind, kind or "mp3"))
