"""LiveKit Agents: every plugin's speech, at the base classes of its TTS.

A stream of LiveKit's is an utterance. Each run of its plugin, of which LiveKit repeats those that fail, is an attempt; adapters (fallback,
sentence by sentence) ask no provider themselves: the streams inside them are attempts of the outer one's utterance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from opentelemetry.context import Context, create_key, get_current, set_value

from otel_tts.core.audio import PCM16, AudioFormat, Encoded, Wav
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.outcome import OK
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.speech import Speech
from otel_tts.instrumentation.utterance import OBSERVED, Asked

_OUTER = create_key("livekit stream")
"""Where the stream stands inside which others are made."""
_RECOVERY = create_key("livekit recovery")
"""Stands where the fallback adapter tries whether a provider is good again: nobody hears that."""
_ADAPTERS = ("livekit.agents.tts.fallback_adapter", "livekit.agents.tts.stream_adapter")
_WRAPPER = "_ChunkedStreamFromStream"
_PLUGINS = "livekit.plugins."
_ENCODED = {"mpeg": "mp3", "mp3": "mp3", "ogg": "opus", "opus": "opus", "flac": "flac", "aac": "aac", "mp4": "aac"}


class LiveKitInstrumentor(Instrumentor):
    """Observes ``tts.ChunkedStream`` and ``tts.SynthesizeStream``, whichever plugin makes them, interruptions, and the player."""

    requires = "livekit-agents >= 1.8.7, < 2"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Everything that is wrapped."""
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
    with Current(set_value(_RECOVERY, True)):
        return wrapped(*args, **kwargs)


class _Stream:
    """What is known of one stream of LiveKit's."""

    def __init__(self, telemetry: Telemetry, stream: Any, of_handle: MutableMapping[Any, list[Speech]]) -> None:
        self._telemetry = telemetry
        self._of_handle = of_handle
        self._tts = stream._tts
        self.adapter = type(stream).__module__ in _ADAPTERS or type(stream).__name__ == _WRAPPER
        self.context: Context | None = None
        self.handle: Any = None
        self.outer: _Stream | None = None
        self.speech: Speech | None = None
        self._recovery = False
        self._pieces: list[str] = []
        self._first_ns: int | None = None
        self._run_ns: int | None = None
        self._asked: Asked | None = None
        self._running = False
        self.format: AudioFormat | None = None
        self._made = False
        self.error: BaseException | None = None
        self.complete = False  # whether all audio was made
        self.final = False  # whether its last audio was handed out

    @guarded
    def start(self, stream: Any) -> None:
        """Its task begins: it happens here."""
        self.context = get_current()
        outer = self.context.get(_OUTER)
        self.outer = outer if isinstance(outer, _Stream) else None
        self._recovery = bool(self.context.get(_RECOVERY))
        activity = sys.modules.get("livekit.agents.voice.agent_activity")
        variable = getattr(activity, "_SpeechHandleContextVar", None)
        self.handle = variable.get(None) if variable is not None else None
        if hasattr(stream, "_input_text"):
            self.text(stream._input_text)
            self.given()
        self._begin()

    @guarded
    def text(self, piece: str) -> None:
        """Text came."""
        if self._first_ns is None:
            self._first_ns = self._telemetry.emitter.clock.monotonic()
        if self.speech is not None and self.outer is None:
            self.speech.text(piece)
        else:
            self._pieces.append(piece)
            self._begin()

    def _begin(self) -> None:
        """Begin the utterance, as soon as it is known where it happens and that there is text; inside another, that is it."""
        if self.speech is not None or self.context is None or self._first_ns is None or self._recovery:
            return
        if self.outer is not None:
            self.speech = self.outer.speech
            return
        self.speech = Speech(
            self._telemetry, self._described(), context=self.context, conversation=_conversation(), start_ns=self._first_ns
        )
        for piece in self._pieces:
            self.speech.text(piece)
        self._pieces.clear()
        if self.handle is not None:
            self._of_handle.setdefault(self.handle, []).append(self.speech)

    def _described(self) -> Asked:
        options = getattr(self._tts, "_opts", None)
        label = type(self._tts).__module__
        plugin = label.removeprefix(_PLUGINS).partition(".")[0] if label.startswith(_PLUGINS) else str(self._tts.provider)
        voice = getattr(options, "voice", None) or getattr(options, "voice_id", None)
        language = getattr(options, "language", None)
        return Asked(
            provider=plugin.lower(),
            model=str(self._tts.model) if self._tts.model and self._tts.model != "unknown" else None,
            voice=voice if isinstance(voice, str) else None,
            language=str(language) if isinstance(language, str) else None,
            audio=self.format or PCM16(self._tts.sample_rate, self._tts.num_channels),
            stream=True,
        )

    # -- an attempt -----------------------------------------------------------------------------------------------------------------

    @guarded_or(lambda self, *_: get_current())
    def run(self) -> Context:
        """A run of the plugin begins; gives the context for it."""
        self._run_ns = self._telemetry.emitter.clock.monotonic()
        self._running, self._made = not self.adapter, False
        return set_value(_OUTER, self) if self.adapter else set_value(OBSERVED, True)

    @guarded
    def given(self) -> None:
        """The provider is given text."""
        if self.speech is not None and not self.adapter:
            self.speech.flush() if self.outer is None else self.speech.given()
            self._ask()

    def _ask(self) -> None:
        if self.speech is None or not self._running or self.adapter or self.speech.invocation is not None:
            return
        began_ns = max(self._run_ns or 0, self._first_ns or 0)
        self._asked = self._described()
        self.speech.ask(self._asked, delivers=False, start_ns=began_ns)

    @guarded
    def made(self, data: bytes) -> None:
        """Audio came from the provider."""
        if self._recovery or self.speech is None:
            return
        self._ask()
        self._made = self._made or len(data) > 0
        self.speech.made(data)

    @guarded
    def run_ended(self, stream: Any, error: BaseException | None) -> None:
        """The run ended."""
        if not self._running:
            return
        if self.speech is not None and (self._made or error is not None or self._first_ns is not None):
            self._ask()
            reused = getattr(stream, "_connection_reused", False)
            if reused or getattr(stream, "_acquire_time", 0.0):
                self.speech.connection(reused=bool(reused))
            self.speech.attempted(OK if error is None else None, error)
        self._running = False

    # -- the caller -----------------------------------------------------------------------------------------------------------------

    @guarded
    def handed_out(self, event: Any) -> None:
        """Audio goes to whoever reads the stream."""
        if self.speech is not None and self.outer is None:
            frame = event.frame
            self.speech.handed_out(bytes(frame.data), PCM16(frame.sample_rate, frame.num_channels))
            self.final = self.final or bool(event.is_final)

    @guarded
    def end(self, error: BaseException | None, *, left: bool) -> None:
        """Nobody reads it any more: it came to its end, failed, or was ``left``."""
        speech = self.speech
        if speech is None or self.outer is not None or speech.over:
            return
        error = error or self.error
        whole = error is None and (not left or (self.complete and self.final))
        cause, now_ns, handle = OK if whole else None, speech.monotonic(), self.handle
        if handle is None or handle.done():
            speech.finish(cause, error, now_ns)
        else:  # how much of it is heard is known when it has been played
            handle.add_done_callback(lambda _: speech.finish(cause, error, now_ns))


class _Streams:
    """All streams, and what belongs to them."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._streams: MutableMapping[Any, _Stream] = WeakKeyDictionary()
        self._emitters: MutableMapping[Any, _Stream] = WeakKeyDictionary()
        self._of_handle: MutableMapping[Any, list[Speech]] = WeakKeyDictionary()
        self._playing: MutableMapping[Any, Any] = WeakKeyDictionary()  # players, and the handle of what they play

    def _state(self, stream: Any) -> _Stream:
        state = self._streams.get(stream)
        if state is None:
            state = self._streams[stream] = _Stream(self._telemetry, stream, self._of_handle)
        return state

    async def main_task(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Its task, from beginning to end, retries included."""
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
        """A piece of text."""
        piece = args[0] if args else kwargs.get("token")
        if piece and isinstance(piece, str) and not stream._input_ch.closed:
            self._state(stream).text(piece)
        return wrapped(*args, **kwargs)

    def mark_started(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The plugin sends text to its provider."""
        self._state(stream).given()
        return wrapped(*args, **kwargs)

    def initialize(self, wrapped: Any, emitter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """It is said in which format audio will come."""
        result = wrapped(*args, **kwargs)
        state = self._emitters.get(emitter)
        if state is not None:
            state.format = _format(emitter)
        return result

    def push(self, wrapped: Any, emitter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Audio of the provider."""
        state = self._emitters.get(emitter)
        data = args[0] if args else kwargs.get("data")
        if state is not None and not state.adapter and data is not None:
            state.made(data)
        return wrapped(*args, **kwargs)

    async def following(self, wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The next audio for whoever reads the stream."""
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
        """Nobody wants more of it."""
        try:
            return await wrapped(*args, **kwargs)
        finally:
            self._state(stream).end(None, left=True)

    def interrupt(self, wrapped: Any, handle: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Speech of an agent is interrupted."""
        before = handle.interrupted
        result = wrapped(*args, **kwargs)
        if handle.interrupted and not before:
            for speech in self._of_handle.get(handle, ()):
                speech.interrupt()
        return result

    async def capture(self, wrapped: Any, player: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A frame goes to a player."""
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
        """A player has played a segment, to its end or to the interruption."""
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
    """In which format a plugin says that it gives audio."""
    kind = str(emitter._mime_type).lower().partition(";")[0].strip().removeprefix("audio/").removeprefix("x-")
    if emitter._is_raw_pcm:
        return PCM16(emitter._sample_rate, emitter._num_channels)
    return Wav() if kind in ("wav", "wave") else Encoded(_ENCODED.get(kind, kind or "mp3"))


@guarded_or(lambda *_: None)
def _conversation() -> str | None:
    """The id that LiveKit gives its own spans: that of the room."""
    telemetry = sys.modules.get("livekit.agents.telemetry.gen_ai")
    ask = getattr(telemetry, "_conversation_id", None)
    return ask() if ask is not None else None
