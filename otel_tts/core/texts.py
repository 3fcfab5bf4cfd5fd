"""Text that arrives in pieces, on its way to an engine: it is counted, and so is the time for which it was waited for."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

from otel_tts.core import clean
from otel_tts.core.clock import RequestClock
from otel_tts.core.guard import guarded, guarded_or
from otel_tts.core.place import Place, here
from otel_tts.core.record import Record
from otel_tts.core.turn import Turn, in_turn

_WAITS_KEPT = 1000  # for a pull of audio to take

Wait = tuple[Place, int, int]
"""Where something was waited for, since when on the clock of the request, and for how long; nanoseconds."""


class TextInput:
    """The text of one request, and the time for which more of it was waited for.

    Args:
        record: of the request.
        timeline: of the request.
        turn: of whoever touches the request.
        capture: whether the text itself is recorded.
        kept: the text so far, where it is kept to be compared with others; it is recorded nowhere.
        message_at: where the last message of the RPC that it is part of was received.
    """

    __slots__ = (
        "_capture", "_from_messages", "_in_messages", "_message", "_pulled_at", "_record", "_text", "_timeline", "_waits", "turn",
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
        self._in_messages = False  # whether the RPC's own messages tell the text
        self._waits: list[Wait] = []  # for text
        self._message: Wait | None = (message_at, timeline.monotonic(), 0) if message_at is not None else None  # for the last one
        self._from_messages = False  # whether the application adds text right where it receives messages
        self._pulled_at: Place | None = None  # where audio is pulled

    @in_turn
    def add(self, delta: str) -> None:
        """Add a piece of the text, unless the RPC's messages have told it.

        Where the thread or task has just received a message of the RPC, that is where the text comes from, and it was waited for.
        """
        if self._in_messages:
            return
        message, self._message = self._message, None
        if message is not None and message[0] == here():
            self._from_messages = True
            self._count(message, first=not self._record.characters)
        self._extend(clean.spoken(delta))

    @in_turn
    def message_came(self, since_ns: int) -> None:
        """A message of the RPC was received here, and waited for since then. Whether it holds text is not known yet."""
        self._message = (here(), since_ns, self._timeline.monotonic() - since_ns)

    @in_turn
    def messages_ended(self, since_ns: int) -> None:
        """The caller has sent everything: what was waited for here since then is the end of the text.

        A task that reads beside the one that pulls audio does not keep it waiting.
        """
        if self._from_messages and self._pulled_at in (None, here()):
            self.waited(since_ns, first=False)

    @in_turn
    def add_message(self, delta: str) -> None:
        """Add text as the RPC's own messages have it. From now on, pieces that the application adds are the same text once more."""
        self._in_messages = True
        self._extend(delta)

    def _extend(self, delta: str) -> None:
        record = self._record
        if not record.characters and delta:
            record.start_ns = self._timeline.monotonic()
        record.characters += len(delta)
        if self._text is not None:
            self._text += delta
        if self._capture:
            record.text = (record.text or "") + delta

    def equals(self, text: str) -> bool:
        """Whether this is the text, where it is kept; no text equals none."""
        return bool(text) and self._text == text

    def now_ns(self) -> int:
        """The clock's reading."""
        return self._timeline.monotonic()

    @in_turn
    def add_awaited(self, piece: str, since_ns: int) -> None:
        """Add a piece, which was waited for since then; the end of the text is an empty one."""
        self._message = None  # this wait has it inside
        self.waited(since_ns, first=not self._record.characters)
        self.add(piece)

    @in_turn
    def waited(self, since_ns: int, *, first: bool) -> None:
        """Count time in which text was waited for, here, since then; it is no part of the request where the text is the first."""
        self._count((here(), since_ns, self._timeline.monotonic() - since_ns), first=first)

    def _count(self, wait: Wait, *, first: bool) -> None:
        place, since_ns, waited_ns = wait
        inner_ns = sum(inner_ns for at, began_ns, inner_ns in self._waits if at == place and began_ns >= since_ns)
        waited_ns = max(0, waited_ns - inner_ns)  # whatever passes text on may count it too
        self._waits = [*self._waits[-_WAITS_KEPT:], (place, since_ns, waited_ns)]
        self._record.text_wait_ns = (self._record.text_wait_ns or 0) + (0 if first else waited_ns)

    def take_waits_ns(self, since_ns: int) -> int:
        """For how long text was waited for here since then: an engine that is pulled here did nothing meanwhile.

        Text that something else waits for, a task that reads ahead say, keeps no engine from working.
        """
        if not self._waits:
            return 0
        self._pulled_at = place = here()
        mine = [wait for wait in self._waits if wait[0] == place]
        self._waits = [wait for wait in self._waits if wait[0] != place]
        return sum(waited_ns for _, began_ns, waited_ns in mine if began_ns >= since_ns)

    @in_turn
    def flush(self) -> None:
        """Note that the engine is given the text so far, to speak it."""
        if self._record.first_segment_ns is None:
            self._record.first_segment_ns = self._timeline.monotonic()


class CountedText(Iterator[str]):
    """An iterator of pieces."""

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
    """An asynchronous iterator of pieces."""

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
