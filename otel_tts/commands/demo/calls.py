"""``otel-tts demo --agents``: agents on the telephone, what their listeners recorded, and what telemetry has of the same calls."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import httpx
from hibari import Hibari
from rich.console import Group
from rich.text import Text

import otel_tts
from otel_tts import Telemetry, formatting
from otel_tts.commands import terminal
from otel_tts.commands.demo import cloud
from otel_tts.commands.demo.agent import BYTES_PER_S, CLOUD, LOCAL, Agent, Engine, cloud_engine, local_engine
from otel_tts.commands.demo.listener import ListenerRecord
from otel_tts.commands.demo.process import FOREIGN
from otel_tts.commands.demo.script import SCRIPTS, Script
from otel_tts.history import History, Request, RequestFilter

SERVICE_NAME = "otel-tts-demo-agents"
"""``service.name`` of the agents."""
PRICES = {CLOUD: 15.0, LOCAL: 0.0}
"""US dollars per million characters."""
_SAME = 0.001
"""Of two records of audio or money, which are the same."""
_MOMENT_S = 0.5
"""Of two clocks, which are read one after another on a machine that may be busy."""


async def run(duration_s: float | None, speed: float, stopped: asyncio.Event) -> list[ListenerRecord]:
    """One call of each script, and more until ``duration_s`` seconds are over or it is stopped; gives what the listeners recorded.

    Calls that are under way go on to their end.

    Args:
        duration_s: for how long, in seconds; None: until it is stopped.
        speed: 2 plays twice as fast.
        stopped: ends the calls.
    """
    for name in filter(FOREIGN.match, tuple(os.environ)):
        del os.environ[name]  # for another service
    pipeline = otel_tts.configure(service_name=SERVICE_NAME, local=True)
    tts = Telemetry(prices=PRICES, attributes={"app.agent": [script.agent for script in SCRIPTS]})
    end = None if duration_s is None else time.monotonic() + duration_s
    records: list[ListenerRecord] = []

    async def calls(script: Script) -> None:
        while not stopped.is_set() and (end is None or not records or time.monotonic() < end):
            agent = Agent(tts, f"{script.agent}-{uuid.uuid4().hex[:6]}", engines, speed)
            try:
                await agent.call(script)
            finally:
                records.extend(agent.records)

    try:
        async with _engines() as engines, asyncio.TaskGroup() as group:
            for script in SCRIPTS:
                group.create_task(calls(script))
    finally:
        await asyncio.to_thread(pipeline.shutdown)
    return records


@asynccontextmanager
async def _engines() -> AsyncIterator[dict[str, Engine]]:
    with cloud.cloud(absence_s=0.0) as server, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: connections are refused
        async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client:
            voice = Hibari(threads=1)
            await asyncio.gather(
                asyncio.to_thread(voice, "1"), client.get(f"{server.base_url}/models")
            )  # nobody calls before they are loaded
            yield {
                LOCAL: local_engine(voice),
                CLOUD: cloud_engine(client, server.base_url),
                "away": cloud_engine(client, f"http://127.0.0.1:{nobody.getsockname()[1]}"),
            }


def keep(records: Sequence[ListenerRecord], file: Path) -> None:
    """Keep what the listeners recorded, as JSON.

    Args:
        records: the listeners' records.
        file: the file.
    """
    file.write_text(json.dumps([asdict(utterance) for utterance in records], indent=1), encoding="utf-8")


def summary(history: History, records: Sequence[ListenerRecord]) -> Group:
    """What telemetry has of the calls, and whether that is what the listeners recorded.

    Args:
        history: the telemetry that is read.
        records: the listeners' records.
    """
    conversations = list(dict.fromkeys(utterance.conversation for utterance in records))
    requests = {name: _requests(history, name) for name in conversations}
    shown = terminal.table("Conversations")
    shown.add_column("conversation")
    for heading in ("utterances", "interrupted", "fallbacks", "made ahead", "first audio", "heard", "made", "cost"):
        shown.add_column(heading, justify="right")
    for name in conversations:
        spoken = [request for request in requests[name] if request.kind == "interactive"]
        first = sorted(request.ttfa for request in spoken if request.ttfa is not None)
        shown.add_row(
            name,
            formatting.count(len(spoken)),
            formatting.count(sum(request.interrupted is not None for request in spoken)),
            formatting.count(sum(bool(request.fallback_used) for request in spoken)),
            formatting.count(len(requests[name]) - len(spoken)),
            formatting.duration(first[len(first) // 2] if first else None),
            formatting.duration(sum(request.heard or 0.0 for request in spoken)),
            formatting.duration(sum(request.audio_duration or 0.0 for request in requests[name])),
            formatting.dollars(sum(request.cost or 0.0 for request in requests[name])),
        )
    differences = list(compare(records, [request for name in conversations for request in requests[name]]))
    return Group(shown, "", *_verdict(records, differences), "", *(_next_steps(conversations[-1]) if conversations else ()))


def _next_steps(conversation: str) -> Iterator[Text]:
    command = f"otel-tts requests --conversation {conversation}"
    yield Text("Next steps", "bold")
    yield Text.assemble((f"  {command}  ", "cyan"), "list its utterances")
    yield Text.assemble(
        (f"  {'otel-tts live':<{len(command)}}  ", "cyan"), f"its time line: /requests?conversation={conversation}"
    )


def _requests(history: History, conversation: str) -> list[Request]:
    requests = history.requests(RequestFilter(service=SERVICE_NAME, conversation=conversation), 1000)
    return sorted(requests, key=lambda request: request.start)


def _verdict(records: Sequence[ListenerRecord], differences: Sequence[str]) -> Iterator[Text]:
    seconds = sum(utterance.audio_bytes for utterance in records) / BYTES_PER_S
    record = f"The listeners recorded {formatting.counted(len(records), 'utterance')} and were handed {seconds:.1f} s of audio"
    if not differences:
        yield Text(f"{record}: telemetry has the same.", "green")
        return
    yield Text(f"{record}; telemetry differs:", "bold red")
    for difference in differences:
        yield Text(f"  {difference}", "red")


def compare(records: Sequence[ListenerRecord], requests: Sequence[Request]) -> Iterator[str]:
    """Where telemetry has something else than the listeners, in words.

    Args:
        records: the listeners' records.
        requests: as they are found in the telemetry.
    """
    spoken: dict[str, list[Request]] = {}
    for request in requests:
        if request.kind == "interactive":
            spoken.setdefault(request.conversation or "", []).append(request)
    recorded: dict[str, list[ListenerRecord]] = {}
    for utterance in records:
        recorded.setdefault(utterance.conversation, []).append(utterance)
    for name in recorded.keys() | spoken.keys():
        ours, theirs = spoken.get(name, []), recorded.get(name, [])
        if len(ours) != len(theirs):
            yield f"{name}: {formatting.counted(len(ours), 'utterance')} instead of {len(theirs)}"
            continue
        for number, (request, utterance) in enumerate(zip(ours, theirs, strict=True), 1):
            for what, is_, should, tolerance in (*_figures(request, utterance), *_times(request, utterance)):
                if is_ is None or should is None or isinstance(is_, str) or isinstance(should, str):
                    differ = is_ != should
                else:
                    differ = abs(is_ - should) > tolerance
                if differ:
                    yield f"{name}, utterance {number}: {what} is {is_} instead of {should}"


_Figure = tuple[str, float | str | None, float | str | None, float]
"""What it is, in the telemetry, in the listener's record, and by how much they may differ."""


def _figures(request: Request, utterance: ListenerRecord) -> Iterator[_Figure]:
    ended = "ok" if utterance.ended else "cancelled"
    yield "the outcome", request.outcome, ended, _SAME
    yield "the reason", request.cancel_reason, utterance.reason, _SAME
    yield "the number of characters", request.characters, len(utterance.text), _SAME
    yield "the audio handed out", request.delivered, utterance.audio_bytes / BYTES_PER_S, _SAME
    yield "the audio heard", request.heard, utterance.played_s, _SAME
    yield "the number of attempts", request.attempts, len(utterance.asked), _SAME
    if utterance.asked:
        yield "the provider", request.provider, utterance.asked[-1], _SAME


def _times(request: Request, utterance: ListenerRecord) -> Iterator[_Figure]:
    yield "the duration", request.duration, utterance.duration_s, _MOMENT_S
    yield "the time to the first audio", request.ttfb, utterance.first_audio_s, _MOMENT_S
    yield "the time to the first sound", request.ttfa, utterance.first_sound_s, _MOMENT_S
    if utterance.ended and utterance.audio_bytes and utterance.engine_s is not None:  # what was cut off has no factor
        audio_s = utterance.audio_bytes / BYTES_PER_S
        yield "the real-time factor", request.rtf, utterance.engine_s / audio_s, _MOMENT_S / audio_s
