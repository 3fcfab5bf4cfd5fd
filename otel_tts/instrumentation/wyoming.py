"""Instrumentor of Wyoming servers, which Home Assistant uses for speech: one request per utterance, of any number of sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.context import Context, attach, get_current

from otel_tts.core.audio import PCM16, AudioFormat, AudioMeter, Encoded
from otel_tts.core.enclosing import begin_request
from otel_tts.core.formats import stated
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import EMPTY, OK, Cause
from otel_tts.core.outcome import from_exception as cause_of
from otel_tts.core.request import SynthesisRequest
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.semconv import CancelReason, Outcome

_FAILED = Cause.from_outcome(Outcome.ERROR)


class _ConnectionEvents:
    """The events of one connection. Its request stays current for the handler, so a call of an observed engine is an attempt of it."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._before: Context = get_current()
        self._request: SynthesisRequest | None = None
        self._streamed = False  # whether text comes in pieces that are not complete yet
        self._playing = False  # whether audio has started and not stopped
        self._failed = False
        self._handled_ns: int | None = None
        self._since_ns = 0
        self._chunks = 0
        self._measured_inside = False
        self._meter: AudioMeter | None = None

    @guarded
    def received(self, event: Any) -> None:
        """Take an event of the client, which the handler is about to get."""
        data = event.data or {}
        if event.type == "synthesize-start":
            self._begin(None, data)
            self._streamed = True
        elif event.type == "synthesize" and not self._streamed:  # else it repeats all of the text, for older servers
            self._begin(str(data.get("text", "")), data)
        elif event.type == "synthesize-chunk" and self._request is not None:
            self._request.text_input.add(str(data.get("text", "")))
        elif event.type == "synthesize-stop":
            self._streamed = False
        if self._request is not None:
            self._since_ns = self._request.timeline.monotonic()

    def _begin(self, text: str | None, data: Any) -> None:
        self.end(None)
        voice = data.get("voice")
        voice = voice if isinstance(voice, Mapping) else {}
        emitter = self._telemetry.emitter
        self._request = begin_request(emitter, text, voice.get("name"), voice.get("language"), stream=True)
        self._failed = self._playing = self._measured_inside = False
        self._handled_ns, self._meter, self._chunks = None, None, 0
        attach(self._request.context)

    @guarded
    def handled(self) -> None:
        """Note that the handler has returned, and waits for the next event."""
        if self._request is None or self._streamed:
            return
        self._handled_ns = self._request.timeline.monotonic()
        if self._has_audio(self._request) and not self._playing:
            self.end(None)

    @guarded
    def written(self, event: Any) -> None:
        """Take an event that the server sends."""
        request = self._request
        if request is None:
            return
        if event.type == "audio-start":
            self._playing = True
            if self._meter is None:
                self._meter = AudioMeter(_format(event.data))
        elif event.type == "audio-chunk" and event.payload:
            self._deliver(request, event)
        elif event.type == "audio-stop":
            self._playing = False
            if self._handled_ns is not None:
                self.end(None)  # the audio came from a task that runs on after the handler
        elif event.type == "error":
            self._failed = True
        elif event.type == "synthesize-stopped":
            self.end(None)

    def _deliver(self, request: SynthesisRequest, event: Any) -> None:
        now_ns = request.timeline.monotonic()
        waited_ns, self._since_ns = max(0, now_ns - self._since_ns), now_ns
        playback = request.record.played()
        self._measured_inside = self._measured_inside or playback.chunks != self._chunks
        if self._meter is None:
            self._meter = AudioMeter(_format(event.data))
        if self._measured_inside:  # the engine is observed, and its audio was counted when it was made
            return
        total_s = self._meter.feed(event.payload)
        playback.chunk(self._meter, total_s, now_ns, waited_ns)
        self._chunks = playback.chunks
        request.sources.set_audio(None, self._meter.format)

    def _has_audio(self, request: SynthesisRequest) -> bool:
        return self._measured_inside or (self._meter is not None and not self._meter.empty) or request.record.playback.chunks > 0

    @guarded
    def end(self, error: BaseException | None, *, left: bool = False, stopped: bool = False) -> None:
        """End the open request, if there is one. ``left``: the client is gone, ``stopped``: the server closes the connection."""
        request, self._request = self._request, None
        if request is None:
            return
        attach(self._before)
        unfinished = self._streamed or self._playing
        self._streamed = False
        if self._meter is not None and not self._measured_inside and request.record.duration_s is None:
            request.sources.set_audio(self._meter.seconds, None)
        if stopped and unfinished:
            request.interrupt(CancelReason.STOPPED)
        if error is not None and not isinstance(error, ConnectionError):
            request.release(cause_of(error), error)
        elif error is not None or (left and unfinished):
            request.release(request.interruption(), None)  # the caller is gone
        elif self._failed:
            request.answer_failed(_FAILED)
            request.release(OK, None, self._handled_ns)
        elif self._has_audio(request):
            request.release(OK, None, self._handled_ns)
        else:
            request.answer_failed(EMPTY)
            request.release(OK, None, self._handled_ns)


def _format(data: Any) -> AudioFormat:
    """Return the format that an event states; samples of another width, or of an impossible rate, cannot be read."""
    data = data or {}
    try:
        if data.get("width") == 2:
            return stated(PCM16, data["rate"], data.get("channels") or 1)
    except (KeyError, TypeError, ValueError):
        pass
    return Encoded("pcm", None)


_CURRENT: ContextVar[_ConnectionEvents | None] = ContextVar("wyoming_connection", default=None)


class WyomingInstrumentor(Instrumentor):
    """Instrumentor of ``AsyncEventHandler``: of the events that it reads and writes."""

    requires = "wyoming >= 1.9, < 2"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches that observe a connection from its first event to its last."""
        connections: WeakKeyDictionary[Any, _ConnectionEvents] = WeakKeyDictionary()

        async def run(wrapped: Any, handler: Any, args: Any, kwargs: Any) -> Any:
            connection = connections[handler] = _ConnectionEvents(telemetry)
            _CURRENT.set(connection)
            error: BaseException | None = None
            try:
                return await wrapped(*args, **kwargs)
            except BaseException as raised:
                error = raised
                raise
            finally:
                connection.end(error, left=True, stopped=not getattr(handler, "_is_running", True))

        async def read(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
            connection = _CURRENT.get()
            if connection is None:
                return await wrapped(*args, **kwargs)
            connection.handled()
            event = await wrapped(*args, **kwargs)
            if event is not None:
                connection.received(event)
            return event

        async def write(wrapped: Any, handler: Any, args: Any, kwargs: Any) -> Any:
            connection = connections.get(handler)
            if connection is not None:
                connection.written(args[0] if args else kwargs["event"])
            return await wrapped(*args, **kwargs)

        wrappers: dict[str, Wrapper] = {
            "AsyncEventHandler.run": run, "async_read_event": read, "AsyncEventHandler.write_event": write
        }  # fmt: skip
        return [Patch("wyoming.server", name, _always(wrapper)) for name, wrapper in wrappers.items()]


def _always(wrapper: Wrapper) -> Any:
    return lambda _: wrapper
