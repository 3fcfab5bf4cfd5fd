"""Text that arrives in pieces on its way to an engine: its characters are counted, and the time spent waiting for it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from otel_tts.core import clean
from otel_tts.core.clock import RequestClock
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.place import Place, here
from otel_tts.core.record import Record
from otel_tts.core.turn import Turn, in_turn

_WAITS_KEPT = 1000  # waits that no pull of audio has taken yet; a limit, so that memory is bounded

_LOOKED_AT = 1000  # characters of a text that are searched for a letter; a longer text is taken to have one

Wait = tuple[Place, int, int]
"""One wait: in which place, since when on the clock of the request, and for how long, in nanoseconds."""


def speakable(text: str) -> bool:
    """Return whether a text has a letter or digit in any script. Of a long one, only the beginning is looked at.

    Args:
        text: of a request, or a piece of it.
    """
    return text[:1].isalnum() or len(text) > _LOOKED_AT or any(map(str.isalnum, text))


class TextInput:
    """The text of one request, and the time for which more of it was waited for.

    Args:
        record: of the request.
        timeline: of the request.
        turn: of the request.
        capture: whether the text itself is recorded.
        kept: the text so far, if it is kept to be compared with later requests; it is never recorded.
        message_at: the place in which the last message of its RPC was received.
    """

    __slots__ = (
        "_capture", "_from_messages", "_in_messages", "_is_lost", "_message",
        "_none_flushed", "_pulled_at", "_record", "_stated", "_text", "_timeline",
        "_unknown", "turn", "waits",
    )  # fmt: skip

    def __init__(
        self,
        record: Record,
        timeline: RequestClock,
        turn: Turn,
        *,
        capture: bool,
        kept: str | None = None,
        message_at: Place | None = None,
    ) -> None:
        self.turn = turn
        self._record = record
        self._timeline = timeline
        self._capture = capture
        self._text = kept
        self._stated = record.characters > 0  # by the application; else only what calls of engines are given is known
        self._unknown = False  # whether a call made audio of text that nobody states
        self._is_lost = False  # whether a piece was no text, so that the length is unknown
        self._none_flushed = False  # whether a flush without any text says that there is none, and nothing else does
        self._in_messages = False  # whether the text is taken from the RPC's messages
        self.waits: list[Wait] = []  # for text
        self._message: Wait | None = (message_at, timeline.monotonic(), 0) if message_at is not None else None  # of the RPC
        self._from_messages = False  # whether the application adds text in the place in which it receives messages
        self._pulled_at: Place | None = None  # where audio is pulled

    @in_turn
    def add(self, delta: str) -> None:
        """Add a piece of the text, unless the text is taken from the RPC's messages.

        If this thread and task has just received a message of the RPC, the text is from that message, and the wait for it counts.

        Args:
            delta: a piece of the text.
        """
        if self._in_messages:
            return
        message, self._message = self._message, None
        if message is not None and message[0] == here():
            self._from_messages = True
            self._count(message, first=not self._record.characters)
        piece = clean.spoken(delta)
        self._is_lost = self._is_lost or not (piece or clean.is_text(delta))
        self._state(piece)
        if self._is_lost:
            self._record.speakable = None

    @in_turn
    def message_came(self, since_ns: int) -> None:
        """Note that a message of the RPC was received here, after a wait since ``since_ns``. It may or may not contain text."""
        self._message = (here(), since_ns, self._timeline.monotonic() - since_ns)

    @in_turn
    def messages_ended(self, since_ns: int) -> None:
        """Note that the caller has sent all messages: the wait since ``since_ns`` was for the end of the text.

        A task that reads messages beside the one that pulls audio does not make that one wait, so its wait does not count.
        """
        if (self._from_messages or self._in_messages) and self._pulled_at in (None, here()):
            self.waited(since_ns, first=False)

    @in_turn
    def add_message(self, delta: str) -> None:
        """Add text from a message of the RPC. From now on pieces of the application are ignored: they would count the text twice.

        Args:
            delta: a piece of the text.
        """
        self._in_messages = True
        self._state(delta)

    def _state(self, text: str) -> None:
        """Add text of the application: what only calls had brought until now is then known by itself."""
        is_first, self._stated = bool(text) and not self._stated, self._stated or bool(text)
        if is_first and self._record.characters:
            self._set(text)
        else:
            self._extend(text)

    @in_turn
    def add_of_call(self, text: str, *, whole: bool) -> None:
        """Add text that a call of an engine is given, unless the application states the text itself: it is that of all calls together.

        Args:
            text: what no call before it was given that it repeats or replaces.
            whole: whether it is all of the call's text, so that nothing was waited for.
        """
        if self._stated or not text:
            return
        if whole and not self._record.characters:
            self._set(text)
        else:
            self._extend(text)
        if self._unknown:
            self._record.speakable = None

    def spoken_unknown(self) -> None:
        """Note that a call made audio of text that it does not state: without a statement of the application, the length is unknown."""
        is_empty = self._record.speakable is not None and not self._record.characters and not self._none_flushed
        if not self._stated and not is_empty:
            self._unknown, self._record.speakable = True, None

    def _extend(self, delta: str) -> None:
        record = self._record
        was_spoken = record.playback.chunks > 0 or record.duration_s is not None  # of text that is stated only now
        if not record.characters and delta and not was_spoken:
            began_ns, record.start_ns = record.start_ns, self._timeline.monotonic()
            record.first_text_ns = record.start_ns - began_ns
        record.characters += len(delta)
        record.speakable = record.speakable or speakable(delta)
        if self._text is not None:
            self._text += delta
        if self._capture:
            record.text = (record.text or "") + delta

    def complete(self, text: str) -> None:
        """Take the text from an inner layer, if there was none before: it was there from the start.

        Args:
            text: all of it; empty: the inner layer does not know it either.
        """
        if text and not self._record.characters:
            self._stated = True
            self._set(text)

    def _set(self, text: str) -> None:
        self._record.characters = len(text)
        self._record.speakable = speakable(text)
        self._record.text = text if self._capture else None

    def equals(self, text: str) -> bool:
        """Return whether this is the kept text; an empty text equals none.

        Args:
            text: of a new call.
        """
        return bool(text) and self._text == text

    def now_ns(self) -> int:
        """Return the clock's reading, in nanoseconds."""
        return self._timeline.monotonic()

    @in_turn
    def add_awaited(self, piece: str, since_ns: int) -> None:
        """Add a piece that was waited for since ``since_ns``. An empty piece is the end of the text.

        Args:
            piece: a piece of the text; empty: the end.
            since_ns: on the clock of the request, in nanoseconds.
        """
        self._message = None  # this wait includes it
        self.waited(since_ns, first=not self._record.characters)
        self.add(piece)

    @in_turn
    def waited(self, since_ns: int, *, first: bool) -> None:
        """Count the time since ``since_ns`` as a wait for text. The wait for the first piece is before the request, so not part of it.

        Args:
            since_ns: on the clock of the request, in nanoseconds.
            first: whether it is the wait for the first piece.
        """
        self._count((here(), since_ns, self._timeline.monotonic() - since_ns), first=first)

    def _count(self, wait: Wait, *, first: bool) -> None:
        place, since_ns, waited_ns = wait
        inner_ns = sum(inner_ns for at, began_ns, inner_ns in self.waits if at == place and began_ns >= since_ns)
        waited_ns = max(0, waited_ns - inner_ns)  # two iterators, one inside the other, may count the same wait
        self.waits = [*self.waits[-_WAITS_KEPT:], (place, since_ns, waited_ns)]
        self._record.text_wait_ns = (self._record.text_wait_ns or 0) + (0 if first else waited_ns)

    def take_waits_ns(self, since_ns: int) -> int:
        """Return how long text was waited for in this thread and task since ``since_ns``, nanoseconds, and forget these waits.

        An engine that is pulled in the same task did no work in that time. A wait elsewhere, for example in a task that reads text in
        advance, does not stop an engine.
        """
        if not self.waits:
            return 0
        self._pulled_at = place = here()
        mine = [wait for wait in self.waits if wait[0] == place]
        self.waits = [wait for wait in self.waits if wait[0] != place]
        # By their end: a wait with which the engine's work begins, begins some instructions before ``since_ns`` was worked out.
        waited_ns = sum(waited_ns for _, began_ns, waited_ns in mine if began_ns + waited_ns > since_ns)
        self._record.playback.without_text(waited_ns)
        return waited_ns

    @in_turn
    def flush(self) -> None:
        """Note that the engine gets the text so far, to speak it."""
        if self._record.speakable is None:
            self._record.speakable, self._none_flushed = False, True
        if self._record.first_segment_ns is None:
            self._record.first_segment_ns = self._timeline.monotonic()


class CountedText(Iterator[str]):
    """An iterator of pieces of text that counts them.

    Args:
        pieces: the text as it comes.
        text: counts it.
    """

    def __init__(self, pieces: Iterable[str], text: TextInput) -> None:
        self._pieces = iter(pieces)
        self._text = text

    def __next__(self) -> str:
        since_ns = _now(self._text)
        try:
            piece = next(self._pieces)
        except StopIteration:
            _came(self._text, "", since_ns)
            raise
        _came(self._text, piece, since_ns)
        return piece


class CountedAsyncText(AsyncIterator[str]):
    """An asynchronous iterator of pieces of text that counts them.

    Args:
        pieces: the text as it comes.
        text: counts it.
    """

    def __init__(self, pieces: AsyncIterable[str], text: TextInput) -> None:
        self._pieces = aiter(pieces)
        self._text = text

    async def __anext__(self) -> str:
        since_ns = _now(self._text)
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            _came(self._text, "", since_ns)
            raise
        _came(self._text, piece, since_ns)
        return piece


@guarded_or(lambda _: None)
def _now(text: TextInput) -> int | None:
    return text.now_ns()


@guarded
def _came(text: TextInput, piece: str, since_ns: int | None) -> None:
    if since_ns is not None:
        text.add_awaited(piece, since_ns)
