"""One TTS service of Pipecat, and its utterances by the ids of their audio contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context, get_current, set_value

from otel_tts.core import outcome
from otel_tts.core.audio import PCM16
from otel_tts.core.formats import stated
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.outcome import OK, Cause
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.speech import Speech
from otel_tts.instrumentation.utterance import OBSERVED, Asked
from otel_tts.semconv import AttemptReason, ErrorType, Outcome

_SERVICES = "pipecat.services."
STARTS = ("LLMFullResponseStartFrame", "TTSSpeakFrame")
"""Frames with which a new turn begins."""
TEXTS = ("LLMTextFrame", "TextFrame", "TTSSpeakFrame")
"""Frames with text for the service."""
_QUIET = Cause(Outcome.ERROR, ErrorType.TIMEOUT)
_FAILED = Cause(Outcome.ERROR, ErrorType.OTHER)


class ObservedService:
    """The state of one service, with its utterances by the ids of their audio contexts.

    Args:
        telemetry: the Telemetry that records.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self.speeches: dict[str, Speech] = {}
        self.running: set[str] = set()
        """The utterances for which the service's ``run_tts`` is running."""
        self._first_ns: int | None = None
        self._stopped: set[str] = set()
        """Utterances that were stopped before anything said that all their audio was made: an error may follow."""
        self.queued: list[Any] = []
        """The frames of errors that are noted, and will be pushed when the audio before them is."""

    @guarded
    def frame(self, kind: str) -> None:
        """Note a frame that the service gets: the start of a turn, or a piece of text, perhaps not enough to speak.

        Args:
            kind: the name of the frame's class.
        """
        if kind in STARTS:
            self._first_ns = None  # what is left of the turn before was not to be spoken
        if kind in TEXTS and self._first_ns is None:
            self._first_ns = self._telemetry.emitter.clock.monotonic()

    @guarded
    def text(self, service: Any, context_id: str, text: str) -> None:
        """Note that the service gets text for an utterance.

        Args:
            service: of Pipecat.
            context_id: of the utterance.
            text: a sentence, or a piece of it.
        """
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
            speech.ask(_asked(service), delivers=False, reason=AttemptReason.INITIAL)

    @guarded_or(lambda *_: get_current())
    def working(self, context_id: str) -> Context:
        """Return the context in which the service works for an utterance.

        Args:
            context_id: of the utterance.
        """
        speech = self.speeches.get(context_id)
        return speech.observed_context() if speech is not None else set_value(OBSERVED, True)

    @guarded
    def made(self, context_id: str, frame: Any) -> None:
        """Note audio of the provider.

        Args:
            context_id: of the utterance.
            frame: of Pipecat, with audio.
        """
        speech = self.speeches.get(context_id)
        if speech is not None:
            speech.made(frame.audio)

    @guarded
    def ended(self, context_id: str) -> None:
        """Note that the provider has no more audio for an utterance. Pipecat may learn that long after its last audio.

        Args:
            context_id: of the utterance.
        """
        speech = self.speeches.get(context_id)
        if speech is not None and not speech.interrupted:
            speech.attempted(OK, None, speech.last_ns)

    @guarded
    def handed_out(self, frame: Any) -> None:
        """Note audio that goes to the transport.

        Args:
            frame: of Pipecat, with audio.
        """
        speech = self.speeches.get(frame.context_id or "")
        if speech is not None:
            speech.handed_out(frame.audio, stated(PCM16, frame.sample_rate, frame.num_channels))

    @guarded
    def failed(self, error: BaseException | None, context_id: str | None = None) -> None:
        """Note a failure: of one utterance, or of all that wait for audio.

        Args:
            error: what went wrong; None: unknown.
            context_id: of the one utterance; None: of all that wait for audio.
        """
        for name in [context_id] if context_id is not None else list(self.speeches):
            speech = self.speeches.get(name)
            if speech is not None and speech.invocation is not None:
                speech.attempted(outcome.from_exception(error) if error is not None else _FAILED, error)
                if name in self._stopped:
                    self.finish(name, _FAILED)

    @guarded
    def stopped(self, context_id: str) -> None:
        """End an utterance whose end was pushed, unless nothing has said yet that all its audio was made.

        Args:
            context_id: of the utterance.
        """
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
        """End an utterance: all its audio was pushed, or no more will be.

        Args:
            context_id: of the utterance.
            cause: how it ended; None: it was cut off.
        """
        self._stopped.discard(context_id)
        speech = self.speeches.pop(context_id, None)
        if speech is None:
            return
        if speech.interrupted:
            speech.finish(None)
        else:
            speech.finish(cause, None, speech.last_ns if cause is OK else None)

    @guarded
    def silent(self, context_id: str) -> None:
        """Note that nothing came for an utterance, and that it is waited for no longer. Pipecat reports that as an error of its own.

        Args:
            context_id: of the utterance.
        """
        speech = self.speeches.get(context_id)
        if speech is not None and speech.last_ns is None:
            speech.attempted(_QUIET)

    @guarded
    def quiet(self, context_id: str) -> None:
        """End an utterance whose audio context has ended, unless it was stopped: then an error may follow.

        Args:
            context_id: of the utterance.
        """
        if context_id not in self._stopped:
            self.finish(context_id, _QUIET)

    @guarded
    def interrupted(self, preserved: Sequence[str]) -> None:
        """Note that the listener interrupts all utterances except the preserved ones.

        Args:
            preserved: ids of the utterances that go on.
        """
        self._first_ns = None
        self._settle()
        for name, speech in self.speeches.items():
            if name not in preserved:
                speech.interrupt()

    @guarded
    def close(self, preserved: Sequence[str]) -> None:
        """End all utterances except the preserved ones: no more audio will come for them.

        Args:
            preserved: ids of the utterances that go on.
        """
        self._settle()
        for name in [name for name in self.speeches if name not in preserved]:
            self.finish(name, None)


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
        audio=stated(PCM16, service.sample_rate or 24000),
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
