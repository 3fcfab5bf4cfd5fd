"""Messages: the common form of the messages of all speech protocols."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from otel_tts.core.outcome import OK, Cause
from otel_tts.instrumentation.utterance import Asked


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the text of an utterance; the first piece starts the utterance. The provider may work on it at once."""

    utterance: str
    text: str
    asked: Asked


@dataclass(frozen=True, slots=True)
class Flush:
    """A command to the provider to speak all text so far. ``last``: no more text will follow."""

    utterance: str
    last: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A command to the provider to stop an utterance."""

    utterance: str


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of audio."""

    utterance: str
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The end of an utterance. None: of all open ones."""

    utterance: str | None = None
    cause: Cause = OK


Message: TypeAlias = Text | Flush | Interrupt | Audio | End


class SpeechProtocol(Protocol):
    """The protocol of one connection to a provider, read in both directions."""

    provider: ClassVar[str]

    def sent(self, data: str | bytes) -> Iterator[Message]:
        """Read a message to the provider. May raise any exception for a message that is not of the protocol.

        Args:
            data: the message.
        """

    def received(self, data: str | bytes) -> Iterator[Message]:
        """Read a message of the provider.

        Args:
            data: the message.
        """
