"""Speech: one utterance whose text and audio come in separate events, not in one call: over a WebSocket, or in a framework."""

from __future__ import annotations

import weakref
from typing import Any

from opentelemetry.context import Context, get_current, set_value

from otel_tts.core import clean, outcome
from otel_tts.core.attempt import invoke
from otel_tts.core.audio import AudioFormat, AudioMeter
from otel_tts.core.blocks import REQUEST
from otel_tts.core.enclosing import begin_request, enclosing_request
from otel_tts.core.guard import guarded
from otel_tts.core.invocation import INVOCATION, Invocation
from otel_tts.core.outcome import Cause
from otel_tts.core.purpose import current as current_purpose
from otel_tts.core.request import SynthesisRequest
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.utterance import OBSERVED, Asked
from otel_tts.semconv import AttemptReason, CancelReason


class Speech:
    """An utterance and its attempts at providers. All times are readings of the clock, in nanoseconds.

    The wait for the engine starts when it gets text: if text comes in pieces, with the first piece after its last audio. The time between
    audio and the next piece of text is a wait for text, not for the engine.

    Args:
        telemetry: with which it is recorded.
        asked: what is requested; with the text, if it is known.
        context: in which it happens, by default the current one.
        conversation: the id of the conversation that it is part of.
        start_ns: when its first text came, if that is in the past: on the clock of the request, in nanoseconds.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        asked: Asked,
        *,
        context: Context | None = None,
        conversation: str | None = None,
        start_ns: int | None = None,
    ) -> None:
        with Current(context if context is not None else get_current()):
            outer = enclosing_request()
            purpose = current_purpose().with_(conversation or None, None, None)
            self.request: SynthesisRequest = outer or begin_request(
                telemetry.emitter,
                asked.text,
                asked.voice,
                asked.language,
                stream=asked.stream,
                purpose=purpose,
                start_ns=start_ns,
                implicit=True,
            )
        if outer is not None:
            outer.update(None, asked.voice, asked.language, purpose)
            outer.text_input.add_of_call(clean.spoken(asked.text), whole=True)
        self._own = outer is None
        self._characters = len(clean.spoken(asked.text))  # of its text so far
        self._spoken = 0  # of them, how many the current attempt is not given: they were for those before it
        self._given = 0  # of them, how many attempts that ended were given
        self._invocation: Invocation | None = None
        self._made = False  # whether the current attempt has made audio
        self._delivered: AudioMeter | None = None
        self._working_since_ns = self.request.timeline.monotonic()
        self._answered = True  # whether audio has come since the engine got text
        self._waited_ns = 0  # since audio was last handed out
        self._over = False
        self.last_ns: int | None = None
        """When its last audio was made or handed out."""
        self.context: Context = set_value(REQUEST, self.request.context.get(REQUEST), self.request.context)
        """The OpenTelemetry context of all work for it."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over

    @property
    def interrupted(self) -> bool:
        """Whether it was cut off."""
        return self.request.record.interrupted_ns is not None

    @property
    def owner(self) -> bool:
        """Whether the request is its own, not an outer one that it is part of."""
        return self._own

    def monotonic(self) -> int:
        """Return the clock's reading, in nanoseconds."""
        return self.request.timeline.monotonic()

    # -- text -----------------------------------------------------------------------------------------------------------------------

    @guarded
    def text(self, piece: str) -> None:
        """Add a piece of the text.

        Args:
            piece: a piece of the text.
        """
        self._characters += len(piece)
        if self._own:
            self.request.text_input.add(piece)
        else:
            self.request.text_input.add_of_call(piece, whole=False)

    @guarded
    def given(self) -> None:
        """Note that the engine gets text, or is told to go on. If its last audio came after the last text, it has waited for this."""
        if self._answered:
            now_ns = self.monotonic()
            self.request.record.playback.without_text(now_ns - self._working_since_ns)
            self._working_since_ns, self._answered = now_ns, False

    @guarded
    def flush(self) -> None:
        """Note that the engine is told to speak the text so far."""
        self.request.text_input.flush()
        self.given()

    # -- providers ------------------------------------------------------------------------------------------------------------------

    @guarded
    def ask(
        self,
        asked: Asked,
        *,
        delivers: bool,
        expects: bool = True,
        reason: AttemptReason | None = None,
        start_ns: int | None = None,
    ) -> None:
        """Start an attempt at a provider; the one before has ended.

        Args:
            asked: what is requested of the provider.
            delivers: whether its audio goes directly to the caller.
            expects: whether the format of the audio is known already; else `expect` is called before the first audio.
            reason: why; None: derived from the attempts before. An initial one is for new text, also after one that failed.
            start_ns: when, in nanoseconds; None: now.
        """
        if reason is AttemptReason.INITIAL:
            self._spoken = self._given
        self._invocation = invoke(self.request, asked.provider, asked.model, reason, remote=asked.remote, start_ns=start_ns)
        self._invocation.delivers, self._made = delivers, False
        if expects:
            self._invocation.expect(asked.audio)

    @guarded
    def expect(self, format: AudioFormat) -> None:
        """Set the format of the audio that will come in the current attempt.

        Args:
            format: as the provider's answer states it.
        """
        if self._invocation is not None:
            self._invocation.expect(format)

    def observed_context(self) -> Context:
        """Return the current context for work that is observed here: inner layers observe nothing, and resends belong to the attempt."""
        reference = weakref.ref(self)

        def current() -> Invocation | None:
            speech = reference()
            return speech.invocation if speech is not None else None

        return set_value(INVOCATION, current, set_value(OBSERVED, True))

    @property
    def invocation(self) -> Invocation | None:
        """The current attempt; None without one."""
        return self._invocation

    @guarded
    def connection(self, *, reused: bool) -> None:
        """Note whether the connection to the provider was reused.

        Args:
            reused: whether the connection had served another utterance or was opened in advance.
        """
        if self._invocation is not None:
            self._invocation.connection_reused = reused

    @guarded
    def made(self, data: Any, since_ns: int | None = None) -> None:
        """Note audio of the provider.

        Args:
            data: a piece of audio.
            since_ns: since when the host waited to receive it, in nanoseconds; None: all the time.
        """
        if self._invocation is None:
            return
        now_ns = self.monotonic()
        waited_ns = max(0, now_ns - max(self._working_since_ns, since_ns or 0))
        self._waited_ns += waited_ns
        self._invocation.chunk(data, now_ns, waited_ns)
        self._working_since_ns, self._answered = now_ns, True
        if len(data):
            self.last_ns, self._made = now_ns, True

    @guarded
    def attempted(
        self,
        cause: Cause | None,
        error: BaseException | None = None,
        now_ns: int | None = None,
        *,
        characters: int | None = None,
    ) -> None:
        """End the attempt. ``cause`` None: what ``error`` means, and without an error an interruption.

        Args:
            cause: how it ended; None: as the exception says, or as far as it is known.
            error: the exception that ended it; None without one.
            now_ns: when, on the clock of the request, in nanoseconds; None: now.
            characters: code points of the text that it was given; None: all text that no attempt before it has spoken.
        """
        invocation, self._invocation = self._invocation, None
        if invocation is not None:
            if characters is not None or self._characters:
                invocation.characters = self._characters - self._spoken if characters is None else characters
            self._given = self._characters if characters is None else self._given + characters
            if cause is not None and cause.good:
                self._spoken = self._given
            if error is not None or (cause is not None and not cause.good):
                self._failed(self.monotonic() if now_ns is None else now_ns)
            invocation.end(cause, error, now_ns)

    def _failed(self, now_ns: int) -> None:
        """Count the wait for what an attempt did not make. Until the next one makes it, the wait is for the engine, too."""
        self._waited_ns += max(0, now_ns - self._working_since_ns)
        self._working_since_ns, self._answered = now_ns, False

    # -- the caller -----------------------------------------------------------------------------------------------------------------

    @guarded
    def handed_out(self, data: Any, format: AudioFormat) -> None:
        """Note audio that went to the caller, for attempts that were started with ``delivers`` False.

        Args:
            data: a piece of audio.
            format: of the audio.
        """
        if self._delivered is None:
            self._delivered = AudioMeter(format)
        total_s = self._delivered.feed(data)
        waited_ns, self._waited_ns = self._waited_ns, 0
        if not len(data):
            return
        self.last_ns = self.monotonic()
        if not self._delivered.empty:
            if self._invocation is not None and self._made:
                self._invocation.handed_out = True
            else:  # the attempt that made it has ended
                self.request.sources.handed_out_late()
            self.request.record.played().chunk(self._delivered, total_s, self.last_ns, waited_ns)

    @guarded
    def add_heard(self, seconds: float) -> None:
        """Add seconds of audio that were played to the listener.

        Args:
            seconds: of audio that were played to the listener.
        """
        if not self._over:
            self.request.record.heard_s = (self.request.record.heard_s or 0.0) + max(0.0, float(seconds))

    @guarded
    def interrupt(self, reason: CancelReason = CancelReason.INTERRUPTED) -> None:
        """Note that it is cut off; see :meth:`otel_tts.Synthesis.interrupt`.

        Args:
            reason: why it is cut off.
        """
        if not self._over:
            self.request.interrupt(reason)

    @guarded
    def finish(self, cause: Cause | None, error: BaseException | None = None, now_ns: int | None = None) -> None:
        """End it, with an open attempt; calls after the first do nothing.

        Args:
            cause: how it ended; None: as the exception says, or as far as it is known.
            error: the exception that ended it; None without one.
            now_ns: when, on the clock of the request, in nanoseconds; None: now.
        """
        if self._over:
            return
        self._over = True
        if self._invocation is not None:
            self.attempted(cause, error, now_ns)
        if self._own:
            ended = outcome.explained(cause, error, self.request.interruption)
            self.request.release(ended, error, now_ns)
