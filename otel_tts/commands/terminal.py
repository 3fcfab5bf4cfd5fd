"""How the commands that show telemetry look: outcomes, times and shares, the same everywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_tts.semconv import Outcome

STYLES: Mapping[str, str] = {
    Outcome.OK: "green",
    Outcome.REJECTED: "yellow",
    Outcome.CANCELLED: "cyan",
    Outcome.DEADLINE: "magenta",
    Outcome.PARTIAL: "red",
    Outcome.EMPTY: "red",
    Outcome.ERROR: "bold red",
}
"""The colour of each outcome. Its word always stands beside it: not everybody sees colours."""
TRACE_DIGITS = 12
"""Digits of a trace id that are shown: enough to find it."""
NOTHING = "-"
"""Stands where nothing is known."""
_DAY = 86400.0


def console() -> Console:
    """The terminal, or whatever standard output is at the moment."""
    return Console(highlight=False, emoji=False, markup=False)


def table(title: str = "", *, gap: int = 2) -> Table:
    """An empty table in our style, with ``gap`` blanks between its columns."""
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),  # the box has a blank of its own
    )


def outcome(value: str | None) -> Text:
    """An outcome by name, in its colour."""
    return Text(value or NOTHING, STYLES.get(value or "", ""))


def duration(seconds: float | None) -> str:
    """Seconds, or milliseconds below one second, with three digits that count."""
    if seconds is None:
        return NOTHING
    if not seconds:
        return "0 ms"
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def share(part: float | None) -> str:
    """A share from 0 to 1, in percent. What is not all is never rounded up to it, and what is not nothing never down to it."""
    if part is None:
        return NOTHING
    if 0 < part < 0.001:
        return "<0.1 %"
    return ">99.9 %" if 0.999 < part < 1 else f"{part:.1%}".replace("%", " %")


def count(number: float | None) -> str:
    """A whole number."""
    return NOTHING if number is None else f"{number:,.0f}"


def clock(moment: float) -> str:
    """Local time of a moment in seconds since the Unix epoch; with its date when it is not of the last day."""
    return date(moment)[-8:] if 0 <= time.time() - moment < _DAY else date(moment)[5:-3]


def date(moment: float) -> str:
    """Local date and time of a moment in seconds since the Unix epoch."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
