"""Progress: what the traffic has come to so far, as its callers see it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from otel_tts import formatting
from otel_tts.commands import terminal
from otel_tts.commands.load.caller import Reply
from otel_tts.commands.load.traffic import Planned
from otel_tts.commands.verify import account
from otel_tts.semconv import CacheResult, Outcome

_EVERY_S = 5.0  # seconds between lines where nothing can be drawn over
_CALLERS_OWN = {"CANCELLED": Outcome.CANCELLED, "DEADLINE_EXCEEDED": Outcome.DEADLINE}


class Progress:
    """Counts replies and shows the counts.

    Args:
        console: the terminal.
        duration_s: seconds of traffic; None without an end.
        began: when everything was started, by ``time.monotonic()``.
    """

    def __init__(self, console: Console, duration_s: float | None, began: float) -> None:
        self.requests = 0
        """How many calls ended."""
        self.unanswered = 0
        """How many of them ended at their own deadline before the service had sent anything."""
        self._console = console
        self._duration_s = duration_s
        self._began = began
        self._outcomes: Counter[str] = Counter()
        self._caches: Counter[CacheResult] = Counter()
        self._start = self._last_print = time.monotonic()

    def record(self, planned: Planned, reply: Reply) -> None:
        """A call ended.

        Args:
            planned: what was to be sent.
            reply: what came.
        """
        self.requests += 1
        self.unanswered += reply.code == "DEADLINE_EXCEEDED" and not reply.answered and not reply.chunks
        self._outcomes[account.outcome(reply) or _CALLERS_OWN.get(reply.code, Outcome.ERROR)] += 1
        if reply.cache is not None:
            if not self._caches:
                self._console.print(f"First audio {time.monotonic() - self._began:.1f} s after the start.")
            self._caches[reply.cache] += 1
        if not self._console.is_terminal and time.monotonic() - self._last_print >= _EVERY_S:
            self._last_print = time.monotonic()
            self._console.print(self._line())

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for the length of the block."""
        self._start = self._last_print = time.monotonic()
        drawn = Live(console=self._console, get_renderable=self._drawn, refresh_per_second=4, transient=True)
        with drawn if self._console.is_terminal else nullcontext():
            yield
        self._console.print(self._line())

    def _line(self) -> Text:
        elapsed_s = time.monotonic() - self._start
        facts = [
            Text(f"{elapsed_s:.0f} s"),
            Text(formatting.counted(self.requests, "request")),
            Text(f"{self.requests / max(elapsed_s, 1e-3):.0f}/s"),
        ]
        facts += [
            Text.assemble(f"{self._outcomes[outcome]:,} ", terminal.outcome(outcome))
            for outcome in Outcome
            if self._outcomes[outcome]
        ]
        return Text(", ").join(facts)

    def _drawn(self) -> Table:
        elapsed_s = time.monotonic() - self._start
        grid = Table.grid(padding=(0, 1))
        if self._duration_s is None:
            grid.add_row(Text("Ctrl-C ends it.", "dim"))
        else:
            grid.add_row(ProgressBar(self._duration_s, min(elapsed_s, self._duration_s), width=40))
        grid.add_row(self._line())
        cached_total = sum(self._caches.values())
        grid.add_row(
            Text(
                f"{formatting.percent(self._caches[CacheResult.HIT] / cached_total if cached_total else None)} from the cache",
                "dim",
            )
        )
        return grid
