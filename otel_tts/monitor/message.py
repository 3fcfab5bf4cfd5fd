"""A message of the monitor: a line for the log, and a notification that says all that its reader cannot see around it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field

from otel_tts.conditions import Condition, Severity
from otel_tts.formatting import utc

_KINDS = {Severity.PAGE: "FAILURE", Severity.TICKET: "WARNING", Severity.INFO: "INFO"}


@dataclass(frozen=True, slots=True)
class MonitorMessage:
    """A condition that began, or that is over.

    Attributes:
        condition: the condition.
        provider: for which it is met; empty for the whole service.
        words: the sentence, with its figures.
        is_over: whether it is over.
        at: when it was judged, in seconds since the Unix epoch.
    """

    condition: Condition
    provider: str
    words: str
    is_over: bool = False
    at: float = field(default_factory=time.time)

    @property
    def subject(self) -> str:
        """The name of the condition, with the provider: the same when it begins and when it is over."""
        return f"{self.condition.name}, {self.provider}" if self.provider else self.condition.name

    @property
    def state(self) -> str:
        """The severity; ``resolved`` when it is over."""
        return "resolved" if self.is_over else str(self.condition.severity)

    @property
    def kind(self) -> str:
        """The name of Apprise's type of notification."""
        return "SUCCESS" if self.is_over else _KINDS[self.condition.severity]

    def __str__(self) -> str:
        """The line in the log."""
        return f"{self.state.capitalize()}: {self.subject}: {self.words}"

    def title(self, service: str) -> str:
        """The title of the notification.

        Args:
            service: the name of the service.
        """
        return f"{service}: {self.state} {self.subject}"

    def body(self, instance: str, version: str) -> str:
        """The text of the notification.

        Args:
            instance: the ``service.instance.id`` of the process; empty if unknown.
            version: of the service; empty if unknown.
        """
        where = f"Host {socket.gethostname()}, process {os.getpid()}"
        where += f", instance {instance}" if instance else ""
        where += f", version {version}" if version else ""
        return f"{self.words}\n{where}, {utc(self.at)}"
