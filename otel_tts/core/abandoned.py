"""Abandoned requests: those that nobody ends. They were dropped, the process ends before them, or it has a copy of its parent's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from otel_tts.core import outcome
from otel_tts.core.call import Call
from otel_tts.core.clock import RequestClock
from otel_tts.core.deferred import defer
from otel_tts.core.guard import guarded
from otel_tts.core.outcome import Cause
from otel_tts.core.turn import Turn

if TYPE_CHECKING:
    from otel_tts.core.call import Part
    from otel_tts.core.sources import AudioSources


class Abandonable:
    """The base of a request, with the three ends that it does not come to by itself."""

    turn: Turn
    timeline: RequestClock
    finished: bool
    _call: Call | None
    _left: bool
    _released: Cause | None
    _released_ns: int | None
    _interruption: Cause | None
    sources: AudioSources

    ending = False  # only an RPC knows that its end is near

    def stop(self) -> None:
        """End it, since the process ends."""
        self.turn.leave(functools.partial(self._stop, self.timeline.monotonic()))

    @guarded
    def _stop(self, now_ns: int) -> None:
        if self._released_ns is not None and self._call is None:
            self._settle()
            return
        self._interruption = self._interruption or outcome.SHUTDOWN  # also of the attempts that end with it
        self._finish(outcome.SHUTDOWN, now_ns, interrupted=True, final=True)

    def leave_to_parent(self) -> None:
        """Do nothing at its end, in a forked child: its parent ends and counts it."""
        self.finished = True
        self._released_ns = self.timeline.start  # what the child begins in its block is a request of the child
        self.sources.leave_to_parent()

    def __del__(self) -> None:
        if not getattr(self, "finished", True):  # missing when the constructor raised
            self._dropped()

    @guarded
    def _dropped(self) -> None:
        # A finaliser may run in the middle of any code, for example while its thread holds an exporter's lock: so it only notes the
        # time and defers the rest. Finishing here could wait for ever for that lock.
        now_ns = self.timeline.monotonic()
        defer(lambda: self.turn.leave(lambda: self._finish_dropped(now_ns)))

    @guarded
    def _finish_dropped(self, now_ns: int) -> None:
        if self._call is not None:
            self._call.dropped_with(cast("Part", self), now_ns)  # which knows better how it ended
            self._finish(self.interruption(), now_ns, interrupted=True)
            return
        if self._released is None:
            self._left, self._released, self._released_ns = True, self.interruption(), now_ns
        if not (self._left and self._kept(self._released)):
            self._settle()

    if TYPE_CHECKING:  # what the request does, whichever end it comes to

        def interruption(self) -> Cause:
            """Return why work for it was cut off."""

        def _settle(self) -> None: ...
        def _kept(self, cause: Cause) -> bool: ...
        def _finish(self, cause: Cause, end_ns: int, *, interrupted: bool = False, final: bool = False) -> None: ...
