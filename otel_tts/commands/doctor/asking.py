"""One HTTP request to a part of the pipeline, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping

from otel_tts.commands.doctor.finding import HopAbsentError, HopBrokenError
from otel_tts.http import Client, NoResponseError, Response, UnreachableError
from otel_tts.settings import ServerSettings


class Server:
    """A part of the pipeline that answers over HTTP.

    Args:
        settings: how it is reached.
        start: how to have it running, for people.
        headers: further headers of each request.
    """

    def __init__(self, settings: ServerSettings, start: str, headers: Mapping[str, str] | None = None) -> None:
        self._client = Client(settings, headers)
        self._start = start

    @property
    def shown(self) -> str:
        """The address, for people."""
        return self._client.shown

    def ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Response:
        """Give the response, whatever its status.

        Args:
            path: after the server's address.
            parameters: of the query; None: none.

        Raises:
            HopAbsentError: nobody is there.
            HopBrokenError: there is no response for another reason.
        """
        try:
            return self._client.request("GET", path, parameters)
        except UnreachableError:
            raise HopAbsentError(f"{self.shown} does not answer", self._start) from None
        except NoResponseError as error:
            raise HopBrokenError(f"{self.shown} {error.problem}", error.advice) from None
