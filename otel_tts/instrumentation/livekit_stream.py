"""One stream of LiveKit: an utterance, or a part of the utterance of an outer stream."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import MutableMapping
from typing import Any

from opentelemetry.context import Context, create_key, get_current, set_value

from otel_tts.core import clean
from otel_tts.core.audio import PCM16, AudioFormat
from otel_tts.core.formats import stated
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.outcome import OK
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.speech import Speech
from otel_tts.instrumentation.utterance import OBSERVED, Asked

_OUTER = create_key("livekit stream")
"""The key of the outer stream in the OpenTelemetry context."""
RECOVERY = create_key("livekit recovery")
"""The key that is set while the fallback adapter tests whether a provider works again: nobody hears that audio."""
_ADAPTERS = ("livekit.agents.tts.fallback_adapter", "livekit.agents.tts.stream_adapter")
_WRAPPER = "_ChunkedStreamFromStream"
_PLUGINS = "livekit.plugins."


class LiveKitStream:
    """The state of one stream of LiveKit.

    Args:
        telemetry: the Telemetry that records.
        stream: of LiveKit.
        of_handle: the speeches of each of LiveKit's speech handles.
    """

    def __init__(self, telemetry: Telemetry, stream: Any, of_handle: MutableMapping[Any, list[Speech]]) -> None:
        self._telemetry = telemetry
        self._of_handle = of_handle
        self._tts = stream._tts
        self.adapter = type(stream).__module__ in _ADAPTERS or type(stream).__name__ == _WRAPPER
        self.context: Context | None = None
        self.handle: Any = None
        self.outer: LiveKitStream | None = None
        self.speech: Speech | None = None
        self._recovery = False
        self._complete_text = False
        self._pieces: list[str] = []
        self._characters = 0  # of the text so far
        self._first_ns: int | None = None
        self._run_ns: int | None = None
        self._asked: Asked | None = None
        self._running = False
        self.format: AudioFormat | None = None
        self._made = False
        self._expecting = False
        self.error: BaseException | None = None
        self.complete = False  # whether all audio was made
        self.final = False  # whether its last audio was handed out

    @guarded
    def start(self, stream: Any) -> None:
        """Note that its task starts, in the current context.

        Args:
            stream: of LiveKit.
        """
        self.context = get_current()
        outer = self.context.get(_OUTER)
        self.outer = outer if isinstance(outer, LiveKitStream) else None
        self._recovery = bool(self.context.get(RECOVERY))
        activity = sys.modules.get("livekit.agents.voice.agent_activity")
        variable = getattr(activity, "_SpeechHandleContextVar", None)
        self.handle = variable.get(None) if variable is not None else None
        if hasattr(stream, "_input_text"):
            self._complete_text = True
            self.text(stream._input_text)
            self.given()
        self._begin()

    @guarded
    def text(self, piece: str) -> None:
        """Note a piece of text.

        Args:
            piece: a piece of the text.
        """
        if self._first_ns is None:
            self._first_ns = self._telemetry.emitter.clock.monotonic()
        self._characters += len(clean.spoken(piece))
        if self.speech is not None and self.outer is None:
            self.speech.text(piece)
        else:
            self._pieces.append(piece)
            self._begin()

    def _begin(self) -> None:
        """Start the utterance, as soon as the context is known and there is text; inside an outer stream, use that one's."""
        if self.speech is not None or self.context is None or self._first_ns is None or self._recovery:
            return
        if self.outer is not None:
            self.speech = self.outer.speech
            return
        # A text that is whole from the start is known again where the same is asked for once more, in place of this.
        asked = dataclasses.replace(self._described(), text=self._pieces[0] if self._complete_text else None)
        self.speech = Speech(self._telemetry, asked, context=self.context, conversation=_conversation(), start_ns=self._first_ns)
        for piece in () if self._complete_text else self._pieces:
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
            audio=self.format or stated(PCM16, self._tts.sample_rate, self._tts.num_channels),
            stream=True,
        )

    # -- an attempt -----------------------------------------------------------------------------------------------------------------

    @guarded_or(lambda self, *_: get_current())
    def run(self) -> Context:
        """Note that a run of the plugin starts, and return the context for it."""
        self._run_ns = self._telemetry.emitter.clock.monotonic()
        self._expecting = False
        self._running, self._made = not self.adapter, False
        if self.adapter:
            return set_value(_OUTER, self)
        if self._complete_text:
            self._ask()
        return self.speech.observed_context() if self.speech is not None else set_value(OBSERVED, True)

    @guarded
    def given(self) -> None:
        """Note that the provider gets text."""
        if self.speech is not None and not self.adapter:
            self.speech.given() if self.outer is not None or self._complete_text else self.speech.flush()
            self._ask()

    def _ask(self) -> None:
        if self.speech is None or not self._running or self.adapter or self.speech.invocation is not None:
            return
        began_ns = max(self._run_ns or 0, self._first_ns or 0)
        self._asked = self._described()
        self.speech.ask(self._asked, delivers=False, expects=False, start_ns=began_ns)

    @guarded
    def made(self, data: bytes) -> None:
        """Note audio of the provider.

        Args:
            data: a piece of audio.
        """
        if self._recovery or self.speech is None:
            return
        self._ask()
        self._expect()
        self._made = self._made or len(data) > 0
        self.speech.made(data)

    def _expect(self) -> None:
        """Set the format of the run's audio, which its plugin states once its provider has answered."""
        if self.speech is not None and not self._expecting:
            self._expecting = True
            self.speech.expect(self._described().audio)

    @guarded
    def run_ended(self, stream: Any, error: BaseException | None) -> None:
        """Note that the run ended.

        Args:
            stream: of LiveKit.
            error: what the run ended with; None without one.
        """
        if not self._running:
            return
        if self.speech is not None and (self._made or error is not None or self._first_ns is not None):
            self._ask()
            if error is None:
                self._expect()  # a run without audio is empty
            reused = getattr(stream, "_connection_reused", False)
            if reused or getattr(stream, "_acquire_time", 0.0):
                self.speech.connection(reused=bool(reused))
            given = self._characters if self.outer is not None else None  # else it was given all the text of the utterance
            self.speech.attempted(OK if error is None else None, error, characters=given)
        self._running = False

    # -- the caller -----------------------------------------------------------------------------------------------------------------

    @guarded
    def handed_out(self, event: Any) -> None:
        """Note audio that the reader of the stream gets.

        Args:
            event: of LiveKit, with a frame of audio.
        """
        if self.speech is not None and self.outer is None:
            frame = event.frame
            self.speech.handed_out(bytes(frame.data), stated(PCM16, frame.sample_rate, frame.num_channels))
            self.final = self.final or bool(event.is_final)

    @guarded
    def end(self, error: BaseException | None, *, left: bool) -> None:
        """End the utterance: the stream ended, failed, or the reader closed it before (``left``).

        Args:
            error: what the run ended with; None without one.
            left: whether the reader closed it before its end.
        """
        speech = self.speech
        if speech is None or self.outer is not None or speech.over:
            return
        error = error if error is not None else self.error
        whole = error is None and (not left or (self.complete and self.final))
        cause, now_ns, handle = OK if whole else None, speech.monotonic(), self.handle
        if handle is None or handle.done():
            speech.finish(cause, error, now_ns)
        else:  # how much the listener heard is known only when it has been played
            handle.add_done_callback(lambda _: speech.finish(cause, error, now_ns))


@guarded_or(lambda *_: None)
def _conversation() -> str | None:
    """Return the conversation id that LiveKit gives its own spans: that of the room."""
    telemetry = sys.modules.get("livekit.agents.telemetry.gen_ai")
    ask = getattr(telemetry, "_conversation_id", None)
    return ask() if ask is not None else None
