"""The utterances of one conversation, turn by turn, as ``otel-tts requests --conversation`` prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from rich.table import Table
from rich.text import Text

from otel_tts import formatting
from otel_tts.commands import terminal
from otel_tts.history import Request
from otel_tts.semconv import RequestKind

_Column = tuple[str, bool, Callable[[Request], str | Text]]
"""Heading, whether it is a number, and what is shown of a request."""


def turns(requests: Sequence[Request], *, wide: bool) -> Table:
    """Make a table of the utterances in the order in which they began, with what each listener waited for, got and heard.

    Columns in which no utterance has a value are left out. What was made ahead or in bulk was spoken in no turn, so it has no number.

    Args:
        requests: of one conversation, in any order.
        wide: whether there is room for all columns.
    """
    ordered = sorted(requests, key=lambda request: request.start)
    columns: list[_Column] = [
        ("time", False, lambda r: formatting.clock(r.start)),
        ("trace", False, lambda r: r.trace_id[: terminal.TRACE_DIGITS if wide else 8]),
        ("outcome", False, lambda r: terminal.outcome(r.outcome, r.cancel_reason)),
    ]
    seldom: list[_Column] = [
        ("kind", False, lambda r: str(r.kind) if _in_background(r) else ""),
        ("for text", True, lambda r: _seconds(r.first_text)),
        ("1st audio", True, lambda r: _seconds(r.ttfa)),
        ("made", True, lambda r: _seconds(r.audio_duration)),
        ("handed out", True, lambda r: _seconds(r.delivered)),
        ("heard", True, lambda r: _seconds(r.heard)),
        ("cut after", True, lambda r: _seconds(r.interrupted)),
        ("silent after", True, lambda r: _seconds(r.silent)),
        ("gap", True, lambda r: _seconds(r.underrun or None)),
        ("error", False, lambda r: r.error_type or ""),
        ("cost", True, lambda r: "" if r.cost is None else formatting.dollars(r.cost)),
    ]
    if wide:
        columns.append(("provider", False, lambda r: r.provider or formatting.NOTHING))
        columns.append(("took", True, lambda r: formatting.duration(r.duration)))
    else:
        seldom = [column for column in seldom if column[0] in ("kind", "1st audio", "made", "handed out", "heard")]
    columns += [column for column in seldom if any(str(column[2](request)) for request in ordered)]
    table = terminal.table(gap=2 if wide else 1)
    table.add_column("turn", justify="right")
    for heading, is_number, _ in columns:
        table.add_column(heading, no_wrap=True, justify="right" if is_number else "left")
    number = 0
    for request in ordered:
        number += not _in_background(request)
        turn = "" if _in_background(request) else formatting.count(number)
        table.add_row(turn, *(shown(request) for _, _, shown in columns))
    return table


def totals(requests: Sequence[Request]) -> str:
    """Sum the conversation up in a line: how many utterances, first audio, interruptions, and audio that was made and heard.

    What was made ahead or in bulk is summed up apart, at the end.

    Args:
        requests: of one conversation.
    """
    background = [request for request in requests if _in_background(request)]
    requests = [request for request in requests if not _in_background(request)]
    first_audio = [request.ttfa for request in requests if request.ttfa is not None]
    cut = sum(request.interrupted is not None for request in requests)
    parts = [formatting.counted(len(requests), "utterance")]
    if first_audio:
        parts.append(
            f"first audio after {formatting.duration(median(first_audio))} (median), {formatting.duration(max(first_audio))} (slowest)"
        )
    parts.append(f"{cut} interrupted")
    for words, seconds in (
        ("made", (request.audio_duration for request in requests)),
        ("handed out", (request.delivered for request in requests)),
        ("heard, where a player says it", (request.heard for request in requests)),
    ):
        if (total_s := _sum(seconds)) is not None:
            parts.append(f"{formatting.duration(total_s)} {words}")
    if background:
        made_s = _sum(request.audio_duration for request in background)
        of_it = "" if made_s is None else f" ({formatting.duration(made_s)} made)"
        parts.append(f"and {formatting.counted(len(background), 'request')} that nobody waited for{of_it}")
    return ", ".join(parts) + "."


def _in_background(request: Request) -> bool:
    return request.kind not in (None, RequestKind.INTERACTIVE)


def _seconds(value: float | None) -> str:
    return "" if value is None else formatting.duration(value)


def _sum(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) if numbers else None
