"""`otel-tts grafana`: dashboards for a Grafana of one's own, as files and through its HTTP API."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from otel_tts.cli import main
from otel_tts.grafana import PAGES
from otel_tts.version import __version__
from tests.commands.grafana_api import Store
from tests.ports import free_port

COMMITTED = {path.name: path.read_text("utf-8") for path in (Path(__file__).parents[2] / "dashboards").glob("*.json")}
TOKEN = "glsa_secret"
UIDS = [f"otel-tts-{name}" for name in PAGES]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """A Grafana that has nothing yet, and whose token is in the environment."""
    monkeypatch.setenv("OTEL_TTS_GRAFANA_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Store(TOKEN)


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    """Its address."""
    with store.serving() as address:
        yield address


def run(*arguments: str | Path) -> Result:
    """What the command does and says, which is never the token."""
    result = CliRunner().invoke(main, ["grafana", *map(str, arguments)], terminal_width=1000)
    assert TOKEN not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def variables(board: dict[str, Any]) -> dict[str, Any]:
    """What each variable of a dashboard is when it opens."""
    return {one["name"]: one["current"]["value"] for one in board["templating"]["list"]}


def test_export_is_what_is_generated(tmp_path: Path) -> None:
    """Without options the files are those that are committed, in a directory that is made."""
    result = run("export", "--out", tmp_path / "new" / "boards")
    assert result.exit_code == 0
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "new" / "boards").iterdir()} == COMMITTED
    assert sorted(result.output.splitlines()) == sorted(f"wrote {tmp_path / 'new' / 'boards' / name}" for name in COMMITTED)


def test_export_for_another_grafana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sources and service are those that are asked for, in all of them; objectives and runbooks those of the environment."""
    monkeypatch.setenv("OTEL_TTS_RUNBOOKS_URL", "https://wiki.example/tts")
    monkeypatch.setenv("OTEL_TTS_SLO_SUCCESS", "0.875")
    options = ["--datasource-uid", "mimir", "--tempo-uid", "traces-eu", "--traces", "tempo", "--service", "reader"]
    assert run("export", "--out", tmp_path, *options).exit_code == 0
    texts = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert texts.keys() == COMMITTED.keys()
    for name, text in texts.items():
        opened = variables(json.loads(text))
        service = "reader" if name == "requests.json" else ["reader"]
        assert (opened["datasource"], opened["traces"], opened["service"]) == ("mimir", "traces-eu", service)
        assert "docs/runbooks.md" not in text
    assert "https://wiki.example/tts#ttsrequestsfailing" in texts["overview.json"]
    assert "/ 0.125" in texts["overview.json"]


def test_push(store: Store, url: str) -> None:
    """All dashboards are there, in a folder of ours, with a message that says whose they are."""
    result = run("push", url)
    assert result.output.splitlines() == [f"created {url}/d/{uid}" for uid in UIDS]
    assert result.exit_code == 0
    assert store.folders == {"folder0": "otel-tts"}
    assert store.saved == [(uid, f"otel-tts {__version__}") for uid in UIDS]
    for name, text in COMMITTED.items():
        kept = store.dashboards[f"otel-tts-{name.removesuffix('.json')}"]
        assert {**kept["dashboard"], "id": None} == {**json.loads(text), "id": None}
        assert kept["meta"]["folderUid"] == "folder0"


def test_push_again_changes_nothing(store: Store, url: str) -> None:
    """Only what differs is saved anew: what somebody changed, or moved, or what shall open otherwise."""
    run("push", url)
    assert run("push", url).output.splitlines() == [f"unchanged {url}/d/{uid}" for uid in UIDS]
    store.dashboards["otel-tts-cache"]["dashboard"]["title"] = "Mine"
    store.dashboards["otel-tts-quality"]["meta"]["folderUid"] = "elsewhere"
    again = run("push", url).output.splitlines()
    assert [line for line in again if "unchanged" not in line] == [
        f"replaced {url}/d/otel-tts-cache",
        f"replaced {url}/d/otel-tts-quality",
    ]
    assert store.dashboards["otel-tts-cache"]["dashboard"]["version"] == 2
    assert len(store.saved) == len(UIDS) + 2
    assert store.folders == {"folder0": "otel-tts"}
    assert run("push", url, "--service", "reader").output.count("replaced") == len(UIDS)
    assert variables(store.dashboards["otel-tts-cache"]["dashboard"])["service"] == ["reader"]


def test_push_into_a_folder_that_is_there(store: Store, url: str) -> None:
    """A folder is known by its title, whatever its uid."""
    store.folders |= {"abc": "Speech", "def": "otel-tts"}
    assert run("push", f"{url}/", "--folder", "Speech").exit_code == 0
    assert store.folders == {"abc": "Speech", "def": "otel-tts"}
    assert {kept["meta"]["folderUid"] for kept in store.dashboards.values()} == {"abc"}


@pytest.mark.parametrize(
    ("asked", "answer", "says"),
    [
        (
            ("GET", "/api/folders"),
            (401, {"message": "Unauthorized"}),
            "answered 401 to GET /api/folders?limit=1000: Unauthorized. Is the token valid",
        ),
        (
            ("POST", "/api/folders"),
            (403, {"message": "Access denied."}),
            "403 to POST /api/folders: Access denied. The token's service",
        ),
        (
            ("GET", "/api/folders"),
            (404, "404 page not found"),
            "404 to GET /api/folders?limit=1000: Not Found. Is this the address",
        ),
        (
            ("POST", "/api/dashboards/db"),
            (412, {"message": "The dashboard belongs to plugin x", "status": "plugin-dashboard"}),
            "412 to POST /api/dashboards/db: The dashboard belongs to plugin x. Another dashboard is in the way",
        ),
        (
            ("POST", "/api/dashboards/db"),
            (400, {"message": "Cannot save provisioned dashboard"}),
            "Cannot save provisioned dashboard. A dashboard that this Grafana provisions from files cannot be uploaded too",
        ),
        (
            ("GET", "/api/dashboards/uid/otel-tts-overview"),
            (404, "<html>"),
            "404 to GET /api/dashboards/uid/otel-tts-overview: Not Found.",
        ),
        (
            ("POST", "/api/dashboards/db"),
            (502, "<html>"),
            "502 to POST /api/dashboards/db: Bad Gateway. Grafana's own log says more.",
        ),
        (("GET", "/api/folders"), (200, "<html>Sign in</html>"), "is not Grafana's API. Is this the address of Grafana itself"),
        (("GET", "/api/folders"), (200, {"folders": []}), "is not Grafana's API. Is this the address of Grafana itself"),
        (("GET", "/api/folders"), (302, "https://sso.example/login"), "redirects to https://sso.example/login: give the address"),
    ],
)
def test_what_grafana_refuses(asked: tuple[str, str], answer: tuple[int, Any], says: str, store: Store, url: str) -> None:
    """What it was asked, what it said, and what to do; nothing is claimed to be done."""
    store.instead[asked] = answer
    result = run("push", url)
    assert result.exit_code == 1
    assert says in result.output
    assert url in result.output
    assert store.saved == []


def test_a_wrong_token(store: Store, url: str) -> None:
    """Grafana's words, and not the token."""
    store.token = "another"
    result = run("push", url)
    assert result.exit_code == 1
    assert f"Grafana at {url} answered 401 to GET /api/folders?limit=1000: Invalid API key. Is the token valid" in result.output


def test_a_token_from_a_file(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a line belongs to no token."""
    monkeypatch.setenv("OTEL_TTS_GRAFANA_TOKEN", f"{TOKEN}\n")
    assert run("push", url).exit_code == 0


@pytest.mark.usefixtures("store")
def test_nobody_there() -> None:
    """An address where nobody listens is named."""
    url = f"http://127.0.0.1:{free_port()}"
    result = run("push", url)
    assert result.exit_code == 1
    assert f"Grafana at {url} does not answer. Is it running" in result.output


@pytest.mark.usefixtures("store")
def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends where somebody listens and never answers."""
    monkeypatch.setenv("OTEL_TTS_GRAFANA_TIMEOUT", "0.05")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = run("push", url)
    assert result.exit_code == 1
    assert f"Grafana at {url} did not answer in time." in result.output


@pytest.mark.parametrize(
    ("token", "address", "exit_code", "says"),
    [
        ("", "http://127.0.0.1:3000", 1, "OTEL_TTS_GRAFANA_TOKEN is not set: make a service account with the role Editor"),
        ("glsa secret\r\nx", "http://127.0.0.1:3000", 1, "OTEL_TTS_GRAFANA_TOKEN is no token: it has spaces"),
        (TOKEN, "grafana:3000", 2, "it takes an address that begins with http:// or https://"),
        (TOKEN, "http://admin:pass@grafana", 2, "it takes no user and password: the token is in OTEL_TTS_GRAFANA_TOKEN"),
    ],
)
def test_what_cannot_be_used(token: str, address: str, exit_code: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token or an address that is none is refused before anybody is asked, and neither it nor a password is shown.

    As everywhere the exit code is 1 for a setting, and 2 for the command line.
    """
    monkeypatch.setenv("OTEL_TTS_GRAFANA_TOKEN", token)
    result = run("push", address)
    assert result.exit_code == exit_code
    assert says in result.output
    assert "pass@" not in result.output
    assert "glsa" not in result.output
