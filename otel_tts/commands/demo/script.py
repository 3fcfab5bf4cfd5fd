"""Scripts of calls: what a language model says in each turn, and what goes wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from otel_tts.semconv import CancelReason

_TOKEN_S = 0.025


@dataclass(frozen=True, slots=True)
class AgentReply:
    """What the language model says in one turn.

    away: whether the first engine cannot be reached. cut_off_s: after how many seconds of it that happens, if it does, and why.
    pause_s: seconds until the next turn, in which the caller speaks.
    """

    text: str
    away: bool = False
    cut_off_s: float | None = None
    reason: CancelReason = CancelReason.INTERRUPTED
    pause_s: float = 0.8


@dataclass(frozen=True, slots=True)
class Script:
    """One call. phrases: what is made ahead when it begins; turns: replies, and phrases by their text."""

    agent: str
    phrases: Sequence[str]
    turns: Sequence[AgentReply | str]


SCRIPTS = (
    Script(
        "weather",
        ("Thank you for calling. Goodbye!", "Are you still there?"),  # the second is never needed
        (
            AgentReply("Good morning, this is the weather line. Which town do you ask for?"),
            AgentReply(
                "In Bergen it rains today, and tomorrow it will rain. On Friday a front comes in from the west.", cut_off_s=1.4
            ),
            AgentReply("Of course, only the weekend. It stays dry.", away=True),
            "Thank you for calling. Goodbye!",
        ),
    ),
    Script(
        "orders",
        ("Your order is on its way.",),
        (
            AgentReply(
                "One moment please, I am looking up your order now.", cut_off_s=0.9, reason=CancelReason.SUPERSEDED, pause_s=0.0
            ),
            AgentReply("I have found it. It has two books and a lamp. The lamp comes from another warehouse.", cut_off_s=2.6),
            AgentReply("Yes, both books are included.", away=True, pause_s=0.4),
            AgentReply("Shall I send everything together?"),
            "Your order is on its way.",
        ),
    ),
)


async def language_model(text: str) -> AsyncIterator[str]:
    """Tokens, one after another, as a model gives them.

    Args:
        text: the reply.
    """
    for token in re.findall(r"\S+\s*", text):
        await asyncio.sleep(_TOKEN_S)
        yield token
