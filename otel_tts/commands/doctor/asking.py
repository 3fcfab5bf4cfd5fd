"""Asking: one HTTP request to a part of the pipeline, and why it was in vain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from otel_tts.commands.doctor.finding import Absent, Broken

_PATIENCE = (3.0, 10.0)  # seconds: to connect, and for each piece of the answer
_USER = re.compile(r"(?<=://)[^/\s]*@")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: the HTTP status, the text, and what that is as JSON, where it is."""

    status: int
    text: str
    body: Any

    @property
    def excerpt(self) -> str:
        """The beginning of it, on one line, for people."""
        message = self.body.get("message") if isinstance(self.body, dict) else None
        return f"{self.status} {' '.join(str(message or self.text).split())[:160]}".strip()


@dataclass(frozen=True, slots=True)
class Server:
    """Somebody to ask. ``start``: how to have it running, for people. A user and password in the address are used, never shown."""

    address: str
    start: str

    @property
    def shown(self) -> str:
        """The address, for people."""
        return _USER.sub("", self.address)

    def ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Answer:
        """The answer, whatever its status: asked for directly, since a proxy does not know this machine.

        Raises:
            Broken: there is none.
        """
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.get(self.address + path, params=parameters, timeout=_PATIENCE, allow_redirects=False)
            except requests.Timeout:
                raise Broken(f"{self.shown} did not answer in time", self.start) from None
            except requests.RequestException:
                raise Absent(f"nobody answers at {self.shown}", self.start) from None
        try:
            return Answer(answer.status_code, answer.text, answer.json())
        except requests.JSONDecodeError:
            return Answer(answer.status_code, answer.text, None)
