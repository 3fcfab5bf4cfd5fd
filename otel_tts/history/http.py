"""JSON over HTTP from a telemetry backend, with errors for people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from otel_tts.history.unavailable import HistoryIncompleteError, HistoryUnavailableError
from otel_tts.http import Client, NoResponseError, Response, UnreachableError
from otel_tts.settings import ServerSettings, redact_url

_EXCERPT = 200
"""Characters of a server's own words that a message shows."""


class Backend:
    """One server that telemetry is read from.

    Args:
        server: how it is reached.
    """

    def __init__(self, server: ServerSettings) -> None:
        self._server = server
        self._client = Client(server)
        self.name = self._client.name

    @property
    def source(self) -> str:
        """What it is called as a source of telemetry: with its address, or what says where it is."""
        return self.name if self._server.url else f"no {self.name} ({self._client.variable} is not set)"

    def get(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        """Get a path and decode its JSON; None when the server has nothing there (404).

        Args:
            path: after the server's address.
            parameters: of the query.

        Raises:
            HistoryUnavailableError: it has no address, does not answer, answers with an error, or with something else than JSON.
        """
        response = self._response(path, parameters)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            advice = f"Put a user and password into {self._client.variable}, or a token into {self._server.variable('headers')}"
            raise self.unavailable(f"refuses access ({response.status})", advice)
        if response.location:
            raise self.unavailable(
                f"redirects to {response.location}", f"Set {self._client.variable} to the address it has there"
            )
        if not response.ok:
            raise self.unavailable(f"answered {response.status}: {response.message}", "Its own log says more")
        if response.body is None:
            raise self.unavailable("answered something else than JSON", f"Is {self._client.variable} the address of its API?")
        return response.body

    def optional(self, path: str) -> Any:
        """Get a path that not every server has, and decode its JSON; None when the server refuses, for any reason.

        Args:
            path: after the server's address.

        Raises:
            HistoryUnavailableError: it has no address, or does not answer.
        """
        response = self._response(path, {})
        return response.body if response.ok else None

    def _response(self, path: str, parameters: Mapping[str, str | float]) -> Response:
        if not self._server.url:
            raise HistoryUnavailableError(f"Nothing says where {self.name} is: set {self._client.variable}.")
        try:
            return self._client.request("GET", path, parameters)
        except UnreachableError as error:
            raise HistoryUnavailableError(f"{error} Without it, local files are read.") from None
        except NoResponseError as error:
            raise HistoryUnavailableError(str(error)) from None

    def incomplete(self, part: str, reason: str = "") -> HistoryIncompleteError:
        """Make the error for an answer that is incomplete.

        Args:
            part: what came: "a part of the metrics".
            reason: the server's own words; they may be missing.
        """
        words = redact_url(" ".join(reason.split()))[:_EXCERPT]
        problem = f"gave only {part}{f': {words}' if words else ''}"
        return HistoryIncompleteError(self._sentence(problem, "Ask again, or look into its log for what is away"))

    def unavailable(self, problem: str, advice: str) -> HistoryUnavailableError:
        """Make the error for a server that cannot be used.

        Args:
            problem: what happened, to follow the server's name.
            advice: what to do.
        """
        return HistoryUnavailableError(self._sentence(problem, advice))

    def _sentence(self, problem: str, advice: str) -> str:
        return f"{self.name[0].upper()}{self.name[1:]} {problem}. {advice}{'' if advice.endswith('?') else '.'}"
