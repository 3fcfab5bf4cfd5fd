"""JSON over HTTP from a telemetry backend, with errors for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests

from otel_tts.history.unavailable import HistoryUnavailable

_CONNECT = 3.0
_ANSWER = 30.0
"""Seconds: an answer may take a while when it is about days."""
_USER = re.compile(r"(?<=://)[^/\s]*@")


class Backend:
    """One server.

    Args:
        name: what it is, for people: "Prometheus", "the trace backend".
        url: its address; a user and password in it are used and never shown.
        variable: the environment variable that holds the address.
    """

    def __init__(self, name: str, url: str, variable: str) -> None:
        self._address = url
        self._variable = variable
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/json"
        self.name = f"{name} at {_USER.sub('', url)}" if url else name

    def get(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        """What it answers; None when it knows nothing of that.

        Raises:
            HistoryUnavailable: it has no address, does not answer, or with an error, or with something else than JSON.
        """
        if not self._address:
            raise HistoryUnavailable(f"Nothing says where {self.name} is: set {self._variable}.")
        try:
            answer = self._session.get(f"{self._address}{path}", params=dict(parameters), timeout=(_CONNECT, _ANSWER))
        except requests.Timeout:
            raise self.unavailable("did not answer in time", "Ask for less time, or look whether it is overloaded") from None
        except requests.RequestException:
            raise self.unavailable(
                "does not answer", f"Is it running, and is {self._variable} its address? Without it, local files are read"
            ) from None
        if answer.status_code == requests.codes.not_found:
            return None
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise self.unavailable(f"refuses access ({answer.status_code})", f"Put a user and password into {self._variable}")
        if not answer.ok:
            said = " ".join(answer.text.split())[:200]
            raise self.unavailable(f"answered {answer.status_code}: {said}", "Its own log says more")
        try:
            return answer.json()
        except requests.JSONDecodeError:
            raise self.unavailable("answered something else than JSON", f"Is {self._variable} the address of its API?") from None

    def unavailable(self, what: str, advice: str) -> HistoryUnavailable:
        """The error that says so."""
        return HistoryUnavailable(f"{self.name[0].upper()}{self.name[1:]} {what}. {advice}{'' if advice.endswith('?') else '.'}")
