"""Server-sent events: audio in base64 inside the events of a response's body.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from otel_tts.core.outcome import Cause
from otel_tts.instrumentation.compression import is_read, reading
from otel_tts.instrumentation.result import Extractor, body, chunks
from otel_tts.instrumentation.utterance import LOST, Utterance

_LONGEST = 1 << 24
"""Bytes of an event that are kept; a longer one is no event, and what follows is not read."""

ReadEvent = Callable[[Mapping[str, Any]], "bytes | Cause | None"]
"""A function that reads the data of an event: the audio in it, or how the request ended, or None for anything else."""


class EventDecoder:
    """Decoder of a body that comes in pieces, of any size.

    Args:
        read: reads the data of one event.
    """

    def __init__(self, read: ReadEvent) -> None:
        self._read = read
        self._rest = b""
        self.cause: Cause | None = None
        """How the request ended, once an event says so."""

    def feed(self, data: bytes) -> bytes:
        """Return the audio of all events that are complete with this piece of the body.

        Args:
            data: bytes of the response.
        """
        audio = []
        for event in self._events(data):
            result = self._read(event)
            if isinstance(result, Cause):
                self.cause = self.cause or result
            elif result is not None:
                audio.append(result)
        return b"".join(audio)

    def _events(self, data: bytes) -> Iterator[Mapping[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            self._rest = b""
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            try:
                event = json.loads(line[5:])
            except ValueError:
                continue  # `[DONE]`, or no event of this kind
            if isinstance(event, Mapping):
                yield event


class _EventSource:
    """The source of a stream of events: the utterance ends with the event that says so. Without one, the body was cut off."""

    def __init__(self, utterance: Utterance, decoder: EventDecoder) -> None:
        self._utterance = utterance
        self._decoder = decoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._utterance, name)

    def chunk(self, data: Any, now_ns: int, waited_ns: int) -> None:
        """See `Utterance.chunk`."""
        self._utterance.chunk(data, now_ns, waited_ns)
        if self._decoder.cause is not None:
            self._utterance.finished(self._decoder.cause, None)

    def finished(self, cause: Cause | None, error: BaseException | None, now_ns: int | None = None) -> None:
        """See `Utterance.finished`; it does nothing after an event for the end."""
        self._utterance.finished(LOST if cause is not None and cause.good else cause, error, now_ns)


def events(response_of: Callable[[Any], Any], read: ReadEvent) -> Extractor:
    """Return the extractor of a response of httpx with server-sent events; ``response_of`` returns the response.

    The stream of the response is measured, which all ways of reading use: as events, as lines or as bytes.

    Args:
        response_of: returns the response of httpx.
        read: takes the audio out of an event.
    """

    def extract(result: Any, utterance: Utterance) -> Any:
        response, decoder = response_of(result), EventDecoder(read)
        if response.is_stream_consumed:
            _read_whole(decoder, response.content, utterance)
            return result
        if not is_read(response.headers):
            return body(response_of)(result, utterance)  # the HTTP body is compressed, so its bytes are not the events
        payload = reading(response.headers, utterance.broken, decoder.feed)
        response.stream = chunks(payload)(response.stream, _EventSource(utterance, decoder))  # type: ignore[arg-type]  # it has all that is used
        return result

    return extract


def _read_whole(decoder: EventDecoder, content: bytes, utterance: Utterance) -> None:
    audio = decoder.feed(content + b"\n")
    cause = decoder.cause or LOST
    if cause.good:
        utterance.whole(audio)
    else:
        utterance.chunk(audio, utterance.monotonic(), 0)
        # The SDK raises nothing: the caller has what came of the audio.
        utterance.finished(cause.as_partial() if audio else cause, None)
