"""A Grafana to upload to.

Its HTTP API is that below ``/api``, which every Grafana in use has: https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/api-legacy/
Grafana 13 calls it deprecated in favour of ``/apis`` and keeps it; its removal is to be announced with a later major version.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self

from otel_tts.errors import OtelTtsError
from otel_tts.http import Client, NoResponseError
from otel_tts.settings import ServerSettings
from otel_tts.version import __version__

_MOST_FOLDERS = 1000
"""What Grafana tells of at once."""
_OF_THE_SERVER = ("id", "version")
"""What Grafana numbers itself."""
_NOT_GRAFANA = "Is this the address of Grafana itself, with its path if it has one?"
_ADVICE: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "A dashboard that this Grafana provisions from files cannot be uploaded too: choose one way.",
    HTTPStatus.UNAUTHORIZED: "Is the token valid, and of this Grafana?",
    HTTPStatus.FORBIDDEN: "The token's service account needs the role Editor, or the permissions to write folders and dashboards.",
    HTTPStatus.NOT_FOUND: _NOT_GRAFANA,
    HTTPStatus.PRECONDITION_FAILED: "Another dashboard is in the way, or somebody changed this one meanwhile.",
}


class GrafanaRefusedError(OtelTtsError):
    """Grafana did not do as asked; the message says what it said, and what to do."""


class Grafana:
    """One server, for the length of a block.

    Args:
        server: how it is reached.
        token: of a service account.
    """

    def __init__(self, server: ServerSettings, token: str) -> None:
        self._client = Client(server, {"Authorization": f"Bearer {token}"})
        self._url = server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def folder(self, title: str) -> str:
        """The uid of the folder of that title, made if it is not there.

        Args:
            title: of the folder.
        """
        for folder in self._ask("GET", f"/api/folders?limit={_MOST_FOLDERS}", list):
            if folder["title"] == title:
                return str(folder["uid"])
        return str(self._ask("POST", "/api/folders", dict, {"title": title})["uid"])

    def put(self, dashboard: Mapping[str, Any], folder: str) -> Literal["created", "replaced", "unchanged"]:
        """Have a dashboard as it is given, in a folder; it is known by its uid.

        Args:
            dashboard: its JSON model.
            folder: the uid of its folder.
        """
        there = self._ask("GET", f"/api/dashboards/uid/{dashboard['uid']}", dict, missing=True)
        if there and there["meta"].get("folderUid") == folder and _content(there["dashboard"]) == _content(dashboard):
            return "unchanged"
        wanted = {**dashboard, "id": None}
        message = f"otel-tts {__version__}"
        self._ask(
            "POST", "/api/dashboards/db", dict, {"dashboard": wanted, "folderUid": folder, "overwrite": True, "message": message}
        )
        return "replaced" if there else "created"

    def _ask(self, method: str, path: str, form: type, body: Mapping[str, Any] | None = None, *, missing: bool = False) -> Any:
        """What it answers, in the form that is expected; None where ``missing`` allows that there is nothing."""
        try:
            response = self._client.request(method, path, body=body)
        except NoResponseError as error:
            raise GrafanaRefusedError(str(error)) from None
        reply = response.body
        if missing and response.status == HTTPStatus.NOT_FOUND and isinstance(reply, dict):
            return None
        if response.ok:
            if isinstance(reply, form):
                return reply
            raise GrafanaRefusedError(f"What answers at {self._url} is not Grafana's API. {_NOT_GRAFANA}")
        if response.location:
            raise GrafanaRefusedError(f"{self._url} redirects to {response.location}: give the address where Grafana is.")
        stated = isinstance(reply, dict) and "message" in reply
        reason = response.message if stated else _phrase(response.status)
        advice = _ADVICE.get(response.status, "Grafana's own log says more.")
        raise GrafanaRefusedError(
            f"Grafana at {self._url} answered {response.status} to {method} {path}: {reason.rstrip('.')}. {advice}"
        )


def _content(dashboard: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in dashboard.items() if key not in _OF_THE_SERVER}


def _phrase(status: int) -> str:
    """The standard phrase of an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"
