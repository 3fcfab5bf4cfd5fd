"""Nested attempts: calls that another layer reports inside the call of a provider, for the same request.

An application and a library may each report a call for the same speech. The inner calls are those of providers: they count, as the inner
one of two requests does. The outer one only encloses them. The listener gets the audio from the outermost layer that hands it out as it
comes, so that one says when.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol, Self, cast

from otel_tts.core.outcome import Cause
from otel_tts.core.turn import Turn, in_turn

if TYPE_CHECKING:
    from otel_tts.core.audio import AudioMeter
    from otel_tts.core.requester import Requester
    from otel_tts.core.sources import AudioSources, Unfinished
    from otel_tts.semconv import AttemptReason


class NestedCall(Protocol):
    """A call of a provider, as the calls around it and inside it see it."""

    inside: InnerCalls | None
    open: bool
    delivers: bool

    @property
    def around(self) -> NestedCall | None:
        """The call inside which it is reported."""

    @property
    def expected(self) -> bool:
        """Whether its audio is expected, or has come."""

    @property
    def pieces(self) -> int:
        """How many pieces of audio have come."""

    @property
    def has_audio(self) -> bool:
        """Whether any audio has come."""


class InnerCalls:
    """The calls inside one."""

    __slots__ = ("_calls", "any", "asked_caches", "failed", "handed_out", "has_audio")

    def __init__(self) -> None:
        self._calls: list[weakref.ref[NestedCall]] = []  # weak: a call that is dropped must reach its finaliser
        self.any = False
        """Whether there were any, not only questions to caches."""
        self.has_audio = False
        """Whether one that has ended made audio."""
        self.failed = False
        """Whether one that has ended did not end well."""
        self.handed_out = False
        """Whether pieces of one that has ended were handed out as they came."""
        self.asked_caches = False
        """Whether a cache was asked inside."""

    def open_calls(self) -> list[NestedCall]:
        """Return those that have not ended."""
        return [call for reference in self._calls if (call := reference()) is not None and call.open]

    def made_audio(self) -> bool:
        """Return whether any of them made audio."""
        return self.has_audio or any(call.has_audio for call in self.open_calls())

    def add(self, call: NestedCall) -> None:
        """Add a call that begins.

        Args:
            call: the inner one.
        """
        self.any = True
        self._calls.append(weakref.ref(call))

    def ended(self, call: NestedCall, *, good: bool) -> None:
        """Note the end of a call.

        Args:
            call: the inner one.
            good: whether it ended well.
        """
        self._calls = [reference for reference in self._calls if reference() not in (None, call)]
        self.has_audio = self.has_audio or call.has_audio or (call.inside is not None and call.inside.has_audio)
        self.failed = self.failed or not good
        self.handed_out = (
            self.handed_out or (call.delivers and call.pieces > 0) or (call.inside is not None and call.inside.handed_out)
        )

    def begun_to_hand_out(self) -> bool:
        """Return whether pieces of one were handed out as they came."""
        return self.handed_out or any(
            (call.delivers and call.pieces > 0) or (call.inside is not None and call.inside.begun_to_hand_out())
            for call in self.open_calls()
        )

    def leave_to_outer(self) -> None:
        """Let the call around say what the listener gets, and when."""
        for call in self.open_calls():
            call.delivers = False
            if call.inside is not None:
                call.inside.leave_to_outer()


def share(call: NestedCall) -> None:
    """Decide who says what the listener gets, before audio of a call comes: the outermost layer, or the one that has begun to hand it out.

    Args:
        call: the call.
    """
    around = call.around
    while around is not None:
        if around.expected:
            call.delivers = False
            return
        around = around.around
    if call.inside is None:
        return
    if call.inside.begun_to_hand_out():
        call.delivers = False
    else:
        call.inside.leave_to_outer()


def replaced(inside: InnerCalls, *, good: bool, has_audio: bool, cached: bool) -> bool:
    """Return whether the calls inside one count in its place.

    Not if it made audio and they did not, nor if it failed though they ended well: that is a failure of its own.

    Args:
        inside: the calls.
        good: whether the outer one ended well.
        has_audio: whether audio of the outer one came.
        cached: whether the audio of the request came from a cache.
    """
    from_cache = cached and inside.asked_caches
    if not (inside.any or from_cache):
        return False
    if has_audio and not (inside.made_audio() or from_cache):
        return False
    return good or inside.failed or bool(inside.open_calls())


class Nesting:
    """The base of a call of a provider, which may be inside another one, or around others."""

    around: Self | None = None
    """The call inside which another layer reports this one; None without one."""
    inside: InnerCalls | None = None
    """Those that are reported so inside this one; None without one."""
    turn: Turn
    open: bool
    delivers: bool
    _request: Requester | None
    _sources: AudioSources | None
    _meter: AudioMeter | None
    _chunks: int
    _reason: AttemptReason

    @in_turn
    def enclose(self, call: Self | None) -> None:
        """Note that another layer reports a call inside, or asks a cache.

        Args:
            call: the inner one; None: a cache is asked.
        """
        inside = self.inside = self.inside or InnerCalls()
        if call is None:
            inside.asked_caches = True
            return
        call.around, call.pieces_around = self, self._chunks
        inside.add(call)

    def leave_around(self, *, good: bool) -> bool:
        """Note its end, and return whether the call around has handed out audio since it began.

        Args:
            good: whether it ended well.
        """
        around, self.around = self.around, None
        if around is None or around.inside is None:
            return False
        around.inside.ended(self, good=good)
        return around.pieces > self.pieces_around

    @in_turn
    def passes_to_listener(self) -> bool:
        """Return whether audio that another layer found in a cache goes to the listener as it comes: no attempt around hands it out."""
        if self.expected or (self.around is not None and not self.around.passes_to_listener()):
            return False
        self.inside = self.inside or InnerCalls()
        self.inside.handed_out = True
        return True

    def speaks_for(self, request: object) -> bool:
        """Return whether it is an open call of a request.

        Args:
            request: the request.
        """
        return self.open and self._request is request

    @property
    def reason(self) -> AttemptReason:
        """Why it was called."""
        return self._reason

    @property
    def expected(self) -> bool:
        """Whether its audio is expected, or has come."""
        return self._meter is not None

    @property
    def pieces(self) -> int:
        """How many pieces of audio have come."""
        return self._chunks

    @property
    def has_audio(self) -> bool:
        """Whether any audio has come."""
        return self._meter is not None and not self._meter.empty

    pieces_around = 0
    """How many pieces of the call around came before this one."""

    def _is_replaced(self, inside: InnerCalls, cause: Cause) -> bool:
        """Return whether the calls inside count in its place. If not, it is an attempt beside them."""
        if self._sources is None:
            return False
        if replaced(inside, good=cause.good, has_audio=self.has_audio, cached=self._sources.cached):
            self._sources.enclosed(cast("Unfinished", self), by_attempts=inside.any)
            return True
        if inside.any:
            self._sources.counted(1)
        return False
