"""How the commands that show telemetry look: tables, and outcomes in their colours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from otel_tts import formatting
from otel_tts.core import clean
from otel_tts.formatting import NOTHING
from otel_tts.history import History
from otel_tts.semconv import CancelReason, Outcome

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
NOTICEABLE_S = 0.001
"""A wait that is shorter is not worth a word."""
TRACE_DIGITS = 12
"""Digits of a trace id that are shown: enough to find it."""
UNBROKEN = 1000
"""Columns where nobody looks: more than any of our lines needs."""


class _Clean(Console):
    """A console that prints control characters as text: telemetry holds what callers sent."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render with every character printable; the control codes of rich itself are kept."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else clean.text(text), style, control)


def console(*, is_drawing: bool = False) -> Console:
    """The terminal, or whatever standard output is at the moment: in a pipe or a file lines are whole, unless ``COLUMNS`` is set.

    Args:
        is_drawing: what is printed fills the width, which is 80 columns then.
    """
    output = _Clean(highlight=False, emoji=False, markup=False)
    if not (is_drawing or output.is_terminal or os.environ.get("COLUMNS", "").isdigit()):
        output.width = UNBROKEN
    return output


def left_out(history: History) -> str:
    """Say that the list is not complete; empty when it is.

    Args:
        history: the telemetry that is read.
    """
    number = history.unreadable
    return f"Left out, since it cannot be read: {formatting.counted(number, 'record')} of stored telemetry." if number else ""


def table(title: str = "", *, gap: int = 2) -> Table:
    """An empty table in our style, with ``gap`` blanks between its columns.

    Args:
        title: the heading.
        gap: in blanks.
    """
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),  # the box has a blank of its own
    )


def outcome(value: str | None, cancelled: str | None = None) -> Text:
    """An outcome by name, in its colour; in place of ``cancelled`` why it was, where it was not the caller who left.

    Args:
        value: an outcome; None: unknown.
        cancelled: why it was cancelled; None: the caller went away. Of other outcomes it is not shown.
    """
    shown = cancelled if value == Outcome.CANCELLED and cancelled not in (None, CancelReason.CALLER) else value
    return Text(shown or NOTHING, STYLES.get(value or "", ""))
