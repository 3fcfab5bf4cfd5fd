"""Instrumentor of RealtimeTTS: one request per `play`, however many sentences it is spoken in; `stop` is an interruption."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from otel_tts.core.audio import PCM16, AudioFormat, PCMFloat32
from otel_tts.core.enclosing import current_context
from otel_tts.core.formats import stated
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.outcome import OK, Cause
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.speech import Speech
from otel_tts.instrumentation.utterance import Asked
from otel_tts.semconv import CancelReason, Outcome

_MODULE = "RealtimeTTS.text_to_stream"
_REMOTE = frozenset(("azure", "camb", "cartesia", "edge", "elevenlabs", "gtts", "minimax", "modelslab", "openai", "typecast"))
"""The engines that ask a service, by name."""
_FAILED = Cause.from_outcome(Outcome.ERROR)


def _format(engine: Any) -> AudioFormat:
    """Return the format of an engine's audio, which it states in PyAudio's terms."""
    kind, channels, rate = engine.get_stream_info()
    pyaudio = sys.modules["pyaudio"]
    if kind == pyaudio.paInt16:
        return stated(PCM16, rate, channels)
    if kind == pyaudio.paFloat32:
        return stated(PCMFloat32, rate, channels)
    return stated("mp3" if kind == pyaudio.paCustomFormat else "pcm", rate if rate > 0 else None)


def _asked(engine: Any) -> Asked:
    voice, model = getattr(engine, "voice", None), getattr(engine, "model", None)
    voice = voice if isinstance(voice, str) else getattr(voice, "name", None)
    return Asked(
        provider=engine.engine_name,
        model=model if isinstance(model, str) else None,
        voice=voice if isinstance(voice, str) else None,
        audio=_format(engine),
        stream=True,
        remote=engine.engine_name in _REMOTE,
    )


class _Play:
    """One call of `play`. Its request begins with the first character of text, so a `play` without text is none."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._context = current_context()  # text is read, and engines work, in other threads
        self._speech: Speech | None = None
        self._characters: list[str] = []  # read, and not given to an engine yet
        self._lost: Any = None  # the sentence that an engine failed to speak, as long as no other engine has got it
        self._attached: list[tuple[Any, str]] = []
        self._working = False

    # -- engines ----------------------------------------------------------------------------------------------------------------------

    @guarded
    def attach(self, engine: Any) -> None:
        """Observe an engine until this call ends: what it is given, and the audio that it puts into its queue."""
        if (engine, "synthesize") in self._attached:
            return
        engine.synthesize = functools.partial(self._synthesize, engine, engine.synthesize)
        engine.queue.put = functools.partial(self._put, engine.queue.put)
        self._attached += [(engine, "synthesize"), (engine.queue, "put")]

    def detach(self) -> None:
        """Let go of all engines."""
        for owner, name in self._attached:
            vars(owner).pop(name, None)
        self._attached.clear()

    def _synthesize(self, engine: Any, synthesize: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        text = args[0] if args else kwargs.get("text")
        context = self._given(engine, text)
        error: BaseException | None = None
        success: Any = None
        self._working = True
        try:
            with Current(context):
                success = synthesize(*args, **kwargs)
                return success
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._working = False
            self._spoken(text, success, error)

    @guarded_or(lambda self, *_: self._context)
    def _given(self, engine: Any, text: Any) -> Any:
        self._begin(engine)
        speech = self._speech
        assert speech is not None  # noqa: S101 - begun above
        self._read()
        if self._lost == text:
            self._lost = None
        speech.flush()
        if speech.invocation is None:
            speech.ask(_asked(engine), delivers=False)
        return speech.context if speech.invocation is None else speech.invocation.context

    @guarded
    def _spoken(self, text: Any, success: Any, error: BaseException | None) -> None:
        speech = self._speech
        if speech is None:
            return
        self._read()
        if error is None and (success or speech.interrupted):
            return
        if not isinstance(text, str) and error is None:
            return  # an engine that takes all text at once need not return anything
        self._lost = text
        speech.attempted(_FAILED if error is None else None, error)

    def _put(self, put: Callable[..., Any], item: Any, *args: Any, **kwargs: Any) -> Any:
        self._made(item)
        return put(item, *args, **kwargs)

    @guarded
    def _made(self, item: Any) -> None:
        if self._working and self._speech is not None and item:  # else it is silence between sentences
            self._speech.made(item)

    # -- text and the listener ----------------------------------------------------------------------------------------------------------

    @guarded
    def character(self, engine: Any, character: str) -> None:
        """Note a character of the text."""
        self._characters.append(character)
        if self._speech is None:
            self._begin(engine)
            self._read()

    def _begin(self, engine: Any) -> None:
        if self._speech is None:
            self._speech = Speech(self._telemetry, _asked(engine), context=self._context)

    def _read(self) -> None:
        characters, self._characters = self._characters, []
        if characters and self._speech is not None:
            self._speech.text("".join(characters))

    @guarded
    def handed_out(self, engine: Any, chunk: bytes) -> None:
        """Note audio that is played, or given to the host's callback."""
        if self._speech is not None:
            self._speech.handed_out(chunk, _format(engine))

    @guarded
    def interrupt(self) -> None:
        """Note that the host stops it."""
        if self._speech is not None:
            self._speech.interrupt(CancelReason.INTERRUPTED)

    @guarded
    def end(self, error: BaseException | None, *, failed: bool) -> None:
        """End it. ``failed``: RealtimeTTS has caught an exception."""
        self.detach()
        speech = self._speech
        if speech is None:
            return
        cause = None if error is not None or speech.interrupted else _FAILED if failed or self._lost is not None else OK
        speech.finish(cause, error)


class RealtimeTTSInstrumentor(Instrumentor):
    """Instrumentor of ``TextToAudioStream.play``, ``play_async`` and ``stop``, with every engine."""

    requires = "realtimetts >= 0.8.10, < 0.9"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return all patches."""
        plays: MutableMapping[Any, _Play] = WeakKeyDictionary()

        def play(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if stream in plays:  # it plays already, or calls itself for text that came late
                return wrapped(*args, **kwargs)
            current = plays[stream] = _Play(telemetry)
            current.attach(stream.engine)
            error: BaseException | None = None
            try:
                return wrapped(*args, **kwargs)
            except BaseException as raised:
                error = raised
                raise
            finally:
                plays.pop(stream, None)
                current.end(error, failed=bool(getattr(stream, "error_flag", False)))

        def stop(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if (current := plays.get(stream)) is not None:
                current.interrupt()
            return wrapped(*args, **kwargs)

        def load(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            result = wrapped(*args, **kwargs)
            if (current := plays.get(stream)) is not None:
                current.attach(stream.engine)
            return result

        def read(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if (current := plays.get(stream)) is not None and args:
                current.character(stream.engine, args[0])
            return wrapped(*args, **kwargs)

        def played(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if (current := plays.get(stream)) is not None and args:
                current.handed_out(stream.engine, args[0])
            return wrapped(*args, **kwargs)

        wrappers: dict[str, Wrapper] = {
            "play": play, "stop": stop, "load_engine": load, "_on_character": read, "_on_audio_chunk": played
        }  # fmt: skip
        return [Patch(_MODULE, f"TextToAudioStream.{name}", _always(wrapper)) for name, wrapper in wrappers.items()]


def _always(wrapper: Wrapper) -> Callable[[Any], Wrapper]:
    return lambda _: wrapper
