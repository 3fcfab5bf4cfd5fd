"""Messages: what the messages of all speech protocols come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from otel_tts.core.outcome import OK, Cause
from otel_tts.instrumentation.utterance import Asked


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the text of an utterance, which is begun by its first piece. The provider may work on it at once."""

    utterance: str
    text: str
    asked: Asked


@dataclass(frozen=True, slots=True)
class Flush:
    """The provider shall speak all text so far. ``last``: no more will follow."""

    utterance: str
    last: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The provider shall stop."""

    utterance: str


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of audio."""

    utterance: str
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """An utterance is over. None: everything that is under way."""

    utterance: str | None = None
    cause: Cause = OK


Message: TypeAlias = Text | Flush | Interrupt | Audio | End


class SpeechProtocol(Protocol):
    """What goes over one connection to a provider, read in both directions."""

    provider: ClassVar[str]

    def sent(self, data: str | bytes) -> Iterator[Message]:
        """What a message to the provider says. May raise anything on one that is not of the protocol."""

    def received(self, data: str | bytes) -> Iterator[Message]:
        """What a message of the provider says."""
