"""``otel-tts trace``: one request, drawn as a tree with a waterfall beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from otel_tts import formatting, semconv
from otel_tts.commands import terminal
from otel_tts.commands.output import json_option, print_json
from otel_tts.history import Event, Span, Trace, open_history
from otel_tts.history.requests import as_text, late_silence_s, own
from otel_tts.semconv import Attribute, RequestKind
from otel_tts.settings import HistorySettings

_BAR = 24  # columns of the waterfall
_DEEPEST = 12
"""Levels of the tree that are indented."""


Phrase = Callable[[Any], str]


def _text(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _after(words: str, shape: Phrase = _text) -> Phrase:
    return lambda value: f"{words} {shape(value)}"


def _number(noun: str) -> Phrase:
    return lambda number: formatting.counted(number, noun)


_SHOWN: Sequence[Mapping[Attribute, Phrase]] = (
    {
        semconv.RPC_RESPONSE_STATUS_CODE: _text,
        semconv.OUTCOME: _text,
        semconv.ERROR_TYPE: _after("because of"),
        semconv.CANCEL_REASON: _after("reason"),
        semconv.ATTEMPT_REASON: lambda reason: f"{reason} attempt",
        semconv.PROVIDER: _after("by"),
        semconv.MODEL: _after("model"),
        semconv.VOICE: _after("voice"),
        semconv.LANGUAGE: _after("language"),
    },
    {
        semconv.TEXT: repr,
        semconv.TEXT_LENGTH: _number("character"),
        semconv.CACHE_RESULT: _after("cache"),
        semconv.CACHE_TIER: _after("in"),
        semconv.ATTEMPT_COUNT: _number("attempt"),
        semconv.RESEND_COUNT: _number("resend"),
        semconv.FALLBACK_USED: lambda used: "fallback used" if used else "",
        semconv.COST: lambda dollars: f"${dollars:.6f}",
    },
    {
        semconv.CONVERSATION: _after("conversation"),
        semconv.KIND: lambda kind: "" if kind == RequestKind.INTERACTIVE else str(kind),
        semconv.TIME_TO_INTERRUPTION: _after("interrupted after", formatting.duration),
        semconv.TIME_TO_SILENCE: _after("silent after another", formatting.duration),
        semconv.AUDIO_HEARD: _after("heard", formatting.duration),
    },
    {
        semconv.QUEUE_WAIT: lambda seconds: f"queued {formatting.duration(seconds)}" if seconds >= terminal.NOTICEABLE_S else "",
        semconv.TIME_TO_FIRST_TEXT: lambda seconds: (
            f"{formatting.duration(seconds)} of it waited for its text, after which all times begin"
            if seconds >= terminal.NOTICEABLE_S
            else ""
        ),
        semconv.TIME_TO_FIRST_BYTE: _after("first byte", formatting.duration),
        semconv.TIME_TO_FIRST_AUDIO: _after("first audio", formatting.duration),
        semconv.REAL_TIME_FACTOR: lambda factor: f"real-time factor {factor:.3f}",
        semconv.UNDERRUN: lambda seconds: f"underrun {formatting.duration(seconds)}" if seconds else "",
    },
    {
        semconv.AUDIO_DURATION: lambda seconds: f"{formatting.duration(seconds)} of audio",
        semconv.AUDIO_DELIVERED: _after("delivered", formatting.duration),
        semconv.AUDIO_FORMAT: _text,
        semconv.AUDIO_SAMPLE_RATE: lambda rate: f"{rate} Hz",
        semconv.CHUNK_COUNT: _number("chunk"),
        semconv.AUDIO_LOUDNESS: lambda decibels: f"{-decibels:.1f} dBFS",
        semconv.AUDIO_SILENCE_RATIO: lambda part: f"{formatting.percent(part)} silence",
        semconv.AUDIO_CLIPPING_RATIO: lambda part: f"{formatting.percent(part)} clipped" if part else "",
    },
)
"""The attributes that matter and what is said of each, in this order, each group on a line; nothing is said with no words."""
_EVENTS = {
    semconv.FIRST_BYTE_EVENT.name: "first byte",
    semconv.FIRST_AUDIO_EVENT.name: "first audio",
    semconv.INTERRUPTED_EVENT.name: "the listener interrupted",
}


@click.command()
@click.argument("trace_id", metavar="[ID]", required=False)
@click.option("--span", "span_id", metavar="ID", help="Only this span and those below it: its id, or the first 8 or more digits.")
@click.option("--all", "everything", is_flag=True, help="Every attribute, by its own name.")
@json_option
def trace(trace_id: str | None, span_id: str | None, everything: bool, as_json: bool) -> None:
    """Draw the trace of a request as a tree: its spans with their durations, events, and the attributes that matter.

    ID is the trace id that the service returned to its caller, or the first 8 or more digits of it; `otel-tts requests` lists
    some. Without it, the trace of the newest request is drawn. Where a trace has several requests, --span draws one of them.
    """
    history = open_history(HistorySettings.load())
    if trace_id is None:
        newest = history.requests(limit=1)
        if not newest:
            raise click.ClickException(f"There is no request yet in {history.source}. Run `otel-tts demo`, or your own service.")
        trace_id = newest[0].trace_id
    try:
        drawn = history.trace(trace_id)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    missing = terminal.left_out(history)
    if drawn is None:
        reasons = "It may have been written elsewhere by its service, not been sampled, or not been written yet: that takes some seconds."
        raise click.ClickException(" ".join(filter(None, [f"No trace {trace_id} in {history.source}.", missing, reasons])))
    if span_id is not None:
        drawn = _below(drawn, span_id)
    if as_json:
        print_json("trace", {"trace_id": drawn.trace_id, "spans": [_plain(depth, span) for depth, span in drawn.walk()]})
        if missing:
            click.echo(missing, err=True)
        return
    console = terminal.console(is_drawing=True)
    console.print(drawing(drawn, everything=everything))
    if missing:
        console.print(missing, style="yellow")


def _below(trace: Trace, span_id: str) -> Trace:
    """The part of a trace that begins at one of its spans."""
    beginning = span_id.strip().lower()
    if not re.fullmatch("[0-9a-f]{8,16}", beginning):
        raise click.UsageError(f"{span_id!r} is no span id: it takes 16 hexadecimal digits, or the first 8 or more of them.")
    matching = [span for _, span in trace.walk() if span.span_id.startswith(beginning)]
    if len(matching) == 1:
        return Trace(trace.trace_id, (matching[0],))
    if matching:
        raise click.UsageError(
            f"Several spans of the trace begin with {span_id!r}: {', '.join(span.span_id for span in matching)}."
        )
    requests = [span.span_id for _, span in trace.walk() if span.name == semconv.SYNTHESIS_SPAN.name]
    listed = f" Its requests are {', '.join(requests)}." if requests else ""
    raise click.ClickException(f"No span of trace {trace.trace_id} begins with {span_id!r}.{listed}")


def _plain(depth: int, span: Span) -> dict[str, Any]:
    """A span without its children, which follow it in the list: a tree of JSON may be deeper than programs can read."""
    return {"depth": depth} | {field.name: getattr(span, field.name) for field in fields(span) if field.name != "children"}


def drawing(trace: Trace, *, everything: bool = False) -> Group:
    """The trace as a tree.

    Args:
        trace: the trace.
        everything: all attributes by their own names.
    """
    spans = [span for _, span in trace.walk()]
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    services = ", ".join(sorted({span.service for span in spans}))
    title = Text.assemble(
        ("trace ", "bold"), trace.trace_id, f"\n{formatting.date(start)}, took {formatting.duration(end - start)}, {services}"
    )
    requests = sum(span.name == semconv.SYNTHESIS_SPAN.name for span in spans)
    if requests > 1:  # such as all that a WebSocket served
        title.append(f", {formatting.counted(requests, 'request')} (--span ID draws one)")
    trees = []
    for root in trace.roots:
        branches: list[Tree] = []  # the one that each level grows on
        for depth, span in root.walk():
            label = _label(span, start, end, everything, several=requests > 1)
            shown = min(depth, _DEEPEST)  # what is deeper stands below its ancestor there: a terminal is not that wide
            tree = branches[shown - 1].add(label) if shown else Tree(label, guide_style="dim", highlight=False)
            branches[shown:] = [tree]
        trees.append(branches[0])
    return Group(title, *trees)


def _label(span: Span, start: float, end: float, everything: bool, several: bool) -> Group:
    """What is said of a span; of a request its id too, where the trace has several."""
    name = Text(span.name, "bold red" if span.status == "ERROR" else "bold")
    if several and span.name == semconv.SYNTHESIS_SPAN.name:
        name.append(f" {span.span_id}", "not bold dim")
    head = Table.grid(expand=True, padding=(0, 1, 0, 0))
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_column(width=_BAR, no_wrap=True)
    head.add_row(
        name,
        formatting.duration(span.duration),
        _bar(span, start, end),
    )
    facts = _all(span) if everything else _that_matter(span)
    warned = (Text(f"not as it was sent: {warning}", "yellow") for warning in span.warnings)
    return Group(head, *warned, *facts, *(_event(event, span) for event in span.events), *_links(span))


def _bar(span: Span, start: float, end: float) -> Text:
    """The bar of a span within the time of the trace."""
    scale = _BAR / (end - start) if end > start else 0.0
    offset = min(_BAR - 1, int((span.start - start) * scale))
    length = max(1, min(_BAR - offset, round(span.duration * scale)))
    return Text.assemble(" " * offset, ("━" * length, "red" if span.status == "ERROR" else "green"))


def _that_matter(span: Span) -> Iterator[Text]:
    general = [Text("failed", "red")] if span.status == "ERROR" else []
    general += [Text(span.kind.lower())] if span.kind != "INTERNAL" else []
    result = {span.attributes.get(attribute.key, "") for attribute in (semconv.OUTCOME, semconv.RPC_RESPONSE_STATUS_CODE)}
    for group in _SHOWN:
        facts = [
            Text(words, terminal.STYLES.get(words, "") if attribute is semconv.OUTCOME else "")
            for attribute, phrase in group.items()
            if (value := span.attributes.get(attribute.key)) is not None
            and (words := phrase(value))
            and not (attribute is semconv.ERROR_TYPE and value in result)
        ]
        if general + facts:
            yield Text(", ").join(general + facts)
        general = []
        if semconv.TIME_TO_FIRST_AUDIO in group and (silence := late_silence_s(span)) is not None:
            yield Text(
                f"first audio is heard after the end: the audio begins with {formatting.duration(silence)} of silence", "dim"
            )
    if span.name == semconv.SYNTHESIS_SPAN.name and (caller := own(span.attributes)):
        yield Text.assemble(
            ("caller's attributes ", "dim"), ", ".join(f"{key}={as_text(value)}" for key, value in json.loads(caller).items())
        )


def _all(span: Span) -> Iterator[Text]:
    for key, value in sorted(span.attributes.items()):
        yield Text.assemble((f"{key} ", "dim"), formatting.attribute(key, value))


def _event(event: Event, span: Span) -> Text:
    name = _EVENTS.get(event.name, event.name)
    described = Text.assemble((f"+{formatting.duration(event.time - span.start)} ", "dim"))
    provider, error = (event.attributes.get(attribute.key) for attribute in (semconv.PROVIDER, semconv.ERROR_TYPE))
    if event.name == semconv.SKIPPED_EVENT.name:
        return described.append(f"skipped {provider or 'a provider'}{f': {error}' if error else ''}", "yellow")
    if event.name == semconv.COALESCED_EVENT.name:
        return described.append(f"joined an identical request that was under way{f' at {provider}' if provider else ''}")
    if event.name == semconv.RESEND_EVENT.name:
        status = event.attributes.get(semconv.HTTP_STATUS_CODE.key, event.attributes.get(semconv.RPC_RESPONSE_STATUS_CODE.key))
        described.append("sent again" + (f" after {error or status}" if error or status else ""), "yellow")
        described.append(f" ({status})" if error and status else "")
        delay = event.attributes.get(semconv.RESEND_DELAY.key)
        return described.append(f", {formatting.duration(delay)} later" if isinstance(delay, float) else "")
    described.append(name)
    if event.name == semconv.FIRST_AUDIO_EVENT.name and event.time > span.end:
        described.append(", heard after the end")
    if event.name == semconv.EXCEPTION_EVENT.name:
        described.append(f" {event.attributes.get(semconv.EXCEPTION_TYPE.key, '')}", "red")
        if message := event.attributes.get(semconv.EXCEPTION_MESSAGE.key):
            described.append(f": {message}")
    return described


def _links(span: Span) -> Iterator[Text]:
    joined = any(event.name == semconv.COALESCED_EVENT.name for event in span.events)
    for link in span.links:
        yield Text.assemble(("joined the request of trace " if joined else "belongs to trace ", "dim"), link.trace_id)
